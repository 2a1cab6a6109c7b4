import math

import pytest
import torch
from torch import nn

from tests.training.toy import STEPS, make, make_loop, same, train
from thesislib import sources
from thesislib.errors import InputError
from thesislib.training import loop as loop_module
from thesislib.training import losses
from thesislib.training.loop import Loop, TrainingError


def test_a_resumed_stage_repeats_the_uninterrupted_one_bit_for_bit(tmp_path):
    straight, loop = train(tmp_path / "straight")

    for stop in (5, 6, 7, 11):
        train(tmp_path / "stopped", stop=stop)
    resumed, resumed_loop = train(tmp_path / "stopped")

    assert same(straight, resumed)
    assert resumed_loop.history == loop.history
    assert [row["step"] for row in loop.history] == list(range(STEPS))


def test_the_toy_stage_would_show_a_difference(tmp_path):
    straight, _ = train(tmp_path / "a")
    other_seed, _ = train(tmp_path / "b", seed=2)

    assert not same(straight, other_seed)


def test_a_finished_stage_restores_the_final_state_and_yields_nothing(tmp_path):
    trained, first = train(tmp_path)
    state, loop = make(), make_loop(tmp_path)

    assert list(loop.steps(STEPS, saving=state)) == []
    assert same(trained, state)
    assert state["schedule"].last_epoch == STEPS
    assert loop.finished and loop.history == first.history


def test_what_follows_a_stage_draws_the_same_whether_it_was_trained_or_restored(
    tmp_path,
):
    train(tmp_path)
    after_training = torch.rand(3)
    torch.manual_seed(5)
    train(tmp_path)

    torch.testing.assert_close(torch.rand(3), after_training, rtol=0, atol=0)


def test_each_step_draws_from_its_own_generator_whatever_happened_before(tmp_path):
    def draws(folder, **options):
        loop = make_loop(folder, **options)
        return [
            torch.rand(1, generator=step.generator).item()
            for step in loop.steps(3, saving={})
        ]

    first = draws(tmp_path / "a")
    assert first == draws(tmp_path / "b")
    assert len({*first, *draws(tmp_path / "c", seed=2)}) == 6
    assert len({*first, *draws(tmp_path / "d", rank=1)}) == 6


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": 2}, "seed"),
        ({"settings": {"lr": 1}}, "settings"),
        ({"num_steps": STEPS + 1}, "num_steps"),
        ({"rank": 1}, "rank"),
        ({"precision": "bfloat16"}, "precision"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, options, named):
    train(tmp_path, stop=5)

    with pytest.raises(InputError, match=f"made with {named} .* THESIS_OVERWRITE=1"):
        train(tmp_path, **options)


def test_a_checkpoint_of_other_sources_is_refused(tmp_path, monkeypatch):
    train(tmp_path, stop=5)
    changed = sources.imported() | {"thesislib.training.loop": "0" * 64}
    monkeypatch.setattr(sources, "imported", lambda: changed)

    with pytest.raises(InputError, match=r"other sources \(thesislib.training.loop "):
        train(tmp_path)


def test_a_half_way_checkpoint_of_another_device_is_refused_a_finished_one_is_not(
    tmp_path, monkeypatch
):
    save = loop_module.checkpoint.save
    monkeypatch.setattr(
        loop_module.checkpoint,
        "save",
        lambda *a, **options: save(*a, **(options | {"device": "cuda"})),
    )
    train(tmp_path / "half", stop=5)
    trained, _ = train(tmp_path / "whole")

    with pytest.raises(InputError, match="half-way on cuda, which cpu would not"):
        train(tmp_path / "half")
    assert same(train(tmp_path / "whole")[0], trained)


def test_a_nan_loss_names_stage_step_and_term_and_changes_nothing(tmp_path):
    state = make()
    before = None
    with pytest.raises(
        TrainingError, match=r"loss term pos is nan at step 4 of stage toy"
    ):
        for step in make_loop(tmp_path).steps(STEPS, saving=state):
            x = torch.randn(16, 4, generator=step.generator)
            con = state["net"](x).square().mean()
            pos = con * (math.nan if step.index == 4 else 1.0)
            if step.index == 4:
                before = [w.clone() for w in state["net"].parameters()]
            step.update(con + pos, state["optimizer"])
            step.log({"con": con, "pos": pos})

    assert all(
        torch.equal(a, b)
        for a, b in zip(before, state["net"].parameters(), strict=True)
    )
    assert train(tmp_path)[1].history[3]["step"] == 3  # resumes from step 3


def test_a_nan_loss_without_logged_terms_is_named_too(tmp_path):
    state = make()
    with pytest.raises(TrainingError, match="loss term critic is inf at step 0"):
        for step in make_loop(tmp_path).steps(2, saving=state):
            loss = state["net"](torch.ones(4, 4)).sum() + math.inf
            step.update(loss, state["optimizer"], name="critic")


def test_weights_that_are_not_finite_never_reach_a_checkpoint(tmp_path):
    state = make()
    with pytest.raises(TrainingError, match="weights of net are not finite after step"):
        for step in make_loop(tmp_path).steps(STEPS, saving=state):
            if step.index == 4:
                with torch.no_grad():
                    state["net"][0].weight[0, 0] = math.inf

    _, loop = train(tmp_path)
    assert loop.finished  # from the checkpoint after step 2, which is whole


def test_clipping_returns_the_norm_before_and_leaves_the_limit_after(tmp_path):
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for step in make_loop(tmp_path).steps(1, saving={"net": net}):
        norm = step.update(3 * net(torch.ones(1, 1)).sum(), optimizer, clip_norm=0.5)

    assert norm.item() == pytest.approx(3)
    assert net.weight.item() == pytest.approx(-0.5, rel=1e-5)


def test_out_of_memory_names_the_override_and_says_what_it_changes(tmp_path):
    loop = make_loop(tmp_path, batch_override="pmsacl.batch_size")
    with pytest.raises(
        TrainingError, match=r"lower pmsacl\.batch_size .* batch size changes the meth"
    ):
        for step in loop.steps(1, saving={}):
            with step.autocast():
                raise torch.OutOfMemoryError("CUDA out of memory.")


def test_other_errors_in_the_forward_pass_are_left_as_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        for step in make_loop(tmp_path).steps(1, saving={}):
            with step.autocast():
                torch.ones(2, 3) @ torch.ones(2, 3)


def test_a_logged_term_must_be_a_scalar(tmp_path):
    with pytest.raises(InputError, match=r"term con has shape \(2,\)"):
        for step in make_loop(tmp_path).steps(1, saving={}):
            step.log({"con": torch.zeros(2)})


def test_a_long_stage_records_evenly_spaced_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(loop_module, "MAX_LOSS_ROWS", 4)
    _, loop = train(tmp_path)

    assert [row["step"] for row in loop.history] == [0, 3, 6, 9]


def test_losses_keep_a_float32_exactly():
    third = torch.tensor(1 / 3)

    (row,) = losses.to_rows([(7, {"con": third, "rate": 0.1})])

    assert row == {"step": 7, "con": pytest.approx(third.item(), abs=1e-9), "rate": 0.1}
    assert torch.tensor(row["con"]) == third


def test_checkpoints_take_a_small_part_of_the_time(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(loop_module.time, "monotonic", lambda: clock[0])
    saved = []

    def slow_save(folder, step, *arguments, **options):
        saved.append(step)
        clock[0] += 10.0  # seconds

    monkeypatch.setattr(loop_module.checkpoint, "save", slow_save)
    loop = Loop("toy", seed=0, folder=tmp_path, checkpoint_every=1, progress=None)
    for _ in loop.steps(1_000, saving={}):
        clock[0] += 1.0

    assert saved[0] == 1 and saved[-1] == 1_000
    assert len(saved) == 2 + 4  # one each 200 seconds: 10 of them are 5 %


def test_a_state_that_could_not_be_read_back_is_refused_before_the_first_step(tmp_path):
    class Odd:
        def state_dict(self):
            return {"function": print}

        def load_state_dict(self, state):
            pass

    with pytest.raises(InputError, match="pickle with code"):
        next(make_loop(tmp_path).steps(3, saving={"odd": Odd()}))
    with pytest.raises(InputError, match="allowed are modules, tensors"):
        next(make_loop(tmp_path).steps(3, saving={"odd": 3}))
