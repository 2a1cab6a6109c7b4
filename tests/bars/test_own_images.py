"""Chapters 5 and 6 on a folder of other images, in the layout of MVTec AD.

Squares are cut from the real colonoscopy images with masks in
`$THESIS_TEST_DATA/hyper_kvasir_sample`: those without a polyp are `good`, those with
one `polyp`, with masks. Training squares come from three of the five images, the
others are for testing.
"""

from functools import partial
from itertools import product

import numpy as np
import pytest
from PIL import Image

from tests.bars import chapters

SIDE, STEP = 128, 48  # pixels
IN_TRAINING = 3  # images


@pytest.fixture(scope="module")
def folder(tmp_path_factory, real_data):
    """`train/good`, `test/{good,polyp}` and `ground_truth/polyp`."""
    sample = real_data("hyper_kvasir_sample")
    top = tmp_path_factory.mktemp("own") / "polyps"
    images = sorted((sample / "segmented-images" / "images").glob("*.jpg"))
    for number, path in enumerate(images):
        image = Image.open(path).convert("RGB")
        mask = Image.open(path.parents[1] / "masks" / path.name).convert("L")
        mask = mask.point(lambda grey: 255 * (grey >= 128))
        places = (range(40, size - SIDE - 40, STEP) for size in image.size)
        for left, upper in product(*places):
            box = (left, upper, left + SIDE, upper + SIDE)
            share = (np.asarray(mask.crop(box)) > 0).mean()
            dark = np.asarray(image.crop(box)).max(axis=2).mean() < 40
            if dark or 0 < share < 0.05 or share > 0.6:
                continue
            split = "train" if number < IN_TRAINING else "test"
            kind = "polyp" if share else "good"
            if (split, kind) == ("train", "polyp"):
                continue
            name = f"{number}-{left}-{upper}.png"
            parts = [(image, top / split / kind / name)]
            if share:
                parts.append((mask, top / "ground_truth" / "polyp" / name))
            for whole, target in parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                whole.crop(box).save(target)
    return top


@pytest.fixture(scope="module")
def records(folder, tmp_path_factory):
    results = tmp_path_factory.mktemp("runs")
    given = {"dataset": "folder", "source": "real", "data_root": str(folder)}
    start = partial(chapters.start, folder=results, **given)
    minutes = chapters.minutes_of(
        [partial(start, "05_pmsacl", name="five"), partial(start, "06_igd", name="six")]
    )
    found = {record["chapter"]: record for record in chapters.sealed(results)}
    for record in found.values():
        print(record["chapter"], record["dataset"]["counts"])
        chapters.show(record["rows"], "auc", "pixel_auc", "pro")
    print(f"{minutes:.1f} minutes, two at a time")
    return found


@pytest.mark.parametrize("chapter", ["05_pmsacl", "06_igd"])
def test_a_folder_with_masks_is_detected_and_localised(records, folder, chapter):
    record = records[chapter]
    metrics = {row["metric"] for row in record["rows"]}

    assert metrics >= {"auc", "pixel_auc", "pro"}
    assert record["dataset"]["counts"] == {
        "train normal": len(list((folder / "train" / "good").iterdir())),
        "test normal": len(list((folder / "test" / "good").iterdir())),
        "test abnormal": len(list((folder / "test" / "polyp").iterdir())),
    }
