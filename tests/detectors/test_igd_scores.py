"""Scores of Eqs. (6.21) to (6.23) and maps of Eqs. (6.28) and (6.29)."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from thesislib.detectors import igd, igd_scores
from thesislib.detectors.igd import IGD, IGDConfig
from thesislib.detectors.igd_scores import Scores
from thesislib.errors import InputError
from thesislib.nn import patches

SIZE, PATCH, STRIDE = 32, 16, 8  # pixels; nine patches an image
GLOBAL = IGDConfig(num_features=4, base_width=2, critic_width=2, residual=False)
LOCAL = replace(GLOBAL, patch_size=PATCH, stride=STRIDE)


def images_of(num_images=5, num_channels=1):
    generator = torch.Generator().manual_seed(num_images)
    return torch.rand(num_images, num_channels, SIZE, SIZE, generator=generator)


def model_of(config, num_channels=1):
    """Weights as drawn, moments of made images."""
    torch.manual_seed(0)
    model = IGD(config, config.patch_size or SIZE, num_channels).eval()
    with torch.no_grad():
        parts = torch.cat(
            [
                *patches.portions(
                    images_of(7, num_channels), config.patch_size, config.stride
                )
            ]
        )
        model.classifier.fit(model.encoder(parts))
    return model


def slow_parts(model, images, config):
    """Both losses of every patch of every image, (M, P) each, one at a time."""
    size = config.patch_size or SIZE
    starts = range(0, SIZE - size + 1, config.stride)
    rec, gac = [], []
    with torch.no_grad():
        for image in images:
            for row in starts:
                for column in starts:
                    x = image[None, :, row : row + size, column : column + size]
                    z = model.encoder(x)
                    rec.append(igd.reconstruction_loss(x, model.decoder(z), config))
                    gac.append(model.classifier(z))
    return (torch.cat(terms).view(len(images), -1) for terms in (rec, gac))


@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_global_score_is_reconstruction_plus_classification(num_channels):
    images, model = images_of(5, num_channels), model_of(GLOBAL, num_channels)
    found = igd_scores.score(model, [images], GLOBAL)

    rec, gac = slow_parts(model, images, GLOBAL)
    torch.testing.assert_close(found.rec, rec[:, 0])
    torch.testing.assert_close(found.gac, gac[:, 0])
    torch.testing.assert_close(found.score, (rec + gac)[:, 0])  # Eq. (6.22)
    assert found.maps is None


def test_the_local_score_is_the_largest_sum_and_not_the_sum_of_the_largest():
    images, model = images_of(12), model_of(LOCAL)
    found = igd_scores.score(model, [images], LOCAL)

    rec, gac = slow_parts(model, images, LOCAL)
    assert rec.shape == (12, 9)
    torch.testing.assert_close(found.score, (rec + gac).amax(dim=1))  # Eq. (6.23)
    torch.testing.assert_close(found.rec, rec.amax(dim=1))
    torch.testing.assert_close(found.gac, gac.amax(dim=1))
    assert (found.score < found.rec + found.gac - 1e-4).any()


@pytest.mark.parametrize(("share", "weights"), [(0.1, (0.9, 0.1)), (0.9, (0.1, 0.9))])
def test_the_authors_shares_are_mixed_before_the_maximum(share, weights):
    images, model = images_of(8), model_of(LOCAL)
    config = replace(LOCAL, share_gac=share)

    rec, gac = slow_parts(model, images, LOCAL)
    expected = (weights[0] * rec + weights[1] * gac).amax(dim=1)
    torch.testing.assert_close(
        igd_scores.score(model, [images], config).score, expected
    )


def test_without_a_share_the_score_is_the_plain_sum():
    rec, gac = torch.tensor([0.2, 0.5]), torch.tensor([1.0, 0.0])

    torch.testing.assert_close(
        igd_scores.weigh(rec, gac, GLOBAL), torch.tensor([1.2, 0.5])
    )
    halves = igd_scores.weigh(rec, gac, replace(GLOBAL, share_gac=0.5))
    torch.testing.assert_close(halves, torch.tensor([0.6, 0.25]))


@pytest.mark.parametrize("config", [GLOBAL, LOCAL], ids=["global", "local"])
def test_batches_do_not_matter(config):
    images, model = images_of(6), model_of(config)
    whole = igd_scores.score(model, [images], config, maps=True)
    apart = igd_scores.score(model, images.split([1, 3, 2]), config, maps=True)

    for one, other in zip(whole, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        assert len(one) == 6


def test_patches_in_several_portions_keep_their_images():
    images, model = images_of(300), model_of(LOCAL)  # 2,700 patches, portions of 2,048
    whole = igd_scores.score(model, [images], LOCAL)
    apart = igd_scores.score(model, images.split(50), LOCAL)

    torch.testing.assert_close(whole.score, apart.score, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [GLOBAL, LOCAL], ids=["global", "local"])
def test_scoring_changes_nothing_and_leaves_the_model_in_eval_mode(config):
    model = model_of(config).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    igd_scores.score(model, [images_of()], config, maps=True)

    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert not any(module.training for module in model.modules())


def test_the_floor_of_the_loss_is_not_in_the_score():
    model = model_of(GLOBAL)
    scores = [
        igd_scores.score(
            model, [images_of()], replace(GLOBAL, variance_floor=floor)
        ).gac
        for floor in (None, 1.0, 1e6)
    ]

    torch.testing.assert_close(scores[0], scores[1])
    torch.testing.assert_close(scores[0], scores[2])


def test_the_global_map_is_the_reconstruction_loss_of_every_pixel():
    images, model = images_of(5, 3), model_of(GLOBAL, 3)
    maps = igd_scores.score(model, [images], GLOBAL, maps=True).maps

    with torch.no_grad():
        reconstruction = model.decoder(model.encoder(images))
    expected = igd.reconstruction_map(images, reconstruction, GLOBAL.rho)[:, 0]
    torch.testing.assert_close(maps, expected)
    assert maps.shape == (5, SIZE, SIZE)


def test_the_local_map_is_the_mean_over_the_patches_that_cover_a_pixel():
    images, model = images_of(3), model_of(LOCAL)
    maps = igd_scores.score(model, [images], LOCAL, maps=True).maps

    total, cover = torch.zeros(3, SIZE, SIZE), torch.zeros(SIZE, SIZE)
    with torch.no_grad():
        for row in range(0, SIZE - PATCH + 1, STRIDE):
            for column in range(0, SIZE - PATCH + 1, STRIDE):
                window = (..., slice(row, row + PATCH), slice(column, column + PATCH))
                x = images[window]
                y = model.decoder(model.encoder(x))
                total[window] += igd.reconstruction_map(x, y, LOCAL.rho)[:, 0]
                cover[window] += 1
    torch.testing.assert_close(maps, total / cover, atol=1e-4, rtol=1e-4)
    assert cover.min() == 1 and cover.max() == 4


def test_both_scales_add_up():
    images = images_of(8)
    of_global = igd_scores.score(model_of(GLOBAL), [images], GLOBAL, maps=True)
    of_local = igd_scores.score(model_of(LOCAL), [images], LOCAL, maps=True)
    both = igd_scores.combine(of_global, of_local)

    torch.testing.assert_close(both.score, of_global.score + of_local.score)  # (6.21)
    torch.testing.assert_close(both.maps, of_global.maps + of_local.maps)  # (6.28)
    torch.testing.assert_close(both.rec, of_global.rec + of_local.rec)
    torch.testing.assert_close(both.gac, of_global.gac + of_local.gac)


def test_the_authors_program_takes_half_of_each_scale():
    images = images_of(8)
    of_global = igd_scores.score(model_of(GLOBAL), [images], GLOBAL, maps=True)
    of_local = igd_scores.score(model_of(LOCAL), [images], LOCAL, maps=True)
    halves = igd_scores.combine(of_global, of_local, mean=True)

    for half, one in zip(halves, igd_scores.combine(of_global, of_local), strict=True):
        torch.testing.assert_close(2 * half, one, rtol=0, atol=0)


def test_maps_of_one_scale_alone_are_not_taken_for_those_of_both():
    numbers = torch.ones(2)
    with_maps = Scores(numbers, numbers, numbers, torch.ones(2, 4, 4))
    without = Scores(numbers, numbers, numbers, None)

    assert igd_scores.combine(with_maps, without).maps is None
    assert igd_scores.combine(without, with_maps).maps is None


class Remembering(nn.Module):
    """A detector's stand-in that knows normal images: grey ones.

    As encoder it gives the brightness of the four quarters, as decoder a grey image.
    """

    def __init__(self, size, *, decodes):
        super().__init__()
        self.size, self.decodes = size, decodes

    def forward(self, x):
        if self.decodes:
            return torch.full((len(x), 1, self.size, self.size), 0.5)
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def stand_in(config):
    size = config.patch_size or SIZE
    model = IGD(config, size, 1, encoder=Remembering(size, decodes=False))
    model.decoder = Remembering(size, decodes=True)
    model.classifier.mean.fill_(0.5)
    model.classifier.variance.fill_(0.01)
    return model


def test_abnormal_images_score_higher_and_where_the_lesion_is():
    generator = torch.Generator().manual_seed(0)
    images = 0.5 + 0.02 * torch.randn(6, 1, SIZE, SIZE, generator=generator)
    images[3:, :, 20:26, 4:10] += 0.4
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inside[20:26, 4:10] = True

    found = [
        igd_scores.score(stand_in(config), [images], config, maps=True)
        for config in (GLOBAL, LOCAL)
    ]
    for scores in (*found, igd_scores.combine(*found)):
        for term in (scores.score, scores.rec, scores.gac):
            assert term[3:].min() > term[:3].max()
        abnormal = scores.maps[3:]
        assert abnormal[:, inside].min() > abnormal[:, ~inside].median()
        assert abnormal[:, inside].mean() > 2 * abnormal[:, ~inside].mean()
    local_gap, global_gap = (
        scores.gac[3:].min() - scores.gac[:3].max() for scores in reversed(found)
    )
    assert local_gap > global_gap  # small lesions fill more of a patch


def test_patches_that_miss_a_border_are_refused():
    config = replace(LOCAL, stride=5)
    with pytest.raises(InputError, match="patch_size is 16 and stride 5 pixels, but"):
        igd_scores.score(model_of(LOCAL), [images_of()], config)
