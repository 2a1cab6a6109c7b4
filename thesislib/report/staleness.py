"""Which runs of a chapter are still what a new run would give.

Snakemake deletes the outputs of a job that fails, so the only output of a job here
is a *stamp*, a small JSON file outside the run's folder. It says which sealed run a
job ended in, and what that run was made of. `signature` compares this with what is
there now and gives Snakemake the `params` of the job: as long as nothing that the
run used has changed they stay the same, else the job runs again. What it used is
known from its record: the modules it imported, the notebook, the settings, the data.

Standard library only: it is read each time that Snakemake starts.
"""

import ast
import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thesislib import paths, sources
from thesislib.errors import InputError
from thesislib.report.records import records_of
from thesislib.runs import provenance
from thesislib.runs.record import is_sealed
from thesislib.training import status

NAMED = ("dataset", "source", "preset", "reading")  # tell runs apart by name
PLACES = ("data_root", "device")  # change where a run happens, not what it is


def name(chapter: str, parameters: Mapping[str, Any]) -> str:
    """Name of a run's notebook and stamp, `05_pmsacl--lag-real-quick-staged-s0`.

    Other parameters show as four digits of their hash when they differ from the
    chapter's own.
    """
    own = defaults(chapter)
    others = {
        key: value
        for key, value in sorted(parameters.items())
        if key not in (*NAMED, *PLACES, "seed") and value != own.get(key)
    }
    words = [str(parameters[key]) for key in NAMED] + [f"s{parameters['seed']}"]
    if others:
        words.append(hashlib.sha256(json.dumps(others).encode()).hexdigest()[:4])
    return f"{chapter}--{'-'.join(words)}"


def defaults(chapter: str) -> dict[str, Any]:
    """Parameters of a chapter and their values in its first code cell.

    Raises:
        InputError: If there is no such chapter, or no cell tagged `parameters` that
            holds literals only.
    """
    path = paths.root() / "chapters" / f"{chapter}.ipynb"
    try:
        cells = _read(path)["cells"]
        tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
        return {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.parse("".join(tagged[0]["source"])).body
        }
    except (LookupError, TypeError, AttributeError, ValueError, SyntaxError) as error:
        raise InputError(
            f"chapters/{chapter}.ipynb is no chapter: it needs a cell tagged "
            "'parameters' with one 'name = literal' a line."
        ) from error


def stamp_path(run: str) -> Path:
    """Where the stamp of a run lies: beside the results, in none of their folders."""
    return paths.results_dir() / ".stamps" / f"{run}.json"


def notebook_path(run: str) -> Path:
    """Where the executed notebook of a run lies, below the repository."""
    return paths.root() / "book" / "runs" / f"{run}.ipynb"


def signature(chapter: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """What a run of `chapter` depends on, in words; other words, another run.

    Args:
        chapter: Name of the notebook in `chapters/`, without its ending.
        parameters: All parameters of the run, `defaults` included.

    Returns:
        "parameters", "notebook" (its sources), "data", and "changed": the modules
        that changed since the run that the stamp speaks of, with their hashes of
        now. Only a record knows which modules its run imported, so there are none
        before the first run; the next run's stamp keeps the words, so that they are
        the same after it.
    """
    found = {
        "parameters": json.dumps(dict(parameters)),
        "notebook": f"notebook {provenance.notebook_hash(chapter)}",
        "data": f"data {data_listing(parameters)}",
        "changed": "no module changed",
    }
    if stamp := _read(stamp_path(name(chapter, parameters))):
        now = module_hashes()
        changed = [
            f"{module} {now.get(module, 'gone')}"
            for module, value in stamp["modules"].items()
            if now.get(module) != value
        ]
        found["changed"] = ", ".join(changed) or stamp["changed"]
    return found


def module_hashes() -> dict[str, str]:
    """SHA-256 of the source of every module of the package, as it is on disk."""
    top = sources.PACKAGE
    hashes = {}
    for path in sorted(top.rglob("*.py")):
        parts = (top.name, *path.relative_to(top).with_suffix("").parts)
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        hashes[module] = sources.sha256_file(path)
    return hashes


def data_listing(parameters: Mapping[str, Any]) -> str:
    """SHA-256 over names, sizes and times of the files a run may read.

    "phantom" where none is read. A list of patients may lie anywhere; it counts with
    what it holds, as in the run's settings. Other contents are left to the run itself:
    it knows its data by their hashes, and finds a sealed run again if only times have
    changed.
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
    patients = str(parameters.get("patients", ""))
    if patients.lower().endswith(".csv") and paths.resolve(patients).is_file():
        digest.update(sources.sha256_file(paths.resolve(patients)).encode())
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
    elif not is_sealed(_read(paths.results_dir() / stamp["folder"] / "run.json")):
        reason = "its sealed record is gone"
    elif not notebook_path(run).is_file():
        reason = "its notebook is gone"
    elif not remembered:
        reason = "Snakemake's memory (.snakemake) is gone"
    else:
        return None
    path.unlink()
    return reason


def execute(run: str, chapter: str, given: Mapping[str, Any], changed: str) -> None:
    """Run a chapter through Papermill into `book/runs/` and leave a stamp.

    Args:
        run: Its name, of the notebook and the stamp.
        chapter: Name of the notebook in `chapters/`, without its ending.
        given: Chapter parameters that differ from the notebook's own.
        changed: The changed modules for which it runs, as `signature` names them.

    Raises:
        InputError: If a cell failed, or the run ended without a sealed record.
    """
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    notebook, shown = notebook_path(run), f"book/runs/{run}.ipynb"
    before = module_hashes()  # now, since an edit during the run does not reach it
    notebook.parent.mkdir(parents=True, exist_ok=True)
    status.tell(starts={"pid": os.getpid(), "host": platform.node()})
    try:
        execute_notebook(
            paths.root() / "chapters" / f"{chapter}.ipynb",
            notebook,
            parameters=dict(given),
            cwd=paths.root(),
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=50"],  # ours say what is wrong
        )
    except PapermillExecutionError as error:
        raise InputError(f"{error.ename}: {error.evalue} (see {shown})") from None
    record = next(iter(records_of(_read(notebook))), None)
    if not is_sealed(record):
        raise InputError(f"The run ended without a sealed record (see {shown}).")
    stamp = {
        "folder": record["folder"],
        "modules": {module: before.get(module) for module in record["modules"]},
        "changed": changed,
    }
    stamp_path(run).parent.mkdir(parents=True, exist_ok=True)
    stamp_path(run).write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    status.tell(ends="done")


def _read(path: Path) -> Any:
    """A JSON file; None if it is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def main() -> None:
    """`python -m thesislib.report.staleness RUN CHAPTER GIVEN CHANGED`."""
    run, chapter, given, changed = sys.argv[1:]
    try:
        execute(run, chapter, json.loads(given), changed)
    except InputError as error:
        words = f"failed. {error}"
    except KeyboardInterrupt:
        words = "interrupted; the same command goes on with it"
    else:
        return
    sys.exit(1 if status.tell(ends=words) else f"{run}: {words}")


if __name__ == "__main__":
    main()
