"""What a run was made by: notebook, packages, git commit, hardware."""

import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from thesislib import paths
from thesislib.errors import InputError

RECORDED = (
    *("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "pillow"),
    *("matplotlib", "seaborn", "pydantic", "safetensors", "pytorch-msssim"),
    *("ipykernel", "papermill", "pydicom"),
)


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
    package show in `sources.imported`.
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
