"""Keeping a sealed run as a record of a few kilobytes: `thesislib runs record`."""

from pathlib import Path

from thesislib import atomic, paths
from thesislib.errors import InputError
from thesislib.report.records import Run
from thesislib.runs import record as records
from thesislib.runs import recorded
from thesislib.runs.record import quantity


def write(
    folder: Path, to: Path | None = None, *, published_only: bool = False
) -> tuple[Path, str]:
    """Write the record of the sealed run in `folder`.

    The run is verified first: its seal, its files, and every row that can be
    recomputed. Each AUROC whose scores are there gets its DeLong standard error,
    because the scores do not come along.

    Args:
        folder: A run's folder in the results.
        to: Folder of the records, `book/records` by default.
        published_only: Leave out rows without a published counterpart, and say so
            in the record.

    Returns:
        The file, named after the run, and its text. Equal runs give equal bytes.

    Raises:
        InputError: If the run is not sealed, or anything in it was altered.
    """
    from thesislib.runs.verification import verify

    where = atomic.shown(folder)
    record = records.read(folder / "run.json")
    if record is None:
        raise InputError(f"{where} holds no run; give a folder below results/.")
    if record["status"] != "sealed":
        raise InputError(
            f"{where} is not sealed (status {record['status']}), so it is no result "
            "and is not recorded."
        )
    if wrong := [one.text for one in verify([folder]) if one.kind == "wrong"]:
        raise InputError(f"{where} was altered, so it is not recorded: {wrong[0]}.")
    run = Run(record=record, where=where, folder=folder)
    kept = recorded.compact(record, errors(run), published_only=published_only)
    path = (to or paths.root() / "book" / "records") / recorded.file_name(record)
    text = recorded.text(kept)
    atomic.write_text(path, text)
    return path, text


def errors(run: Run) -> dict[int, float]:
    """DeLong standard errors of a run's AUROC rows, by number of the row.

    Of a mean over classes, from the influences of the images on all of them. Rows
    whose scores are not kept have none.
    """
    rows = enumerate(run.record["rows"])
    found = {n: run.error(row) for n, row in rows if quantity(row["metric"]) == "auc"}
    return {number: error for number, error in found.items() if error is not None}
