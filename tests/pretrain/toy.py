"""What the tests of every pre-training use."""

import pytest
import torch
from torch.nn.functional import normalize

from thesislib.augment.colour import JitterConfig
from thesislib.augment.weak import WeakConfig
from thesislib.training.loop import Loop, Step

STILL = WeakConfig(  # changes nothing
    crop_scale=(1.0, 1.0),
    crop_ratio=(1.0, 1.0),
    flip=0.0,
    grey=0.0,
    blur=0.0,
    jitter=JitterConfig(probability=0.0),
)
COLOURS = WeakConfig(jitter=JitterConfig(probability=0.0), grey=0.0)  # stay


class Killed(Exception):
    """Ends a training between two steps."""


class KilledLoop(Loop):
    """A loop with a checkpoint after every second step, ended before step `stop`."""

    def __init__(self, stage, stop, **options):
        options |= {"checkpoint_every": 2, "max_overhead": 1e9, "progress": None}
        super().__init__(stage, **options)
        self.stop = stop

    def steps(self, *args, **kwargs):
        for step in super().steps(*args, **kwargs):
            if step.index == self.stop:
                raise Killed
            yield step


def model_of(config, kind, seed=0):
    torch.manual_seed(seed)
    return kind(config)


def without_gradient(model, above=1e-6):
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > above
    ]


def sizes_seen(model):
    """Shapes of what enters the backbone, a list that grows."""
    seen = []
    model.backbone.register_forward_pre_hook(
        lambda _, entering: seen.append(tuple(entering[0].shape))
    )
    return seen


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def unit_vectors(*shape):
    return normalize(torch.randn(*shape, generator=seeded()), dim=-1)


def slow_contrastive_loss(anchor, positive, others, tau):
    """-log of the share that the positive has of itself and the others."""
    likeness = torch.exp(torch.stack([anchor @ z for z in (positive, *others)]) / tau)
    return -torch.log(likeness[0] / likeness.sum()).item()


def weights_killed_and_resumed(method, kind, config, bank, folder):
    """Weights and losses of a training, and of one that was killed at steps 1 and 3."""
    ends = []
    for stops in ([None], [1, 3, None]):
        for stop in stops:
            model = model_of(config, kind)
            loop = KilledLoop("toy", stop, seed=0, folder=folder / str(len(ends)))
            try:
                method.pretrain(model, bank, config, loop)
            except Killed:
                continue
            ends.append((model.state_dict(), loop.history))
    return ends


def killed_within_every_step(train, num_steps, folder, monkeypatch):
    """Weights and losses of a training, and of those that were killed and resumed.

    Args:
        train: Takes the seed of the first weights and a loop, gives the module.

    Returns:
        The end without a kill; the ends after one in each step but the first, and
        after none, when the finished training is read back.
    """

    def end(name, seed=0, last=None):
        options = {"checkpoint_every": 1, "max_overhead": 1e9, "progress": None}
        loop = Loop("toy", seed=0, folder=folder / name, **options)
        update = Step.update

        def dying(step, *arguments, **options):
            if step.index == last:
                raise Killed
            return update(step, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Step, "update", dying)
            return train(seed, loop).state_dict(), loop.history

    straight, ends = end("straight"), []
    for last in range(1, num_steps):
        with pytest.raises(Killed):
            end(f"stopped-{last}", last=last)
        ends.append(end(f"stopped-{last}", seed=99))
    return straight, [*ends, end("straight", seed=99)]


def same(first, second):
    (weights, history), (other_weights, other_history) = first, second
    alike = [torch.equal(weights[name], other_weights[name]) for name in weights]
    return all(alike) and history == other_history


def fall_of(loop, name):
    """How far a loss fell from the first five steps to the last five."""
    losses = [row[name] for row in loop.history]
    return (sum(losses[:5]) - sum(losses[-5:])) / 5
