"""What a run was made by: sources, packages, git commit, hardware."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from thesislib import paths
from thesislib.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]
RECORDED = (
    *("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "pillow"),
    *("matplotlib", "seaborn", "pydantic", "safetensors", "pytorch-msssim"),
    *("ipykernel", "papermill"),
)
# Rooms that cannot change an array, and those that cannot change weights.
BESIDE_ARRAYS = ("", "errors", "paths", "runs", "report", "paper", "cli", "bookext")
BESIDE_WEIGHTS = (*BESIDE_ARRAYS, "figures", "metrics")

_seen: dict[str, str] = {}  # module -> hash when first asked, near its import


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def module_hashes() -> dict[str, str]:
    """SHA-256 of the source of each `thesislib` module imported so far.

    A module keeps the hash it had when it was first seen, because an edit during
    a run does not change the code that runs.
    """
    for name in sorted(sys.modules):
        if name not in _seen and name.partition(".")[0] == "thesislib":
            path = source_path(name)
            if path.is_file():
                _seen[name] = sha256_file(path)
    return dict(sorted(_seen.items()))


def beside(module: str, rooms: tuple[str, ...]) -> bool:
    """Whether the module `thesislib.<room>...` lies in one of `rooms`."""
    return f"{module}.".split(".")[1] in rooms


def source_hashes(without: tuple[str, ...]) -> dict[str, str]:
    """`module_hashes` without the rooms in `without`."""
    return {
        name: value
        for name, value in module_hashes().items()
        if not beside(name, without)
    }


def source_path(module: str) -> Path:
    """File of the `thesislib` module named `module`, whether it exists or not."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def changed_modules(recorded: dict[str, str], *, on_disk: bool = False) -> list[str]:
    """Names in `recorded` whose source is now another, or gone.

    Args:
        recorded: Module name -> SHA-256, as `module_hashes` gave it.
        on_disk: Compare with the files of now, not with what this process runs.
    """
    now = {} if on_disk else module_hashes()
    changed = []
    for name, value in sorted(recorded.items()):
        path = source_path(name)
        current = now.get(name) or (sha256_file(path) if path.is_file() else None)
        if current != value:
            changed.append(name)
    return changed


def notebook_hash(chapter: str) -> str | None:
    """SHA-256 of the sources of `chapters/<chapter>.ipynb`; None if there is none."""
    path = paths.root() / "chapters" / f"{chapter}.ipynb"
    if not path.is_file():
        return None
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = [[cell["cell_type"], "".join(cell["source"])] for cell in cells]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def packages() -> dict[str, str]:
    """Installed versions of Python and of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, object]:
    """`{"commit": hex or None, "dirty": bool or None}` of the repository.

    Dirty means that a tracked file differs from the commit; new files of the
    package show in `module_hashes`.
    """
    try:
        root = paths.root()
    except InputError:
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": commit or None,
        "dirty": None if commit is None or changes is None else bool(changes),
    }


def hardware() -> dict[str, object]:
    """Processor, number of cores and operating system; no host or user name."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def private(value: object) -> object:
    """`value` with the user's own folders taken out, for records.

    A `Path`, and a text that is an absolute or home path, is kept as its last part.
    """
    if isinstance(value, dict):
        return {key: private(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [private(item) for item in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str) and (Path(value).is_absolute() or value.startswith("~")):
        return Path(value).name
    return value


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
