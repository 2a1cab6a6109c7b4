"""One rule for every path that is given, and sentences that show where it led."""

import numpy as np
import pytest
from PIL import Image

from thesislib import cli, paths
from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.datasets import check
from thesislib.errors import InputError
from thesislib.runs import parameters


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The folder where one stands and that of the companion."""
    stand, home = tmp_path / "stand", tmp_path / "home"
    (home / "chapters").mkdir(parents=True)
    (home / "_toc.yml").touch()
    stand.mkdir()
    monkeypatch.setenv("THESIS_HOME", str(home))
    monkeypatch.setenv("THESIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(stand)
    return stand, home


def test_where_one_stands_comes_before_the_companion(places):
    stand, home = places
    assert paths.places("a") == [stand / "a", home / "a"]

    (home / "a").mkdir()
    assert paths.resolve("a") == home / "a"

    (stand / "a").mkdir()
    assert paths.resolve("a") == stand / "a"
    assert paths.resolve(str(home / "a")) == home / "a"


def test_what_is_written_lies_where_one_stands(places):
    stand, home = places
    (home / "a").mkdir()

    assert paths.written("a") == stand / "a"


def test_home_folders_are_those_of_the_shell(places, monkeypatch):
    monkeypatch.setenv("HOME", str(places[0]))

    assert paths.resolve("~/a") == places[0] / "a"
    with pytest.raises(InputError, match=r"'~no-one/a' begins with ~no-one, but there"):
        paths.resolve("~no-one/a")


def test_settings_of_the_environment_start_at_the_companion(places, monkeypatch):
    monkeypatch.setenv("THESIS_DATA", "sets")

    assert paths.data_dir() == places[1] / "sets"


@pytest.mark.parametrize("given", ["gone", "~no-one/gone", "/gone", "a\0b", "x" * 300])
def test_check_and_chapter_look_in_the_same_places_and_say_which(given, places):
    chapter = parameters.read(Chapter05, {"dataset": "folder", "data_root": given})

    with pytest.raises(InputError) as error:
        chapter.locate(chapter.resolved_configs())

    assert check.check("folder", given) == (f"folder: {error.value}\n", False)
    if given == "gone":
        for place in places:
            assert str(place / "gone") in str(error.value)


def test_a_file_or_a_link_to_nowhere_is_no_folder(places):
    (places[0] / "file.zip").touch()
    (places[0] / "link").symlink_to("nowhere")

    assert (
        "'file.zip', which is no folder but a file"
        in check.check("folder", "file.zip")[0]
    )
    assert (
        "'link', which is no folder but a broken link"
        in check.check("folder", "link")[0]
    )


def test_a_file_that_a_parameter_names_is_looked_for_alike(places):
    chapter = parameters.read(Chapter05, {"dataset": "folder", "file_list": "a.csv"})

    with pytest.raises(InputError, match=r"file_list is 'a\.csv', which is no file \("):
        chapter.file_hashes()
    (places[1] / "a.csv").write_text("file,split\n")
    assert chapter.file_hashes().keys() == {"file_list"}


@pytest.mark.parametrize(
    "command",
    [
        ["data", "check", "folder", "~no-one/a"],
        ["data", "check", "folder", "a", "--file-list", "~no-one/a"],
        ["data", "fetch", "mnist", "~no-one/a"],
        ["data", "features", "~no-one/a", "b"],
        ["runs", "verify", "~no-one/a"],
        ["runs", "record", "~no-one/a"],
        ["score", "~no-one/a", "b"],
    ],
)
def test_no_command_breaks_on_a_home_that_is_not_there(command, places, capsys):
    for part in ("normal", "abnormal"):
        for index in range(3):
            path = places[0] / "a" / part / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng((index, len(part))).integers(0, 256, (9, 9))
            Image.fromarray(noise.astype(np.uint8)).save(path)

    assert cli.main(command) == 1
    printed = capsys.readouterr()
    assert "begins with ~no-one, but there is no such home" in printed.out + printed.err
