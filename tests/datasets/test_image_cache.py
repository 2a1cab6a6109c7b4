"""Cache of decoded images: whole or not at all, whatever happens to it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thesislib.datasets.cache import Entry, build_once
from thesislib.errors import InputError

ROWS = np.arange(5 * 3 * 4 * 4, dtype=np.uint8).reshape(5, 3, 4, 4)


def _build(writer):
    for row in ROWS:
        writer.append("images", row)
        writer.append("masks", row[0] > 7)
    writer.note = {"kept": [0, 1, 2, 3, 4]}


@pytest.fixture
def entry(tmp_path):
    return Entry(tmp_path / "images", "key")


def _unused(writer):
    raise AssertionError("the entry was built again")


def test_what_was_written_is_read_back(entry):
    build_once(entry, _build)
    arrays, note = build_once(entry, _unused)

    np.testing.assert_array_equal(arrays["images"], ROWS)
    np.testing.assert_array_equal(arrays["masks"], ROWS[:, 0] > 7)
    assert note == {"kept": [0, 1, 2, 3, 4]}


def test_arrays_are_mapped_not_loaded(entry):
    arrays, _ = build_once(entry, _build)

    assert isinstance(arrays["images"], np.memmap)


@settings(deadline=None, max_examples=20)
@given(num_rows=st.sampled_from([1, 9, 10, 99, 100, 101, 1_000, 10_001]))
def test_any_number_of_rows_fits_into_the_header(num_rows, tmp_path_factory):
    entry = Entry(tmp_path_factory.mktemp("rows"), "key")

    def build(writer):
        for number in range(num_rows):
            writer.append("images", np.array([number], dtype=np.int32))

    arrays, _ = build_once(entry, build)

    np.testing.assert_array_equal(arrays["images"][:, 0], np.arange(num_rows))


def _truncate(path):
    os.truncate(path, path.stat().st_size - 1)


def _lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def _reshape(path):
    path.write_bytes(path.read_bytes().replace(b"(5, 3, 4, 4)", b"(5, 4, 3, 4)"))


def _scribble(path):
    path.write_text("{")


def _empty_object(path):
    path.write_text("{}")


def _list(path):
    path.write_text("[1]")


DAMAGES = [
    ("images.npy", _truncate),
    ("images.npy", _lengthen),
    ("images.npy", _flip),
    ("images.npy", _reshape),
    ("masks.npy", _flip),
    ("images.npy", os.unlink),
    ("json", _scribble),
    ("json", _empty_object),
    ("json", _list),
    ("json", os.unlink),
]


@pytest.mark.parametrize(("suffix", "damage"), DAMAGES)
def test_a_damaged_entry_is_noticed_and_built_again(suffix, damage, entry):
    build_once(entry, _build)
    damage(entry.folder / f"key.{suffix}")

    assert entry.read() is None
    arrays, _ = build_once(entry, _build)
    np.testing.assert_array_equal(arrays["images"], ROWS)


def test_an_error_while_building_leaves_nothing(entry):
    def build(writer):
        writer.append("images", ROWS[0])
        raise RuntimeError("decoding failed")

    with pytest.raises(RuntimeError, match="decoding failed"):
        build_once(entry, build)

    assert [path.name for path in entry.folder.iterdir()] == ["key.lock"]


KILLED = """
import sys, time
import numpy as np
from pathlib import Path
from thesislib.datasets.cache import Entry, build_once

def build(writer):
    for number in range(3):
        writer.append("images", np.zeros((3, 64, 64), dtype=np.uint8))
    print("half", flush=True)
    time.sleep(60)

build_once(Entry(Path(sys.argv[1]), "key"), build)
"""


def test_a_killed_builder_leaves_nothing_that_counts(entry):
    builder = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(entry.folder)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert builder.stdout.readline().strip() == b"half"
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    builder.stdout.close()
    assert list(entry.folder.glob("*.tmp"))

    assert entry.read() is None
    arrays, _ = build_once(entry, _build)

    np.testing.assert_array_equal(arrays["images"], ROWS)
    assert not list(entry.folder.glob("*.tmp"))


def test_of_several_builders_one_builds_and_the_others_wait(entry):
    builds, found = [], []

    def build(writer):
        builds.append(threading.get_ident())
        time.sleep(0.1)
        _build(writer)

    def work():
        found.append(build_once(entry, build)[0]["images"].copy())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(builds) == 1
    assert len(found) == 4
    assert all((images == ROWS).all() for images in found)


FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from thesislib.datasets.cache import Entry, build_once
from thesislib.errors import InputError

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

def build(writer):
    for number in range(100):
        writer.append("images", np.zeros((3, 64, 64), dtype=np.uint8))

try:
    build_once(Entry(Path(sys.argv[1]), "key"), build)
except InputError as error:
    print(error)
"""


def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(entry):
    pytest.importorskip("resource", reason="needs a limit of file sizes")

    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(entry.folder)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert "the disk is full" in ran.stdout
    assert "THESIS_CACHE" in ran.stdout
    assert ran.stdout.count("\n") == 1
    assert [path.name for path in entry.folder.iterdir()] == ["key.lock"]


def test_a_disk_too_small_is_noticed_before_anything_is_written(entry, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 5, 5))

    def build(writer):
        writer.reserve(6)
        raise AssertionError("the room was not checked")

    with pytest.raises(InputError, match="the disk is full"):
        build_once(entry, build)


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(InputError, match=r"cannot be kept in .*THESIS_CACHE"):
        build_once(Entry(tmp_path / "file" / "images", "key"), _build)
