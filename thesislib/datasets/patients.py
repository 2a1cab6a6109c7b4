"""Whose image is whose: patients of one's own images, by name, by list or by DICOM.

Images of one patient are alike in ways that have nothing to do with an abnormality.
A split that puts a patient on both sides flatters every method, and an interval that
takes images of one patient for independent ones is too narrow.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from thesislib import paths
from thesislib.datasets import dicom
from thesislib.datasets.bad_image import BadImageError
from thesislib.datasets.base import Item, Listing
from thesislib.datasets.filelist import by_ending, named, read_rows
from thesislib.datasets.reading import num_threads
from thesislib.errors import InputError

DICOM = "dicom"
_LIST_ENDING = ".csv"
_WHAT = "list of patients"
_DIGITS = 16  # of a hashed PatientID, hexadecimal: 64 bits
_NAMED = 5  # patients that a note names


def is_list(given: str) -> bool:
    """Whether `patients` names a CSV file, by its ending."""
    return given.lower().endswith(_LIST_ENDING)


def assign(listing: Listing, given: str, hashes: Mapping[Path, str]) -> Listing:
    r"""Give each image of a listing its patient.

    Args:
        listing: What an adapter listed; images that no part may take are passed over.
        given: One of three. A regular expression with one group, looked for in the
            file's name, or in its name relative to the dataset's folder if the
            expression has a slash: `^(P\d+)_`. The path of a CSV file with the columns
            file and patient. Or `dicom`, for a hash of each file's PatientID.
        hashes: Content hash of every file that can be read.

    Returns:
        The listing; a split that is drawn is drawn by patient, and says so.

    Raises:
        InputError: If an image is without a patient, or `given` cannot be used.
    """
    wanted = [i for i in listing.items if i.split or listing.draw]
    wanted = [item for item in wanted if item.path in hashes]
    if is_list(given):
        found = _listed(listing.items, paths.resolve(given))
    elif given == DICOM:
        found = _hashed(wanted, hashes)
    else:
        found = _matched(wanted, given)
    if bare := [item.id for item in wanted if not found.get(item.id)]:
        raise InputError(
            f"{len(bare)} of {len(wanted)} images have no patient by {_source(given)}, "
            f"the first {bare[0]}; each needs one."
        )
    items = tuple(replace(i, patient=found.get(i.id)) for i in listing.items)
    rule = f"{listing.rule}, by patient" if listing.draw else listing.rule
    return replace(listing, items=items, rule=rule)


def spanning(items: Sequence[Item]) -> list[str]:
    """Patients with images in training and in test, sorted; none without ids."""
    train, test = (
        {item.patient for item in items if item.split == split and item.patient}
        for split in ("train", "test")
    )
    return sorted(train & test)


def warning(items: Sequence[Item]) -> tuple[str, ...]:
    """A sentence on patients in training and in test, where there are any."""
    if not (both := spanning(items)):
        return ()
    some = ", ".join(both[:_NAMED]) + (", ..." if len(both) > _NAMED else "")
    return (
        f"{len(both)} patient(s) have images in training and in test, which flatters "
        f"every method: {some}",
    )


def _source(given: str) -> str:
    if is_list(given):
        return f"the {_WHAT} {Path(given).name}"
    return "the PatientID of DICOM files" if given == DICOM else f"patients {given!r}"


def _matched(items: Sequence[Item], given: str) -> dict[str, str]:
    try:
        pattern = re.compile(given)
    except re.error as error:
        raise InputError(
            f"patients is {given!r}, which is no regular expression ({error}), no "
            f"{_LIST_ENDING} file and not '{DICOM}'."
        ) from None
    if pattern.groups != 1:
        raise InputError(
            f"patients is {given!r}, a regular expression with {pattern.groups} "
            r"groups; it needs one, around what names the patient, such as "
            r"'^(P\d+)_'."
        )
    names = {i.id: i.id if "/" in given else i.id.rpartition("/")[2] for i in items}
    matches = {id: pattern.search(name) for id, name in names.items()}
    if items and not any(matches.values()):
        raise InputError(
            f"patients is {given!r}, which matches none of {len(items)} file names, "
            f"such as {names[items[0].id]!r}."
        )
    return {id: match[1] for id, match in matches.items() if match}


def _listed(items: Sequence[Item], path: Path) -> dict[str, str]:
    endings, found = by_ending(items), {}
    for line, row in read_rows(path, _WHAT, ("file", "patient")):
        where = f"line {line} of the {_WHAT} {path.name}"
        item = named(row["file"].strip(), endings, where)
        if item.id in found:
            raise InputError(f"{where} names {row['file'].strip()!r} a second time.")
        found[item.id] = row["patient"].strip()
    return found


def _hashed(items: Sequence[Item], hashes: Mapping[Path, str]) -> dict[str, str]:
    """Keyed hashes (HMAC-SHA256) of PatientIDs by item.

    PatientIDs are short, so a plain hash could be turned back by trying them all. The
    key is the hash of all images of the dataset: whoever has not got the images cannot
    try, whoever has them need not. No key has to be kept, and the same images give the
    same names on every machine; other images give the same patient another name.
    """
    pictures = sorted(hashes[item.path] for item in items)
    key = hashlib.sha256("\n".join(pictures).encode()).digest()

    def one(item: Item) -> str | InputError:
        if not dicom.is_dicom(item.path):
            return ""
        try:
            value = dicom.patient_id(item.path)
        except BadImageError as error:
            return InputError(f"{item.id} cannot be read: {error}.")
        digest = hmac.digest(key, value, "sha256").hex()
        return digest[:_DIGITS] if value else ""

    with ThreadPoolExecutor(num_threads()) as pool:
        found = dict(zip([i.id for i in items], pool.map(one, items), strict=True))
    for result in found.values():
        if isinstance(result, InputError):
            raise result
    return found
