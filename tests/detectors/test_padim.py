import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis

from thesislib.detectors import padim
from thesislib.detectors.padim import Moments, PaDiM, PaDiMConfig
from thesislib.errors import InputError
from thesislib.nn.resnet import ResNet18


@pytest.fixture
def features():
    return torch.randn(20, 6, 4, generator=torch.Generator().manual_seed(0))  # B, P, C


def streamed(features, size):
    moments = Moments()
    for batch in features.split(size):
        moments.add(batch)
    return moments


@pytest.mark.parametrize("size", [1, 7, 20])
def test_streaming_moments_are_numpy_s_whatever_the_batches(features, size):
    moments = streamed(features, size)
    mean, covariance = moments.mean(), moments.covariance()

    for p in range(6):
        x = features[:, p].double().numpy()
        np.testing.assert_allclose(mean[p], x.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(covariance[p], np.cov(x.T), atol=1e-5)


def test_few_positions_at_a_time_are_all_positions(features, monkeypatch):
    def distances():
        moments = streamed(features, 7)
        covariance = padim.regularise(moments.covariance(), 0.01, relative=True)
        factor = padim.cholesky(covariance)
        return padim.mahalanobis(features, moments.mean(), factor)

    whole = distances()
    monkeypatch.setattr(padim, "PORTION", 4)  # of six

    torch.testing.assert_close(distances(), whole)


def test_a_large_offset_does_not_spoil_the_covariance(features):
    plain = streamed(features, 5).covariance()
    shifted = streamed(features + 1000, 5).covariance()

    torch.testing.assert_close(shifted, plain, rtol=1e-3, atol=1e-3)


def test_distance_is_scipy_s(features):
    moments = streamed(features, 8)
    covariance = padim.regularise(moments.covariance(), 0.01, relative=False)
    distance = padim.mahalanobis(features, moments.mean(), padim.cholesky(covariance))

    for b, p in ((0, 0), (3, 5), (19, 2)):
        x = features[b, p].double().numpy()
        inverse = np.linalg.inv(
            np.cov(features[:, p].double().numpy().T) + 0.01 * np.eye(4)
        )
        mean = features[:, p].double().mean(dim=0).numpy()
        expected = scipy_mahalanobis(x, mean, inverse)
        assert distance[b, p].item() == pytest.approx(expected, rel=1e-4)


def test_relative_regularisation_ignores_the_scale_of_features(features):
    def distances(x, relative):
        moments = streamed(x, 20)
        covariance = padim.regularise(moments.covariance(), 0.01, relative)
        return padim.mahalanobis(x, moments.mean(), padim.cholesky(covariance))

    torch.testing.assert_close(
        distances(features, True), distances(30 * features, True), rtol=1e-3, atol=1e-3
    )
    assert (
        distances(features, False) - distances(0.03 * features, False)
    ).abs().max() > 0.1


def test_images_that_are_all_the_same_still_have_distances():
    x = torch.rand(1, 4, 3).expand(6, 4, 3)  # (B, P, C)
    moments = streamed(x, 3)
    covariance = padim.regularise(moments.covariance(), 0.01, relative=True)
    factor = padim.cholesky(covariance)

    other = x[:1] + torch.tensor([[[0.0], [0.1], [0.2], [0.4]]])
    distance = padim.mahalanobis(other, moments.mean(), factor)[0]
    assert distance.isfinite().all()
    assert (distance[1:] > distance[:-1]).all()


def test_channel_draw_depends_on_the_seed_alone():
    first = padim.draw_channels(448, 100, seed=1)

    assert len(set(first.tolist())) == 100
    assert torch.equal(first, padim.draw_channels(448, 100, seed=1))
    assert not torch.equal(first, padim.draw_channels(448, 100, seed=2))
    assert padim.draw_channels(56, 100, seed=0).tolist() == list(range(56))


def test_smoothing_is_scipy_s():
    maps = torch.rand(2, 1, 32, 32)
    expected = gaussian_filter(maps[0, 0].numpy(), sigma=1.5, mode="mirror")

    np.testing.assert_allclose(padim.smooth(maps, 1.5)[0, 0], expected, atol=1e-5)


def test_embedding_repeats_coarse_stages_over_the_fine_grid():
    encoder = ResNet18(base_width=8)
    detector = PaDiM(encoder, PaDiMConfig(num_channels=1000), seed=0)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        embedding = detector.embed(images).view(2, 16, 16, 56)
        coarse = encoder.feature_maps(images)[2]

    for y, x in ((0, 0), (5, 10), (15, 15)):
        torch.testing.assert_close(
            embedding[:, y, x, 24:], coarse[:, :, y // 4, x // 4]
        )


def test_few_channels_leave_a_stage_without_any():
    detector = PaDiM(ResNet18(base_width=8), PaDiMConfig(num_channels=1), seed=0)

    assert detector.embed(torch.rand(2, 3, 64, 64)).shape == (2, 16 * 16, 1)


def test_score_is_the_maximum_of_the_map_and_batches_do_not_matter():
    torch.manual_seed(0)
    images = torch.rand(12, 3, 64, 64)
    encoder = ResNet18(base_width=8)

    def run(size):
        detector = PaDiM(encoder, PaDiMConfig(num_channels=10), seed=0)
        return detector.fit(images.split(size)).score(images.split(size))

    scores, maps = run(12)
    assert maps.shape == (12, 64, 64)
    torch.testing.assert_close(scores, maps.amax(dim=(1, 2)))
    for ours, other in zip(run(12), run(5), strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-3, atol=1e-3)


def test_a_bright_square_is_found_where_it_is():
    generator = torch.Generator().manual_seed(0)
    normal = 0.5 + 0.05 * torch.randn(60, 3, 64, 64, generator=generator)
    odd = 0.5 + 0.05 * torch.randn(8, 3, 64, 64, generator=generator)
    odd[:, :, 40:56, 8:24] = 1
    torch.manual_seed(0)
    detector = PaDiM(ResNet18(base_width=8), PaDiMConfig(num_channels=20), seed=0)
    detector.fit([normal[:40]])
    normal_scores, _ = detector.score([normal[40:]])
    scores, maps = detector.score([odd])

    assert scores.min() > normal_scores.max()
    peak = maps.flatten(1).argmax(dim=1)
    reach = 8 + 4  # half the square and the four pixels of one position
    assert ((peak // 64 - 48).abs() <= reach).all()
    assert ((peak % 64 - 16).abs() <= reach).all()


def test_one_training_image_is_too_few():
    detector = PaDiM(ResNet18(base_width=8), PaDiMConfig(num_channels=5), seed=0)

    with pytest.raises(InputError, match="at least two"):
        detector.fit([torch.rand(1, 3, 64, 64)])


def test_a_singular_covariance_names_the_setting():
    with pytest.raises(InputError, match=r"padim\.regularisation"):
        padim.cholesky(torch.zeros(2, 3, 3))
