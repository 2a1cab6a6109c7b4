"""Naive baselines of videos: what is known of a test set before any method is tried.

A method is worth its score only where these fall short of it. Some look at no label,
some at the labels of training videos, some at the labels of snippets, which no method
of chapters 8 and 9 may use: those are ceilings. Crops are averaged.

All give scores (T_v,) of the snippets of every test video, larger is more abnormal.
"""

from collections.abc import Callable

import numpy as np

from thesislib.datasets.videos.dataset import VideoDataset
from thesislib.errors import InputError

Scores = list[np.ndarray]
NEIGHBOURS = 5
_CONTEXT = 2  # snippets to either side that the ceilings with context see


def video_oracle(data: VideoDataset) -> Scores:
    """The test video's own label for every snippet: what telling videos apart gives."""
    return [np.full(len(data.snippets(v)), float(data.labels[v])) for v in data.test]


def magnitude(data: VideoDataset) -> Scores:
    """Length of the feature vector of a snippet."""
    return [np.linalg.norm(_snippets(data, v), axis=1) for v in data.test]


def nearest_neighbours(data: VideoDataset, number: int = NEIGHBOURS) -> Scores:
    """Mean distance to the nearest snippets of normal training videos."""
    known = np.concatenate([_snippets(data, v) for v in data.train(0)])
    return [distances(known, _snippets(data, v), number) for v in data.test]


def distances(known: np.ndarray, asked: np.ndarray, number: int) -> np.ndarray:
    """Mean distance of each row to its nearest rows of `known`, (M,).

    Args:
        known: (N, D).
        asked: (M, D).
        number: Rows to average over, at most N.
    """
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=min(number, len(known))).fit(known)
    return model.kneighbors(asked)[0].mean(axis=1)


def pooled_logistic(data: VideoDataset) -> Scores:
    """Logistic regression on the mean of a video, applied to each snippet."""
    videos = data.train(0) + data.train(1)
    means = np.stack([_snippets(data, v).mean(axis=0) for v in videos])
    return _logistic(means, data.labels[videos], data, _snippets)


def noisy_logistic(data: VideoDataset) -> Scores:
    """Logistic regression that gives each training snippet its video's label."""
    videos = data.train(0) + data.train(1)
    parts = [_snippets(data, v) for v in videos]
    labels = np.repeat(data.labels[videos], [len(part) for part in parts])
    return _logistic(np.concatenate(parts), labels, data, _snippets)


def supervised_logistic(data: VideoDataset) -> Scores:
    """Ceiling of a snippet by itself: logistic regression with snippet labels."""
    return _supervised(data, _snippets, _linear)


def supervised_context(data: VideoDataset) -> Scores:
    """Ceiling with context, linear; see `with_context`."""
    return _supervised(data, with_context, _linear)


def supervised_network(data: VideoDataset, seed: int = 0) -> Scores:
    """Ceiling with context, one hidden layer of 32 units."""
    from sklearn.neural_network import MLPClassifier

    def network(features: np.ndarray, labels: np.ndarray) -> Callable:
        model = MLPClassifier(
            (32,), alpha=1e-2, early_stopping=True, max_iter=100, random_state=seed
        ).fit(features, labels)
        return lambda asked: model.predict_proba(asked)[:, 1]

    return _supervised(data, with_context, network)


def with_context(data: VideoDataset, video: int) -> np.ndarray:
    """A snippet, and the mean over it and two to either side, less the video's median.

    (T, 3 D): the snippet as it is, then both less the median over the video.
    """
    own = _snippets(data, video)
    width = 2 * _CONTEXT + 1
    padded = np.pad(own, ((_CONTEXT, _CONTEXT), (0, 0)), mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0).mean(-1)
    centre = np.median(own, axis=0)
    return np.concatenate([own, own - centre, around - centre], axis=1)


def _snippets(data: VideoDataset, video: int) -> np.ndarray:
    """Snippets of a video, mean over crops, (T, D), float32."""
    return data.snippets(video).astype(np.float32).mean(axis=1)


def _linear(features: np.ndarray, labels: np.ndarray) -> Callable:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2_000))
    model.fit(features, labels)
    return model.decision_function


def _logistic(
    features: np.ndarray, labels: np.ndarray, data: VideoDataset, view: Callable
) -> Scores:
    score = _linear(features, labels)
    return [score(view(data, v)) for v in data.test]


def _supervised(data: VideoDataset, view: Callable, fit: Callable) -> Scores:
    """Fit on training snippets with labels of their own, which phantoms have."""
    videos = data.train(0) + data.train(1)
    if any(data.frame_labels[v] is None for v in videos):
        raise InputError(
            f"{data.name} has no frame labels of training videos, which a supervised "
            "ceiling needs."
        )
    features = np.concatenate([view(data, v) for v in videos])
    labels = np.concatenate([snippet_labels(data, v) for v in videos])
    score = fit(features, labels)
    return [score(view(data, v)) for v in data.test]


def snippet_labels(data: VideoDataset, video: int) -> np.ndarray:
    """Label of each snippet, (T,): that of most of its frames, abnormal on a tie."""
    frames, length = data.frame_labels[video], len(data.snippets(video))
    starts = np.minimum(np.arange(length) * data.stride, len(frames) - 1)
    total = np.concatenate([[0], np.cumsum(frames)])
    stops = np.minimum(starts + data.snippet, len(frames))
    return ((total[stops] - total[starts]) / (stops - starts) >= 0.5).astype(np.int64)
