"""What `thesislib data list` and `thesislib data check` say, in plain text."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thesislib import paths
from thesislib.datasets import packed, registry
from thesislib.datasets.base import Adapter, Dataset, Item
from thesislib.datasets.filelist import shown
from thesislib.datasets.locate import locate
from thesislib.datasets.located import Located
from thesislib.datasets.packed import PackedReader
from thesislib.datasets.parts import patients_of_parts, shared_patients
from thesislib.datasets.videos import check as videos
from thesislib.datasets.videos.base import VideoOptions, VideoReader
from thesislib.errors import InputError

_PROBE = 64  # pixels, as in the presets quick and standard, which find it in the cache
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
    of_videos: VideoOptions | None = None,
    *,
    ask: Callable[[Any], Iterable[str]] = lambda data: (),
    **options: Any,
) -> tuple[str, bool]:
    """Read a dataset as a run does, every file of it, and report what is there.

    What decides is `registry.find` and `registry.load`, as in a chapter: it takes what
    the check calls ok, and refuses the rest in the sentence of the report's last line.

    Args:
        name: One of `registry.NAMES` or `registry.VIDEO_NAMES`.
        path: The dataset's folder, or one that holds it under its official name.
        patients: As in `registry.find`.
        of_videos: How to read videos.
        ask: Given the data, says what else a reader should know, a line each: which
            parts of the chapters such data are too few for.
        options: Others of `registry.find`: on_bad_image, file_list, grey_range,
            lesion_levels.

    Returns:
        Report, several lines; whether a run would accept the data. Counts other
        than the published ones are reported and accepted.
    """
    reasons: list[InputError] = []
    lines: list[str] = []
    try:
        reader = registry.adapter(name)
        if isinstance(reader, VideoReader):
            registry.check_patients(reader, patients)
            folder = locate(reader, "real", str(path))
            return videos.check(reader, folder, of_videos or VideoOptions())
        located = registry.find(
            name,
            "real",
            str(path),
            image_size=getattr(reader, "size", _PROBE),
            patients=patients,
            refuse=reasons.append,
            **options,
        )
        if isinstance(reader, PackedReader):
            lines = _packed(reader, located)
            data = registry.load(located)
        else:
            lines = _found(reader, located)
            data = registry.load(located, refuse=reasons.append)
            lines += _read(reader, located, data)
        if not reasons:
            lines += [f"chapters   {line}" for line in ask(data)]
    except InputError as error:
        reasons.append(error)
        if not lines:
            return f"{name}: {reasons[0]}\n", False
    lines += _problems(reasons)
    lines.append(f"not usable as it is: {reasons[0]}" if reasons else "ok")
    return "\n".join(lines) + "\n", not reasons


def _found(reader: Adapter, located: Located) -> list[str]:
    """What was found before anything is decoded."""
    counts = _counts(located.counts)
    lines = [f"{reader.name}: {reader.title} in {shown(located.folder)}"]
    lines.append(f"split      {located.provenance['split_rule']}")
    lines.append(f"found      {counts}")
    if reader.published:
        same = "data are partial" if located.partial else "the same"
        lines.append(f"published  {_counts(reader.published)} ({same})")
    return lines


def _read(reader: Adapter, located: Located, data: Any) -> list[str]:
    """What was read: modes, sizes, greys, masks, copies, notes."""
    parts = [data]
    if reader.class_names:
        parts = [data.one_class(one) for one in data.class_names]
    lines = []
    modes = Counter(one.mode for one in located.facts.values())
    if modes:
        each = ", ".join(f"{n} {mode}" for mode, n in modes.most_common())
        lines.append(f"modes      {each}")
    sizes = np.concatenate([part.sizes for part in parts])
    if len(sizes):
        lines.append(f"sizes      {_sizes(sizes)}")
    if located.greys:
        lines.append(f"greys      {located.greys}")
    lines.append(f"masks      {_masks(parts)}")
    repeated = Counter()
    for part in parts:
        repeated.update(part.provenance["repeated_images"])
    lines.append(
        f"copies     {repeated['train']} in training, {repeated['test']} in test, "
        f"{repeated['both labels']} contents both normal and abnormal"
    )
    lines.append(f"patients   {_patients(located.items, reader)}")
    if located.on_bad_image == "skip":
        files = dict.fromkeys(f for part in parts for f in part.provenance["skipped"])
        lines += [f"skipped    {shown(file)}" for file in files]
    notes = dict.fromkeys(n for part in parts for n in part.provenance["notes"])
    return lines + [f"note       {note}" for note in notes]


def _sizes(sizes: np.ndarray) -> str:
    """Widths and heights of the originals, (N, 2), one phrase."""
    different = len(np.unique(sizes, axis=0))
    (low_width, low_height), (width, height) = sizes.min(axis=0), sizes.max(axis=0)
    if different == 1:
        return f"all {width} x {height} px"
    return (
        f"{low_width} to {width} px wide, {low_height} to {height} px high, "
        f"{different} different"
    )


def _masks(parts: Sequence[Dataset]) -> str:
    """How many masks there are and how much they cover, one phrase."""
    areas = [
        part.test_masks[part.test_labels == 1].mean(axis=(1, 2))
        for part in parts
        if part.test_masks is not None
    ]
    if not areas:
        return "none"
    shares = np.concatenate(areas)
    if not len(shares):
        return "none that can be read"
    return (
        f"{len(shares)}, covering {shares.min():.1%} to {shares.max():.1%} of their "
        f"image, {(shares == 0).sum()} empty"
    )


def _problems(reasons: Sequence[InputError]) -> list[str]:
    """Every problem on a line of its own, as far as `_SHOWN` go."""
    problems = []
    for reason in reasons:
        for file in getattr(reason, "problems", ()):
            where, _, why = file.partition(" (")
            problems.append(f"{shown(where)}: {why.removesuffix(')')}")
        if not hasattr(reason, "problems"):
            problems.append(str(reason))
    lines = [f"problem    {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"           and {len(problems) - _SHOWN} more problems")
    return lines


def _packed(reader: PackedReader, located: Located) -> list[str]:
    """Report on a dataset whose images lie packed in a few files."""
    arrays, _ = packed.content(reader, located.folder, located.hashes)
    lines = [
        f"{reader.name}: {reader.title} in {shown(located.folder)}",
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
    return lines


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
