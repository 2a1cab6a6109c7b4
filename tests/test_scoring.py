"""`thesislib score` and `thesislib.load`: a sealed run's detector on files."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import thesislib
from thesislib import cli, runs, scoring
from thesislib.chapters.ch05_pmsacl import methods
from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.errors import InputError
from thesislib.study import detection
from thesislib.study.method import detect

pytestmark = pytest.mark.xdist_group("scoring")  # one process runs the chapter
TINY = {
    "data.num_train": 20,
    "data.num_test_normal": 12,
    "data.num_test_abnormal": 12,
    "study.baselines": ["random"],
    "study.igd": ["untrained"],
    "study.num_maps": 8,
    "igd.num_steps": 2,
    "local.num_steps": 2,
}
KEYS = ("random-padim", "random-igd")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A sealed run of two detectors that need no pre-training, and their answers."""
    folder = tmp_path_factory.mktemp("scoring")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RESULTS", "DATA", "CACHE"):
            patch.setenv(f"THESIS_{name}", str(folder / name.lower()))
        run = runs.start(Chapter05, {"source": "phantom", "overrides": TINY})
        chosen = [m for m in methods.methods(run) if m.key in KEYS]
        detection.rows(run, chosen)
        found = {m.key: detect(run, m) for m in chosen}
        run.finish()
        yield run, found


@pytest.fixture
def images(sealed, tmp_path):
    """The run's test images as PNG files, in its order, and two more below a folder."""
    run, _ = sealed
    for number, image in enumerate(run.data.test.pixels):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{number:03d}.png")
    return tmp_path


@pytest.mark.parametrize("key", KEYS)
def test_files_get_the_run_s_own_scores_to_the_last_bit(sealed, images, key):
    run, found = sealed
    loaded = thesislib.load(run.folder, key)

    assert np.array_equal(loaded.score(images), found[key].scores)
    maps = loaded.maps(images)
    own = found[key].maps[found[key].scale]
    assert np.array_equal(
        maps[found[key].shown].astype(np.float16), own.astype(np.float16)
    )
    assert tuple(loaded.map_ends) == found[key].ends[found[key].scale]
    assert loaded.threshold == pytest.approx(methods_threshold(run, found[key]), abs=0)


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        (0.125, "0.125"),
        (
            -np.inf,
            "-inf (on the run's own images nothing was better than calling every "
            "one abnormal)",
        ),
        (
            np.inf,
            "inf (on the run's own images nothing was better than calling every "
            "one normal)",
        ),
    ],
)
def test_a_threshold_is_said_as_what_it_is(threshold, words):
    assert scoring.threshold_words(threshold) == words


def methods_threshold(run, found):
    from thesislib.study.method import threshold

    return threshold(run, found.scores)


def test_arrays_paths_and_folders_are_the_same_images(sealed, images):
    run, _ = sealed
    loaded = thesislib.load(run.folder, "random-padim")
    files = sorted(images.glob("*.png"))
    pixels = np.array(run.data.test.pixels)

    whole = loaded.score(images)
    assert np.array_equal(loaded.score([str(path) for path in files]), whole)
    assert np.array_equal(loaded.score(pixels), whole)
    np.testing.assert_allclose(loaded.score(pixels / 255), whole, rtol=1e-5)
    assert len(loaded.score(files[0])) == 1


def test_the_training_data_need_not_be_there(sealed, images, monkeypatch, tmp_path):
    run, found = sealed
    for name in ("DATA", "CACHE"):
        monkeypatch.setenv(f"THESIS_{name}", str(tmp_path / "nowhere"))

    scores = thesislib.load(run.folder, "random-igd").score(images)

    assert np.array_equal(scores, found["random-igd"].scores)


def test_other_sizes_and_modes_are_decoded_as_the_run_does(sealed, tmp_path):
    run, _ = sealed
    loaded = thesislib.load(run.folder, "random-padim")
    random = np.random.default_rng(0)
    wide = random.integers(0, 256, (30, 90, 3), dtype=np.uint8)
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(wide[..., 0]).save(tmp_path / "b.png")
    Image.fromarray(wide).convert("RGBA").save(tmp_path / "c.png")

    scores = loaded.score(tmp_path)

    assert scores.shape == (3,) and np.isfinite(scores).all()
    assert scores[0] == scores[2]
    assert loaded.read(tmp_path / "b.png").shape == (3, 64, 64)


def test_the_command_writes_a_table_and_a_map_an_image(sealed, images, capsys):
    run, found = sealed
    to = images / "out"
    arguments = ["score", str(run.folder), str(images), "--method", "random-padim"]

    assert cli.main([*arguments, "--to", str(to)]) == 0

    with open(to / "scores.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    scores = [float(line["score"]) for line in lines]
    assert scores == found["random-padim"].scores.tolist()
    threshold = float(lines[0]["threshold"])
    above = [score >= threshold for score in scores]
    assert [line["above"] == "1" for line in lines] == above
    maps = sorted((to / "maps").glob("*.png"))
    assert len(maps) == len(lines)
    assert Image.open(maps[0]).size == (64, 64)
    said = capsys.readouterr().out
    assert f"{len(lines)} images by untrained encoder + PaDiM: {sum(above)}" in said
    assert "not for diagnosis" in said
    assert cli.main([*arguments, "--to", str(to)]) == 1  # nothing is overwritten
    assert "is there already" in capsys.readouterr().err


def test_equal_values_have_equal_colours_on_the_run_s_scale(sealed, tmp_path):
    flat = np.full((4, 4), 2.0)

    low, high = (
        np.asarray(scoring._picture(flat, ends)) for ends in ((2.0, 3.0), (0.0, 2.0))
    )

    assert len(np.unique(low.reshape(-1, 3), axis=0)) == 1
    assert low.sum() < high.sum()  # dark at the low end, bright at the high one


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (
            "pmsacl-padim",
            "does not keep pmsacl-padim; it keeps random-igd, random-padim",
        ),
        ("nonsense", "does not keep nonsense"),
    ],
)
def test_a_method_that_is_not_kept_is_named(sealed, method, says):
    with pytest.raises(InputError, match=says):
        thesislib.load(sealed[0].folder, method)


def test_what_is_no_run_or_was_altered_is_not_used(sealed, tmp_path):
    run, _ = sealed
    with pytest.raises(InputError, match="holds no run"):
        thesislib.load(tmp_path)
    copy = tmp_path / "copy"
    (copy / "models").mkdir(parents=True)
    record = (run.folder / "run.json").read_text(encoding="utf-8")
    (copy / "run.json").write_text(record, encoding="utf-8")
    source = run.folder / "models" / "random-padim.safetensors"
    content = bytearray(source.read_bytes())
    content[-1] ^= 1
    (copy / "models" / source.name).write_bytes(content)
    with pytest.raises(InputError, match="is not what was sealed"):
        thesislib.load(copy, "random-padim")
    unsealed = json.loads(record) | {"status": "running"}
    (copy / "run.json").write_text(json.dumps(unsealed), encoding="utf-8")
    with pytest.raises(InputError, match="is not a sealed run"):
        thesislib.load(copy, "random-padim")


def test_wrong_images_are_one_sentence(sealed, tmp_path):
    loaded = thesislib.load(sealed[0].folder, "random-padim")
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "empty").mkdir()

    for images, says in (
        (tmp_path / "broken.png", "broken.png cannot be read: not an image"),
        (tmp_path / "nowhere.png", "is neither a file nor a folder"),
        (tmp_path / "empty", "holds no image"),
        (np.zeros((2, 3, 32, 32)), r"shape \(2, 3, 32, 32\); this run takes"),
    ):
        with pytest.raises(InputError, match=says):
            loaded.score(images)
