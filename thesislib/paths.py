"""Where things lie: the repository, its data, its results, its cache.

One rule for every path to be read that a parameter or a command is given: `~` is a home
folder, and a relative path is looked for where one stands, then in the companion's
folder, because papermill starts a chapter where the shell stands and JupyterLab starts
it in `chapters/`. What the companion finds by itself (`data/`, `results/`, `.cache/`)
lies in its own folder wherever one stands, and so do relative `THESIS_...` settings.
"""

import os
from contextlib import suppress
from pathlib import Path

from thesislib.errors import InputError


def root() -> Path:
    """Folder of the companion: the one that holds `_toc.yml` and `chapters/`.

    `$THESIS_HOME` if set, else the parent of this package if it is the
    repository, else the nearest such folder at or above the current one.

    Raises:
        InputError: If none of them is the repository.
    """
    if home := os.environ.get("THESIS_HOME"):
        if not _is_root(path := Path(home).resolve()):
            raise InputError(
                f"THESIS_HOME is {home!r}, which holds no _toc.yml and chapters/; "
                "set it to the companion's folder or unset it."
            )
        return path
    here = Path.cwd().resolve()
    for path in (Path(__file__).resolve().parents[1], here, *here.parents):
        if _is_root(path):
            return path
    raise InputError(
        "The companion's folder was not found; start inside it or set THESIS_HOME."
    )


def results_dir() -> Path:
    """Folder of run records and figures: `$THESIS_RESULTS`, else `results/`."""
    return _from_environment("THESIS_RESULTS", "results")


def data_dir() -> Path:
    """Folder that holds datasets: `$THESIS_DATA`, else `data/`."""
    return _from_environment("THESIS_DATA", "data")


def cache_dir() -> Path:
    """Folder of decoded images, safe to delete: `$THESIS_CACHE`, else `.cache/`."""
    return _from_environment("THESIS_CACHE", ".cache")


def resolve(path: str | Path) -> Path:
    """Absolute form of a path given by the user, to be read.

    A relative one is looked for where one stands, then in the companion's folder. If it
    is in neither, the last of `places` is returned.

    Raises:
        InputError: If it begins with the home folder of someone who is not known.
    """
    found = places(path)
    return next((place for place in found if os.path.lexists(place)), found[-1])


def places(path: str | Path) -> list[Path]:
    """Where `resolve` looks for a path, in this order, absolute.

    Raises:
        InputError: If it begins with the home folder of someone who is not known.
    """
    path = _expanded(path)
    tops = [Path.cwd()]
    with suppress(InputError):  # installed without the repository
        tops.append(root())
    return list(dict.fromkeys(top / path for top in tops))  # one, if absolute


def looked_for(path: str | Path) -> str:
    """The places where a path was looked for, in brackets, "" if it says so itself."""
    found = [str(place) for place in places(path)]
    return "" if found == [str(path)] else f" (looked for as {' and '.join(found)})"


def written(path: str | Path) -> Path:
    """Absolute form of a path given by the user, to be written: where one stands.

    Raises:
        InputError: If it begins with the home folder of someone who is not known.
    """
    return Path.cwd() / _expanded(path)


def _from_environment(variable: str, default: str) -> Path:
    path = _expanded(os.environ.get(variable) or default)
    return path if path.is_absolute() else root() / path


def _expanded(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        name = Path(path).parts[0]
        raise InputError(
            f"{str(path)!r} begins with {name}, but there is no such home folder."
        ) from error


def _is_root(path: Path) -> bool:
    return (path / "_toc.yml").is_file() and (path / "chapters").is_dir()
