"""Bags of a few snippets, and what the tests of chapters 8 and 9 do with them."""

from typing import NamedTuple

import torch
from sklearn.metrics import roc_auc_score

from thesislib.video import mil


class Bank:
    """Videos of one kind in memory, (N, C, T, D), drawn as the data side draws them."""

    def __init__(self, features):
        self.features, self.device = features, features.device
        self.num_features = features.shape[-1]

    def __len__(self):
        return len(self.features)

    def sample(self, batch_size, generator):
        rounds = -(-batch_size // len(self))
        order = [torch.randperm(len(self), generator=generator) for _ in range(rounds)]
        return self.features[torch.cat(order)[:batch_size]]


class Bags(NamedTuple):
    normal: Bank
    abnormal: Bank


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def videos(num_videos, num_features=8, crops=1, length=32, event=0, seed=0):
    """Noise; from snippet 10 on, `event` snippets with their first feature raised."""
    made = noise(num_videos, crops, length, num_features, seed=seed)
    made[:, :, 10 : 10 + event, 0] += 4
    return made


def bags(num_features=8, crops=1, num_videos=20):
    normal = videos(num_videos, num_features, crops)
    abnormal = videos(num_videos, num_features, crops, event=8, seed=1)
    return Bags(Bank(normal), Bank(abnormal))


def snippet_auc(score, num_features=8):
    """Snippet AUC of `score` on videos that were not trained on, 40 snippets each."""
    asked = [
        videos(20, num_features, length=40, seed=2),
        videos(20, num_features, length=40, event=12, seed=3),
    ]
    labels = torch.zeros(2, 20, 40)
    labels[1, :, 10:22] = 1
    scores = torch.stack([torch.stack([score(v) for v in kind]) for kind in asked])
    assert scores.shape == labels.shape
    return roc_auc_score(labels.flatten(), scores.flatten())


def auc_of(model, num_features=8):
    return snippet_auc(lambda v: mil.score_snippets(model, v), num_features)


def shaken(model, seed=0):
    """The model with every weight moved, also those that start at zero or one, and
    statistics of batch norm that are not those of a start."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            move = 0.2 * torch.randn(tensor.shape, generator=generator)
            tensor.add_(move.abs() if name.endswith("running_var") else move)
    return model
