"""Which runs of a chapter are still what a new run would give.

Snakemake deletes the outputs of a job that fails, so the only output of a job here
is a *stamp*, a small JSON file outside the run's folder. It says which sealed run a
job ended in, and what that run was made of. `signature` compares this with what is
there now and gives Snakemake the `params` of the job: as long as nothing that the
run used has changed they stay the same, else the job runs again. What it used is
known from its record: the modules it imported, the notebook, the settings, the data.

Standard library only until data are looked for: it is read each time that Snakemake
starts.
"""

import ast
import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thesislib import paths, sources
from thesislib.errors import InputError
from thesislib.report.records import read_notebook, records_of
from thesislib.runs import provenance
from thesislib.runs.record import is_sealed
from thesislib.training import status

NAMED = ("dataset", "source", "preset", "reading")  # tell runs apart by name
AGAIN = "--again"  # end of the notebook's name while a sealed one keeps its place
SLUG = 24  # characters of a folder's name in a run's


def name(chapter: str, parameters: Mapping[str, Any]) -> str:
    """Name of a run's notebook and stamp, `05_pmsacl--lag-real-quick-staged-s0`.

    Other parameters show as eight digits of their hash when they differ from the
    chapter's own, all but the device, which changes where a run happens, not what it
    is. A folder of data shows by its last name too.
    """
    own = defaults(chapter)
    others = {
        key: value
        for key, value in sorted(parameters.items())
        if key not in (*NAMED, "device", "seed") and value != own.get(key)
    }
    words = [str(parameters[key]) for key in NAMED] + [f"s{parameters['seed']}"]
    if "data_root" in others:
        root = os.path.normpath(paths.resolve(others["data_root"]))
        others["data_root"] = root
        slug = re.sub(r"[^a-z0-9]+", "-", os.path.basename(root).lower())
        words += filter(None, [slug[:SLUG].strip("-")])
    if others:
        words.append(hashlib.sha256(json.dumps(others).encode()).hexdigest()[:8])
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
    """SHA-256 of the source of every module of the package, as it is on disk.

    What cannot be read, an editor's lock file say, is no module.
    """
    top = sources.PACKAGE
    hashes = {}
    for path in sorted(top.rglob("*.py")):
        if not path.is_file():
            continue
        parts = (top.name, *path.relative_to(top).with_suffix("").parts)
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        hashes[module] = sources.sha256_file(path)
    return hashes


def data_listing(parameters: Mapping[str, Any]) -> str:
    """SHA-256 over names, sizes and times of the files of the dataset's own folder.

    "phantom" where none is read; what else lies beside the dataset does not matter. A
    list of patients or of files may lie anywhere; it counts with what it holds, as in
    the run's settings. Other contents are left to the run itself: it knows its data by
    their hashes, and finds a sealed run again if only times have changed. So are files
    that cannot be read: here they count by their name, and the run says which they are.
    """
    if parameters["source"] == "phantom":
        return "phantom"
    digest = hashlib.sha256()
    try:
        for line in _files(_folder_of(parameters)):
            digest.update(json.dumps(line).encode())
    except InputError as error:  # absent, or not as it should be; the run says so
        digest.update(str(error).encode("utf-8", "backslashreplace"))
    for name in ("patients", "file_list"):
        given = str(parameters.get(name, ""))
        if given.lower().endswith(".csv") and paths.resolve(given).is_file():
            digest.update(sources.sha256_file(paths.resolve(given)).encode())
    return digest.hexdigest()


def _folder_of(parameters: Mapping[str, Any]) -> Path | None:
    """Where a run would find its data; None where a phantom would take their place.

    Raises:
        InputError: As the run would.
    """
    from thesislib.datasets.locate import locate
    from thesislib.datasets.registry import adapter

    given = parameters.get("data_root") or ""
    return locate(adapter(parameters["dataset"]), parameters["source"], given)


def _files(top: Path | None) -> Iterator[list[Any]]:
    """Name, size and time of every file of a folder, or of an archive, in order.

    One that cannot be read has a name alone. Linked folders are gone into, once.
    """
    if top is None or top.is_file():
        yield from () if top is None else [_line(top, top.parent)]
        return
    seen = set()
    for folder, folders, files in os.walk(top, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (_line(Path(folder, file), top) for file in sorted(files))


def _line(path: Path, top: Path) -> list[Any]:
    line: list[Any] = [path.relative_to(top).as_posix()]
    try:
        stat = path.stat()
    except OSError:
        return line
    return [*line, stat.st_size, stat.st_mtime_ns]


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

    A sealed notebook keeps its place until another sealed one takes it: the new one
    lies beside it, `<run>--again.ipynb`, and stays there if it fails.

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

    final = notebook_path(run)
    again = final.with_name(f"{run}{AGAIN}.ipynb")
    notebook = again if _sealed_record(final) else final
    shown = f"book/runs/{notebook.name}"
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
    record = _sealed_record(notebook)
    if record is None:
        raise InputError(f"The run ended without a sealed record (see {shown}).")
    os.replace(notebook, final)
    again.unlink(missing_ok=True)  # what an earlier attempt left
    stamp = {
        "folder": record["folder"],
        "modules": {module: before.get(module) for module in record["modules"]},
        "changed": changed,
    }
    stamp_path(run).parent.mkdir(parents=True, exist_ok=True)
    stamp_path(run).write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    status.tell(ends="done")


def _sealed_record(notebook: Path) -> dict[str, Any] | None:
    """The sealed record that an executed notebook shows; None if it shows none."""
    record = next(iter(records_of(read_notebook(notebook))), None)
    return record if is_sealed(record) else None


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
