"""Where things lie: the repository, its data, its results, its cache.

Nothing depends on the current folder, because papermill starts a chapter where
the shell stands and JupyterLab starts it in `chapters/`.
"""

import os
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
    """Absolute form of a path given by the user; relative ones start at `root()`."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else root() / path


def _from_environment(variable: str, default: str) -> Path:
    return resolve(os.environ.get(variable) or default)


def _is_root(path: Path) -> bool:
    return (path / "_toc.yml").is_file() and (path / "chapters").is_dir()
