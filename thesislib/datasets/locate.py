"""Where a dataset lies, and what to say if it does not."""

from pathlib import Path

from thesislib import paths
from thesislib.datasets.base import Reader
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
        archive = root.is_file() and root.name in reader.archives
        if data_root and not root.is_dir() and not archive:
            raise InputError(f"data_root is {data_root!r}, which is no folder.")
        places = [root, *(root / name for name in reader.folders)]
        places += [] if data_root else reader.system_folders
        for place in places:
            if place.exists() and (found := reader.locate(place)):
                return found
        there = next((n for n in reader.folders if (root / n).is_dir()), None)
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read: {error.strerror}."
        ) from error
    if data_root:
        or_named = f", or such a folder named {reader.folders[0]}"
        raise InputError(
            f"data_root {data_root!r} does not hold {reader.title}: expected a folder "
            f"with {reader.layout}{or_named if reader.folders else ''}."
        )
    if source != "phantom" and there:
        raise InputError(
            f"{root / there} is there but does not hold {reader.layout}, as "
            f"{reader.title} should; complete it, or use source 'phantom'."
        )
    if source == "real" or not reader.has_phantom:
        raise InputError(absent(reader, root))
    return None


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
