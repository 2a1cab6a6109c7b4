"""Motion maps: flow of known shifts, invariances, snippets as a stream."""

import numpy as np
import pytest
import torch
from PIL import Image

from thesislib.errors import InputError
from thesislib.video import motion
from thesislib.video.motion import Motion, lucas_kanade, orientations


def smooth(shift_x=0.0, shift_y=0.0, size=48):
    """A smooth pattern, moved by so many pixels, (1, 1, H, W)."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    x, y = x - shift_x, y - shift_y
    wave = torch.sin(0.35 * x) * torch.cos(0.3 * y) + torch.sin(0.2 * x + 0.25 * y)
    return (0.5 + 0.2 * wave)[None, None]


@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, -1.0), (0.5, 0.7), (-1.2, 0.4)])
def test_flow_of_a_shifted_pattern_is_the_shift(shift):
    flow = lucas_kanade(smooth(), smooth(*shift))
    inner = flow[0, :, 12:-12, 12:-12].median(dim=-1).values.median(dim=-1).values
    torch.testing.assert_close(inner, torch.tensor(shift), atol=0.1, rtol=0)


def test_flow_of_a_still_or_an_even_picture_is_none():
    assert lucas_kanade(smooth(), smooth()).abs().max() == 0
    even = torch.full((1, 1, 20, 20), 0.3)
    assert lucas_kanade(even, even + 0.1).abs().max() < 1e-5


@pytest.mark.parametrize("signed", [True, False])
def test_directions_share_the_length_of_a_vector(signed):
    field = torch.randn(2, 2, 5, 6)
    shares = orientations(field, 8, signed)
    torch.testing.assert_close(shares.sum(dim=1), field.norm(dim=1))
    assert ((shares > 1e-6).sum(dim=1) <= 2).all()


def test_opposite_vectors_are_the_same_edge_but_another_motion():
    field = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(
        orientations(field, 8, signed=False), orientations(-field, 8, signed=False)
    )
    turned = orientations(-field, 8).roll(4, dims=1)
    torch.testing.assert_close(orientations(field, 8), turned)


def write(folder, grey):
    """Frames (F, H, W), 0 to 1, as pictures in order."""
    folder.mkdir()
    files = []
    for number, frame in enumerate(grey):
        files.append(folder / f"{number:03d}.png")
        Image.fromarray((frame * 255).round().astype(np.uint8)).save(files[-1])
    return files


@pytest.fixture
def moving(tmp_path):
    """A pattern that moves right by one pixel a frame, 21 frames."""
    return write(tmp_path / "walk", [smooth(k)[0, 0].numpy() for k in range(21)])


SMALL = Motion(height=48, cell=8, snippet=6, stride=3)


def test_a_snippet_is_the_mean_of_its_pairs(moving):
    """Each snippet by itself gives what the stream gives."""
    whole = SMALL(moving)
    assert whole.shape == (6, 1, SMALL.num_features) == (6, 1, 32)
    assert whole.dtype == np.float32
    for t in range(6):
        alone = SMALL(moving[3 * t : 3 * t + 6])
        np.testing.assert_allclose(alone[0], whole[t], rtol=1e-5)


def test_motion_to_the_right_lies_in_the_first_direction(moving):
    directions = SMALL(moving)[:, 0, 16:24].mean(axis=0)  # the means over cells
    assert directions.argmax() == 0
    assert directions[4] < 0.3 * directions[0]


def test_faster_motion_exceeds_more_speeds(tmp_path, moving):
    fast = write(tmp_path / "run", [smooth(2.5 * k)[0, 0].numpy() for k in range(8)])
    speeds = slice(16 + 8, 16 + 14)
    assert (SMALL(fast)[0, 0, speeds][3:] > SMALL(moving)[0, 0, speeds][3:]).all()


def test_the_place_of_what_moves_is_forgotten(tmp_path):
    clips = []
    for place in (0, 48):  # whole cells apart
        grey = np.full((8, 48, 96), 0.5, dtype=np.float32)
        for k in range(8):
            grey[k, 16:32, place + 16 + k : place + 24 + k] = 0.9
        clips.append(SMALL(write(tmp_path / str(place), grey)))
    np.testing.assert_allclose(*clips, atol=2e-3)


def test_appearance_adds_edges(moving):
    both = Motion(height=48, cell=8, snippet=6, stride=3, appearance=True)
    assert both(moving).shape[2] == both.num_features == 48
    assert both.about != SMALL.about


def test_more_frames_than_fit_one_batch_give_the_same(moving, monkeypatch):
    whole = SMALL(moving)
    monkeypatch.setattr(motion, "_PAIRS", 4)
    np.testing.assert_allclose(SMALL(moving), whole, rtol=1e-5)


def test_a_video_shorter_than_a_snippet_gives_one(moving):
    assert SMALL(moving[:3]).shape[0] == 1


def test_a_single_frame_has_no_motion(moving):
    with pytest.raises(InputError, match=r"walk/000\.png is a single frame"):
        SMALL(moving[:1])


def test_a_stride_beyond_the_snippet_is_refused():
    with pytest.raises(InputError, match="stride is 9"):
        Motion(stride=9)
