"""Names of videos: lists from other machines, files with endings of all sorts.

Lists carry the folders of whoever wrote them (`/home/...`, `G:\\...`), and files the
endings of whoever extracted features. Only base names are compared, never positions,
and names are never cut at dots, since those of XD-Violence are full of them.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from thesislib import paths
from thesislib.datasets.filelist import entries, is_leftover
from thesislib.errors import InputError

ENDINGS = (".npy", ".mp4", ".avi", ".mkv", ".mov", ".webm", ".mat", ".txt")
EXTRACTORS = ("_i3d", "_c3d", "_clip")  # what feature files add to a video's name
VIDEO_FILES = (".mp4", ".avi", ".mkv", ".mov", ".webm")


def base_name(path: str) -> str:
    """The video that a line of a list or a file name speaks of."""
    name = path.strip().replace("\\", "/").rsplit("/", 1)[-1]
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    for word in EXTRACTORS:
        name = name.removesuffix(word)
    return name


def lines(path: Path) -> list[str]:
    """Lines of a text file that are not empty.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise InputError(f"The list {path} cannot be read: {reason}.") from error
    return [line for line in text.splitlines() if line.strip()]


def arrays_below(folder: Path, not_in: tuple[str, ...] = ()) -> dict[str, Path]:
    """Every `.npy` file at or below a folder by its base name.

    Args:
        folder: Where to look.
        not_in: Names of folders that hold something else, such as masks.

    Raises:
        InputError: If two have the same base name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.npy")):
        if is_leftover(path) or path.name.startswith("gt-"):
            continue
        if any(part in not_in for part in path.relative_to(folder).parts[:-1]):
            continue
        name = base_name(path.name)
        if name in found:
            raise InputError(
                f"Two files of {folder} are called {name}: "
                f"{found[name].relative_to(folder)} and {path.relative_to(folder)}; "
                "keep one of them."
            )
        found[name] = path
    return found


def arrays_in(folder: Path) -> dict[str, Path]:
    """`.npy` files that lie directly in a folder by base name, sorted."""
    return {base_name(p.name): p for p in entries(folder) if p.suffix == ".npy"}


def of_crops(files: Iterable[Path]) -> dict[str, tuple[Path, ...]]:
    """Files `<video>__K.npy` by video, K = 0, 1, ... in order.

    Raises:
        InputError: If a crop of a video is missing.
    """
    found: dict[str, dict[int, Path]] = {}
    for path in files:
        if match := re.fullmatch(r"(.*)__(\d+)", base_name(path.name)):
            found.setdefault(match[1], {})[int(match[2])] = path
    number = max((len(crops) for crops in found.values()), default=0)
    for name, crops in found.items():
        if missing := [k for k in range(number) if k not in crops]:
            raise InputError(
                f"Video {name} has no file for crop {missing[0]}; expected "
                f"{name}__0.npy to {name}__{number - 1}.npy."
            )
    return {
        name: tuple(crops[k] for k in range(number)) for name, crops in found.items()
    }


def find_file(folder: Path, *names: str) -> Path | None:
    """The first file at or below a folder that has one of the names, in their order."""
    for name in names:
        for path in sorted(folder.rglob(name)):
            if path.is_file() and not is_leftover(path):
                return path
    return None


def natural(path: Path) -> tuple:
    """Key that sorts frame 2 before frame 10."""
    parts = re.split(r"(\d+)", path.name)
    return tuple(int(part) if part.isdigit() else part for part in parts)


def lists_of(
    places: Iterable[Path], train: tuple[str, ...], test: tuple[str, ...]
) -> dict[str, str] | None:
    """Split by base name as a dataset's two list files give it, in their order.

    Args:
        places: Folders to look in.
        train: Names that the training list goes by.
        test: Names that the test list goes by.

    Returns:
        Video -> "train" or "test"; None where there is no list.

    Raises:
        InputError: If one of the two is missing, or a video is in both or twice.
    """
    found: dict[str, str] = {}
    files = {
        split: next(filter(None, (find_file(p, *named) for p in places)), None)
        for split, named in (("train", train), ("test", test))
    }
    if not any(files.values()):
        return None
    for split, path in files.items():
        if path is None:
            other = next(filter(None, files.values()))
            raise InputError(
                f"{other.name} is there, but the list of {split} videos is not; it "
                f"goes by the name {' or '.join(train if split == 'train' else test)}."
            )
        for line in lines(path):
            name = base_name(line)
            if name in found:
                both = "both lists" if found[name] != split else path.name
                raise InputError(f"Video {name} stands twice in {both}.")
            found[name] = split
    return found


def places(folder: Path, annotations: str) -> list[Path]:
    """Where lists and annotations may lie: the dataset's folder, or one given apart.

    Raises:
        InputError: If the folder given is none.
    """
    if not annotations:
        return [folder]
    apart = paths.resolve(annotations)
    if not apart.is_dir():
        raise InputError(f"annotations is {annotations!r}, which is no folder.")
    return [apart, folder]
