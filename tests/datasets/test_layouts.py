"""Folders that are not quite as expected: read as what they plainly are, or named."""

import os

import pytest

from thesislib.datasets import check, registry
from thesislib.errors import InputError


def _find(folder, **options):
    return registry.find("folder", "real", folder, image_size=16, **options)


@pytest.fixture
def own(paint, tmp_path):
    """Write images into folders, as {"normal": 3}, and return their top."""

    def own(**folders):
        for name, number in folders.items():
            place = tmp_path / "own" / name.replace("__", "/")
            place.mkdir(parents=True)
            for index in range(number):
                paint(place / f"{index}.png")
        return tmp_path / "own"

    return own


@pytest.mark.parametrize(
    ("normal", "abnormal"),
    [
        ("Normal", "ABNORMAL"),
        ("good", "bad"),
        ("OK", "NG"),
        ("Healthy", "Sick"),
        ("ok", "Not-OK"),
        ("normals", "Anomalies"),
    ],
)
def test_two_folders_of_another_name_are_read_and_noted(normal, abnormal, own):
    located = _find(own(**{normal: 4, abnormal: 2}))

    assert tuple(located.counts.values()) == (3, 1, 2)
    notes = " ".join(located.provenance["notes"])
    assert (f"{normal}/ is taken for normal/" in notes) == (normal != "good")
    assert f"{abnormal}/ is taken for abnormal/" in notes


@pytest.mark.parametrize(
    ("train", "test", "good"),
    [
        ("Train", "TEST", "Good"),
        ("training", "testing", "NORMAL"),
        ("train", "test", "ok"),
    ],
)
def test_train_and_test_in_other_words_are_read_and_noted(train, test, good, own):
    folder = own(
        **{f"{train}__{good}": 3, f"{test}__{good}": 2, f"{test}__Pneumonia": 2}
    )

    located = _find(folder)

    assert tuple(located.counts.values()) == (3, 2, 2)
    assert {item.kind for item in located.items if item.label} == {"Pneumonia"}
    notes = " ".join(located.provenance["notes"])
    assert (f"{good}/ is taken for good/" in notes) == (good != "good")
    assert (f"{train}/ is taken for train/" in notes) == (train != "train")


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (
            {"normal": 3},
            r"holds normal images in normal, but no folder of abnormal ones",
        ),
        ({"OK": 3}, r"holds normal images in OK, but no folder of abnormal ones"),
        (
            {"normal": 3, "polyps": 2},
            r"in normal and polyps, which may be the abnormal ones: .* in abnormal/",
        ),
        ({"NG": 3}, r"holds abnormal images in NG, but no folder of normal ones"),
        ({"train__good": 3}, r"holds train, but no folder test"),
        ({"Test__good": 3}, r"holds Test, but no folder train"),
        ({".": 3}, r"holds 3 image\(s\), and no folder says which are normal"),
        ({"a": 1, "b": 1}, r"it holds the folder\(s\) a, b\."),
        ({"nothing__here": 0}, r"it holds the folder\(s\) nothing\."),
        (
            {"cats__normal": 2, "cats__abnormal": 2, "dogs__OK": 2, "dogs__NG": 2},
            r"2 folder\(s\) that are such datasets themselves \(cats, dogs\); give one "
            r"of them, as .*/own/cats",
        ),
        (
            {"own__train__good": 2, "own__test__good": 2, "own__test__crack": 1},
            r"1 folder\(s\) that are such datasets themselves \(own\)",
        ),
        (
            {"train__good": 1, "test__good": 1, "normal": 1, "abnormal": 1},
            r"holds the folders train, test, normal, abnormal, which are two layouts",
        ),
        (
            {"normal": 2, "ok": 2, "bad": 2},
            r"holds the folders normal and ok, each of which may be meant by normal",
        ),
        (
            {"train__good": 2, "train__OK": 2, "test__good": 2, "test__crack": 2},
            r"holds the folders OK and good, each of which may be meant",
        ),
        (
            {"train": 3, "test__good": 2, "test__crack": 2},
            r"train has no folder good, but holds 3 image\(s\); the normal training "
            r"images have to lie in train/good",
        ),
        ({"normal": 2, "abnormal": 0}, r"abnormal holds no images"),
        ({"normal__deeper": 2, "abnormal": 1}, r"normal holds a folder, deeper"),
    ],
)
def test_what_was_found_and_what_is_expected_is_one_sentence(folders, sentence, own):
    folder = own(**folders)

    with pytest.raises(InputError, match=sentence) as error:
        _find(folder)

    assert "\n" not in str(error.value)
    assert check.check("folder", folder) == (f"folder: {error.value}\n", False)


def test_a_broken_link_in_place_of_a_folder_is_named(own):
    folder = own(normal=3)
    (folder / "abnormal").symlink_to(folder / "gone", target_is_directory=True)

    with pytest.raises(
        InputError, match="holds normal images in normal, but no folder"
    ):
        _find(folder)
    (folder / "normal").rename(folder / "pictures")
    with pytest.raises(InputError, match=r"among them the broken link\(s\) abnormal"):
        _find(folder)


def test_a_link_that_leads_nowhere_is_named_and_can_be_skipped(own):
    folder = own(normal=4, abnormal=2)
    (folder / "normal/gone.png").symlink_to(folder / "not-there.png")
    (folder / "elsewhere").symlink_to(folder / "not-there", target_is_directory=True)

    with pytest.raises(InputError, match=r"1 file.*normal/gone\.png \(a broken link\)"):
        _find(folder)
    located = _find(folder, on_bad_image="skip")

    assert located.provenance["skipped"] == ["normal/gone.png (a broken link)"]
    assert sum(located.counts.values()) == 6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_not_waited_for(own):
    folder = own(normal=4, abnormal=2)
    os.mkfifo(folder / "normal/pipe.png")
    os.mkfifo(folder / "normal/pipe")

    with pytest.raises(InputError, match=r"2 file.*normal/pipe \(no regular file\)"):
        _find(folder)


def test_a_file_that_vanishes_while_it_is_read_is_one_sentence(own, monkeypatch):
    folder = own(normal=4, abnormal=2)
    from thesislib.datasets import registry as module

    hash_files = module.hash_files

    def and_gone(*arguments):
        found = hash_files(*arguments)
        (folder / "abnormal/0.png").unlink()
        return found

    monkeypatch.setattr(module, "hash_files", and_gone)

    with pytest.raises(
        InputError, match=r"abnormal/0\.png cannot be read: No such file"
    ):
        _find(folder)


class TestSilentLoss:
    def test_loose_images_and_other_folders_are_counted_and_named(self, paint, own):
        folder = own(train__good=3, train__bad=2, test__good=2, test__crack=2, raw__x=4)
        for place in ("loose.png", "train/a.png", "train/b.jpg", "test/c.png"):
            paint(folder / place)
        (folder / "test/readme.txt").write_text("no image")

        notes = " ".join(_find(folder).provenance["notes"])
        report, _ = check.check("folder", folder)

        assert "note       1 image(s) lie loose in own/" in report
        assert "1 image(s) lie loose in own/ and are not read: loose.png" in notes
        assert "2 image(s) lie loose in train/ and are not read: a.png, b.jpg" in notes
        assert "1 image(s) lie loose in test/ and are not read: c.png" in notes
        assert "1 other folder(s) in own/ are not read: raw (4 images)" in notes
        assert "folders of train/ other than good are ignored: bad (2 images)" in notes

    def test_masks_of_no_image_are_counted(self, paint, paint_mask, own):
        folder = own(train__good=3, test__good=2, test__crack=1)
        for name in ("crack/0_mask", "crack/7_mask", "good/0_mask", "stain/0"):
            paint_mask(folder / f"ground_truth/{name}.png")

        (note,) = _find(folder).provenance["notes"]

        assert note.startswith(
            "3 mask(s) belong to no abnormal image: ground_truth/crack"
        )

    @pytest.mark.parametrize(
        ("images", "masks", "whose"),
        [
            (["0.jpg"], [], r"0\.jpg and 0\.png in .*crack have the mask 0_mask\.png"),
            (
                [],
                ["0.png"],
                r"0_mask\.png and 0\.png .* are masks of the one image 0\.png",
            ),
            (
                [],
                ["0_mask.tif"],
                r"0_mask\.png and 0_mask\.tif .* of the one image 0\.png",
            ),
        ],
    )
    def test_a_mask_that_may_be_of_two_images_is_an_error(
        self, images, masks, whose, paint, paint_mask, own
    ):
        folder = own(train__good=3, test__good=2, test__crack=1)
        paint_mask(folder / "ground_truth/crack/0_mask.png")
        for name in images:
            paint(folder / "test/crack" / name)
        for name in masks:
            paint_mask(folder / "ground_truth/crack" / name)

        with pytest.raises(InputError, match=whose):
            _find(folder)

    def test_an_image_may_end_in_mask_itself(self, paint, paint_mask, own):
        folder = own(train__good=3, test__good=2)
        for name in ("a", "a_mask"):
            paint(folder / f"test/crack/{name}.png")
            paint_mask(folder / f"ground_truth/crack/{name}_mask.png")

        masks = {i.path.stem: i.mask.stem for i in _find(folder).items if i.mask}

        assert masks == {"a": "a_mask", "a_mask": "a_mask_mask"}

    def test_one_stem_twice_without_masks_is_two_images(self, paint, own):
        folder = own(train__good=3, test__good=2, test__crack=1)
        paint(folder / "test/crack/0.jpg")

        assert _find(folder).counts["test abnormal"] == 2


class TestNames:
    def test_a_name_that_cannot_be_stored_is_one_sentence(self, paint, own, tmp_path):
        folder = own(normal=4, abnormal=2)
        name = bytes(folder / "normal") + b"/caf\xe9.png"
        try:
            with open(name, "wb") as file:
                file.write(paint(tmp_path / "a.png").read_bytes())
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")

        with pytest.raises(InputError, match=r"normal/caf\\xe9\.png .* is not UTF-8"):
            _find(folder)
        report, _ = check.check("folder", folder)
        assert report.encode().count(b"\n") == 1

    def test_accents_taken_apart_are_the_same_accents(self, paint, paint_mask, own):
        folder = own(train__good=3, test__good=2)
        paint(folder / "test/fissur\u00e9/t\u00eate.png")
        paint_mask(folder / "ground_truth/fissure\u0301/te\u0302te_mask.png")

        (lesion,) = [item for item in _find(folder).items if item.label]

        assert lesion.mask is not None

    def test_a_file_list_may_take_accents_apart(self, paint, own, tmp_path):
        folder = own(normal=3, abnormal=1)
        paint(folder / "normal/\u00e9.png")
        lines = ["file,split", "0.png,train"]
        rows = ["normal/0.png,train", "normal/e\u0301.png,test", "abnormal/0.png,test"]
        (tmp_path / "l.csv").write_text("\n".join([lines[0], *rows]), encoding="utf-8")

        located = _find(folder, file_list=tmp_path / "l.csv")

        assert tuple(located.counts.values()) == (1, 1, 1)

    @pytest.mark.parametrize("name", ["normal", "Good", "OK"])
    def test_abnormal_images_keep_a_kind_of_their_own(self, name, own):
        folder = own(**{"normal": 4, f"abnormal__{name}": 1, "abnormal__crack": 1})

        located = _find(folder)

        kinds = {item.kind for item in located.items if item.label}
        assert kinds == {f"abnormal/{name}", "crack"}
        assert (
            f"abnormal/{name} are taken for abnormal" in located.provenance["notes"][0]
        )

    def test_signs_and_underscores_are_names_like_others(self, own):
        kinds = {"cost_$100_$200", "_misc", "a b", "\u70bc"}
        folder = own(
            **{"train__good": 2, "test__good": 1},
            **{f"test/{kind}": 1 for kind in kinds},
        )

        assert {i.kind for i in _find(folder).items if i.label} == kinds
