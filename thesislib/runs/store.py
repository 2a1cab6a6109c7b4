"""What a run keeps beside its record: scores, histograms, intermediate arrays."""

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from thesislib import atomic, sources
from thesislib.errors import InputError
from thesislib.runs.record import Key, canonical

COLUMNS = ("row", "setting", "id", "label", "patient", "score")
_ABOUT = "__about__"  # array with the JSON that says what the others belong to

DAMAGE = (  # what reading an absent or damaged file may raise
    *(OSError, EOFError, ValueError, KeyError, TypeError, IndexError),
    *(zipfile.BadZipFile, zlib.error),
)


class Scores:
    """Image scores of rows: `scores.csv`, one line an image."""

    def __init__(self) -> None:
        self.lines: dict[Key, list[tuple[str, ...]]] = {}

    def add(
        self,
        row: str,
        setting: Mapping[str, Any],
        ids: Sequence[str],
        labels: Sequence[int],
        scores: Sequence[float],
        patients: Sequence[str] | None = None,
    ) -> None:
        """Keep one score an image; the same row and setting again replaces it.

        Args:
            row: Row key, `pmsacl-padim`.
            setting: What tells rows of one key apart, JSON-able.
            ids: Image names, (M,), each once.
            labels: 0 normal, 1 abnormal, (M,).
            scores: Larger is more abnormal, (M,), finite; kept in full precision.
            patients: Patient ids, (M,), where there are any.
        """
        labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
        lengths = {len(ids), len(labels), len(scores)}
        if patients is not None:
            lengths.add(len(patients))
        if len(lengths) != 1 or scores.ndim != 1:
            raise InputError(
                f"The scores of {row} have shape {scores.shape} for {len(ids)} images "
                f"and {len(labels)} labels; they must be as many."
            )
        if not np.isin(labels, (0, 1)).all():
            raise InputError(f"The labels of {row} must be 0 (normal) or 1 (abnormal).")
        if not np.isfinite(scores).all():
            where = ids[int(np.flatnonzero(~np.isfinite(scores))[0])]
            raise InputError(f"The score of {row} for {where} is not finite.")
        if len(set(ids)) != len(ids):
            raise InputError(f"The image names of {row} must differ from each other.")
        names = [""] * len(ids) if patients is None else [str(p) for p in patients]
        key = (row, canonical(dict(setting)))
        self.lines[key] = [
            (*key, str(i), str(int(label)), patient, repr(float(score)))
            for i, label, patient, score in zip(ids, labels, names, scores, strict=True)
        ]

    def get(self, row: str, setting: Mapping[str, Any]) -> tuple[list[str], np.ndarray]:
        """Image names and scores that were added for a row; empty if none were."""
        lines = self.lines.get((row, canonical(dict(setting))), [])
        return [line[2] for line in lines], np.array(
            [float(line[-1]) for line in lines]
        )

    def text(self) -> str:
        """The file, rows in the order they were first added."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        for lines in self.lines.values():
            writer.writerows(lines)
        return buffer.getvalue()

    @staticmethod
    def read(path: Path) -> dict[Key, dict[str, np.ndarray | None]]:
        """Scores by row and setting: `labels`, `scores`, `ids`, `patients` or None."""
        found: dict[Key, list[dict[str, str]]] = {}
        with open(path, encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                found.setdefault((line["row"], line["setting"]), []).append(line)
        return {
            key: {
                "ids": np.array([line["id"] for line in lines]),
                "labels": np.array([int(line["label"]) for line in lines]),
                "scores": np.array([float(line["score"]) for line in lines]),
                "patients": np.array([line["patient"] for line in lines])
                if all(line["patient"] for line in lines)
                else None,
            }
            for key, lines in found.items()
        }


class Histograms:
    """Pixel histograms of rows: `histograms.npz`."""

    def __init__(self) -> None:
        self.arrays: dict[Key, dict[str, np.ndarray]] = {}

    def add(
        self, row: str, setting: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> None:
        """Keep arrays, as a metric's `to_arrays` gives them; again replaces."""
        checked_arrays(arrays, f"The histograms of {row}")
        self.arrays[row, canonical(dict(setting))] = dict(arrays)

    def data(self) -> bytes:
        """The file: arrays `<number>/<name>` and an index of the numbers."""
        flat = {
            f"{number}/{name}": array
            for number, arrays in enumerate(self.arrays.values())
            for name, array in arrays.items()
        }
        return _packed(flat, list(self.arrays))

    @staticmethod
    def read(path: Path) -> dict[Key, dict[str, np.ndarray]]:
        """Arrays by row and setting."""
        index, flat = _unpacked(path)
        found: dict[Key, dict[str, np.ndarray]] = {tuple(key): {} for key in index}
        for name, array in flat.items():
            number, _, part = name.partition("/")
            found[tuple(index[int(number)])][part] = array
        return found


def once(
    path: Path, about: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Arrays from `path`, or computed and stored there.

    What lies there counts only if it is whole, was computed for the same `about`
    and by the same sources; else it is computed again.

    Args:
        path: An `.npz` file.
        about: What the arrays belong to, JSON-able.
        compute: Gives name -> array.
    """
    with suppress(*DAMAGE):  # what is absent or damaged is computed again
        stored, arrays = _unpacked(path)
        if stored["about"] == json.loads(canonical(about)) and not (
            sources.changed(stored["sources"])
        ):
            return arrays
    arrays = {name: np.asarray(array) for name, array in compute().items()}
    checked_arrays(arrays, f"The arrays {path.stem}")
    used = sources.without(sources.BESIDE_ARRAYS)
    atomic.write_bytes(path, _packed(arrays, {"about": about, "sources": used}))
    return arrays


def checked_arrays(arrays: Mapping[str, Any], what: str) -> None:
    """Refuse what could only be stored as a pickle."""
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            raise InputError(
                f"{what} hold {name!r}, which is no array of numbers or text."
            )


def _packed(arrays: Mapping[str, np.ndarray], about: object) -> bytes:
    """An .npz file; equal content gives equal bytes."""
    text = np.frombuffer(canonical(about).encode("utf-8"), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{_ABOUT: text}, **arrays)
    return buffer.getvalue()


def _unpacked(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop(_ABOUT).tobytes().decode("utf-8")), arrays
