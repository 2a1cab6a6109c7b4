import pytest
import torch

from thesislib.errors import InputError
from thesislib.training import precision, seeding


def test_seeds_are_a_function_of_all_their_parts():
    seeds = {
        seeding.derive(*parts)
        for parts in [
            (0, "a", 1, 0),
            (1, "a", 1, 0),
            (0, "b", 1, 0),
            (0, "a", 2, 0),
            (0, "a", 1, 1),
            (0, "a1", 0),
            (0, "a", 10),
        ]
    }

    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_stays_what_it_is():
    """Sealed runs name seeds: another derivation would make other runs of them."""
    assert seeding.derive(0, "pmsacl", 7, 0) == 0x3B916E5E33529605


def test_generators_of_one_purpose_agree():
    a, b = seeding.generator(3, "x"), seeding.generator(3, "x")

    assert torch.equal(torch.rand(4, generator=a), torch.rand(4, generator=b))


def test_the_global_state_is_seeded_as_torch_does_it():
    seeding.seed_torch(3, "x")
    ours = torch.rand(4)
    torch.manual_seed(seeding.derive(3, "x"))

    assert torch.equal(torch.rand(4), ours)


def test_on_cpu_an_operation_without_repeatable_algorithm_is_an_error():
    seeding.be_deterministic("cpu")

    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²"])
def test_threads_must_be_a_whole_number(monkeypatch, text):
    monkeypatch.setenv("THESIS_THREADS", text)
    with pytest.raises(InputError, match="whole number from 1 on"):
        seeding.use_threads()


def test_one_thread_unless_asked(monkeypatch):
    monkeypatch.setenv("THESIS_THREADS", "2")
    assert seeding.use_threads() == torch.get_num_threads() == 2
    monkeypatch.delenv("THESIS_THREADS")
    assert seeding.use_threads() == torch.get_num_threads() == 1


def test_number_formats():
    assert precision.resolve("auto", "cpu") == "float32"
    assert precision.resolve("bfloat16", "cpu") == "bfloat16"
    with pytest.raises(InputError, match="auto, float32, bfloat16"):
        precision.resolve("fp16", "cpu")
    product = torch.ones(2, 2)
    with precision.autocast("bfloat16", "cpu"):
        assert (product @ product).dtype == torch.bfloat16
    with precision.autocast("float32", "cpu"):
        assert (product @ product).dtype == torch.float32
