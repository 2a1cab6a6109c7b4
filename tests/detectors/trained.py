"""Banks, loops and checks that tests of chapter 6's baselines share."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from thesislib.datasets.bank import ImageBank
from thesislib.training.loop import Loop


def as_bank(images):
    return ImageBank.from_array((images * 255).round().to(torch.uint8).numpy())


def blobs(num_images, low=0.4, seed=0, channels=1):
    """Smooth images of 32 pixels about a middle grey."""
    generator = torch.Generator().manual_seed(seed)
    coarse = low + 0.2 * torch.rand(num_images, channels, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")


def stripes(num_images, seed=1):
    """Bright stripes on black: nothing like `blobs`."""
    images = blobs(num_images, low=0.0, seed=seed)
    images[..., ::4, :] = 1
    return images


def separates(method, model, config):
    """AUROC of blobs that were not trained on against stripes."""
    normal, odd = blobs(20, seed=2), stripes(20)
    scores = method.score(model, [normal, odd], config).score
    assert scores.shape == (40,)
    return roc_auc_score([0] * 20 + [1] * 20, scores.numpy())


def loop_in(folder, stage, **settings):
    return Loop(stage, seed=0, folder=folder, progress=None, **settings)


class KilledError(Exception):
    """Stands for a kill."""


def check_resuming(folder, train):
    """A run that is killed after three steps ends as one that is not, bit for bit.

    Args:
        train: Gives the state of a new model after training by the loop it is given.
    """
    whole = train(_watched(folder / "whole", [], kill=None))
    with pytest.raises(KilledError):
        train(_watched(folder / "killed", [], kill=3))
    resumed = train(_watched(folder / "killed", seen := [], kill=None))

    assert seen[0] == 3  # not from the start
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def _watched(folder, seen, kill):
    """A loop that notes its steps, and dies when step `kill` begins."""
    loop = loop_in(folder, "stage", checkpoint_every=1, max_overhead=float("inf"))
    steps = loop.steps

    def watched(*args, **named):
        for step in steps(*args, **named):
            seen.append(step.index)
            if step.index == kill:
                raise KilledError
            yield step

    loop.steps = watched
    return loop


def without_gradient(model):
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 1e-9
    ]
