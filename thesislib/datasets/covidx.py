"""Chest X-rays with and without COVID-19: COVIDx (Wang et al., 2020)."""

from pathlib import Path
from typing import ClassVar, NamedTuple

from thesislib.datasets.base import NORMAL, Adapter, Item, Listing
from thesislib.errors import InputError

_TRAIN_LISTS = (  # in order of preference; the negatives of 7B, 8B and 6 are the same
    "train_COVIDx7B.txt",
    "train_COVIDx8B.txt",
    "train_COVIDx6.txt",
    "train_COVIDx9B.txt",
    "train.txt",
)
_TEST_LISTS = ("test_COVIDx8B.txt", "test_COVIDx9B.txt", "test.txt")
_POSITIVE = {"positive", "covid-19"}
_NEGATIVE = {"negative", "normal", "pneumonia"}


class Row(NamedTuple):
    """One line of a list."""

    patient: str
    file: str
    label: int  # 0 negative, 1 positive


class Covidx(Adapter):
    """Covid-X as the thesis counts it, Sections 2.4 and 5.4.1.

    Source: https://github.com/lindawangg/COVID-Net for the lists (`labels/`), images
    from Kaggle `andyczhao/covidx-cxr2` or rebuilt as `docs/COVIDx.md` says. Licence:
    lists AGPL-3.0; images keep the terms of their sources.

    Folder: `train/` and `test/`, flat, and the lists beside them or in `labels/`:
    `train_COVIDx7B.txt` (or 8B) with `test_COVIDx8B.txt` (or 9B), else `train.txt`
    and `test.txt` of the Kaggle archive.

    Counts: 13,794 negatives for training; 200 negatives and 200 positives for
    testing. That is no single release but the train list 7B with the test list 8B;
    the negatives of 7B and 8B are the same. Training positives are not used.
    Negative means normal and pneumonia other than COVID-19.

    Lists have one image a line, `patient file label source`, divided by blanks; the
    oldest lack the source. They are read from the right, because patient ids contain
    blanks. In the test list of 8B every positive comes from RICORD and every negative
    from RSNA, so that a method can tell the sources apart instead of the disease. No
    masks.
    """

    name = "covidx"
    title = "COVIDx chest X-rays"
    modality = "chest-xray"
    url = "https://github.com/lindawangg/COVID-Net"
    licence = "lists AGPL-3.0, images as their sources say"
    fetch = (
        "andyczhao/covidx-cxr2 from Kaggle and, from labels/ of "
        "https://github.com/lindawangg/COVID-Net, train_COVIDx7B.txt and "
        "test_COVIDx8B.txt"
    )
    layout = "train/, test/, a list train_COVIDx7B.txt or train.txt and one for test"
    folders = ("covidx", "COVIDx", "covidx-cxr2", "Covid-X")
    published: ClassVar = {
        "train normal": 13_794,
        "test normal": 200,
        "test abnormal": 200,
    }

    def locate(self, folder: Path) -> Path | None:
        folders = all((folder / part).is_dir() for part in ("train", "test"))
        lists = _first(folder, _TRAIN_LISTS) and _first(folder, _TEST_LISTS)
        return folder if folders and lists else None

    def listing(self, folder: Path) -> Listing:
        train, test = _first(folder, _TRAIN_LISTS), _first(folder, _TEST_LISTS)
        items, notes = [], []
        for split, path in (("train", train), ("test", test)):
            rows = [r for r in read_list(path) if split == "test" or r.label == 0]
            found = [row for row in rows if (folder / split / row.file).is_file()]
            if len(found) < len(rows):
                notes.append(
                    f"{len(rows) - len(found)} of {len(rows)} files of {path.name} are "
                    f"not in {split}/"
                )
            if not found:
                raise InputError(
                    f"None of the {len(rows)} files that {path} lists is in "
                    f"{folder / split}."
                )
            items += [
                Item(
                    id=f"{split}/{row.file}",
                    path=folder / split / row.file,
                    split=split,
                    label=row.label,
                    kind="covid-19" if row.label else NORMAL,
                    patient=row.patient,
                )
                for row in found
            ]
        notes.append("the sources of positives and negatives differ")
        rule = f"lists {train.name} (negatives) and {test.name}"
        return Listing(items=tuple(items), rule=rule, notes=tuple(notes))


def read_list(path: Path) -> list[Row]:
    """Rows of a COVIDx list, in its order.

    Raises:
        InputError: If a line cannot be understood, or gives a file another label
            than an earlier one; a mere repetition is passed over.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list {path} cannot be read: {error}.") from error
    rows = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(line)
        if row is None:
            raise InputError(
                f"Line {number} of {path} is {line!r}; expected patient, file, label "
                f"({', '.join(sorted(_POSITIVE | _NEGATIVE))}) and source."
            )
        if rows.setdefault(row.file, row).label != row.label:
            raise InputError(
                f"Line {number} of {path} gives {row.file} another label than an "
                "earlier line."
            )
    return list(rows.values())


def _row(line: str) -> Row | None:
    fields = line.split()
    labels = _POSITIVE | _NEGATIVE
    if len(fields) >= 4 and fields[-2].lower() in labels:
        *patient, file, label, _ = fields
    elif len(fields) >= 3 and fields[-1].lower() in labels:
        *patient, file, label = fields  # lists 1 and 2 have no source
    else:
        return None
    return Row(" ".join(patient), file, int(label.lower() in _POSITIVE))


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of the lists that lies in the folder or in its `labels/`."""
    for name in names:
        for place in (folder, folder / "labels"):
            if (place / name).is_file():
                return place / name
    return None
