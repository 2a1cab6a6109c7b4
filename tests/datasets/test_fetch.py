"""Fetching: from a server on this machine, and what is said when it fails."""

import threading
from functools import partial
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.datasets.made import write_idx
from thesislib import cli
from thesislib.datasets import fetch, idx, mnist, registry
from thesislib.errors import InputError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server with tiny files that stand for MNIST's; gives their folder."""
    folder = write_idx(tmp_path / "served", ending=".gz")
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hashes = {p.name: md5(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    mirrors = (
        "http://127.0.0.1:1/",  # no one there
        f"http://127.0.0.1:{server.server_port}/",
    )
    monkeypatch.setitem(
        fetch.DOWNLOADS, "mnist", fetch.Download(mirrors, hashes, "raw")
    )
    contents = tuple(
        idx.read(path, part.partition("-")[2]).md5
        for path, part in zip(idx.files(folder, ""), idx.PARTS, strict=True)
    )
    monkeypatch.setitem(mnist.MD5, "MNIST", contents)
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    yield folder
    server.shutdown()
    server.server_close()


def test_what_was_fetched_is_found_by_a_run(served, tmp_path, capsys):
    assert cli.main(["data", "fetch", "mnist"]) == 0

    folder = tmp_path / "data/MNIST/raw"
    assert str(folder) in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == set(fetch.DOWNLOADS["mnist"].md5)
    located = registry.find("mnist", image_size=28)
    assert (located.source, located.official) == ("real", True)


def test_files_that_are_there_are_not_fetched_again(served, tmp_path):
    first = fetch.fetch("mnist", tmp_path / "own")
    before = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    for path in served.iterdir():
        path.unlink()

    fetch.fetch("mnist", tmp_path / "own")

    assert {path: path.stat().st_mtime_ns for path in first.iterdir()} == before


def test_a_file_of_ones_own_is_never_overwritten(served, tmp_path):
    own = tmp_path / "own/train-labels-idx1-ubyte.gz"
    own.parent.mkdir()
    own.write_bytes(b"mine")

    with pytest.raises(InputError, match=r"train-labels.*there already, but is not"):
        fetch.fetch("mnist", own.parent)

    assert own.read_bytes() == b"mine"


def test_another_file_than_the_published_is_not_kept(served, tmp_path):
    (served / "t10k-images-idx3-ubyte.gz").write_bytes(b"forged")

    with pytest.raises(InputError, match=r"t10k-images.*not the published one"):
        fetch.fetch("mnist", tmp_path / "own")

    assert not list((tmp_path / "own").glob("*t10k-images*"))


def test_without_a_network_it_is_one_sentence(served, tmp_path, monkeypatch, capsys):
    download = fetch.DOWNLOADS["mnist"]._replace(mirrors=("http://127.0.0.1:1/",))
    monkeypatch.setitem(fetch.DOWNLOADS, "mnist", download)

    assert cli.main(["data", "fetch", "mnist", str(tmp_path / "own")]) == 1

    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "could not be fetched" in err and str(tmp_path / "own") in err


@pytest.mark.parametrize("name", ["mvtec", "hyperkvasir", "folder"])
def test_what_no_command_may_fetch_is_said(name):
    with pytest.raises(InputError, match="cannot be fetched by a command, only mnist"):
        fetch.fetch(name)


@pytest.mark.parametrize("name", fetch.DOWNLOADS)
def test_an_absent_dataset_names_the_command(name):
    with pytest.raises(InputError, match=rf"`thesislib data fetch {name}`"):
        registry.find(name, "real", image_size=28)
