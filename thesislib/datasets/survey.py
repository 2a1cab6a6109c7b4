"""What a dataset's files hold, before any is decoded for good.

Headers say how many frames a file has and how many bits a value. Of greys of more than
8 bits, values have to be read as well: how bright one of them is depends on all files
of the dataset (`greys.decide`), so it is decided once, before the first is decoded.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import PIL

from thesislib.datasets import decode
from thesislib.datasets.base import Item
from thesislib.datasets.cache import Entry, Writer, build_once
from thesislib.datasets.facts import Facts
from thesislib.datasets.filelist import shown
from thesislib.datasets.reading import num_threads
from thesislib.errors import InputError

_NAMED = 3  # files that a note names


class Survey(NamedTuple):
    """Facts of all images that can be opened."""

    facts: dict[Path, Facts]

    def pages(self, items: Iterable[Item]) -> list[str]:
        """A note on further pages of the files, if there are any."""
        several = {
            item.id: found.frames
            for item in items
            if (found := self.facts.get(item.path)) and found.frames > 1
        }
        if not several:
            return []
        some = [f"{shown(id)} ({n})" for id, n in list(several.items())[:_NAMED]]
        more = ", ..." if len(several) > _NAMED else ""
        return [
            f"{len(several)} file(s) have several pages or frames, of which the first "
            f"is read: {', '.join(some)}{more}"
        ]

    def whole(self, items: Iterable[Item]) -> frozenset[Path]:
        """JPEGs as large as a file of another format, so that they may be copies of it.

        A JPEG is decoded at a fraction of its size where that is enough, and then has
        other pixels than the same picture in a PNG.
        """
        found = {i.path: self.facts[i.path] for i in items if i.path in self.facts}
        others = {_sides(one) for one in found.values() if one.format != "JPEG"}
        return frozenset(
            path
            for path, one in found.items()
            if one.format == "JPEG" and _sides(one) in others
        )


def survey(items: Sequence[Item], hashes: Mapping[Path, str], cache: Path) -> Survey:
    """Look into every image, through the cache, in threads.

    Files that are no proper images are left out; decoding names them.

    Args:
        items: Images of all parts.
        hashes: Content hash of every file that can be read.
        cache: Folder of the cache.

    Raises:
        InputError: If the system does not let a file be read, or the cache cannot be
            written.
    """
    files = {_key(i.path, hashes): i for i in items if i.path in hashes}
    keys = sorted(files)
    text = json.dumps([decode.VERSION, PIL.__version__, keys])
    name = hashlib.sha256(text.encode()).hexdigest()[:24]

    def one(key: str) -> Facts | None:
        try:
            return decode.examine(files[key].path)
        except decode.BadImageError as error:
            if error.lasting:
                return None
            raise InputError(
                f"{shown(files[key].id)} cannot be read: {error}."
            ) from error

    def build(writer: Writer) -> None:
        with ThreadPoolExecutor(num_threads()) as pool:
            writer.note = {"facts": list(pool.map(one, keys))}

    _, note = build_once(Entry(cache / "survey", name), build)
    found = {
        key: Facts.from_list(facts)
        for key, facts in zip(keys, note["facts"], strict=True)
        if facts
    }
    by_path = {
        i.path: found.get(_key(i.path, hashes)) for i in items if i.path in hashes
    }
    return Survey({path: facts for path, facts in by_path.items() if facts})


def _sides(facts: Facts) -> tuple[int, ...]:
    """Short and long side, whichever way up."""
    return tuple(sorted(facts.size))


def _key(path: Path, hashes: Mapping[Path, str]) -> str:
    return hashes[path] + path.suffix.lower()  # DICOM files are told by both
