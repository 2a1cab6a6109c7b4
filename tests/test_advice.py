"""What an error advises can be done by the command that failed, check and chapter."""

import ast
import inspect
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thesislib import cli, datasets
from thesislib.datasets import check, registry
from thesislib.runs.parameters import ChapterParameters

from .test_own_folders import opened

ELSEWHERE = {"image_size"}  # `data.image_size` among the overrides


def _words():
    """Every word with an underscore in the texts of the package's room of datasets."""
    for path in sorted(Path(datasets.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from re.findall(r"[a-z]+_[a-z_]+", node.value)


def test_every_parameter_that_errors_name_is_one_of_chapter_and_check():
    named = set(_words()) & inspect.signature(registry.find).parameters.keys()
    of_check = vars(cli._parser().parse_args(["data", "check", "folder", "x"]))

    assert {"on_bad_image", "file_list", "grey_range", "lesion_levels"} <= named
    assert named - ELSEWHERE <= ChapterParameters.model_fields.keys()
    assert named - ELSEWHERE - {"data_root"} <= of_check.keys()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("THESIS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own(tmp_path):
    """Four normal and two abnormal images, with masks."""
    rng = np.random.default_rng(0)
    for part, number in (("train/good", 3), ("test/good", 2), ("test/crack", 2)):
        for index in range(number):
            path = tmp_path / "own" / part / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(noise).save(path)
            if part == "test/crack":
                mask = tmp_path / f"own/ground_truth/crack/{index}_mask.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(noise // 200 * 255).save(mask)
    return tmp_path / "own"


def _truncated(own):
    file = own / "train/good/0.png"
    file.write_bytes(file.read_bytes()[:70])
    return "set on_bad_image to 'skip'", {"on_bad_image": "skip"}


def _gone(own):
    (own / "train/good/gone.png").symlink_to(own / "not-there")
    return "set on_bad_image to 'skip'", {"on_bad_image": "skip"}


def _copied(own):
    shutil.copyfile(own / "train/good/0.png", own / "test/good/0.png")
    return "leave it out by file_list", {"file_list": _list_without(own)}


def _saved_anew(own):
    with Image.open(own / "train/good/0.png") as image:
        image.save(own / "test/good/0.png", compress_level=0)
    return "leave it out by file_list", {"file_list": _list_without(own)}


def _list_without(own):
    files = sorted(
        path for path in own.rglob("*.png") if "ground_truth" not in str(path)
    )
    names = [path.relative_to(own).as_posix() for path in files]
    rows = [f"{n},{n.partition('/')[0]}" for n in names if n != "test/good/0.png"]
    (own.parent / "list.csv").write_text("\n".join(["file,split", *rows]), "utf-8")
    return str(own.parent / "list.csv")


def _floats(own):
    for path in own.glob("t*/*/*.png"):
        values = np.asarray(Image.open(path)).astype(np.float32) - 100
        Image.fromarray(values).save(path.with_suffix(".tif"))
        path.unlink()
    return "say it by grey_range, as [-100, ", {"grey_range": (-100.0, 155.0)}


def _three_levels(own):
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[4:8], mask[8:] = 120, 240
    Image.fromarray(mask).save(own / "ground_truth/crack/0_mask.png")
    return "say it by lesion_levels, as [", {"lesion_levels": (240, 255)}


def _dark_masks(own):
    for path in own.glob("ground_truth/*/*.png"):
        Image.fromarray(np.eye(16, dtype=np.uint8) * 90).save(path)
    return "unless lesion_levels names theirs", {"lesion_levels": (90,)}


@pytest.mark.parametrize(
    "spoil",
    [_truncated, _gone, _copied, _saved_anew, _floats, _three_levels, _dark_masks],
)
def test_what_is_advised_helps(spoil, own):
    advice, options = spoil(own)

    report, ok = check.check("folder", own)
    assert not ok
    assert advice in report

    report, ok = check.check("folder", own, **options)
    assert ok, report
    opened(own, **options)


def test_the_folder_that_is_advised_is_one(own, capsys):
    own.rename(own.with_name("screws"))
    own.mkdir()
    own.with_name("screws").rename(own / "screws")

    report, _ = check.check("folder", own)
    advised = re.search(r"give one of them, as (\S+)\.\n", report)[1]

    assert cli.main(["data", "check", "folder", advised]) == 0


def test_the_command_takes_them_all(own, capsys):
    _three_levels(own)
    _floats(own)
    _gone(own)
    given = ["data", "check", "folder", str(own), "--on-bad-image", "skip"]
    given += ["--grey-range", "-100", "155", "--lesion-levels", "240", "255"]

    assert cli.main(given) == 0
    assert "greys      -100 (black) to 155 (white), as grey_range says" in (
        capsys.readouterr().out
    )
