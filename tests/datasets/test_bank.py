"""Image bank: fair draws, the same pixels from device, map and stream."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thesislib.datasets.bank import ImageBank
from thesislib.errors import InputError


def _bank(num_images=10, device="cpu", **options):
    """Image i is filled with the value i, so that a batch tells what was drawn."""
    values = np.arange(num_images, dtype=np.uint8)[:, None, None, None]
    images = np.ascontiguousarray(np.broadcast_to(values, (num_images, 3, 4, 4)))
    return ImageBank(images, device, **options)


def _drawn(batch):
    return (batch[:, 0, 0, 0] * 255).round().int().tolist()


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_bank_says_what_it_holds():
    bank = _bank(7)

    assert (bank.num_images, len(bank), bank.channels, bank.image_size) == (7, 7, 3, 4)


def test_batches_are_float_images_from_zero_to_one():
    white = ImageBank(np.full((2, 3, 4, 4), 255, dtype=np.uint8))

    batch = white.take([1])

    assert batch.shape == (1, 3, 4, 4)
    assert batch.dtype == torch.float32
    assert (batch == 1).all()


@given(batch_size=st.integers(1, 10))
def test_no_image_comes_twice_in_a_batch(batch_size):
    drawn = _drawn(_bank(10).sample(batch_size, _generator(batch_size)))

    assert len(set(drawn)) == len(drawn) == batch_size


@given(num_images=st.integers(1, 6), batch_size=st.integers(1, 30))
def test_a_batch_larger_than_the_bank_is_as_even_as_can_be(num_images, batch_size):
    drawn = _drawn(_bank(num_images).sample(batch_size, _generator()))

    times = np.bincount(drawn, minlength=num_images)
    assert times.sum() == batch_size
    assert times.max() - times.min() <= 1


def test_every_image_is_drawn_equally_often():
    bank, generator = _bank(10), _generator()

    drawn = [image for _ in range(2_000) for image in _drawn(bank.sample(3, generator))]

    np.testing.assert_allclose(np.bincount(drawn) / 2_000, 0.3, atol=0.05)


def test_the_draw_follows_from_the_generator_alone():
    first, again = (_bank(10).sample(5, _generator(3)) for _ in range(2))
    other = _bank(10).sample(5, _generator(4))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_take_returns_the_images_asked_for_in_their_order():
    assert _drawn(_bank(10).take(torch.tensor([7, 0, 7]))) == [7, 0, 7]


@pytest.mark.parametrize("streamed", [False, True])
@given(num_images=st.integers(1, 9), batch_size=st.integers(1, 5))
def test_batches_pass_all_images_once_in_order(streamed, num_images, batch_size):
    bank = _bank(num_images)
    bank.resident = not streamed

    parts = [_drawn(batch) for batch in bank.batches(batch_size)]

    assert list(chain(*parts)) == list(range(num_images))
    assert all(len(part) == batch_size for part in parts[:-1])


def test_reading_batches_may_stop_early():
    bank = _bank(9)
    bank.resident = False

    assert _drawn(next(bank.batches(2))) == [0, 1]


def test_a_bank_that_does_not_fit_stays_in_its_map_and_is_streamed():
    bank = _bank(5, device="meta")  # a device without memory to speak of

    assert not bank.resident
    assert bank.take([0, 1]).device.type == "meta"
    assert bank.sample(3, _generator()).shape == (3, 3, 4, 4)


@pytest.mark.parametrize("indices", [[10], [-1], [0.5], [[0]], [True]])
def test_indices_that_are_none_are_refused(indices):
    with pytest.raises(InputError, match="indices"):
        _bank(10).take(indices)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 3, 4, 4), dtype=np.float32),
        np.zeros((3, 4, 4), dtype=np.uint8),
        np.zeros((2, 3, 4, 5), dtype=np.uint8),
        np.zeros((0, 3, 4, 4), dtype=np.uint8),
    ],
)
def test_images_of_another_shape_or_type_are_refused(images):
    with pytest.raises(InputError, match="expected"):
        ImageBank(images)


def test_a_bank_can_be_made_of_a_tensor():
    images = torch.arange(2, dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 3, 4, 4)

    assert _drawn(ImageBank.from_array(images).take([1, 0])) == [1, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("memory_fraction", [0.0, 0.5])
def test_cuda_gives_the_pixels_that_the_cpu_gives(memory_fraction):
    cpu = _bank(9)
    cuda = _bank(9, device="cuda", memory_fraction=memory_fraction)

    assert cuda.resident == (memory_fraction > 0)
    assert torch.equal(cuda.take([3, 1]).cpu(), cpu.take([3, 1]))
    for ours, theirs in zip(cuda.batches(4), cpu.batches(4), strict=True):
        assert torch.equal(ours.cpu(), theirs)
