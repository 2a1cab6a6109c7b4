"""File lists: what counts as an image, drawn splits, and splits on paper."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thesislib.datasets.base import Item, Listing
from thesislib.datasets.filelist import apply, draw_split, image_files, to_csv
from thesislib.errors import InputError


def _item(name, split="", label=0, **options):
    return Item(id=name, path=Path("/data") / name, split=split, label=label, **options)


def _pool(num_images):
    return [_item(f"normal/{index:03d}.png") for index in range(num_images)]


def _distinct(items):
    return {item.path: item.id for item in items}


def test_leftovers_of_file_systems_are_no_images(tmp_path):
    for name in ("b.png", "A.PNG", "._b.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / ".ipynb_checkpoints").mkdir()

    assert [path.name for path in image_files(tmp_path)] == ["A.PNG", "b.png"]


def test_an_empty_folder_is_named(tmp_path):
    (tmp_path / ".DS_Store").touch()

    with pytest.raises(InputError, match=f"{tmp_path} holds no images"):
        image_files(tmp_path)


def test_images_deeper_down_are_not_passed_over_in_silence(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "more").mkdir()

    with pytest.raises(InputError, match="holds a folder, more"):
        image_files(tmp_path)


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="gone cannot be read: No such file"):
        image_files(tmp_path / "gone")


@given(
    num_images=st.integers(2, 30),
    num_train=st.integers(1, 20),
    num_test=st.integers(1, 20),
    seed=st.integers(0, 5),
)
def test_a_drawn_split_has_two_disjoint_parts_of_the_size_wanted(
    num_images, num_train, num_test, seed
):
    pool = _pool(num_images)

    splits = draw_split(pool, num_train, num_test, _distinct(pool), seed)

    train = sum(split == "train" for split in splits.values())
    test = sum(split == "test" for split in splits.values())
    if num_train + num_test <= num_images:
        assert (train, test) == (num_train, num_test)
    else:  # both shrink alike
        assert train + test == num_images
        assert min(train, test) >= 1
        share = num_test / (num_train + num_test)
        assert abs(test - share * num_images) <= 1


@given(st.permutations(range(20)))
def test_the_draw_does_not_depend_on_the_order_of_listing(order):
    pool = _pool(20)
    hashes = _distinct(pool)

    shuffled = [pool[index] for index in order]

    assert draw_split(shuffled, 9, 6, hashes) == draw_split(pool, 9, 6, hashes)


def test_the_draw_depends_on_the_seed_and_on_names_but_not_on_folders():
    pool = _pool(20)
    moved = [_item(f"elsewhere/{item.id}") for item in pool]

    split = draw_split(pool, 9, 6, _distinct(pool))

    assert draw_split(pool, 9, 6, _distinct(pool), seed=1) != split
    assert list(draw_split(moved, 9, 6, _distinct(moved)).values()) == list(
        split.values()
    )
    assert {
        name.removeprefix("elsewhere/")
        for name in draw_split(moved, 9, 6, _distinct(moved))
    } == set(split)


def test_one_more_image_moves_at_most_one_other():
    pool = _pool(30)
    before = draw_split(pool, 10, 10, _distinct(pool))
    pool.append(_item("normal/new.png"))
    after = draw_split(pool, 10, 10, _distinct(pool))

    stayed = sum(after.get(name) == split for name, split in before.items())
    assert stayed >= len(before) - 2  # one leaves training, one leaves testing


@given(copies=st.lists(st.integers(0, 5), min_size=6, max_size=40))
def test_copies_never_end_up_in_both_parts(copies):
    pool = _pool(len(copies))
    hashes = {item.path: str(copy) for item, copy in zip(pool, copies, strict=True)}
    if len(set(copies)) < 2:
        with pytest.raises(InputError, match="at least 2"):
            draw_split(pool, 4, 2, hashes)
        return

    splits = draw_split(pool, 4, 2, hashes)

    contents = [hashes[item.path] for item in pool if item.id in splits]
    assert len(contents) == len(set(contents))


LISTING = Listing(
    items=(
        _item("train/good/0.png", "train"),
        _item("train/good/1.png", "train"),
        _item("test/good/0.png", "test"),
        _item("test/a, b/2.png", "test", 1, kind="a, b", mask=Path("/data/m/2.png")),
        _item("test/é/3.png", "test", 1, kind="é", patient="p 1"),
    ),
    rule="folders",
)


def _apply(tmp_path, text, listing=LISTING):
    path = tmp_path / "split.csv"
    path.write_text(text, encoding="utf-8")
    return apply(listing, path)


def test_a_written_split_reads_back_as_it_was(tmp_path):
    text = to_csv(LISTING.items, Path("/data"))

    assert _apply(tmp_path, text).items == LISTING.items
    assert "m/2.png" in text


def test_a_list_replaces_the_split_and_leaves_out_what_it_does_not_name(tmp_path):
    text = "\ufefffile,split\ntest/good/0.png,train\n1.png,test\n2.png,test\n"

    listing = _apply(tmp_path, text)

    assert [i.split for i in listing.items] == ["", "test", "train", "test", ""]
    assert listing.rule.startswith("file list, sha256 ")
    assert "the file list split.csv" in listing.notes[-1]
    assert listing.draw is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\n0.png\n", r"lacks the column\(s\) split"),
        ("", r"lacks the column\(s\) file, split"),
        ("file,split\n9.png,train\n", "line 2 .* '9.png', but the dataset has no such"),
        ("file,split\n0.png,train\n", "'0.png', but several files match"),
        ("file,split\n1.png,val\n", "split 'val'; allowed are 'train' and 'test'"),
        ("file,split\n1.png,train\n1.png,test\n", "line 3 .* a second time"),
        ("file,split\n2.png,train\n", "abnormal image '2.png' into the training"),
        ("file,split,label\n1.png,test,1\n", "label 1, but by its folder it has 0"),
        ("file,split\n1.png\n", "Line 2 .* too short"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        _apply(tmp_path, text)


def test_a_list_that_is_absent_or_no_text_is_refused(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")

    for name in ("gone.csv", "binary.csv"):
        with pytest.raises(InputError, match=f"{name} cannot be read"):
            apply(LISTING, tmp_path / name)
