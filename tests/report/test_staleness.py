"""What a run depends on, and when its stamp stops being true."""

import json
import os
import re

import nbformat
import pytest

from thesislib import paths, sources
from thesislib.errors import InputError
from thesislib.report import staleness
from thesislib.runs import record

PARAMETERS = {
    "dataset": "lag",
    "source": "real",
    "preset": "quick",
    "reading": "staged",
    "seed": 3,
    "data_root": "",
    "shots": 1,
}
IMAGE = "data/LAG/non_glaucoma/image/1.jpg"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one chapter, and data that it may read."""
    for variable in ("THESIS_RESULTS", "THESIS_DATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("THESIS_HOME", str(tmp_path))
    (tmp_path / "_toc.yml").touch()
    for part in ("non_glaucoma", "suspicious_glaucoma"):
        (tmp_path / "data" / "LAG" / part / "image").mkdir(parents=True)
    (tmp_path / IMAGE).write_bytes(b"one")
    write_chapter(tmp_path, "\n".join(f"{k} = {v!r}" for k, v in PARAMETERS.items()))
    return tmp_path


def write_chapter(root, parameters, prose="# Title"):
    cell = nbformat.v4.new_code_cell(parameters, id="parameters")
    cell.metadata["tags"] = ["parameters"]
    cells = [nbformat.v4.new_markdown_cell(prose, id="title"), cell]
    (root / "chapters").mkdir(exist_ok=True)
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells), root / "chapters" / "03_x.ipynb"
    )


def stamp(modules, changed="no module changed"):
    """A stamp of a sealed run with an executed notebook."""
    run = staleness.name("03_x", PARAMETERS)
    folder = paths.results_dir() / "03_x" / "lag-1"
    sealed = {"status": "sealed"}
    sealed["seal"] = record.seal_of(sealed)
    text = json.dumps({"folder": "03_x/lag-1", "modules": modules, "changed": changed})
    for path, content in (
        (folder / "run.json", json.dumps(sealed)),
        (staleness.stamp_path(run), text),
        (staleness.notebook_path(run), "{}"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return run


def test_a_name_tells_runs_apart(repository):
    assert staleness.name("03_x", PARAMETERS) == "03_x--lag-real-quick-staged-s3"
    five, six = (staleness.name("03_x", PARAMETERS | {"shots": n}) for n in (5, 6))
    assert five.startswith("03_x--lag-real-quick-staged-s3-")
    assert five != six
    elsewhere = PARAMETERS | {"device": "cuda"}
    assert staleness.name("03_x", elsewhere) == staleness.name("03_x", PARAMETERS)


def test_folders_of_data_tell_runs_apart_however_they_are_written(repository):
    def named(folder):
        return staleness.name("03_x", PARAMETERS | {"data_root": str(folder)})

    start = "03_x--lag-real-quick-staged-s3-"
    assert named("mine/Cracks & co").startswith(f"{start}cracks-co-")
    assert len({named("a/scans"), named("b/scans"), named("")}) == 3
    assert named("a/scans") == named(repository / "a" / "scans") == named("a//scans/")
    assert re.fullmatch(f"{start}[0-9a-f]{{8}}", named("裂缝"))
    assert re.fullmatch(r"[\w.-]+", named("a" * 200 + "/$(x) y"))


def test_every_pair_of_values_has_a_name_of_its_own(repository):
    names = {staleness.name("03_x", PARAMETERS | {"shots": n}) for n in range(2, 1_002)}
    assert len(names) == 1_000


def test_defaults_are_the_literals_of_the_parameters_cell(repository):
    assert staleness.defaults("03_x") == PARAMETERS


@pytest.mark.parametrize("source", ["seed = 1 + 1j * x", "seed = ", "print(1)"])
def test_a_chapter_without_literal_parameters_is_refused(repository, source):
    write_chapter(repository, source)
    with pytest.raises(InputError, match=r"chapters/03_x\.ipynb is no chapter"):
        staleness.defaults("03_x")


def test_the_signature_changes_with_parameters_notebook_and_data(repository):
    before = staleness.signature("03_x", PARAMETERS)
    assert staleness.signature("03_x", PARAMETERS) == before

    def differs():
        after = staleness.signature("03_x", PARAMETERS)
        return {key for key in before if after[key] != before[key]}

    other = staleness.signature("03_x", PARAMETERS | {"shots": 2})
    assert {key for key in before if other[key] != before[key]} == {"parameters"}
    (repository / IMAGE).write_bytes(b"three")
    assert differs() == {"data"}
    source = "\n".join(f"{k} = {v!r}" for k, v in PARAMETERS.items())
    write_chapter(repository, source, "# Another title")
    assert differs() == {"data", "notebook"}


OWN = PARAMETERS | {"dataset": "folder", "data_root": "own"}


@pytest.fixture
def own(repository):
    """A folder of images of one's own."""
    for part in ("normal", "abnormal"):
        (repository / "own" / part).mkdir(parents=True)
    (repository / "own" / "normal" / "1.png").write_bytes(b"one")
    return repository / "own"


def test_times_and_names_of_data_count_but_not_their_place(repository, own):
    def listing(folder):
        return staleness.data_listing(OWN | {"data_root": folder})

    before = listing("own")
    own.rename(repository / "moved")
    assert listing("moved") == before
    image = repository / "moved" / "normal" / "1.png"
    os.utime(image, (0, 0))
    touched = listing("moved")
    image.rename(image.with_name("2.png"))
    assert len({before, touched, listing("moved"), listing("absent")}) == 4


def test_sizes_of_data_count(repository, own):
    image = own / "normal" / "1.png"
    os.utime(image, (0, 0))
    before = staleness.data_listing(OWN)
    image.write_bytes(b"three")
    os.utime(image, (0, 0))
    assert staleness.data_listing(OWN) != before


def test_what_lies_beside_a_dataset_does_not_matter(repository):
    before = staleness.data_listing(PARAMETERS)
    (repository / "data" / "notes.txt").write_text("mine")
    (repository / "data" / "gone").symlink_to(repository / "nowhere")
    (repository / "data" / "round").symlink_to(repository / "data")
    assert staleness.data_listing(PARAMETERS) == before


def test_a_broken_link_inside_counts_by_its_name(repository, own):
    before = staleness.data_listing(OWN)
    link = own / "normal" / "2.png"
    link.symlink_to(repository / "nowhere.png")
    broken = staleness.data_listing(OWN)
    (repository / "nowhere.png").write_bytes(b"here")
    assert len({before, broken, staleness.data_listing(OWN)}) == 3


def test_linked_folders_count_once_with_what_they_hold(repository, own):
    outside = repository / "outside"
    outside.mkdir()
    (own / "abnormal" / "cracks").symlink_to(outside)
    (own / "abnormal" / "round").symlink_to(own)
    before = staleness.data_listing(OWN)
    (outside / "1.png").write_bytes(b"one")
    assert staleness.data_listing(OWN) != before


def test_a_file_that_cannot_be_read_is_no_module(monkeypatch, tmp_path):
    (tmp_path / "thesislib").mkdir()
    (tmp_path / "thesislib" / "a.py").write_text("")
    (tmp_path / "thesislib" / ".#a.py").symlink_to("somebody@somewhere")
    monkeypatch.setattr(sources, "PACKAGE", tmp_path / "thesislib")
    assert list(staleness.module_hashes()) == ["thesislib.a"]


def test_a_list_of_patients_counts_with_what_it_holds(repository):
    path = repository / "patients.csv"
    given = PARAMETERS | {"patients": "patients.csv"}
    found = []
    for content in ("file,patient\n1.jpg,a\n", "file,patient\n1.jpg,b\n"):
        path.write_text(content, encoding="utf-8")
        os.utime(path, (0, 0))
        found.append(staleness.data_listing(given))

    assert len({*found, staleness.data_listing(PARAMETERS)}) == 3


def test_phantoms_read_no_data(repository):
    (repository / "data").rename(repository / "moved")
    assert staleness.data_listing(PARAMETERS | {"source": "phantom"}) == "phantom"


def test_only_modules_of_the_record_count_and_their_words_stay_after_the_run(
    repository,
):
    paths_hash = sources.sha256_file(sources.path_of("thesislib.paths"))
    stamp({"thesislib.paths": paths_hash})
    assert staleness.signature("03_x", PARAMETERS)["changed"] == "no module changed"

    stamp({"thesislib.paths": "before", "thesislib.gone": "before"})
    words = staleness.signature("03_x", PARAMETERS)["changed"]
    assert words == f"thesislib.paths {paths_hash}, thesislib.gone gone"

    stamp({"thesislib.paths": paths_hash}, changed=words)  # the run for their sake
    assert staleness.signature("03_x", PARAMETERS)["changed"] == words


def test_packages_and_modules_are_named_as_python_names_them():
    hashes = staleness.module_hashes()
    assert {"thesislib", "thesislib.report", "thesislib.report.staleness"} <= set(
        hashes
    )
    for name in ("thesislib", "thesislib.report.staleness"):
        assert hashes[name] == sources.sha256_file(sources.path_of(name))


def test_a_true_stamp_stays(repository):
    run = stamp({})
    assert staleness.discard_untrue(run, remembered=True) is None
    assert staleness.stamp_path(run).is_file()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("results/03_x/lag-1/run.json", "its sealed record is gone"),
        ("book/runs/03_x--lag-real-quick-staged-s3.ipynb", "its notebook is gone"),
    ],
)
def test_a_stamp_of_something_that_is_gone_goes(repository, spoil, reason):
    run = stamp({})
    (repository / spoil).unlink()
    assert staleness.discard_untrue(run, remembered=True) == reason
    assert not staleness.stamp_path(run).exists()
    assert staleness.discard_untrue(run, remembered=True) is None


def test_a_stamp_of_a_record_with_a_broken_seal_goes(repository):
    run = stamp({})
    sealed = repository / "results" / "03_x" / "lag-1" / "run.json"
    sealed.write_text(sealed.read_text().replace("{", '{"rows": [], ', 1))
    reason = staleness.discard_untrue(run, remembered=True)
    assert reason == "its sealed record is gone"


def test_without_snakemakes_memory_no_stamp_is_believed(repository):
    run = stamp({})
    assert "memory" in staleness.discard_untrue(run, remembered=False)
