"""The folder of a run: which one, and whether to start, resume or reuse.

A sealed run is never written into. When it has to be computed again, that happens
in `<name>.new` beside it, and the two change places when the new one is sealed.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thesislib import atomic, paths, sources
from thesislib.errors import InputError
from thesislib.runs import record as records
from thesislib.runs.lock import Lock

_GONE = ".gone"  # ending of a folder that is being removed
NEW, RESUMED, SEALED = "new", "resumed", "sealed"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A locked run folder.

    Attributes:
        final: Where the run lies once it is sealed.
        work: Where it is computed: `final`, or `<final>.new` beside a sealed one.
        state: `NEW`, `RESUMED` or `SEALED` (to be reused).
        record: What `run.json` in `work` holds, None if there is none.
        stages: What earlier sessions spent on what is still used, see `stages`.
        reason: Why it starts, resumes or is reused, a phrase for the reader.
        lock: Held until the run is over.
    """

    final: Path
    work: Path
    state: str
    record: dict[str, Any] | None
    stages: list[dict[str, Any]]
    reason: str
    lock: Lock


def name(settings: dict[str, Any]) -> str:
    """`<dataset>-<source>-<preset>-<reading>-s<seed>-<8 hex>`.

    Args:
        settings: All that decides the result: `parameters` (without device and
            paths), `configs` and the data's `fingerprint`.
    """
    p = settings["parameters"]
    words = [p[key] for key in ("dataset", "source", "preset", "reading")]
    return "-".join([*words, f"s{p['seed']}", records.digest(settings)[:8]])


def open_folder(
    chapter: str, name: str, notebook: str | None, overwrite: bool
) -> Opened:
    """Lock a run's folder and decide what becomes of what lies there.

    Args:
        chapter: Name of the notebook.
        name: Name of the folder.
        notebook: Hash of the notebook, for comparison with a sealed record's.
        overwrite: Start anew, whatever lies there.

    Raises:
        InputError: If another process works there or the folder cannot be written.
    """
    final = paths.results_dir() / chapter / name
    lock = Lock(final.with_name(f".{name}.lock"))
    try:
        return _open(final, lock, notebook, overwrite)
    except OSError as error:
        lock.release()
        raise atomic.cannot_write(final, error) from error
    except BaseException:
        lock.release()
        raise


def _open(final: Path, lock: Lock, notebook: str | None, overwrite: bool) -> Opened:
    new, _ = _beside(final)
    _recover(final)
    record = records.read(final / "run.json")
    is_sealed = records.is_sealed(record)
    if overwrite:
        work = new if is_sealed else final
        _remove(work)
        return _opened(final, work, lock, NEW, "from the start, as asked")
    if is_sealed and not new.exists():
        changed = [
            module
            for module in sources.changed(record["modules"])
            if not sources.beside(module, sources.BESIDE_NUMBERS)
        ]
        if record["notebook"] != notebook:
            changed.append("the notebook")
        if not changed:
            reason = f"sealed {record['finished']}, reused"
            return _opened(final, final, lock, SEALED, reason)
        _carry_over(final)
        reason = f"anew, because {', '.join(changed[:3])} changed since it was sealed"
        return _opened(final, new, lock, NEW, reason, record["stages"])
    work = new if is_sealed else final
    if not is_sealed and record is not None and record["status"] != "running":
        raise InputError(
            f"{atomic.shown(final)}/run.json has status {record['status']!r} but its "
            "seal is wrong, so it was changed after the run; set THESIS_OVERWRITE=1 "
            "to compute it anew."
        )
    if work == new:
        _remove_stale(new)
    if (work / "run.json").is_file():
        return _opened(final, work, lock, RESUMED, "resumed where it stopped")
    return _opened(final, work, lock, NEW, "from the start")


def settle(opened: Opened) -> None:
    """Put a sealed run in its final place, and away with the one before."""
    if opened.work == opened.final:
        return
    _, old = _beside(opened.final)
    try:
        os.rename(opened.final, old)
        os.rename(opened.work, opened.final)
        _remove(old)
    except OSError as error:
        raise atomic.cannot_write(opened.final, error) from error


def _opened(
    final: Path,
    work: Path,
    lock: Lock,
    state: str,
    reason: str,
    stages: list[dict[str, Any]] | None = None,
) -> Opened:
    work.mkdir(parents=True, exist_ok=True)
    atomic.clean(work)
    record = records.read(work / "run.json")
    return Opened(
        final=final,
        work=work,
        state=state,
        record=record,
        stages=stages or (record or {}).get("stages", []),
        reason=reason,
        lock=lock,
    )


def _beside(final: Path) -> tuple[Path, Path]:
    return final.with_name(f"{final.name}.new"), final.with_name(f"{final.name}.old")


def _recover(final: Path) -> None:
    """Finish what a kill cut short: a removal, a change of places."""
    for path in (*final.parent.glob(f"{final.name}*{_GONE}"), _carry(final)):
        _remove(path)
    new, old = _beside(final)
    if not old.exists():
        return
    if not final.exists():
        is_sealed = records.is_sealed(records.read(new / "run.json"))
        os.rename(new if is_sealed else old, final)
    _remove(old)


def _carry(final: Path) -> Path:
    return final.with_name(f"{final.name}.carry")


def _carry_over(final: Path) -> None:
    """Start a new run with what the sealed one computed and is still true.

    Files are linked where the system can, because none is ever written in place
    once its stage is finished.
    """
    carry = _carry(final)
    for part in ("checkpoints", "arrays"):
        if (final / part).is_dir():
            shutil.copytree(final / part, carry / part, copy_function=_link)
    _remove_stale(carry)
    carry.mkdir(exist_ok=True)
    os.rename(carry, _beside(final)[0])


def _remove_stale(work: Path) -> None:
    """Remove checkpoints that other sources made; arrays are checked when read."""
    for head in work.glob("checkpoints/*/checkpoint.json"):
        try:
            used = json.loads(head.read_text(encoding="utf-8"))["sources"]
            stale = bool(sources.changed(used))
        except (OSError, ValueError, KeyError):
            stale = True
        if stale:
            _remove(head.parent)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _remove(folder: Path) -> None:
    """Remove a folder; half of one is never left under its name."""
    if not folder.exists():
        return
    gone = folder
    if folder.suffix != _GONE:
        gone = folder.with_name(f"{folder.name}{_GONE}")
        os.rename(folder, gone)
    shutil.rmtree(gone)
