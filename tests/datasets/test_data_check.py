"""`data list` and `data check`: what a reader is told before a run."""

import pytest

from thesislib.datasets import check, registry


def test_the_list_names_every_dataset_its_counts_and_its_place(layouts, tmp_path):
    layouts["lag"](tmp_path / "data/LAG")

    text = check.list_datasets()

    for name in registry.NAMES:
        assert f"{name}: {registry.adapter(name).title}" in text
    assert "2,343 train normal, 800 test normal, 1,711 test abnormal" in text
    assert f"here       {tmp_path / 'data/LAG'}" in text
    assert f"put it in  {tmp_path / 'data/chest_xray'}" in text


def test_the_list_says_what_an_incomplete_folder_lacks(tmp_path):
    (tmp_path / "data/chest_xray").mkdir(parents=True)

    assert "is there but does not hold train/NORMAL" in check.list_datasets()


@pytest.mark.parametrize("name", registry.NAMES)
def test_a_good_folder_is_ok(name, layouts, tmp_path):
    report, ok = check.check(name, layouts[name](tmp_path / "own"))

    assert ok
    assert report.endswith("\nok\n")
    assert "problem" not in report


def test_the_report_holds_the_facts(layouts, paint, tmp_path):
    folder = layouts["folder"](tmp_path / "own")
    paint(folder / "train/good/big.png", (50, 40), mode="L")
    (folder / "train/good/copy.png").write_bytes(
        (folder / "train/good/big.png").read_bytes()
    )

    report, ok = check.check("folder", folder)

    assert ok
    assert "found      5 train normal, 1 test normal, 2 test abnormal" in report
    assert "modes      6 RGB, 2 L" in report
    assert "sizes      24 to 50 px wide, 20 to 40 px high, 2 different" in report
    assert "masks      2, covering " in report
    assert "copies     1 in training, 0 in test" in report
    assert "patients   no ids: see --patients" in report


def test_images_of_one_size_are_said_to_be_so(layouts, tmp_path):
    report, _ = check.check("folder", layouts["folder"](tmp_path / "own"))

    assert "sizes      all 24 x 20 px" in report


def test_what_is_asked_of_the_data_stands_in_the_report(layouts, tmp_path):
    folder = layouts["folder"](tmp_path / "own")

    report, _ = check.check(
        "folder", folder, ask=lambda data: [f"{len(data.train)} images are few"]
    )

    assert "chapters   3 images are few" in report


def test_a_problem_stands_in_a_line_and_the_chapter_s_sentence_is_the_last(
    layouts, tmp_path
):
    folder = layouts["folder"](tmp_path / "own")
    (folder / "train/good/empty.png").touch()

    report, ok = check.check("folder", folder)
    skipped, fine = check.check("folder", folder, on_bad_image="skip")

    assert not ok
    assert report.splitlines()[-2:] == [
        "problem    train/good/empty.png: empty file",
        "not usable as it is: 1 file(s) of the dataset cannot be used: "
        "train/good/empty.png (empty file); repair or remove them, or set on_bad_image "
        "to 'skip'.",
    ]
    assert fine
    assert "skipped    train/good/empty.png (empty file)" in skipped


def test_counts_other_than_the_published_are_said_and_accepted(layouts, tmp_path):
    report, ok = check.check("chestxray", layouts["chestxray"](tmp_path / "own"))

    assert ok
    assert "1,349 train normal, 234 test normal, 390 test abnormal" in report
    assert "data are partial" in report
    assert (
        "patients   3 train normal, 1 test normal, 1 test abnormal; 0 in training and "
        "in test"
    ) in report


def test_every_problem_is_named(layouts, paint, paint_mask, tmp_path):
    folder = layouts["folder"](tmp_path / "own")
    (folder / "train/good/empty.png").touch()
    (folder / "train/good/text.png").write_text("no image")
    paint_mask(folder / "ground_truth/crack/000_mask.png", (10, 10))
    (folder / "test/stain/000.png").write_bytes(
        (folder / "train/good/001.png").read_bytes()
    )

    report, ok = check.check("folder", folder)

    assert not ok
    assert "problem    train/good/empty.png: empty file" in report
    assert "problem    train/good/text.png: not an image" in report
    assert "problem    mask crack/000_mask.png: the mask has 10 x 10 pixels" in report
    assert (
        "problem    The test image test/stain/000.png has the same content as the "
        "training image train/good/001.png"
    ) in report


@pytest.mark.parametrize("name", ["lag", "no-such"])
def test_a_folder_or_name_that_is_wrong_is_one_sentence(name, tmp_path):
    report, ok = check.check(name, tmp_path)

    assert not ok
    assert report.count("\n") == 1
