"""Where a dataset lies, and what to say if it does not."""

from pathlib import Path

from thesislib import paths
from thesislib.datasets.base import Reader
from thesislib.datasets.filelist import contents, require_text, shown
from thesislib.errors import InputError


def locate(reader: Reader, source: str, data_root: str) -> Path | None:
    """The dataset's folder; None where its phantom is to be used instead.

    Args:
        reader: Reader of the dataset.
        source: `auto`, `real` or `phantom`.
        data_root: The dataset's own folder, or one that holds it under its official
            name; or its archive, where the reader reads that. "" means
            `paths.data_dir()`, then the folders of system packages.

    Raises:
        InputError: If a folder was given and does not hold the dataset, if the
            official folder is incomplete, or if the data are needed and absent.
    """
    try:
        root = paths.resolve(data_root) if data_root else paths.data_dir()
        if data_root:
            require_text(str(root), "of data_root")
        archive = root.is_file() and root.name in reader.archives
        if data_root and not root.is_dir() and not archive:
            raise InputError(_no_folder(data_root, root))
        places = [root, *(root / name for name in reader.folders)]
        places += [] if data_root else reader.system_folders
        for place in places:
            if place.exists() and (found := reader.locate(place)):
                return found
        there = next((n for n in reader.folders if (root / n).is_dir()), None)
        unlike = "" if archive else reader.unlike(root) if data_root else ""
        unlike = unlike or (f"it holds {contents(root)}" if root.is_dir() else "")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        name, why = getattr(error, "filename", None), getattr(error, "strerror", None)
        raise InputError(
            f"{shown(name or data_root)} cannot be read: {why or error}."
        ) from error
    if data_root:
        found = "" if str(root) == data_root else f" ({root})"
        named = [f", or such a folder named {name}" for name in reader.folders[:1]]
        raise InputError(
            f"data_root {data_root!r}{found} does not hold {reader.title}: expected a "
            f"folder with {reader.layout}{''.join(named)}; {unlike}."
        )
    if source != "phantom" and there:
        raise InputError(
            f"{root / there} is there but does not hold {reader.layout}, as "
            f"{reader.title} should; complete it, or use source 'phantom'."
        )
    if source == "real" or not reader.has_phantom:
        raise InputError(absent(reader, root))
    return None


def _no_folder(data_root: str, root: Path) -> str:
    """That a path is no folder, and where it was looked for."""
    broken = root.is_symlink() and not root.exists()
    what = " but a broken link" if broken else " but a file" if root.exists() else ""
    where = paths.looked_for(data_root)
    return f"data_root is {data_root!r}, which is no folder{what}{where}."


def absent(reader: Reader, root: Path) -> str:
    """What to fetch and where to put it, one sentence."""
    if not reader.folders:
        return (
            f"dataset {reader.name!r} has no phantom: give your folder as data_root; "
            f"it needs {reader.layout}."
        )
    return (
        f"{reader.title} are not in {root}: fetch {reader.fetch} (licence: "
        f"{reader.licence}) and unpack it so that {root / reader.folders[0]} holds "
        f"{reader.layout}, or give its folder as data_root."
    )


def private(folder: Path) -> str:
    """Name of a folder that tells nothing of the machine it lies on."""
    top = paths.data_dir()
    if folder.is_relative_to(top):
        return (Path("$THESIS_DATA") / folder.relative_to(top)).as_posix()
    return folder.name
