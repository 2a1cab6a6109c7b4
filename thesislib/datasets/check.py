"""What `thesislib data list` and `thesislib data check` say, in plain text."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from thesislib import paths
from thesislib.datasets import decode, packed, registry
from thesislib.datasets import patients as owners
from thesislib.datasets.base import Adapter, Item, count
from thesislib.datasets.fingerprint import hash_files, leaks, repeats
from thesislib.datasets.locate import locate
from thesislib.datasets.packed import PackedReader
from thesislib.datasets.parts import (
    by_class,
    check_parts,
    divided,
    files_of,
    patients_of_parts,
    shared_patients,
)
from thesislib.datasets.reading import num_threads
from thesislib.datasets.videos import check as videos
from thesislib.datasets.videos.base import VideoOptions, VideoReader
from thesislib.errors import InputError

_PROBE = 64  # pixels; files are decoded to this size to see whether they can be
_SHOWN = 20  # problems of one sort that a report names


def list_datasets() -> str:
    """Every dataset: its key, counts, licence, and where it is or should be."""
    blocks = []
    for name in (*registry.NAMES, *registry.VIDEO_NAMES):
        reader = registry.adapter(name)
        lines = [f"{name}: {reader.title}"]
        if reader.published:
            lines.append(f"  published  {_counts(reader.published)}")
        lines.append(f"  licence    {reader.licence}")
        lines.append(f"  layout     {reader.layout}")
        if reader.folders:
            place = _place(reader)
            lines.append(f"  here       {place}")
            if place == "no":
                lines.append(f"  fetch      {reader.fetch}")
                lines.append(f"  put it in  {paths.data_dir() / reader.folders[0]}")
            lines.append(
                f"  phantom    {reader.modality if reader.has_phantom else 'none'}"
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def check(
    name: str,
    path: str | Path,
    patients: str = "",
    options: VideoOptions | None = None,
) -> tuple[str, bool]:
    """Read a dataset as a run would, every file of it, and report what is there.

    Args:
        name: One of `registry.NAMES` or `registry.VIDEO_NAMES`.
        path: The dataset's folder, or one that holds it under its official name;
            relative to the current folder.
        patients: As in `registry.find`; a CSV file relative to the current folder.
        options: How to read videos.

    Returns:
        Report, several lines; whether a run would accept the data. Counts other
        than the published ones are reported and accepted.
    """
    try:
        reader = registry.adapter(name)
        registry.check_patients(reader, patients)
        folder = locate(reader, "real", str(Path(path).expanduser().resolve()))
        if isinstance(reader, PackedReader):
            return _check_packed(reader, folder), True
        if isinstance(reader, VideoReader):
            return videos.check(reader, folder, options or VideoOptions())
        listing = reader.listing(folder)
        files = files_of(listing)
        hashes, unread = hash_files(files, paths.cache_dir())
        if patients:
            if owners.is_list(patients):
                patients = str(Path(patients).expanduser().resolve())
            listing = owners.assign(listing, patients, hashes)
        items = divided(listing, hashes)
    except InputError as error:
        return f"{name}: {error}\n", False
    problems = [f"{path}: {reason}" for path, reason in unread.items()]
    for part in by_class(items, reader).values():
        try:
            check_parts(part, folder)
        except InputError as error:
            problems.append(str(error))
    problems += [
        f"the test image {test} has the same content as the training image {train}"
        for train, test in leaks(items, hashes)
    ]
    facts, bad = _files(items, reader)
    problems += bad

    lines = [f"{name}: {reader.title} in {folder}", f"split      {listing.rule}"]
    lines.append(f"found      {_counts(count(items))}")
    if reader.published:
        same = "the same" if count(items) == reader.published else "data are partial"
        lines.append(f"published  {_counts(reader.published)} ({same})")
    lines += facts
    repeated = repeats(items, hashes)
    lines.append(
        f"copies     {repeated['train']} in training, {repeated['test']} in test, "
        f"{repeated['both labels']} contents both normal and abnormal"
    )
    lines.append(f"patients   {_patients(items, reader)}")
    notes = [*listing.notes, *(owners.warning(items) if patients else ())]
    lines += [f"note       {note}" for note in notes]
    lines += [f"problem    {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"           and {len(problems) - _SHOWN} more problems")
    lines.append("not usable as it is" if problems else "ok")
    return "\n".join(lines) + "\n", not problems


def _check_packed(reader: PackedReader, folder: Path) -> str:
    """Report on a dataset whose images lie packed in a few files.

    Raises:
        InputError: If the files are not whole.
    """
    located = packed.find(reader, folder, reader.size, given=True)
    arrays, _ = packed.content(reader, folder, located.hashes)
    lines = [
        f"{reader.name}: {reader.title} in {folder}",
        f"split      {located.provenance['split_rule']}",
    ]
    for label, counts in (
        ("found", located.counts),
        ("published", located.published_counts),
    ):
        lines.append(f"{label:<10} {_counts(counts)}")
    for split in ("train", "test"):
        numbers = np.bincount(arrays[f"{split}_labels"], minlength=10).tolist()
        per_class = zip(reader.class_titles, numbers, strict=True)
        lines.append(f"{split:<10} " + ", ".join(f"{n:,} {t}" for t, n in per_class))
    same = "the official release" if located.official else "not the official release"
    lines.append(f"content    {same}{', data are partial' if located.partial else ''}")
    repeated = located.provenance["repeated_images"]
    lines.append("copies     " + ", ".join(f"{n} {k}" for k, n in repeated.items()))
    return "\n".join([*lines, "ok"]) + "\n"


def _files(items: tuple[Item, ...], reader: Adapter) -> tuple[list[str], list[str]]:
    """Facts on modes, sizes and masks of the files, and what is wrong with any."""

    def probe(item: Item) -> tuple[str, tuple[int, int], float | None] | str:
        try:
            mode = decode.mode(item.path)
            _, full = decode.read_image(item.path, _PROBE, reader.box)
            if item.mask is None:
                return mode, full, None
            mask = decode.read_mask(
                item.mask, _PROBE, reader.box, full=full, heat_map=reader.heat_maps
            )
            return mode, full, float(mask.mean())
        except decode.BadImageError as error:
            return f"{item.id}: {error}"

    with ThreadPoolExecutor(num_threads()) as pool:
        results = list(pool.map(probe, items))
    good = [result for result in results if not isinstance(result, str)]
    modes = Counter(mode for mode, _, _ in good)
    widths, heights = ([size[axis] for _, size, _ in good] or [0] for axis in (0, 1))
    facts = [
        "modes      " + ", ".join(f"{n} {mode}" for mode, n in modes.most_common()),
        f"sizes      {min(widths)} to {max(widths)} px wide, {min(heights)} to "
        f"{max(heights)} px high, {len({size for _, size, _ in good})} different",
    ]
    areas = [area for _, _, area in good if area is not None]
    facts.append(
        f"masks      {len(areas)}, covering {min(areas):.1%} to {max(areas):.1%} of "
        f"their image, {areas.count(0)} empty"
        if areas
        else "masks      none"
    )
    return facts, [result for result in results if isinstance(result, str)]


def _place(reader: Adapter) -> str:
    """Where the dataset lies in the data folder, "no", or why it is incomplete."""
    try:
        return str(locate(reader, "real", ""))
    except InputError as error:
        there = any((paths.data_dir() / name).is_dir() for name in reader.folders)
        return str(error) if there else "no"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {part}" for part, number in counts.items())


def _patients(items: tuple[Item, ...], reader: Adapter) -> str:
    shared = shared_patients(items)
    if shared is None:
        return "no ids: see --patients" if reader.takes_patients else "no ids published"
    return f"{_counts(patients_of_parts(items))}; {shared} in training and in test"
