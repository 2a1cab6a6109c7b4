"""CIFAR-10: both forms, folder or archive, and pickles that are not to be trusted."""

import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from tests.datasets.made import NUM_TEST, NUM_TRAIN, pixels, write_cifar
from thesislib.datasets import cifar10, cifar_pickle, registry
from thesislib.errors import InputError

FOLDERS = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}


def find(folder, **options):
    return registry.find("cifar10", "real", folder, **{"image_size": 32} | options)


@pytest.fixture
def archive(tmp_path):
    """Pack a folder of batches as the authors do; returns the archive."""

    def pack(form="python", extra=()):
        top = tmp_path / "unpacked" / FOLDERS[form]
        write_cifar(top, form)
        (tmp_path / "own").mkdir(exist_ok=True)
        path = tmp_path / "own" / f"cifar-10-{form}.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for member, data in extra:
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            tar.add(top, FOLDERS[form])
        return path

    return pack


@pytest.mark.parametrize("form", FOLDERS)
@pytest.mark.parametrize("named", [True, False])
def test_both_forms_give_the_same_images(form, named, tmp_path):
    write_cifar(tmp_path / "own" / (FOLDERS[form] if named else ""), form)

    data = registry.load(find(tmp_path / "own"))

    images, labels = pixels("train", 3072)
    assert data.counts == {"train": 10 * NUM_TRAIN, "test": 10 * NUM_TEST}
    np.testing.assert_array_equal(
        data.one_class("6").train.pixels.reshape(-1, 3072), images[labels == 6]
    )
    np.testing.assert_array_equal(
        data.test.pixels.reshape(-1, 3072), pixels("test", 3072)[0]
    )
    assert data.class_titles[6] == "frog"
    assert data.mark == "partial"


def test_all_forms_have_the_same_fingerprint(tmp_path, archive):
    found = {find(write_cifar(tmp_path / form, form)).fingerprint for form in FOLDERS}
    found |= {find(archive(form)).fingerprint for form in FOLDERS}

    assert len(found) == 1


@pytest.mark.parametrize("form", FOLDERS)
def test_an_archive_is_read_where_it_lies_and_nothing_is_written(form, archive):
    path = archive(form)
    for place in (path, path.parent):
        located = find(place)
        assert located.counts["train"] == 10 * NUM_TRAIN
        assert located.provenance["folder"] == path.name
    assert list(path.parent.iterdir()) == [path]


def test_members_with_tricks_are_passed_over(archive, tmp_path):
    link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    outside = tarfile.TarInfo("../../escaped")

    located = find(archive(extra=[(link, b""), (outside, b"data")]))

    assert located.counts["train"] == 10 * NUM_TRAIN
    assert not list(tmp_path.rglob("escaped"))


def test_a_member_that_is_far_too_large_is_not_read(archive, monkeypatch):
    path = archive()
    monkeypatch.setattr(cifar10, "_LARGEST", 1_000)

    with pytest.raises(InputError, match="a batch has at most 1000"):
        find(path)


def test_a_broken_archive_is_one_sentence(archive):
    path = archive()
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"no archive", b""):
        path.write_bytes(data)
        with pytest.raises(
            InputError, match=r"cifar-10-python\.tar\.gz cannot be read"
        ):
            find(path)


def test_an_archive_without_the_batches_is_named(tmp_path):
    (tmp_path / "own").mkdir()
    path = tmp_path / "own/cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("cifar-10-batches-py/readme.html"))

    with pytest.raises(InputError, match="does not hold data_batch_1 to data_batch_5"):
        find(path)


def test_a_missing_batch_is_named(tmp_path):
    folder = write_cifar(tmp_path / "own")
    (folder / "data_batch_3").unlink()
    (folder / "test_batch").unlink()

    with pytest.raises(InputError, match="lacks data_batch_3 and test_batch"):
        find(folder)


def test_other_archives_are_no_data_root(tmp_path):
    (tmp_path / "other.tar.gz").write_bytes(b"")

    with pytest.raises(InputError, match="which is no folder"):
        find(tmp_path / "other.tar.gz")


@pytest.mark.parametrize(
    ("rows", "message"),
    [(b"", "has 0 bytes"), (b"0" * 3072, "no multiple"), (b"\x0a" * 3073, "label 10")],
)
def test_a_broken_binary_batch_is_named(rows, message, tmp_path):
    folder = write_cifar(tmp_path / "own", "binary")
    (folder / "data_batch_2.bin").write_bytes(rows)

    with pytest.raises(InputError, match=rf"data_batch_2\.bin .*{message}"):
        find(folder)


class Evil:
    """A pickle of it runs a command when it is opened by the standard reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_in_it_is_refused_and_does_not_run(tmp_path):
    folder = write_cifar(tmp_path / "own")
    for protocol in range(6):
        batch = pickle.dumps({b"data": Evil(tmp_path / "ran")}, protocol)
        (folder / "data_batch_1").write_bytes(batch)

        with pytest.raises(InputError, match=r"data_batch_1 .*mkdir, which could run"):
            find(folder)

        assert not (tmp_path / "ran").exists()
    pickle.loads(batch)  # the standard reader does run it
    assert (tmp_path / "ran").exists()


def state(shape=b"K\x01M\x00\x0c\x86", code=b"U\x02u1", data=bytes(range(256)) * 12):
    """A batch of one image as Python 2 pickled it, opcode by opcode."""
    return (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03"
        b"cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01" + shape + b"cnumpy\n"
        b"dtype\nq\x06" + code + b"K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(data)) + data + b"tb"
        b"U\x06labelsq\x08](K\x07eu."
    )


def test_a_pickle_of_python_2_is_read():
    batch = cifar_pickle.load(io.BytesIO(state()))

    assert batch[b"labels"] == [7]
    assert batch[b"data"].shape == (1, 3072)
    assert batch[b"data"][0, :256].tolist() == list(range(256))


def test_arrays_that_numpy_pickles_now_are_read_in_either_order():
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for value in (array, np.asfortranarray(array)):
        blob = pickle.dumps({b"data": value}, protocol=2)
        np.testing.assert_array_equal(
            cifar_pickle.load(io.BytesIO(blob))[b"data"], array
        )


@pytest.mark.parametrize(
    "blob",
    [
        state(code=b"U\x02O8"),  # bytes that would be taken for objects
        state(shape=b"K\x02M\x00\x0c\x86"),  # longer than its bytes
        state(shape=b"J\xff\xff\xff\xffJ\x00\xf4\xff\xff\x86"),  # negative
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": np.zeros(3)}, protocol=2),  # float64
        b"",
        b"no pickle",
        state()[:-20],
        b"cbuiltins\neval\n.",
        b"\x80\x02cnumpy\ndtype\n}b.",  # sets attributes of a type
        b"\x80\x02U\x01aQ.",  # a persistent id
    ],
)
def test_forged_and_broken_pickles_are_refused(blob, tmp_path):
    with pytest.raises(cifar_pickle.RefusedError):
        cifar_pickle.load(io.BytesIO(blob))
    folder = write_cifar(tmp_path / "own")
    (folder / "test_batch").write_bytes(blob)
    with pytest.raises(InputError, match="test_batch is no batch"):
        find(folder)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({b"labels": [1]}, "lacks an array b'data'"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["a"]}, "lacks"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "2, 3072.* 1 label"),
        ({b"data": np.zeros((1, 3000), np.uint8), b"labels": [1]}, "1, 3000"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}, "from 10 to 10"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [-1]}, "from -1 to -1"),
    ],
)
def test_batches_of_another_shape_are_named(batch, message, tmp_path):
    folder = write_cifar(tmp_path / "own")
    (folder / "data_batch_5").write_bytes(pickle.dumps(batch, protocol=2))

    with pytest.raises(InputError, match=rf"data_batch_5 .*{message}"):
        find(folder)


def test_official_content_is_known_by_its_hashes(tmp_path, monkeypatch):
    folder = write_cifar(tmp_path / "own")
    assert not find(folder).official
    from hashlib import md5

    hashes = {
        path.name: md5(path.read_bytes()).hexdigest() for path in folder.iterdir()
    }
    monkeypatch.setattr(cifar10, "_MD5", hashes)
    monkeypatch.setenv("THESIS_CACHE", str(tmp_path / "another"))

    assert find(folder).official
