"""Content hashes and fingerprints: what changes them, and what must not."""

import hashlib
import os
import shutil
from dataclasses import replace

import pytest

from thesislib.datasets.base import Item
from thesislib.datasets.fingerprint import fingerprint, hash_files, leaks, repeats
from thesislib.datasets.reading import num_threads
from thesislib.errors import InputError

LONG_AGO = 1_000_000_000


def _write(path, text, time=LONG_AGO):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time, time))
    return path


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_hashes_are_sha256_of_the_content(tmp_path):
    files = [_write(tmp_path / f"{name}.png", name) for name in "abc"]

    hashes, unread = hash_files(files, tmp_path / "cache")

    assert hashes == {file: _digest(file.stem) for file in files}
    assert unread == {}


def test_a_settled_file_is_hashed_once(tmp_path):
    file = _write(tmp_path / "a.png", "one")
    hash_files([file], tmp_path / "cache")
    _write(file, "two")  # as long, and as old

    assert hash_files([file], tmp_path / "cache")[0][file] == _digest("one")


@pytest.mark.parametrize(("text", "time"), [("two", LONG_AGO + 1), ("three", LONG_AGO)])
def test_another_time_or_size_is_hashed_again(text, time, tmp_path):
    file = _write(tmp_path / "a.png", "one")
    hash_files([file], tmp_path / "cache")
    _write(file, text, time)

    assert hash_files([file], tmp_path / "cache")[0][file] == _digest(text)


def test_a_file_just_written_is_not_trusted_to_stay(tmp_path):
    file = tmp_path / "a.png"
    file.write_text("one")
    stat = file.stat()
    hash_files([file], tmp_path / "cache")
    file.write_text("two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # a coarse clock

    assert hash_files([file], tmp_path / "cache")[0][file] == _digest("two")


@pytest.mark.parametrize("damage", ["{", "[1]", '{"a": 1}', '{"a": ["x", "y", "z"]}'])
def test_a_damaged_book_of_hashes_is_forgotten(damage, tmp_path):
    file = _write(tmp_path / "a.png", "one")
    hash_files([file], tmp_path / "cache")
    (book,) = (tmp_path / "cache/hashes").iterdir()
    book.write_text(damage)

    assert hash_files([file], tmp_path / "cache")[0] == {file: _digest("one")}


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path):
    file = _write(tmp_path / "a.png", "one")

    assert hash_files([file], file)[0] == {file: _digest("one")}


def test_files_that_cannot_be_read_are_reported(tmp_path):
    file = _write(tmp_path / "a.png", "one")

    hashes, unread = hash_files([file, tmp_path / "gone.png", tmp_path], tmp_path)

    assert set(hashes) == {file}
    assert set(unread) == {tmp_path / "gone.png", tmp_path}


def _items(top, names="abcd"):
    splits = {"a": "train", "b": "train", "c": "test", "d": "test"}
    return [
        Item(
            id=f"{name}.png",
            path=_write(top / f"{name}.png", name),
            split=splits[name],
            label=int(name == "d"),
        )
        for name in names
    ]


def _fingerprint(items, rule="rule", adapter="folder"):
    files = [i.path for i in items] + [i.mask for i in items if i.mask]
    hashes, _ = hash_files(files, items[0].path.parent / "cache")
    return fingerprint(adapter, rule, items, hashes)


def test_the_fingerprint_depends_on_neither_place_nor_order(tmp_path):
    here = _fingerprint(_items(tmp_path / "here"))
    moved = shutil.copytree(tmp_path / "here", tmp_path / "there")

    assert _fingerprint(_items(moved, "dbca")) == here


def test_the_fingerprint_changes_with_everything_that_matters(tmp_path):
    items = _items(tmp_path / "here")
    mask = _write(tmp_path / "mask.png", "m")
    other = _write(tmp_path / "other.png", "x")
    variants = [
        items,
        items[:3],
        [replace(items[0], split="test"), *items[1:]],
        [replace(items[0], id="e.png"), *items[1:]],
        [replace(items[0], patient="p"), *items[1:]],
        [replace(items[0], path=other), *items[1:]],
        [*items[:3], replace(items[3], label=0)],
        [*items[:3], replace(items[3], kind="crack")],
        [*items[:3], replace(items[3], mask=mask)],
        [*items[:3], replace(items[3], mask=other)],
    ]

    found = {_fingerprint(variant) for variant in variants}
    found |= {_fingerprint(items, rule="other"), _fingerprint(items, adapter="lag")}

    assert len(found) == len(variants) + 2


def test_an_image_left_out_does_not_change_the_fingerprint(tmp_path):
    items = _items(tmp_path)
    left_out = replace(items[0], id="e.png", split="")

    assert _fingerprint([*items, left_out]) == _fingerprint(items)


def test_leaks_are_test_images_that_train_and_repeats_are_counted(tmp_path):
    items = _items(tmp_path)
    paths = [item.path for item in items]
    a, b, c, d = paths

    assert leaks(items, {a: "1", b: "1", c: "2", d: "2"}) == []
    assert leaks(items, {a: "1", b: "2", c: "3", d: "2"}) == [("b.png", "d.png")]
    assert repeats(items, {a: "1", b: "1", c: "2", d: "2"}) == {
        "train": 1,
        "test": 1,
        "both labels": 1,
    }
    assert set(repeats(items, dict(zip(paths, "1234", strict=True))).values()) == {0}


def test_two_empty_files_are_no_leak(tmp_path):
    items = _items(tmp_path)
    empty = hashlib.sha256().hexdigest()

    assert leaks(items, {item.path: empty for item in items}) == []


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5"])
def test_threads_are_a_whole_number_above_zero(given, monkeypatch):
    monkeypatch.setenv("THESIS_THREADS", given)

    with pytest.raises(InputError, match="THESIS_THREADS"):
        num_threads()
