"""A tiny bank of images and a loop without checkpoints worth keeping."""

import pytest
import torch

from thesislib.datasets.bank import ImageBank
from thesislib.training.loop import Loop


@pytest.fixture
def bank():
    """48 smooth colour images of 32 pixels."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(48, 3, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=32, mode="bicubic")
    images = (images.clamp(0, 1) * 255).to(torch.uint8)
    return ImageBank.from_array(images.numpy(), torch.device("cpu"))


@pytest.fixture
def shaded_bank(bank):
    """The same images darkened from top to bottom, so that one way is up."""
    shade = torch.linspace(1.0, 0.3, 32).view(32, 1)
    shaded = torch.from_numpy(bank.pixels) * shade
    return ImageBank.from_array(shaded.to(torch.uint8).numpy())


@pytest.fixture
def make_loop(tmp_path):
    def make(stage, seed=0):
        return Loop(
            stage, seed=seed, folder=tmp_path / f"{stage}-{seed}", progress=None
        )

    return make
