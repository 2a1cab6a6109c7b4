"""Own features: streams of frames, networks with given weights, resuming."""

import numpy as np
import pytest
import torch
from PIL import Image

from thesislib.datasets import registry
from thesislib.errors import InputError
from thesislib.nn.i3d import I3DResNet50
from thesislib.video import features, frames
from thesislib.video.features import Kinetics, crop, describer, extract, find_videos
from thesislib.video.motion import Motion

RNG = np.random.default_rng(0)
TINY = Motion(height=20, cell=5, snippet=4, stride=2)


def film(folder, number, size=(30, 20)):
    folder.mkdir(parents=True)
    for k in range(number):
        noise = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{k}.png")  # 10.png after 9.png
    return folder


@pytest.mark.parametrize("length", [1, 3, 4, 5, 9, 12])
def test_windows_of_a_stream_are_slices_of_the_whole(length):
    items = np.arange(length)
    found = list(frames.windows(iter(items), 4, 2))
    if length < 4:
        padded = [*items, *[items[-1]] * (4 - length)]
        np.testing.assert_array_equal(found, [padded])
    else:
        slow = [items[s : s + 4] for s in range(0, length - 3, 2)]
        np.testing.assert_array_equal(found, slow)


def test_ten_crops_are_torchvisions():
    from torchvision.transforms.functional import ten_crop

    images = torch.randn(3, 3, 17, 22)
    torch.testing.assert_close(crop(images, 12, 10), torch.stack(ten_crop(images, 12)))
    torch.testing.assert_close(crop(images, 12, 5), crop(images, 12, 10)[:5])
    torch.testing.assert_close(crop(images, 12, 1), crop(images, 12, 10)[4:5])


def test_frames_of_different_sizes_are_refused(tmp_path):
    film(tmp_path / "a", 2)
    Image.new("RGB", (31, 20)).save(tmp_path / "a/2.png")
    files = find_videos(tmp_path)["a"]
    with pytest.raises(InputError, match="A frame of a has 31 x 20 px, but the first"):
        list(frames.read(files))


def test_a_frame_that_cannot_be_read_is_named(tmp_path):
    film(tmp_path / "a", 2)
    (tmp_path / "a/1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"The frame a/1\.png cannot be read"):
        list(frames.read(find_videos(tmp_path)["a"]))


def test_a_video_file_without_the_extra_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "walk.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"walk\.mp4 .* needs the extra `video`"):
        list(frames.read([tmp_path / "walk.mp4"]))


def test_a_video_file_gives_the_frames_that_were_written(tmp_path):
    av = pytest.importorskip("av")
    path, levels = tmp_path / "steps.avi", (20, 90, 160, 230)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for level in levels:
            flat = np.full((16, 32, 3), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(flat)))
        container.mux(stream.encode())
    found = [frame.mean() for frame in frames.read([path], "RGB")]
    assert found == pytest.approx(levels, abs=3)


# --- Networks ------------------------------------------------------------------------


def test_i3d_has_the_names_and_shapes_of_the_circulating_weights():
    names = {k: tuple(v.shape) for k, v in I3DResNet50().state_dict().items()}
    assert names["conv1.weight"] == (64, 3, 5, 7, 7)
    assert names["layer1.0.conv1.weight"] == (64, 64, 3, 1, 1)
    assert names["layer2.1.conv1.weight"] == (128, 512, 1, 1, 1)
    assert names["layer4.1.conv1.weight"] == (512, 2048, 3, 1, 1)
    assert names["layer3.0.downsample.0.weight"] == (1024, 512, 1, 1, 1)
    assert names["fc.weight"] == (400, 2048)
    convolutions = [n for n in names if len(names[n]) == 5]
    assert len(convolutions) == 1 + 3 * (3 + 4 + 6 + 3) + 4


def test_i3d_sees_a_still_clip_as_its_picture_seen_at_any_time():
    """Time enters by convolution and pooling only: a still clip has no order."""
    torch.manual_seed(0)
    model = I3DResNet50().eval()
    still = torch.randn(1, 3, 1, 32, 32).expand(-1, -1, 16, -1, -1)
    moving = torch.randn(1, 3, 16, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(still), model(still.flip(2)))
        assert not torch.allclose(model(moving), model(moving.flip(2)), rtol=1e-3)
        assert model(still).shape == (1, 2048)


@pytest.fixture
def weights(tmp_path):
    """Random weights of torchvision's r3d_18, as its file has them."""
    from torchvision.models.video import r3d_18

    torch.manual_seed(0)
    path = tmp_path / "r3d.pth"
    torch.save(r3d_18(weights=None).state_dict(), path)
    return path


def test_a_network_gives_what_it_gives_a_single_clip(weights, tmp_path):
    files = find_videos(film(tmp_path / "films/a", 9).parent)["a"]
    describe = Kinetics(
        network="r3d_18", weights=str(weights), crops=5, snippet=4, stride=2
    )

    found = describe(files)

    assert found.shape == (3, 5, 512)
    np.testing.assert_allclose(describe(files[2:6])[0], found[1], rtol=1e-4, atol=1e-5)
    assert describe.about["crops"] == 5 and len(describe.about["weights_sha256"]) == 64


def test_absent_weights_say_what_to_fetch():
    with pytest.raises(InputError, match=r"fetch i3d_r50_kinetics\.pth from github"):
        _ = Kinetics().about
    with pytest.raises(InputError, match=r"no file gone\.pth; fetch r3d_18-b3b3357e"):
        _ = Kinetics(network="r3d_18", weights="gone.pth").about


def test_weights_of_another_network_are_refused(weights, tmp_path):
    files = find_videos(film(tmp_path / "films/a", 4).parent)["a"]
    other = Kinetics(
        network="r2plus1d_18", weights=str(weights), crops=1, snippet=4, stride=4
    )
    with pytest.raises(InputError, match="does not hold weights of r2plus1d_18"):
        other(files)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"crops": 3}, "allowed are 1, 5 and 10"),
        ({"network": "vgg"}, "allowed are r3d"),
    ],
)
def test_other_settings_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        Kinetics(**wrong)


def test_an_unknown_description_lists_the_known_ones():
    with pytest.raises(InputError, match="allowed are motion, motion"):
        describer("optical")


# --- Extraction ---------------------------------------------------------------------


class Interrupted:
    """Describes one video, then Ctrl-C."""

    snippet, stride, about = TINY.snippet, TINY.stride, TINY.about

    def __init__(self):
        self.done = 0

    def __call__(self, files):
        if self.done:
            raise KeyboardInterrupt
        self.done += 1
        return TINY(files)


@pytest.fixture
def films(tmp_path):
    """Videos of one's own in the layout of `video-folder`."""
    for part in ("train/normal", "train/abnormal", "test/normal", "test/fall"):
        film(tmp_path / "films" / part / part.replace("/", "_"), 9)
    return tmp_path / "films"


def test_an_interrupted_extraction_goes_on_and_is_read_as_a_dataset(films, tmp_path):
    target, told = tmp_path / "features", []
    with pytest.raises(KeyboardInterrupt):
        extract(films, target, Interrupted())
    assert len(list(target.rglob("*.npy"))) == 1
    assert not list(target.rglob("*.tmp"))

    made = extract(films, target, TINY, lambda *step: told.append(step))

    assert made == 3 and told[-1] == (4, 4)
    assert extract(films, target, TINY) == 0
    data = registry.load_videos(registry.find_videos("video-folder", "real", target))
    assert data.num_features == TINY.num_features
    assert (data.snippet, data.stride) == (4, 2)
    assert data.test_ids == ("test_fall", "test_normal")


def test_features_of_other_settings_are_not_mixed(films, tmp_path):
    extract(films, tmp_path / "features", TINY)
    other = Motion(height=20, cell=5, snippet=4, stride=1)
    with pytest.raises(InputError, match="holds features of other settings"):
        extract(films, tmp_path / "features", other)


def test_features_need_a_folder_apart_and_videos(films, tmp_path):
    with pytest.raises(InputError, match="a folder apart"):
        extract(films, films / "features", TINY)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no videos"):
        extract(tmp_path / "empty", tmp_path / "out", TINY)


def test_the_command_describes_a_folder(films, tmp_path, capsys):
    from thesislib.cli import main

    given = ["data", "features", str(films), str(tmp_path / "out"), "--stride", "2"]
    assert main(given) == 0
    assert "4 videos were described" in capsys.readouterr().out
    assert main([*given, "--features", "i3d_r50"]) == 1
    assert "fetch i3d_r50_kinetics.pth" in capsys.readouterr().err


def test_frames_are_sorted_by_number(tmp_path):
    film(tmp_path / "a", 12)
    names = [path.name for path in features.find_videos(tmp_path)["a"]]
    assert names == [f"{k}.png" for k in range(12)]
