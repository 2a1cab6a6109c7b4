"""Naive baselines: what is known of a test set before any method is tried.

A detector is worth its score only where these fall short of it. They look at grey
levels, at edges, at thumbnails, or, as a ceiling that no detector of this book may
use, at labels. All scores are larger for more abnormal images.

Axes: N images, C channels, D features.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.errors import InputError

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
CEILING_SIZE = 64  # pixels; the supervised ceiling sees larger images averaged down


def statistics_features(images: ArrayLike) -> NDArray[np.float64]:
    """Nine intensity statistics a channel: mean, deviation and `QUANTILES`.

    Args:
        images: uint8, (N, C, H, W).

    Returns:
        Features (N, 9 C) on the scale 0 to 1.
    """
    images = _checked(images)
    num_images, channels, height, width = images.shape
    features = np.empty((num_images, channels, 2 + len(QUANTILES)))
    place = np.multiply(QUANTILES, height * width - 1)
    below, above = np.floor(place).astype(int), np.ceil(place).astype(int)
    for n, image in enumerate(images.reshape(num_images, channels, -1)):
        features[n, :, 0] = image.mean(axis=1)
        features[n, :, 1] = image.std(axis=1)
        ordered = np.sort(image, axis=1, kind="stable")  # a radix sort for uint8
        share = place - below
        low, high = ordered[:, below], ordered[:, above]
        features[n, :, 2:] = (1 - share) * low + share * high
    return features.reshape(num_images, -1) / 255


def thumbnails(images: ArrayLike, size: int = 16) -> NDArray[np.float64]:
    """Average each image over `size` x `size` equal areas.

    Args:
        images: uint8, (N, C, H, W).
        size: Rows and columns of the thumbnail, at most H and W.

    Returns:
        Features (N, C size^2) on the scale 0 to 1.
    """
    images = _checked(images)
    _, _, height, width = images.shape
    if not 1 <= size <= min(height, width):
        raise InputError(
            f"size is {size}; a thumbnail of {height} x {width} images "
            f"has 1 to {min(height, width)} pixels a side"
        )
    rows, columns = _area_weights(size, height), _area_weights(size, width)
    small = np.stack([rows @ image @ columns.T for image in images])
    return small.reshape(len(images), -1) / 255


def edge_strength(images: ArrayLike) -> NDArray[np.float64]:
    r"""Mean edge strength of each image, $\operatorname{mean} \sqrt{g_x^2 + g_y^2}$.

    Sobel's $g_x$ and $g_y$ (weights 1, 2, 1, not normalised), on the image mirrored
    at its border, mean over pixels and channels. Low where opacity veils an X-ray.

    Args:
        images: uint8, (N, C, H, W), scaled to 0 to 1.

    Returns:
        Strengths (N,), 0 to 6.
    """
    images = _checked(images)
    strengths = np.empty(len(images))
    for n, image in enumerate(images):  # one by one: no filter reaches the next image
        padded = np.pad(image / 255, ((0, 0), (1, 1), (1, 1)), mode="symmetric")
        across = padded[:, :, 2:] - padded[:, :, :-2]
        down = padded[:, 2:] - padded[:, :-2]
        g_x = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
        g_y = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
        strengths[n] = np.hypot(g_x, g_y).mean()
    return strengths


def gradient_energy(images: ArrayLike) -> NDArray[np.float64]:
    r"""Gradient energy of each image, $\operatorname{mean}(g_x^2 + g_y^2)$.

    Central differences, one-sided at the border, mean over pixels and channels.
    Single sharp edges weigh more here than in `edge_strength`.

    Args:
        images: uint8, (N, C, H, W), at least 2 x 2 pixels, scaled to 0 to 1.

    Returns:
        Energies (N,), 0 to 2.
    """
    energies = np.empty(len(images := _checked(images)))
    for n, image in enumerate(images):
        g_y, g_x = np.gradient(image / 255, axis=(1, 2))
        energies[n] = (g_x**2 + g_y**2).mean()
    return energies


def distance_from_mean(
    train_values: ArrayLike, test_values: ArrayLike
) -> NDArray[np.float64]:
    """Distance of a number to its mean over normal training images.

    Args:
        train_values: One number for each normal image, (N,).
        test_values: Numbers to score, (M,).

    Returns:
        Scores (M,), 0 or more.
    """
    return np.abs(np.asarray(test_values) - np.mean(train_values))


def oracle_direction(values: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """A number as a score, its sign turned so that the AUROC is 0.5 or more.

    An oracle: whether abnormal images have more or less of it is read from the
    labels of the very images that are scored. No detector may know that.

    Args:
        values: One number for each test image, (M,).
        labels: 0 normal, 1 abnormal, (M,).

    Returns:
        Scores (M,), `values` or `-values`.
    """
    from sklearn.metrics import roc_auc_score

    values = np.asarray(values, dtype=np.float64)
    return values if roc_auc_score(labels, values) >= 0.5 else -values


def one_class_nearest_neighbour(
    train_features: ArrayLike, test_features: ArrayLike
) -> NDArray[np.float64]:
    """Distance to the nearest normal training image, each feature standardised.

    Args:
        train_features: Features of normal images, (N, D).
        test_features: Features to score, (M, D).

    Returns:
        Scores (M,), 0 or more.
    """
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(train_features)
    neighbours = NearestNeighbors(n_neighbors=1).fit(scale.transform(train_features))
    distances, _ = neighbours.kneighbors(scale.transform(test_features))
    return distances[:, 0]


def supervised_logistic(
    features: ArrayLike, labels: ArrayLike, seed: int
) -> NDArray[np.float64]:
    """Out-of-fold log odds of a logistic regression, five stratified folds.

    It is given the labels: an upper bound on what leaks into the features.

    Args:
        features: (N, D).
        labels: 0 normal, 1 abnormal, (N,); at least five of each.
        seed: Seed of the folds.

    Returns:
        Scores (N,), log odds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.asarray(labels)
    if min((labels == 0).sum(), (labels == 1).sum()) < 5:
        raise InputError(
            f"labels hold {(labels == 0).sum()} zeros and {(labels == 1).sum()} ones; "
            "five folds need at least five of each"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000))
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=seed)
    return cross_val_predict(
        model, features, labels, cv=folds, method="decision_function"
    )


def supervised_cnn_scores(
    train_images: ArrayLike,
    train_labels: ArrayLike,
    test_images: ArrayLike,
    seed: int,
    *,
    epochs: int = 15,
    batch_size: int = 16,
    lr: float = 2e-3,
) -> NDArray[np.float64]:
    """Log odds of a small network trained with labels: can the task be solved?

    Four convolutions, mean and maximum over the picture, one linear layer;
    Adam with a cosine schedule. Training and test images must be separate draws.

    Args:
        train_images: uint8, (N, C, H, W), square.
        train_labels: 0 normal, 1 abnormal, (N,).
        test_images: uint8, (M, C, H, W).
        seed: Seed of weights, order and flips.

    Returns:
        Scores (M,), log odds.
    """
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits

    def prepare(images: ArrayLike) -> torch.Tensor:
        images = torch.from_numpy(_checked(images)).float() / 255
        if images.shape[-1] > CEILING_SIZE:
            images = nn.functional.adaptive_avg_pool2d(images, CEILING_SIZE)
        return images.contiguous(memory_format=torch.channels_last)

    train, test = prepare(train_images), prepare(test_images)
    labels = torch.as_tensor(np.asarray(train_labels), dtype=torch.float32)
    mean, std = train.mean(dim=(0, 2, 3)), train.std(dim=(0, 2, 3))
    mean, std = mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)
    train, test = (train - mean) / std, (test - mean) / std

    widths = (train.shape[1], 16, 24, 64, 64)
    kernels, strides = (5, 3, 3, 3), (2, 1, 2, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        convolutions = nn.Sequential()
        for i, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
            before, after = widths[i : i + 2]
            convolutions.append(
                nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
            )
            convolutions.append(nn.BatchNorm2d(after))
            convolutions.append(nn.ReLU())
        head = nn.Linear(2 * widths[-1], 1)
    network = nn.ModuleList([convolutions, head]).to(memory_format=torch.channels_last)

    def log_odds(images: torch.Tensor) -> torch.Tensor:
        fields = convolutions(images)  # (B, 64, h, w)
        pooled = torch.cat([fields.mean(dim=(2, 3)), fields.amax(dim=(2, 3))], dim=1)
        return head(pooled).squeeze(1)

    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, weight_decay=1e-4)
    batch_size = min(batch_size, len(train))
    batches_an_epoch = len(train) // batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, epochs * batches_an_epoch
    )
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(train), generator=generator)
        for batch in order[: batches_an_epoch * batch_size].split(batch_size):
            images = train[batch]
            flipped = torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5
            images = torch.where(flipped, images.flip(3), images)
            loss = binary_cross_entropy_with_logits(log_odds(images), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        scores = torch.cat([log_odds(part) for part in test.split(256)])
    return scores.double().numpy()


def _checked(images: ArrayLike) -> NDArray[np.uint8]:
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(
            f"images are {images.dtype} of shape {images.shape}; "
            "they must be uint8 of shape (N, C, H, W)"
        )
    return images


def _area_weights(size: int, pixels: int) -> NDArray[np.float64]:
    """Share of each pixel in each of `size` equal intervals, (size, pixels)."""
    edges = np.arange(pixels + 1) / pixels * size
    start, end = edges[:-1], edges[1:]
    cell = np.arange(size)[:, None]
    overlap = np.minimum(end, cell + 1) - np.maximum(start, cell)
    return np.maximum(overlap, 0)
