"""What `thesislib data check` says of videos: counts, shapes, lengths, labels."""

from pathlib import Path

from thesislib.datasets.videos import arrays, find, truth
from thesislib.datasets.videos.base import (
    Video,
    VideoListing,
    VideoOptions,
    VideoReader,
    count,
)
from thesislib.errors import InputError

_SHOWN = 20  # problems that a report names


def check(reader: VideoReader, folder: Path, options: VideoOptions) -> tuple[str, bool]:
    """Read every array of a dataset of videos, and say what is there.

    Features are read one video at a time; frames are counted, not decoded. Lists
    without features are reported too.

    Returns:
        Report, several lines; whether a run would accept the data.

    Raises:
        InputError: If the lists cannot be read or contradict each other.
    """
    find.check_options(options)
    listing = reader.listing(folder, options)
    find.check_names(listing.videos)
    found, listed = count(listing.videos), count(listing.videos, listed=True)
    lines = [
        f"{reader.name}: {reader.title} in {folder}",
        f"split      {listing.rule}",
        f"found      {_counts(found)}",
    ]
    if found != listed:
        lines.append(f"listed     {_counts(listed)}")
    if reader.published:
        same = "the same" if found == reader.published else "data are partial"
        lines.append(f"published  {_counts(reader.published)} ({same})")
    lengths, facts, problems = _features(listing, options)
    steps = reader.steps(folder, options)
    facts += _labels(reader.title, listing, lengths, steps, problems)
    problems += [f"no {part} videos" for part, number in found.items() if not number]
    lines += facts
    lines += [f"note       {note}" for note in listing.notes]
    lines += [f"problem    {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"           and {len(problems) - _SHOWN} more problems")
    lines.append("not usable as it is" if problems else "ok")
    return "\n".join(lines) + "\n", not problems


def _features(
    listing: VideoListing, options: VideoOptions
) -> tuple[dict[str, int], list[str], list[str]]:
    """Snippets of each video, facts on shapes, and problems."""
    lengths, shapes, problems = {}, {}, []
    frames = [v for v in listing.videos if v.form == "frames" and len(v.files) > 1]
    for video in listing.videos:
        if video.form == "frames" or not video.files:
            continue
        try:
            found = arrays.read(video.files, video.id, options.allow_pickle)
            arrays.checked_half(found, video.id)
        except InputError as error:
            problems.append(str(error))
            continue
        lengths[video.id] = len(found)
        shapes.setdefault(found.shape[1:], video.id)
    facts = []
    if lengths:
        sizes = " and ".join(f"{c} crops of {d:,} features" for c, d in shapes)
        several = list(lengths.values())
        facts.append(
            f"features   {sizes}; {sum(several):,} snippets, {min(several):,} to "
            f"{max(several):,} a video"
        )
    if frames:
        numbers = [len(video.files) for video in frames]
        facts.append(
            f"frames     {sum(numbers):,} in {len(numbers)} folders, "
            f"{min(numbers):,} to {max(numbers):,} each"
        )
    if len(shapes) > 1:
        first, other = list(shapes.items())[:2]
        problems.append(
            f"Video {other[1]} has {other[0][1]:,} features in {other[0][0]} crops, "
            f"but {first[1]} has {first[0][1]:,} in {first[0][0]}; all videos must be "
            "alike."
        )
    return lengths, facts, problems


def _labels(
    title: str,
    listing: VideoListing,
    lengths: dict[str, int],
    steps: tuple[int, int],
    problems: list[str],
) -> list[str]:
    """Facts on the labels of frames; what is wrong is added to `problems`."""
    snippet, stride = steps
    tested = [v for v in listing.videos if v.split == "test" or listing.draws]
    parts = []
    try:
        if listing.vector:
            vector = arrays.read_vector(listing.vector, title)
            if all(video.id in lengths for video in tested):
                numbers = [lengths[video.id] for video in tested]
                parts = truth.of_vector(vector, tested, numbers, snippet)
            else:
                problems.append(
                    f"{listing.vector.name} holds the labels of all test videos end to "
                    "end, and not all of them are there"
                )
    except InputError as error:
        problems.append(str(error))
    for video in () if listing.vector else tested:
        try:
            if (number := _num_snippets(video, lengths, stride)) is not None:
                parts.append(truth.of_video(video, number, snippet, stride))
        except InputError as error:
            problems.append(str(error))
    events = sum(len(video.events) for video in tested)
    facts = [f"events     {events:,} listed"] if events else []
    if parts:
        total, abnormal = sum(map(len, parts)), sum(int(part.sum()) for part in parts)
        facts.append(
            f"labels     {total:,} frames of {len(parts)} videos, {abnormal:,} abnormal"
        )
    return facts


def _num_snippets(video: Video, lengths: dict[str, int], stride: int) -> int | None:
    """Snippets of a video, also of frames that are not described yet."""
    if video.form == "frames":
        return video.num_frames and -(-video.num_frames // stride)
    return lengths.get(video.id)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {part}" for part, number in counts.items())
