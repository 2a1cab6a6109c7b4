r"""Kernel density estimate and one-class SVM on pixels, baselines of Table 6.1.

Followed is Ruff et al., *Deep One-Class Classification*, 2018, Section 4.1: principal
components that keep 95 % of the variance, then either method with a Gaussian kernel, as
scikit-learn has them. Differences:

- They chose the SVM's $\gamma$ by the AUROC on labelled test images, and the better of
  two $\nu$. No label is seen here: $\gamma$ follows a fixed rule.
- They normalise the contrast of every image, though the scripts of their program do not
  for these two methods, and the program has bandwidths from $2^{-4.5}$ to $2^5$. Here
  pixels are in [0, 1] as for all methods of the chapter, and bandwidths are multiples
  of the coordinates' own spread.
- Larger images than 32 px are averaged down and more than 2,000 drawn from.

Tables 6.1 and A.2 seem to have other components. On held-out training images of MNIST,
with 1,000 to fit, the SVM on whitened ones (`whiten`) is within 0.006 of Table A.2 on
average over classes, mean 0.947 where 0.951 is printed; not whitened it has 0.868. A
KDE on all of them has 0.94, whitened or not. The printed 0.814 is near what about
twelve whitened ones give (0.82; 0.025 on average), a number that was found by trying.

Axes in all shapes: N training images, M scored ones, K components.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity
from sklearn.svm import OneClassSVM
from torch import Tensor
from torch.nn import functional as F

from thesislib.errors import InputError
from thesislib.ranges import above, at_least, within


@dataclass(frozen=True, kw_only=True)
class ShallowConfig:
    """Settings of both methods, Ruff et al. Section 4.1; what is ours says so."""

    image_size: int = 32  # pixels; larger images are averaged down to it; ours
    num_images: int = 2_000  # N at most, drawn at random of more; ours
    variance: float = 0.95  # share that the components keep
    whiten: bool = False  # give each coordinate a deviation of 1; as if in Table A.2

    # KDE
    bandwidths: tuple[float, ...] = tuple(2.0**k for k in range(-4, 3))  # times the
    # root mean square of the coordinates; 7 of them, ours
    folds: int = 5  # of the cross-validation

    # One-class SVM
    nu: float = 0.1  # bound on the share of training images outside; they try 0.01 too
    gamma: Literal["scale"] | float = "scale"  # 1 / (K times the mean variance); ours

    def __post_init__(self) -> None:
        at_least(self, 1, "image_size")
        at_least(self, 2, "num_images", "folds")
        above(self, 0, "bandwidths")
        within(self, "(0, 1]", "variance", "nu")


class Shallow:
    """Principal components of normal images, and what was fitted to them.

    Attributes:
        num_components: K.
        bandwidth: The one chosen, in units of pixel values; None of the SVM.
    """

    def __init__(self, pca: PCA, estimator: KernelDensity | OneClassSVM) -> None:
        self.pca, self.estimator = pca, estimator
        self.num_components = int(pca.n_components_)
        self.bandwidth: float | None = getattr(estimator, "bandwidth", None)


def fit_kde(bank, config: ShallowConfig, seed: int) -> Shallow:
    r"""Gaussian kernel density estimate (Parzen 1962) of the coordinates.

    The bandwidth is that of `config.bandwidths` with the largest log-likelihood of
    held-out training images, summed over `config.folds` folds.

    Args:
        bank: Normal images.
        config: Settings.
        seed: Of the draw of images and of the folds.

    Raises:
        InputError: If there are too few images, all are the same, or a setting is
            not possible.
    """
    images = _training_images(bank, config, seed)
    if len(images) < 2 * config.folds:
        raise InputError(
            f"KDE's cross-validation in {config.folds} folds needs at least "
            f"{2 * config.folds} training images, got {len(images)}."
        )
    pca, coordinates = _components(images, config)
    spread = float(np.sqrt(np.square(coordinates).mean()))
    search = GridSearchCV(
        # One leaf: in many dimensions, a tree only costs time.
        KernelDensity(leaf_size=len(coordinates)),
        {"bandwidth": [spread * factor for factor in config.bandwidths]},
        cv=KFold(config.folds, shuffle=True, random_state=seed),
        error_score="raise",
    )
    return Shallow(pca, search.fit(coordinates).best_estimator_)


def fit_ocsvm(bank, config: ShallowConfig, seed: int) -> Shallow:
    """One-class SVM (Schölkopf et al. 2001) with a Gaussian kernel.

    Args and errors as `fit_kde`; two images are enough.
    """
    if not 0 < config.nu <= 1:
        raise InputError(f"nu is {config.nu}; it must be above 0 and at most 1.")
    pca, coordinates = _components(_training_images(bank, config, seed), config)
    machine = OneClassSVM(kernel="rbf", nu=config.nu, gamma=config.gamma)
    return Shallow(pca, machine.fit(coordinates))


class Scores(NamedTuple):
    """What either method says of M images; larger is more abnormal.

    Attributes:
        score: (M,). KDE: negative log-density of the coordinates, nats. SVM: negative
            decision function, above 0 outside.
    """

    score: Tensor


def score(model: Shallow, batches: Iterable[Tensor], config: ShallowConfig) -> Scores:
    """Score images by a fitted method.

    What lies outside the principal components is not seen.

    Args:
        model: Of `fit_kde` or `fit_ocsvm`.
        batches: Images, (B, C, H, W) in [0, 1] each.
        config: Settings that it was fitted with.
    """
    found = [
        model.estimator.score_samples(c)
        if isinstance(model.estimator, KernelDensity)
        else model.estimator.decision_function(c)
        for c in (model.pca.transform(_vectors(x, config)) for x in batches)
    ]
    return Scores(torch.from_numpy(-np.concatenate(found)))


def _training_images(bank, config: ShallowConfig, seed: int) -> np.ndarray:
    """Vectors of all training images, or of `config.num_images` of them, (N, CHW)."""
    chosen = np.arange(len(bank))
    if len(bank) > config.num_images:
        generator = np.random.default_rng(seed)
        chosen = generator.choice(len(bank), config.num_images, replace=False)
    parts = torch.from_numpy(np.sort(chosen)).split(256)
    return np.concatenate([_vectors(bank.take(part), config) for part in parts])


def _vectors(images: Tensor, config: ShallowConfig) -> np.ndarray:
    """Pixels in float64, (B, C, H, W) to (B, CHW), averaged to the size wanted."""
    if images.shape[-1] > config.image_size:
        images = F.interpolate(images, size=config.image_size, mode="area")
    return images.flatten(1).double().cpu().numpy()


def _components(images: np.ndarray, config: ShallowConfig) -> tuple[PCA, np.ndarray]:
    """Fit the principal components; also give the coordinates, (N, K)."""
    if not 0 < config.variance < 1:
        raise InputError(
            f"variance is {config.variance}; the share that the components keep must "
            "be above 0 and below 1."
        )
    if len(images) < 2 or not np.ptp(images, axis=0).any():
        raise InputError(
            f"Principal components need at least two different training images, got "
            f"{len(images)}{' that are all the same' if len(images) > 1 else ''}."
        )
    pca = PCA(config.variance, svd_solver="full", whiten=config.whiten)
    return pca, pca.fit_transform(images)
