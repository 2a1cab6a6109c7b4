"""MS-SSIM against pytorch-msssim, against slow loops, and its invariances."""

import math

import pytest
import pytorch_msssim
import torch

from thesislib.errors import InputError
from thesislib.nn import msssim
from thesislib.nn.msssim import WEIGHTS, ms_ssim, ms_ssim_map, scales_of

LOOSE = {"atol": 1e-3, "rtol": 0}  # of float32 where variances are near zero


def pair(size, num_channels=1, num_images=2, noise=0.2):
    """Smooth images and noisy copies of them."""
    generator = torch.Generator().manual_seed(size)
    shape = (num_images, num_channels, 5, 5)
    coarse = torch.rand(shape, generator=generator)
    x = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    y = x + noise * torch.randn(x.shape, generator=generator)
    return x, y.clamp(0, 1)


def slow_window(rows, columns, centre):
    """Weights of a Gaussian of 1.5 pixels on the given pixels, sum 1."""
    weights = torch.tensor(
        [
            [
                math.exp(-((r - centre[0]) ** 2 + (c - centre[1]) ** 2) / (2 * 1.5**2))
                for c in columns
            ]
            for r in rows
        ],
        dtype=torch.float64,
    )
    return weights / weights.sum()


def slow_lcs(x, y, centre, window):
    """Eqs. (6.25), (6.26) and (6.27) of one position, three numbers; x, y: (H, W)."""
    size, radius = len(x), window // 2
    rows, columns = (
        range(max(0, c - radius), min(size, c + radius + 1)) for c in centre
    )
    weights = slow_window(rows, columns, centre)
    a = x[rows.start : rows.stop, columns.start : columns.stop]
    b = y[rows.start : rows.stop, columns.start : columns.stop]
    mu_a, mu_b = (weights * a).sum(), (weights * b).sum()
    sigma_a = (weights * (a - mu_a) ** 2).sum().sqrt()
    sigma_b = (weights * (b - mu_b) ** 2).sum().sqrt()
    sigma_ab = (weights * (a - mu_a) * (b - mu_b)).sum()
    c_1, c_2 = 0.01**2, 0.03**2
    c_3 = c_2 / 2
    luminance = (2 * mu_a * mu_b + c_1) / (mu_a**2 + mu_b**2 + c_1)
    contrast = (2 * sigma_a * sigma_b + c_2) / (sigma_a**2 + sigma_b**2 + c_2)
    structure = (sigma_ab + c_3) / (sigma_a * sigma_b + c_3)
    return luminance, contrast, structure


def slow_halve(x):
    """Means of 2 x 2; an odd side lies within a border of zeros."""
    odd = len(x) % 2
    padded = torch.zeros(len(x) + 2 * odd, len(x) + 2 * odd, dtype=x.dtype)
    padded[odd : odd + len(x), odd : odd + len(x)] = x
    half = len(padded) // 2
    return torch.stack(
        [
            torch.stack(
                [
                    padded[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean()
                    for j in range(half)
                ]
            )
            for i in range(half)
        ]
    )


def slow_ms_ssim(x, y, window, weights):
    """Eq. (6.24) of two grey images, (H, W), one position at a time."""
    x, y, product = x.double(), y.double(), 1.0
    for scale, weight in enumerate(weights):
        if scale:
            x, y = slow_halve(x), slow_halve(y)
        inside = range(window // 2, len(x) - window // 2)
        terms = [slow_lcs(x, y, (i, j), window) for i in inside for j in inside]
        last = scale == len(weights) - 1
        means = [c * s * (light if last else 1) for light, c, s in terms]
        product *= (sum(means) / len(means)) ** weight
    return product


def slow_map(x, y, window, weights):
    """The product of Eq. (6.24) at every pixel of two grey images, (H, W)."""
    x, y, size = x.double(), y.double(), len(x)
    product = torch.ones(size, size, dtype=torch.float64)
    covering = [(i,) for i in range(size)]  # pixels of the lattice under each one
    for scale, weight in enumerate(weights):
        if scale:
            odd = len(x) % 2
            padded = [()] * odd + covering + [()] * odd
            covering = [
                padded[2 * i] + padded[2 * i + 1] for i in range(len(padded) // 2)
            ]
            x, y = slow_halve(x), slow_halve(y)
        last = scale == len(weights) - 1
        for i, rows in enumerate(covering):
            for j, columns in enumerate(covering):
                light, c, s = slow_lcs(x, y, (i, j), window)
                value = (c * s * (light if last else 1)).clamp(1e-6) ** weight
                for row in rows:
                    for column in columns:
                        product[row, column] *= value
    return product


@pytest.mark.parametrize("size", [161, 192, 256])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_it_is_pytorch_msssim_where_that_exists(size, num_channels):
    x, y = pair(size, num_channels, num_images=3)
    scales = scales_of(size)
    expected = pytorch_msssim.ms_ssim(
        x, y, data_range=1.0, size_average=False, weights=list(WEIGHTS)
    )

    assert scales == (11, WEIGHTS)
    torch.testing.assert_close(ms_ssim(x, y, scales), expected, rtol=1e-5, atol=1e-5)
    assert expected.max() < 0.99  # noise was seen


@pytest.mark.parametrize("size", [28, 32, 64])
def test_it_is_the_slow_product_of_luminance_contrast_and_structure(size):
    x, y = pair(size, num_images=1)
    scales = scales_of(size)

    expected = slow_ms_ssim(x[0, 0], y[0, 0], *scales)
    assert ms_ssim(x, y, scales).item() == pytest.approx(expected.item(), abs=1e-5)


def test_channels_and_images_do_not_meet():
    x, y = pair(32, num_channels=3)
    scales = scales_of(32)
    apart = torch.stack(
        [
            torch.stack(
                [ms_ssim(x[[b]][:, [c]], y[[b]][:, [c]], scales) for c in range(3)]
            )
            for b in range(2)
        ]
    )

    torch.testing.assert_close(ms_ssim(x, y, scales), apart.mean(dim=1)[:, 0])


@pytest.mark.parametrize("size", [12, 28, 64, 192])
def test_equal_images_are_one_and_order_does_not_matter(size):
    x, y = pair(size)
    scales = scales_of(size)

    torch.testing.assert_close(ms_ssim(x, x, scales), torch.ones(2))
    torch.testing.assert_close(ms_ssim_map(x, x, scales), torch.ones(2, 1, size, size))
    torch.testing.assert_close(ms_ssim(x, y, scales), ms_ssim(y, x, scales))
    assert (ms_ssim(x, y, scales) < 0.999).all()


def test_turning_and_mirroring_both_images_changes_nothing():
    x, y = pair(32)
    scales = scales_of(32)
    value, drawn = ms_ssim(x, y, scales), ms_ssim_map(x, y, scales)
    for change in (lambda t: t.flip(-1), lambda t: t.flip(-2), lambda t: t.mT):
        torch.testing.assert_close(ms_ssim(change(x), change(y), scales), value)
        torch.testing.assert_close(
            ms_ssim_map(change(x), change(y), scales), change(drawn), **LOOSE
        )


def test_it_depends_on_the_range_only_through_the_ratio():
    x, y = pair(32)
    scales, thesis_range = scales_of(32), 4.7579
    wide = (thesis_range * x, thesis_range * y, scales, thesis_range)

    torch.testing.assert_close(ms_ssim(*wide), ms_ssim(x, y, scales))
    torch.testing.assert_close(ms_ssim_map(*wide), ms_ssim_map(x, y, scales), **LOOSE)
    unscaled = ms_ssim(thesis_range * x, thesis_range * y, scales, 1.0)
    assert (unscaled - ms_ssim(x, y, scales)).abs().min() > 1e-4


def test_constant_images_differ_by_the_luminance_of_the_coarsest_scale_alone():
    a, b = 0.2, 0.8
    x, y = (torch.full((1, 1, 32, 32), value) for value in (a, b))
    luminance = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
    scales = scales_of(32)
    expected = luminance ** scales.weights[-1]

    assert ms_ssim(x, y, scales).item() == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(
        ms_ssim_map(x, y, scales), torch.full((1, 1, 32, 32), expected), **LOOSE
    )


def test_opposite_images_have_no_similarity_and_a_finite_gradient():
    x, _ = pair(32)
    y = (1 - x).requires_grad_()
    value = ms_ssim(x, y, scales_of(32))
    value.sum().backward()

    assert value.min() > 0
    assert value.max() < 0.01
    assert y.grad.isfinite().all()


def test_one_scale_below_zero_does_not_end_learning_as_in_pytorch_msssim():
    generator = torch.Generator().manual_seed(0)
    x, noise = pair(192)[0], torch.rand(1, 1, 192, 192, generator=generator).sub_(0.5)
    scales = scales_of(192)
    ours, theirs = ((x - noise).requires_grad_() for _ in range(2))  # x + noise: target
    ms_ssim(x + noise, ours, scales).sum().backward()
    value = pytorch_msssim.ms_ssim(
        x + noise, theirs, data_range=1.0, weights=list(WEIGHTS)
    )
    value.backward()

    assert value == 0 and theirs.grad.abs().max() == 0
    assert ours.grad.isfinite().all() and ours.grad.abs().max() > 1e-6


def test_gradients_are_those_of_finite_differences():
    x, y = pair(16, num_images=1)
    scales = scales_of(16)
    y.requires_grad_()
    ms_ssim(x, y, scales).sum().backward()

    length = y.grad.norm()
    direction = y.grad / length
    with torch.no_grad():
        ahead, behind = (ms_ssim(x, y + h * direction, scales) for h in (0.01, -0.01))
    assert length.item() == pytest.approx((ahead - behind).item() / 0.02, rel=0.01)


def test_following_the_gradient_finds_the_image():
    x, y = pair(32, num_images=1, noise=0.5)
    scales = scales_of(32)
    y = y.requires_grad_()
    optimizer = torch.optim.Adam([y], lr=0.05)
    before = ms_ssim(x, y, scales).item()
    for _ in range(40):
        optimizer.zero_grad()
        (1 - ms_ssim(x, y, scales)).sum().backward()
        optimizer.step()

    assert before < 0.6
    assert ms_ssim(x, y, scales).item() > 0.95


def test_lower_precision_outside_does_not_reach_it():
    x, y = pair(32)
    scales = scales_of(32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ms_ssim(x, y, scales), ms_ssim_map(x, y, scales)

    torch.testing.assert_close(inside[0], ms_ssim(x, y, scales), rtol=0, atol=0)
    torch.testing.assert_close(inside[1], ms_ssim_map(x, y, scales), rtol=0, atol=0)


def test_windows_fit_every_size_and_weights_keep_their_proportion():
    for size in range(12, 301):
        window, weights = scales_of(size)
        coarsest = size
        for _ in weights[1:]:
            coarsest = -(-coarsest // 2)
        assert window <= coarsest and window % 2 == 1 and 3 <= window <= 11
        assert window == 11 or window + 2 > coarsest  # the largest that fits
        assert len(weights) == (5 if size > 160 else 4 if size > 16 else 3)
        ratios = [w / whole for w, whole in zip(weights, WEIGHTS, strict=False)]
        assert max(ratios) == pytest.approx(min(ratios))
        assert sum(weights) == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize("size", [*range(12, 40), 57, 95, 101, 161, 175])
def test_every_size_has_a_value_and_a_map(size):
    x, y = pair(size)
    value, drawn = ms_ssim(x, y, scales_of(size)), ms_ssim_map(x, y, scales_of(size))

    assert value.shape == (2,) and drawn.shape == (2, 1, size, size)
    assert value.min() > 0 and value.max() < 1
    assert drawn.min() > 0 and drawn.max() <= 1 + 1e-6


def test_images_of_32_pixels_have_the_scales_of_the_thesis_s_local_score():
    window, weights = scales_of(32)

    assert window == 3
    printed = (0.0516, 0.3295, 0.3463, 0.2726)  # Section 6.3.3, cut and rounded there
    assert weights == pytest.approx(printed, abs=1.01e-4)


def test_larger_images_have_larger_windows():
    windows = {size: scales_of(size).window for size in (28, 32, 64, 96, 128, 256)}

    assert windows == {28: 3, 32: 3, 64: 7, 96: 11, 128: 11, 256: 11}


def test_too_small_images_are_refused():
    with pytest.raises(InputError, match="at least 12 pixels a side, not 11"):
        scales_of(11)


@pytest.mark.parametrize("whole", [False, True])
def test_window_rows_are_gaussians_of_sum_one(whole):
    rows = msssim.gaussian_matrix(9, 5, whole=whole)

    assert rows.shape == ((9, 9) if whole else (5, 9))
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(len(rows)))
    middle = rows[len(rows) // 2]
    assert middle[[0, 1, 7, 8]].tolist() == [0, 0, 0, 0]
    ratio = math.exp(-(2**2) / (2 * 1.5**2))
    assert (middle[2] / middle[4]).item() == pytest.approx(ratio)


@pytest.mark.parametrize("size", [14, 20, 28])
def test_the_map_is_the_slow_product_at_every_pixel(size):
    x, y = pair(size, num_images=1)
    scales = scales_of(size)

    expected = slow_map(x[0, 0], y[0, 0], *scales).float()
    drawn = ms_ssim_map(x, y, scales)[0, 0]
    torch.testing.assert_close(drawn, expected, atol=1e-4, rtol=1e-3)


def test_a_map_is_the_mean_of_its_channels():
    x, y = pair(32, num_channels=3)
    scales = scales_of(32)
    apart = [ms_ssim_map(x[:, [c]], y[:, [c]], scales) for c in range(3)]

    torch.testing.assert_close(ms_ssim_map(x, y, scales), sum(apart) / 3)


def test_a_local_change_moves_the_map_only_where_windows_see_it():
    x, _ = pair(64)
    y = x.clone()
    y[..., 24:32, 40:48] = (
        1 - y[..., 24:32, 40:48]
    )  # whole pixels of the coarsest scale
    scales = scales_of(64)
    similarity = ms_ssim_map(x, y, scales)[:, 0]

    reach = (
        scales.window // 2 * 2 ** (len(scales.weights) - 1)
    )  # of the coarsest window
    seen = torch.zeros(64, 64, dtype=torch.bool)
    seen[max(0, 24 - reach) : 32 + reach, max(0, 40 - reach) : 48 + reach] = True
    torch.testing.assert_close(similarity[:, ~seen], torch.ones(2, int((~seen).sum())))
    assert (similarity[:, 24:32, 40:48] < 0.8).all()
    assert (~seen).any()


def test_an_image_with_negative_structure_still_has_a_way_up():
    """A cut power has no slope where every scale's structure is negative."""
    torch.manual_seed(0)
    x = torch.rand(1, 1, 32, 32)
    y = (1 - x).requires_grad_()  # negative correlation in every window

    ms_ssim(x, y, scales_of(32)).sum().backward()

    assert y.grad.abs().max() > 0
    better = (y + 0.2 * y.grad / y.grad.abs().max()).detach()
    covariance = ((better - better.mean()) * (x - x.mean())).mean()
    before = ((y - y.mean()) * (x - x.mean())).mean()
    assert covariance > before


def test_the_slope_is_that_of_the_power_where_similarity_is_not_small():
    torch.manual_seed(0)
    x, noise = torch.rand(1, 1, 20, 20).double(), 0.1 * torch.rand(1, 1, 20, 20)
    y = (x + noise).float().requires_grad_()
    x = x.float()
    direction = torch.randn_like(y)

    (slope,) = torch.autograd.grad(ms_ssim(x, y, scales_of(20)).sum(), y)

    step = 1e-3
    ahead, behind = (
        ms_ssim(x, y + s * direction, scales_of(20)) for s in (step, -step)
    )
    numeric = ((ahead - behind) / (2 * step)).item()
    assert (slope * direction).sum().item() == pytest.approx(numeric, rel=0.02)
