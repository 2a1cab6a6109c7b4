"""Which runs of a chapter are still what a new run would give.

Snakemake deletes the outputs of a job that fails, so the only output of a job here
is a *stamp*, a small JSON file outside the run's folder. It says which sealed run a
job ended in, and what that run was made of. `signature` compares this with what is
there now and gives Snakemake the `params` of the job: as long as nothing that the
run used has changed they stay the same, else the job runs again. What it used is
known from its record: the modules it imported, the notebook, the settings, the data.

Standard library only: it is read each time that Snakemake starts.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thesislib import paths
from thesislib.errors import InputError
from thesislib.report.records import records_of
from thesislib.report.seal import is_sealed
from thesislib.runs import provenance

NAMED = ("dataset", "source", "preset", "reading")  # what tells runs apart by name


def name(chapter: str, parameters: Mapping[str, Any]) -> str:
    """Name of a run's notebook and stamp, `05_pmsacl--lag-real-quick-thesis-s0`."""
    words = "-".join(str(parameters[key]) for key in NAMED)
    return f"{chapter}--{words}-s{parameters['seed']}"


def stamp_path(run: str) -> Path:
    """Where the stamp of a run lies: beside the results, in none of their folders."""
    return paths.results_dir() / ".stamps" / f"{run}.json"


def notebook_path(run: str) -> Path:
    """Where the executed notebook of a run lies, below the repository."""
    return paths.root() / "book" / "runs" / f"{run}.ipynb"


def signature(chapter: str, parameters: Mapping[str, Any]) -> list[str]:
    """What a run of `chapter` depends on, one line each; other lines, another run.

    The lines are the same before a run and after it. Modules appear once they have
    changed since the run that the stamp speaks of, because only its record knows
    which modules it imported; the next run's stamp keeps those lines.
    """
    lines = [f"{key} = {json.dumps(value)}" for key, value in parameters.items()]
    lines.append(f"notebook {provenance.notebook_hash(chapter)}")
    lines.append(f"data {data_listing(parameters)}")
    stamp = _read(stamp_path(name(chapter, parameters)))
    if stamp is None:
        return lines
    now = module_hashes()
    changed = [
        f"{module} {now.get(module, 'gone')}"
        for module, value in stamp["modules"].items()
        if now.get(module) != value
    ]
    return lines + (changed or stamp["changed"])


def module_hashes() -> dict[str, str]:
    """SHA-256 of the source of every module of the package, as it is on disk."""
    top = provenance.PACKAGE
    hashes = {}
    for path in sorted(top.rglob("*.py")):
        parts = (top.name, *path.relative_to(top).with_suffix("").parts)
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        hashes[module] = provenance.sha256_file(path)
    return hashes


def data_listing(parameters: Mapping[str, Any]) -> str:
    """SHA-256 over names, sizes and times of the files a run may read.

    "phantom" where none is read. Contents are left to the run itself: it knows its
    data by their hashes, and finds a sealed run again if only times have changed.
    """
    if parameters["source"] == "phantom":
        return "phantom"
    given = parameters.get("data_root")
    top = paths.resolve(given) if given else paths.data_dir()
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(top):
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            stat = path.stat()
            line = [path.relative_to(top).as_posix(), stat.st_size, stat.st_mtime_ns]
            digest.update(json.dumps(line).encode())
    return digest.hexdigest()


def discard_untrue(run: str, *, remembered: bool) -> str | None:
    """Remove the stamp of `run` if it speaks of something that is gone; say why.

    Args:
        run: The run's name.
        remembered: Whether Snakemake still has the params of earlier jobs. Without
            them it takes any stamp for good, so a stamp proves nothing.
    """
    path = stamp_path(run)
    if not path.is_file():
        return None
    stamp = _read(path)
    if stamp is None:
        reason = "its stamp cannot be read"
    elif not is_sealed(_read(paths.results_dir() / stamp["run"] / "run.json") or {}):
        reason = "its sealed record is gone"
    elif not notebook_path(run).is_file():
        reason = "its notebook is gone"
    elif not remembered:
        reason = "Snakemake's memory (.snakemake) is gone"
    else:
        return None
    path.unlink()
    return reason


def execute(chapter: str, parameters: Mapping[str, Any], lines: list[str]) -> None:
    """Run a chapter through Papermill into `book/runs/` and leave a stamp.

    Args:
        chapter: Name of the notebook in `chapters/`, without its ending.
        parameters: Chapter parameters, by name.
        lines: The `signature` that Snakemake decided on.

    Raises:
        InputError: If a cell failed, or the run ended without a sealed record.
    """
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    run = name(chapter, parameters)
    notebook, shown = notebook_path(run), f"book/runs/{run}.ipynb"
    before = module_hashes()  # now, since an edit during the run does not reach it
    notebook.parent.mkdir(parents=True, exist_ok=True)
    try:
        execute_notebook(
            paths.root() / "chapters" / f"{chapter}.ipynb",
            notebook,
            parameters=dict(parameters),
            cwd=paths.root(),
            progress_bar=False,
        )
    except PapermillExecutionError as error:
        raise InputError(f"{error.ename}: {error.evalue} (see {shown})") from None
    record = next(iter(records_of(_read(notebook))), None)
    if record is None or not is_sealed(record):
        raise InputError(f"The run ended without a sealed record (see {shown}).")
    folder = _folder_of(chapter, record)
    stamp = {
        "run": folder.relative_to(paths.results_dir()).as_posix(),
        "modules": {key: before.get(key) for key in record["modules"]},
        "changed": [line for line in lines if line.split()[0] in before],
    }
    stamp_path(run).write_text(json.dumps(stamp, indent=1), encoding="utf-8")


def _folder_of(chapter: str, record: Mapping[str, Any]) -> Path:
    """The results folder that holds `record`, found by its seal."""
    for path in (paths.results_dir() / chapter).glob("*/run.json"):
        if (_read(path) or {}).get("seal") == record["seal"]:
            return path.parent
    raise InputError(f"No folder in results/{chapter} holds the record of this run.")


def _read(path: Path) -> Any:
    """A JSON file; None if it is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def main() -> None:
    """`python -m thesislib.report.staleness JOB`, JOB as the Snakefile makes it."""
    job = json.loads(sys.argv[1])
    try:
        execute(job["chapter"], job["parameters"], job["signature"])
    except InputError as error:
        run = name(job["chapter"], job["parameters"])
        sys.exit(f"{run} failed: {error}")


if __name__ == "__main__":
    main()
