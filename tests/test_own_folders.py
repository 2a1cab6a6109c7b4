"""What `data check` calls ok opens in a chapter, and a chapter refuses what it refuses.

Random folders are written and given to both. The check is what the command prints; the
chapter is its first cells: parameters, the search for data, decoding.
"""

import os
import shutil
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image

from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.datasets import check
from thesislib.errors import InputError
from thesislib.runs import parameters

SECONDS = 10  # for a refusal

NAMES = st.sampled_from(
    ["a", "b c", "_d", "e$1$", "f,g", 'h"i', "\u00e9", "\u70bc", "j.k", "l_mask", "#m"]
)
KINDS = st.sampled_from(
    [*["crack", "_misc", "cost_$1_$2", "\u70bc", "x.y"] * 3, "OK", "normal"]
)
CLEAN = [
    *[("png", "L"), ("jpg", "RGB"), ("tif", "L"), ("png", "RGBA"), ("png", "P")],
    *[("bmp", "L"), ("gif", "pages"), ("tif", "pages")],
]
DEEP = [("png", "I;16"), ("tif", "I;16")]
FAULTS = [
    *[("tif", "F"), ("png", "broken"), ("jpg", "empty"), ("txt", "text")],
    *[("png", "link"), ("png", "dead link"), ("png", "copy"), ("png", "not UTF-8")],
]
FORMATS = [CLEAN, CLEAN, CLEAN, CLEAN + DEEP, DEEP, CLEAN * 4 + FAULTS]
DEPTH = st.sampled_from([255, 4_095, 65_535])


class Painter:
    """Writes images one after another, and remembers them for links and copies."""

    def __init__(self, top: Path, depth: int) -> None:
        self.top, self.depth, self.written, self.count = top, depth, [], 0

    def paint(self, folder: str, images: list) -> list[Path]:
        (self.top / folder).mkdir(parents=True, exist_ok=True)
        return [
            self._one(self.top / folder, n, *image) for n, image in enumerate(images)
        ]

    def _one(self, folder, number, name, kind, size, seed):
        ending, mode = kind
        path = folder / f"{name}{number}.{ending}"
        self.count += 1  # equal pictures are the business of "copy"
        random = np.random.default_rng((seed, self.count))
        grey = random.integers(0, 256, (size, size), np.uint8)
        image = Image.fromarray(grey)
        if mode == "dead link":
            path.symlink_to(self.top / "not there")
        elif mode in ("link", "copy") and self.written:
            if mode == "link":
                path.symlink_to(self.written[seed % len(self.written)])
            else:
                shutil.copyfile(self.written[seed % len(self.written)], path)
        elif mode == "empty":
            path.touch()
        elif mode == "text":
            path.write_text("no image")
        elif mode == "broken":
            image.save(path)
            path.write_bytes(path.read_bytes()[:60])
        elif mode == "pages":
            image.save(path, save_all=True, append_images=[image.transpose(0)])
        elif mode == "I;16":
            Image.fromarray((grey / 255 * self.depth).astype(np.uint16)).save(path)
        elif mode == "F":
            Image.fromarray((grey / 255).astype(np.float32)).save(path)
        elif mode == "not UTF-8":
            image.save(
                folder / os.fsdecode(f"\xe9{number}.png".encode("latin-1")), "PNG"
            )
        else:
            image.convert(mode if mode in ("RGB", "RGBA", "P") else "L").save(path)
        if mode in ("L", "RGB"):
            self.written.append(path)
        return path


@st.composite
def folders(draw):
    """A function that writes a folder in about one of the two layouts."""
    depth, extra = draw(DEPTH), draw(st.sampled_from([None] * len(EXTRAS) + EXTRAS))
    sizes, formats = st.sampled_from([8, 12, 16, 40]), draw(st.sampled_from(FORMATS))
    seeds = st.integers(0, 2**32)  # other seeds, other pictures
    image = st.tuples(NAMES, st.sampled_from(formats), sizes, seeds)
    least = draw(st.sampled_from([0, 1, 2, 2]))
    images = st.lists(image, min_size=least, max_size=12)
    spelling = draw(st.sampled_from([str, str, str, str.upper, str.title]))
    if draw(st.booleans()):
        kinds = draw(st.lists(KINDS, min_size=least > 0, max_size=2))
        parts = {"train/good": draw(images), "test/good": draw(images)}
        parts |= {f"test/{kind}": draw(images) for kind in kinds}
    else:
        kinds = draw(st.lists(KINDS, max_size=2))
        parts = {"normal": draw(images)}
        parts |= {f"abnormal/{kind}": draw(images) for kind in kinds}
        if not kinds:
            parts["abnormal"] = draw(images)
    masks = draw(
        st.sampled_from([None, None, (0, 255), (0, 255), (0, 100, 255), (0, 1)])
    )

    def write(top: Path) -> None:
        painter = Painter(top, depth)
        for part, images in parts.items():
            for path in painter.paint(
                spelling(part) if "/" not in part else part, images
            ):
                if masks and not part.endswith(("good", "normal")):
                    _mask(top / "ground_truth" / part.rpartition("/")[2], path, masks)
        if extra:
            extra(top, painter)

    return write


def _mask(folder: Path, image: Path, values: tuple[int, ...]) -> None:
    try:
        with Image.open(image) as opened:
            size = opened.size
    except OSError:
        size = (8, 8)
    mask = np.zeros(size[::-1], dtype=np.uint8)
    for step, value in enumerate(values):
        mask[step * size[1] // len(values) :] = value
    folder.mkdir(parents=True, exist_ok=True)
    stem = unicodedata.normalize("NFD", image.stem)  # as macOS writes it
    Image.fromarray(mask).save(folder / f"{stem}_mask.png")


def _loose(top, painter):
    for place in (top, *(path for path in top.iterdir() if path.is_dir())):
        Image.new("L", (9, 9), 7).save(place / "loose.png")


def _other_folder(top, painter):
    (top / "raw/deeper").mkdir(parents=True, exist_ok=True)
    Image.new("L", (9, 9), 7).save(top / "raw/deeper/a.png")


def _same_stem(top, painter):
    for path in painter.written[-1:]:
        Image.new("L", (9, 9), 7).save(path.with_suffix(".bmp"))


def _both_layouts(top, painter):
    for part in ("normal", "abnormal", "train", "test"):
        (top / part).mkdir(exist_ok=True)


def _dead_folder(top, painter):
    (top / "elsewhere").symlink_to(top / "gone", target_is_directory=True)


def _saved_anew(top, painter):
    """The first image once more, in other bytes, beside the last."""
    if painter.written:
        with Image.open(painter.written[0]) as image:
            image.save(painter.written[-1].with_name("again.png"), compress_level=0)


EXTRAS = [_loose, _other_folder, _same_stem, _both_layouts, _dead_folder, _saved_anew]


def opened(folder: Path, **options) -> None:
    """What the first cells of a chapter do with data."""
    chapter = parameters.read(
        Chapter05, {"dataset": "folder", "data_root": str(folder), **options}
    )
    chapter.load(chapter.locate(chapter.resolved_configs()), "cpu")


def refusal(report: str) -> str:
    """The sentence in which a check refuses."""
    last = report.removesuffix("\n").rpartition("\n")[2]
    return last.removeprefix("folder: ").removeprefix("not usable as it is: ")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("THESIS_CACHE", str(tmp_path / "cache"))


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(write=folders(), skip=st.booleans())
def test_check_and_chapter_agree(write, skip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write(folder)
    options = {"on_bad_image": "skip"} if skip else {}

    start = time.monotonic()
    report, ok = check.check("folder", folder, **options)
    event("ok" if ok else f"refused: {' '.join(refusal(report).split()[-6:])}")
    if ok:
        opened(folder, **options)
        assert report.endswith("\nok\n")
    else:
        with pytest.raises(InputError) as error:
            opened(folder, **options)
        assert refusal(report) == str(error.value)
        assert time.monotonic() - start < SECONDS
    report.encode()
    shutil.rmtree(folder)


def test_of_several_reasons_both_say_the_first(tmp_path):
    painter = Painter(tmp_path / "own", 255)
    for part in ("train/good", "test/good", "test/crack"):
        painter.paint(part, [("a", ("png", "L"), 12, seed) for seed in range(3)])
    top = tmp_path / "own"
    shutil.copyfile(top / "train/good/a0.png", top / "test/good/copy.png")
    (top / "train/good/text.png").write_text("no image")
    (top / "train/good/gone.png").symlink_to(top / "not there")

    report, _ = check.check("folder", top)
    with pytest.raises(InputError, match=r"gone\.png \(a broken link\)") as error:
        opened(top)

    assert refusal(report) == str(error.value)
    for word in ("gone.png: a broken link", "text.png: not an image", "same content"):
        assert word in report
