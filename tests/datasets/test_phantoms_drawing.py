import math

import pytest
import torch

from thesislib.datasets.phantoms.drawing import (
    BLOCK,
    Canvas,
    bell,
    smoothstep,
    soft_limit,
    walk,
)


def canvas(size, seed=0):
    return Canvas(size, seed, (0, 0))


def test_smoothstep_is_flat_at_both_ends_and_symmetric():
    t = torch.tensor([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0])

    rise = smoothstep(0, 1, t)

    torch.testing.assert_close(rise, torch.tensor([0, 0, 5 / 32, 0.5, 27 / 32, 1, 1]))
    torch.testing.assert_close(smoothstep(1, 0, t), 1 - rise)


def test_bell_falls_to_one_over_e_at_its_width():
    assert bell(torch.tensor(3.0), 3.0).item() == pytest.approx(math.exp(-1))


def test_noise_has_mean_0_and_deviation_1():
    fields = torch.stack([canvas(64, seed).noise(8) for seed in range(40)])

    # 640 pictures of about 8 x 8 independent values: standard error below 0.01
    assert fields.mean().item() == pytest.approx(0, abs=0.05)
    assert fields.std().item() == pytest.approx(1, abs=0.05)


def test_noise_is_the_same_field_at_another_size():
    large, small = canvas(96).noise(5), canvas(32).noise(5)

    # pixel centres of 32 pixels lie on those of 96
    torch.testing.assert_close(large[:, 1::3, 1::3], small, atol=1e-5, rtol=1e-5)


def test_noise_too_fine_for_the_pixels_still_advances_the_stream():
    coarse, fine = canvas(32), canvas(128)
    left_out, drawn = coarse.noise(30), fine.noise(30)

    assert not left_out.any()
    assert drawn.any()
    assert torch.equal(coarse.uniform(0, 1), fine.uniform(0, 1))


def test_blur_keeps_constants_and_spreads_a_point_as_a_gaussian():
    board = canvas(65)
    point = torch.zeros(1, 65, 65)
    point[0, 32, 32] = 1

    flat = board.blur(torch.ones(1, 65, 65), 0.2)
    spread = board.blur(point, 6 / 65)[0]  # 3 pixels

    torch.testing.assert_close(flat, torch.ones(1, 65, 65))
    assert spread.sum().item() == pytest.approx(1, abs=1e-4)
    assert (spread[32, 35] / spread[32, 32]).item() == pytest.approx(math.exp(-0.5))
    rows = torch.arange(65) - 32.0
    assert (spread.sum(1) * rows**2).sum().item() == pytest.approx(9, rel=1e-3)


def test_gradient_of_a_plane_is_its_slope():
    board = canvas(40)
    plane = (2 * board.x - 3 * board.y)[None]

    dx, dy = board.gradient(plane)

    torch.testing.assert_close(dx, torch.full_like(dx, 2), atol=1e-3, rtol=0)
    torch.testing.assert_close(dy, torch.full_like(dy, -3), atol=1e-3, rtol=0)


def test_soft_limit_keeps_gentle_slopes_and_bounds_steep_ones():
    slopes = torch.tensor([0.01, 1e4])

    dx, _ = soft_limit(slopes, torch.zeros(2), 2.0)

    torch.testing.assert_close(dx, torch.tensor([0.01, 2.0]), atol=1e-4, rtol=1e-3)


def test_walking_around_a_polygon_closes_it():
    angles = torch.arange(12) * math.tau / 12

    x, y, _ = walk(torch.zeros(1, 1), torch.zeros(1, 1), angles.view(1, 1, 12), 0.1)

    assert x[..., -1].item() == pytest.approx(0, abs=1e-6)
    assert y[..., -1].item() == pytest.approx(0, abs=1e-6)
    assert (x.amax() - x.amin()).item() == pytest.approx(0.1 / math.tan(math.pi / 12))
    assert (y.amax() - y.amin()).item() == pytest.approx(0.1 / math.tan(math.pi / 12))


@pytest.mark.parametrize("size", [64, 128])
def test_a_stroke_has_the_depth_of_its_brush_at_every_size(size):
    x = torch.linspace(-0.9, 0.9, 300).expand(BLOCK, 1, 300)

    depth = canvas(size).strokes(x, torch.zeros_like(x), torch.full_like(x, 0.06))

    # across the line a Gaussian of deviation 0.06 and peak 1 / sqrt(2 pi)
    column = depth[0, :, size // 2]
    assert column.sum() * 2 / size == pytest.approx(0.06, rel=0.02)
    # (the middle lies between two rows of pixels)
    assert column.max() == pytest.approx(1 / math.sqrt(math.tau), rel=0.08)
