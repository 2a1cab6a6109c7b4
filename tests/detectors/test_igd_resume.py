"""IGD killed at every event of its E/M schedule resumes to the same bits."""

from dataclasses import replace

import pytest

from tests.detectors.igd_toy import TINY, changed, model_of
from thesislib.detectors import igd
from thesislib.training.loop import Step


class Killed(Exception):
    """Stands for a kill: what comes after it does not happen."""


class Life:
    """A training that dies at its n-th event; with None it counts and lives.

    Events: about to measure, measured, about to move encoder and decoder, about to
    move the critic.
    """

    def __init__(self, monkeypatch, last=None):
        self.last, self.count = last, 0
        e_step, update = igd.e_step, Step.update

        def watched_e_step(*arguments):
            self.event()
            e_step(*arguments)
            self.event()

        def watched_update(*arguments, **options):
            self.event()
            return update(*arguments, **options)

        monkeypatch.setattr(igd, "e_step", watched_e_step)
        monkeypatch.setattr(Step, "update", watched_update)

    def event(self):
        if self.count == self.last:
            raise Killed
        self.count += 1


SHORT = replace(TINY, batch_size=8, num_steps=5)  # E MM E MM E M E
NUM_EVENTS = 4 * 2 + 5 * 2
RESUMED = {
    "global": SHORT,
    "local": replace(SHORT, patch_size=16, stride=8, flip=True),
    "code": replace(
        SHORT, residual=True, old_mean=True, centre_margin=0.1, zeta=0.8, beta_1=0.0
    ),
}


def live(config, bank, loop, monkeypatch, seed=0, last=None):
    """Train until killed; the model and the number of events, None if killed."""
    with monkeypatch.context() as context:
        life = Life(context, last)
        try:
            return igd.fit(model_of(config, seed), bank, config, loop), life.count
        except Killed:
            return None, None


@pytest.mark.parametrize("name", RESUMED)
def test_killed_anywhere_it_resumes_to_the_same_bits(
    bank, make_loop, monkeypatch, name
):
    config = RESUMED[name]
    straight_loop = make_loop("straight")
    straight, num_events = live(config, bank, straight_loop, monkeypatch)
    assert num_events == NUM_EVENTS
    expected = straight.state_dict()

    every = 1 if name == "global" else 5
    for last in range(every - 1, NUM_EVENTS, every):
        stopped = make_loop(f"stopped-{last}")
        assert live(config, bank, stopped, monkeypatch, last=last) == (None, None)
        seed = 99 if last >= 4 else 0  # nothing of what was drawn at first is needed
        loop = make_loop(f"stopped-{last}")
        resumed, _ = live(config, bank, loop, monkeypatch, seed=seed)
        assert changed(resumed, expected) == [], f"killed at event {last}"
        assert loop.history == straight_loop.history


def test_killed_again_and_again_it_arrives_at_the_same_bits(
    bank, make_loop, monkeypatch
):
    straight, _ = live(SHORT, bank, make_loop("straight"), monkeypatch)
    deaths = 0
    for last in (5, 2, 6, 4, 1, 6, 6, None):
        model, _ = live(SHORT, bank, make_loop(), monkeypatch, last=last)
        deaths += model is None

    assert deaths >= 5
    assert changed(model, straight.state_dict()) == []


def test_a_finished_training_is_restored_with_its_gaussian(bank, make_loop):
    config = RESUMED["code"]  # the last E-step reads what the one before left
    first = igd.fit(model_of(config), bank, config, make_loop())
    again = igd.fit(model_of(config, seed=99), bank, config, make_loop())

    assert changed(again, first.state_dict()) == []
    assert not any(module.training for module in again.modules())


def test_the_bits_would_show_a_step_that_is_lost(bank, make_loop, monkeypatch):
    straight, _ = live(SHORT, bank, make_loop("a"), monkeypatch)
    shorter = replace(SHORT, num_steps=4, lr_power=0.0)
    lost = igd.fit(model_of(shorter), bank, shorter, make_loop("b"))

    assert len(changed(lost, straight.state_dict())) > 20
