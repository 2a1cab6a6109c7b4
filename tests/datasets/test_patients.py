"""Whose image is whose: by name, by list; splits that part patients, never images."""

import csv
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thesislib import cli
from thesislib.datasets import check, registry
from thesislib.datasets.base import Item
from thesislib.datasets.filelist import draw_split
from thesislib.errors import InputError

PATTERN = r"^(P\d+)_"


@pytest.fixture
def two_folders(paint, tmp_path):
    """Six patients with 1 to 3 normal images, two of them and P7 with abnormal ones."""
    top = tmp_path / "own"
    for patient, number in enumerate((3, 1, 2, 3, 2, 1)):
        for image in range(number):
            paint(top / f"normal/P{patient}_{image}.png")
    for name in ("P0_a", "P4_a", "P7_a", "P7_b"):
        paint(top / f"abnormal/{name}.png")
    return top


@pytest.fixture
def given_split(paint, tmp_path):
    """MVTec AD's layout: P1 and P2 have images on both sides."""
    top = tmp_path / "own"
    for name in ("P0_0", "P1_0", "P2_0"):
        paint(top / f"train/good/{name}.png")
    paint(top / "test/good/P1_1.png")
    for name in ("P2_1", "P3_0"):
        paint(top / f"test/ill/{name}.png")
    return top


def find(folder, patients, **options):
    return registry.find(
        "folder", "real", folder, image_size=16, patients=patients, **options
    )


def sides(located):
    """Patient -> the splits it has images in."""
    found = defaultdict(set)
    for item in located.items:
        found[item.patient].add(item.split)
    return found


def write_list(path, rows, header=("file", "patient")):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def whole_list(folder, path):
    files = sorted(folder.rglob("*.png"))
    rows = [(f.relative_to(folder).as_posix(), f.name.partition("_")[0]) for f in files]
    return write_list(path, rows)


def pool(sizes):
    """Normal images of patients, `sizes[i]` of patient i, named without a clue."""
    return [
        Item(
            id=f"normal/{patient:02d}{image:02d}.png",
            path=Path(f"/data/{patient:02d}{image:02d}.png"),
            split="",
            patient=f"p{patient}",
        )
        for patient, size in enumerate(sizes)
        for image in range(size)
    ]


def contents(items):
    return {item.path: item.id for item in items}


# --- The draw ----------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=12),
    tested=st.sets(st.integers(0, 11), max_size=3),
    share=st.floats(0.05, 0.6),
    seed=st.integers(0, 3),
)
def test_no_patient_is_on_both_sides_and_no_image_is_left_out(
    sizes, tested, share, seed
):
    items = pool(sizes)
    names = {f"p{number}" for number in tested}
    num_test = max(1, int(share * len(items)))
    wanted = (len(items) - num_test, num_test)
    here = names & {item.patient for item in items}
    if len(items) < 2 or len(here) == len(sizes):
        return

    splits = draw_split(items, *wanted, contents(items), seed, names)

    assert splits.keys() == {item.id for item in items}
    of = defaultdict(set)
    for item in items:
        of[item.patient].add(splits[item.id])
    assert all(len(found) == 1 for found in of.values())
    assert all(of[name] == {"test"} for name in here)
    assert set(splits.values()) == {"train", "test"}
    if not here:  # nearest to what is wanted, among whole patients
        assert abs(list(splits.values()).count("test") - num_test) <= max(sizes)


@given(st.integers(2, 30), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
def test_with_one_image_a_patient_it_is_the_draw_by_image(number, train, test, seed):
    items = pool([1] * number)
    bare = [
        Item(id=item.id, path=item.path, split="")  # no patient known
        for item in items
    ]

    expected = draw_split(bare, train, test, contents(items), seed)

    assert draw_split(items, train, test, contents(items), seed) == expected


def test_more_images_of_each_patient_move_no_patient():
    one, three = pool([1] * 12), pool([3] * 12)

    first = draw_split(one, 8, 4, contents(one))
    splits = draw_split(three, 24, 12, contents(three))

    assert {id: splits[id] for id in first} == first


def test_a_smaller_held_out_part_lies_inside_a_larger_one():
    items = pool([3, 1, 2, 4, 1, 2, 3, 2])
    number = len(items)

    held = [
        {
            id
            for id, split in draw_split(
                items, number - test, test, contents(items)
            ).items()
            if split == "test"
        }
        for test in range(1, number)
    ]

    assert all(small <= large for small, large in pairwise(held))
    assert len(held[0]) < len(held[-1])


def test_another_seed_draws_other_patients():
    items = pool([2] * 12)

    first, other = (draw_split(items, 16, 8, contents(items), s) for s in (0, 1))

    assert first != other


def test_patients_with_abnormal_images_never_train(two_folders):
    located = find(two_folders, PATTERN)

    found = sides(located)
    assert all(len(of) == 1 for of in found.values())
    assert found["P0"] == found["P4"] == found["P7"] == {"test"}
    assert "train" in set().union(*found.values())
    assert len(located.items) == 16  # none left out
    assert located.provenance["split_rule"].endswith(", by patient")
    assert located.provenance["patients_in_both_splits"] == 0


def test_two_patients_are_needed(paint, tmp_path):
    for number in range(4):
        paint(tmp_path / f"own/normal/P0_{number}.png")
    paint(tmp_path / "own/abnormal/P1_0.png")

    with pytest.raises(InputError, match="of one patient"):
        find(tmp_path / "own", PATTERN)


def test_someone_has_to_be_well_to_train_on(paint, tmp_path):
    for patient in ("P0", "P1"):
        paint(tmp_path / f"own/normal/{patient}_0.png")
        paint(tmp_path / f"own/abnormal/{patient}_1.png")

    with pytest.raises(InputError, match="no patient is left to train on"):
        find(tmp_path / "own", PATTERN)


# --- Who they are ------------------------------------------------------------------


def test_a_list_says_what_a_pattern_says(two_folders, tmp_path):
    by_list = find(two_folders, whole_list(two_folders, tmp_path / "p.csv"))

    assert by_list.fingerprint == find(two_folders, PATTERN).fingerprint
    assert by_list.fingerprint != find(two_folders, "").fingerprint


def test_a_list_may_shorten_names(two_folders, tmp_path):
    rows = [(f.name, f.name[:2]) for f in two_folders.rglob("*.png")]

    located = find(two_folders, write_list(tmp_path / "p.csv", rows))

    assert {item.patient for item in located.items} == {
        *("P0", "P1", "P2", "P3", "P4", "P5", "P7")
    }


def test_a_pattern_with_a_slash_sees_the_folder(two_folders):
    located = find(two_folders, r"^((?:ab)?normal/P\d)")

    assert {"normal/P0", "abnormal/P0"} <= {item.patient for item in located.items}


def test_test_images_know_their_patients(given_split):
    data = registry.load(find(given_split, PATTERN))

    assert data.test_patients.tolist() == ["P1", "P2", "P3"]
    assert registry.load(find(given_split, "")).test_patients is None


def test_a_given_split_is_kept_and_its_shared_patients_are_noted(given_split):
    located = find(given_split, PATTERN)

    assert tuple(located.counts.values()) == (3, 1, 2)
    assert located.provenance["patients_in_both_splits"] == 2
    (note,) = located.provenance["notes"]
    assert note.startswith("2 patient(s) have images in training and in test")
    assert note.endswith(": P1, P2")


def test_a_file_list_may_mend_the_split(given_split, tmp_path):
    rows = [("train/good/P0_0.png", "train"), ("test/good/P1_1.png", "test")]
    rows += [("test/ill/P3_0.png", "test")]
    split = write_list(tmp_path / "split.csv", rows, ("file", "split"))

    located = find(given_split, PATTERN, file_list=split)

    assert located.provenance["notes"] == [
        "the split is that of the file list split.csv"
    ]
    assert all(len(of) == 1 for of in sides(located).values())


def test_without_patients_nothing_is_as_it_was_not(two_folders):
    located = find(two_folders, "")

    assert located.provenance["patients_in_both_splits"] is None
    assert "patient" not in located.provenance["split_rule"]
    assert {item.patient for item in located.items} == {None}


# --- What cannot be used -----------------------------------------------------------


@pytest.mark.parametrize(
    ("patients", "sentence"),
    [
        (r"^P\d+_", "with 0 groups; it needs one"),
        (r"^(P)(\d+)_", "with 2 groups; it needs one"),
        (r"^(P\d+", "no regular expression (missing )"),
        (r"^(Q\d+)_", "matches none of 16 file names, such as 'P0_0.png'"),
        (r"^(P0)_", "12 of 16 images have no patient by patients '^(P0)_'"),
        (r"^P0_|^(P\d+)_", "4 of 16 images have no patient"),
        ("dicom", "16 of 16 images have no patient by the PatientID of DICOM files"),
        ("gone.csv", "gone.csv cannot be read"),
    ],
)
def test_a_source_of_no_use_is_one_sentence(patients, sentence, two_folders):
    with pytest.raises(InputError) as error:
        find(two_folders, patients)

    assert sentence in str(error.value)
    assert str(error.value).count(". ") == 0 and str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([("normal/x.png", "P0")], "names 'normal/x.png', but the dataset has no such"),
        ([("normal/P0_0.png", "P1")], "names 'normal/P0_0.png' a second time"),
        ([("P1_0.png",)], "is too short"),
    ],
)
def test_a_line_that_is_wrong_is_named(more, sentence, two_folders, tmp_path):
    path = Path(whole_list(two_folders, tmp_path / "p.csv"))
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(more)

    with pytest.raises(
        InputError, match=f"(?i)line 18 of the list of patients .*{sentence}"
    ):
        find(two_folders, str(path))


def test_a_list_has_to_hold_all_images_and_both_columns(two_folders, tmp_path):
    path = write_list(tmp_path / "p.csv", [("normal/P0_0.png", "P0"), ("P1_0.png", "")])
    with pytest.raises(InputError, match=r"15 of 16 images have no patient .* p\.csv"):
        find(two_folders, path)

    path = write_list(tmp_path / "p.csv", [("a", "b")], ("image", "patient"))
    with pytest.raises(InputError, match=r"lacks the column\(s\) file"):
        find(two_folders, path)


def test_only_images_of_ones_own_are_told_whose_they_are(layouts, tmp_path):
    with pytest.raises(InputError, match="which is for the dataset 'folder'"):
        registry.find("covidx", "phantom", image_size=16, patients=PATTERN)

    report, ok = check.check("lag", layouts["lag"](tmp_path / "own"), PATTERN)
    assert not ok and "which is for the dataset 'folder'" in report


# --- data check --------------------------------------------------------------------


def test_the_check_counts_patients_of_each_part(given_split, paint, capsys):
    paint(given_split / "test/good/P4_0.png")
    assert cli.main(["data", "check", "folder", str(given_split)]) == 0
    assert "patients   no ids: see --patients" in capsys.readouterr().out

    given = ["data", "check", "folder", str(given_split), "--patients", PATTERN]
    assert cli.main(given) == 0
    text = capsys.readouterr().out

    assert (
        "patients   3 train normal, 2 test normal, 2 test abnormal; 2 in training and "
        "in test\n"
    ) in text
    assert "note       2 patient(s) have images in training and in test" in text


def test_the_check_finds_a_list_from_where_it_is_called(
    two_folders, tmp_path, monkeypatch
):
    whole_list(two_folders, tmp_path / "p.csv")
    monkeypatch.chdir(tmp_path)

    report, ok = check.check("folder", "own", "p.csv")

    assert ok
    assert "; 0 in training and in test" in report
