"""Content hashes of files, and from them the fingerprint of a dataset."""

import hashlib
import json
import os
import stat
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from thesislib.datasets.base import Item
from thesislib.datasets.filelist import shown
from thesislib.datasets.reading import Progress, num_threads
from thesislib.errors import InputError

_SETTLED = 2.0  # seconds; a file younger than this may still change unnoticed


def hash_files(
    paths: Sequence[Path], cache: Path, progress: Progress | None = None
) -> tuple[dict[Path, str], dict[Path, str]]:
    """sha256 of each file, hexadecimal, read in threads.

    Args:
        paths: Files, absolute.
        cache: Folder where hashes are kept between runs. A kept hash counts while
            size and modification time (ns) of its file are unchanged.
        progress: Called with (files done, files to read).

    Returns:
        Hash by file, and the reason by file for those that cannot be read.
    """
    stats, problems = {}, {}
    for path in paths:
        try:
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                stats[path] = found
            else:  # a pipe would be waited for
                problems[path] = "no regular file"
        except OSError as error:
            broken = path.is_symlink() and not path.exists()
            problems[path] = "a broken link" if broken else error.strerror
    book = cache / "hashes" / f"{_book_name(paths)}.json"
    known = _read_book(book)
    hashes, unread = {}, []
    for path, about in stats.items():
        size, mtime, digest = known.get(str(path), (None, None, None))
        if (size, mtime) == (about.st_size, about.st_mtime_ns):
            hashes[path] = digest
        else:
            unread.append(path)

    def digest(path: Path) -> str | OSError:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return error

    with ThreadPoolExecutor(num_threads()) as pool:
        results = zip(unread, pool.map(digest, unread), strict=True)
        for done, (path, result) in enumerate(results, start=1):
            if isinstance(result, OSError):
                problems[path] = result.strerror
            else:
                hashes[path] = result
            if progress:
                progress(done, len(unread))
    if unread:
        _write_book(book, hashes, stats)
    return hashes, problems


def fingerprint(
    adapter: str, rule: str, items: Iterable[Item], hashes: dict[Path, str]
) -> str:
    """sha256 over adapter, split rule and the sorted file list with sizes and hashes.

    It depends on neither the place of the folder nor the order of listing.

    Raises:
        InputError: If a file is gone since it was hashed.
    """
    lines = sorted(
        [
            item.id,
            item.split,
            item.label,
            item.kind,
            item.patient or "",
            _size(item),
            hashes[item.path],
            hashes[item.mask] if item.mask else "",
        ]
        for item in items
        if item.split
    )
    text = json.dumps([adapter, rule, lines], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _size(item: Item) -> int:
    try:
        return item.path.stat().st_size
    except OSError as error:
        raise InputError(
            f"{shown(item.id)} cannot be read: {error.strerror}."
        ) from error


def leaks(items: Iterable[Item], hashes: dict[Path, str]) -> list[tuple[str, str]]:
    """Pairs (training file, test file) with the same content; empty files aside.

    Args:
        items: Images of both parts.
        hashes: Of their bytes, or of their pixels.
    """
    train = {hashes[item.path]: item.id for item in items if item.split == "train"}
    train.pop(hashlib.sha256().hexdigest(), None)
    return [
        (train[hashes[item.path]], item.id)
        for item in items
        if item.split == "test" and hashes[item.path] in train
    ]


def repeats(items: Iterable[Item], hashes: dict[Path, str]) -> dict[str, int]:
    """How many images of each split repeat an earlier one, by bytes or by pixels.

    "both labels" counts contents that the test split holds as normal and as
    abnormal.
    """
    times = defaultdict(Counter)
    labels = defaultdict(set)
    for item in items:
        times[item.split][hashes[item.path]] += 1
        if item.split == "test":
            labels[hashes[item.path]].add(item.label)
    return {
        "train": sum(times["train"].values()) - len(times["train"]),
        "test": sum(times["test"].values()) - len(times["test"]),
        "both labels": sum(len(found) == 2 for found in labels.values()),
    }


def _book_name(paths: Sequence[Path]) -> str:
    """One book of hashes a dataset folder, so that books stay small."""
    top = os.path.commonpath(paths) if paths else ""
    return hashlib.sha256(top.encode()).hexdigest()[:16]


def _read_book(book: Path) -> dict[str, tuple[int, int, str]]:
    try:
        entries = json.loads(book.read_text(encoding="utf-8"))
        return {
            str(path): (int(size), int(mtime), str(digest))
            for path, (size, mtime, digest) in entries.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # absent or damaged: the files are hashed again


def _write_book(book: Path, hashes: dict[Path, str], stats: dict) -> None:
    now = time.time()
    entries = {
        str(path): (stats[path].st_size, stats[path].st_mtime_ns, digest)
        for path, digest in hashes.items()
        if now - stats[path].st_mtime > _SETTLED
    }
    temporary = book.with_name(f"{book.name}.{os.getpid()}.tmp")
    try:
        book.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(entries), encoding="utf-8")
        os.replace(temporary, book)
    except OSError:  # without the book, hashing is only slower
        with suppress(OSError):
            temporary.unlink()
