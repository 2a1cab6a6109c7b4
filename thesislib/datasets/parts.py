"""The parts of a dataset: training, normal test, abnormal test."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from thesislib.datasets.base import Adapter, Item, Listing, count
from thesislib.datasets.decode import apart, separated
from thesislib.datasets.filelist import draw_split, shown
from thesislib.datasets.patients import spanning
from thesislib.errors import InputError


def files_of(listing: Listing) -> list[Path]:
    """Images and masks of a listing that belong to a split, or may be drawn."""
    items = [item for item in listing.items if item.split or listing.draw]
    return [i.path for i in items] + [i.mask for i in items if i.mask]


def divided(listing: Listing, hashes: dict[Path, str]) -> tuple[Item, ...]:
    """Items of the two splits, in the order of the listing.

    Items without a hash, which cannot be read, are left out before anything is drawn.
    """
    items = [i for i in listing.items if {i.path, i.mask or i.path} <= hashes.keys()]
    if listing.draw:
        pool = [item for item in items if not item.split]
        tested = {i.patient for i in items if i.split == "test" and i.patient}
        splits = draw_split(pool, *listing.draw, hashes, tested=tested)
        items = [replace(i, split=i.split or splits.get(i.id, "")) for i in items]
    return tuple(item for item in items if item.split)


def by_class(items: tuple[Item, ...], reader: Adapter) -> dict[str, tuple[Item, ...]]:
    """Items of each class that is a dataset of its own; of "" where there are none."""
    if not reader.class_names:
        return {"": items}
    found = {name: [] for name in reader.class_names}
    for item in items:
        found[item.id.partition("/")[0]].append(item)
    return {name: tuple(part) for name, part in found.items() if part}


def check_parts(items: tuple[Item, ...], folder: Path) -> None:
    """Detection needs all three parts, and masks for all lesions or none.

    Raises:
        InputError: If a part is empty, or some lesions have a mask and some none.
    """
    if empty := [part for part, number in count(items).items() if not number]:
        raise InputError(
            f"{shown(folder)} is left with no {' and no '.join(empty)} images; each "
            "part needs at least one."
        )
    lesions = [item for item in items if item.label]
    bare = [item.id for item in lesions if item.mask is None]
    if bare and len(bare) < len(lesions):
        raise InputError(
            f"{len(bare)} of {len(lesions)} abnormal images have no mask, the first "
            f"{bare[0]}; masks are needed for all or for none."
        )


def check_levels(levels: Mapping[int, str], lesion: Sequence[int]) -> None:
    """Masks have two grey levels, or the user says which of them are lesions.

    Args:
        levels: Grey levels of all masks, and a mask that has it.
        lesion: Those that the user says are lesions, or ().

    Raises:
        InputError: If there are more than two and none is said to be a lesion, or one
            is that no mask has.
    """
    found = separated(dict.fromkeys(levels, 1))
    step = apart(max(levels, default=0))
    if gone := [v for v in lesion if all(abs(v - one) >= step for one in levels)]:
        has = f"masks hold {', '.join(map(str, found))}" if found else "no mask has any"
        raise InputError(
            f"lesion_levels is {list(lesion)}, but {gone[0]} is no grey level: {has}."
        )
    if len(found) > 2 and not lesion:
        middle, names = found[1], ", ".join(map(str, found))
        raise InputError(
            f"The masks hold {len(found)} grey levels ({names}; {middle} in "
            f"{shown(levels[middle])}, for one), so that it cannot be known which of "
            f"them mark lesions; say it by lesion_levels, as [{found[-1]}]."
        )


def shared_patients(items: tuple[Item, ...]) -> int | None:
    """Patients with images in both splits; None where no ids are published."""
    if any(item.patient is None for item in items):
        return None
    return len(spanning(items))


def patients_of_parts(items: tuple[Item, ...]) -> dict[str, int]:
    """Number of patients in each part, named as in `count`."""
    parts = {name: set() for name in count(items)}
    for item in items:
        word = "abnormal" if item.label else "normal"
        parts[f"{item.split} {word}"].add(item.patient)
    return {name: len(found) for name, found in parts.items()}
