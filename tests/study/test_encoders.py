"""A warm-up that several encoders share takes each of them where its own would."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from thesislib.datasets.bank import ImageBank
from thesislib.detectors.igd import IGDConfig
from thesislib.detectors.igd_presets import both_scales
from thesislib.errors import InputError
from thesislib.pretrain import pmsacl
from thesislib.pretrain.patches import PatchesConfig, on_patches
from thesislib.pretrain.pmsacl import AFTER_WARM_UP, PMSACL, PMSACLConfig
from thesislib.pretrain.simclr import SimCLRConfig
from thesislib.study import encoders
from thesislib.study.encoders import Encoder
from thesislib.training.loop import Loop

TINY = PMSACLConfig(
    base_width=8, batch_size=4, num_steps=6, num_centre_images=8, num_features=8
)
LATER = {  # another value of each setting that plays after the warm-up alone
    "temperature": 0.5,
    "alpha": 1.0,
    "positive": "printed",
    "terms": ("aug",),
    "weight_ctr": 0.1,
    "weight_pmsacl": 0.1,
    "weight_pos": 0.1,
    "kappa": False,
    "num_centre_images": 4,
    "centre_momentum": 0.9,
}
EARLIER = {  # and of some that play in it
    "patch_size": 16,
    "batch_size": 8,
    "strong": "cutmix",
    "num_classes": 2,
    "medmix": replace(TINY.medmix, size=(0.2, 0.3)),
    "weak": replace(TINY.weak, grey=0.0),
    "keep_lesions": False,
    "base_width": 16,
    "head_norm": False,
    "classify": "backbone",
    "lr": 0.1,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "num_steps": 8,
    "clip_norm": None,
    "warm_up": 0.3,
}


class Run:
    """What encoders need of a run, with a checkpoint after every step."""

    def __init__(self, folder):
        self.parameters = SimpleNamespace(seed=0, start="scratch", weights="")
        local = replace(both_scales(IGDConfig())["local"], patch_size=16)
        patches = PatchesConfig(steps_fraction=2 / 3)
        self.configs = {"pmsacl": TINY, "local": local, "patches": patches}
        self.device = torch.device("cpu")
        pixels = torch.randint(
            0,
            256,
            (12, 3, 32, 32),
            dtype=torch.uint8,
            generator=torch.Generator().manual_seed(0),
        )
        self.data = SimpleNamespace(train=ImageBank.from_array(pixels.numpy()))
        self.folder = folder

    def stage(self, name):
        return nullcontext()

    def loop(self, stage, **options):
        return Loop(
            stage,
            seed=0,
            folder=self.folder / stage,
            checkpoint_every=1,
            max_overhead=1e9,
            progress=None,
            **options,
        )


def encoder(stage="pmsacl", **changed):
    config = replace(TINY, **changed)
    width = {"base_width": config.base_width}
    return Encoder(stage=stage, label=stage, kind="pmsacl", config=config, **width)


CLASS_ONLY = encoder("pmsacl-class-only", terms=("aug",))


def weights(trained):
    return torch.cat([p.flatten() for p in trained.model.state_dict().values()])


def on_patches_of(run, of=None):
    """The encoder of IGD's local model, 4 steps of which 2 are warm-up."""
    return (of or encoder()).on_patches(run.configs)


@pytest.fixture
def steps_taken(monkeypatch):
    """Names of the loss terms of every step that is taken."""
    taken, losses = [], pmsacl.losses

    def spy(*args):
        terms, diagnostics = losses(*args)
        taken.append(tuple(terms))
        return terms, diagnostics

    monkeypatch.setattr(pmsacl, "losses", spy)
    return taken


def test_a_shared_warm_up_gives_the_bits_of_an_own_one(tmp_path, steps_taken):
    alone = encoders.trained(Run(tmp_path / "alone"), CLASS_ONLY)
    assert len(steps_taken) == 6
    both = Run(tmp_path / "both")
    method = encoders.trained(both, encoder())
    second = encoders.trained(both, CLASS_ONLY)

    assert len(steps_taken) == 6 + 6 + 3  # the twin took its second half alone
    assert torch.equal(weights(second), weights(alone))
    assert not torch.equal(weights(second), weights(method))
    assert second.history == alone.history
    for trained in (method, second):
        assert [row["step"] for row in trained.history] == list(range(6))
    assert [set(row) & {"ctr", "pmsacl", "aug", "pos"} for row in method.history] == [
        *[{"aug"}] * 3,
        *[{"ctr", "pmsacl", "aug", "pos"}] * 3,
    ]


@pytest.mark.parametrize("stopped_at", [1, 4, 7])
def test_an_interrupted_training_ends_in_the_same_bits(
    tmp_path, monkeypatch, stopped_at
):
    whole = Run(tmp_path / "whole")
    expected = [weights(encoders.trained(whole, r)) for r in (encoder(), CLASS_ONLY)]
    losses, calls = pmsacl.losses, []

    def stops(*args):
        calls.append(1)
        if len(calls) == stopped_at + 1:
            raise KeyboardInterrupt
        return losses(*args)

    monkeypatch.setattr(pmsacl, "losses", stops)
    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        for one in (encoder(), CLASS_ONLY):
            encoders.trained(Run(cut), one)
    run = Run(cut)
    found = [encoders.trained(run, one) for one in (encoder(), CLASS_ONLY)]

    assert len(calls) == 6 + 3 + 1  # no step but the interrupted one is done again
    for trained, bits in zip(found, expected, strict=True):
        assert torch.equal(weights(trained), bits)
        assert [row["step"] for row in trained.history] == list(range(6))


@pytest.mark.parametrize("name", AFTER_WARM_UP)
def test_later_settings_leave_the_warm_up_as_it_is(tmp_path, name):
    run = Run(tmp_path)
    states = []
    short = replace(TINY, num_steps=2)
    for config in (short, replace(short, **{name: LATER[name]})):
        torch.manual_seed(0)
        model = PMSACL(config)
        folder = tmp_path / str(len(states))
        loops = [
            Loop(stage, seed=0, folder=folder / stage, progress=None)
            for stage in ("pmsacl", "pmsacl-warm-up")
        ]
        pmsacl.pretrain(model, run.data.train, config, *loops)
        (file,) = (folder / "pmsacl-warm-up").glob("weights-*")
        states.append(file.read_bytes())

    assert states[0] == states[1]
    assert encoders.warm_up_stage(run, encoder("other", **{name: LATER[name]})) == (
        "pmsacl-warm-up"
    )


@pytest.mark.parametrize("name", EARLIER)
def test_another_warm_up_is_not_shared(tmp_path, name):
    other = encoder("other", **{name: EARLIER[name]})

    assert encoders.warm_up_stage(Run(tmp_path), other) == "other-warm-up"


def test_patches_are_another_training_with_stages_of_its_own(tmp_path, steps_taken):
    run = Run(tmp_path)
    whole = encoders.trained(run, encoder())
    patches = encoders.trained(run, on_patches_of(run))

    assert {path.name for path in tmp_path.iterdir()} == {
        "pmsacl",
        "pmsacl-warm-up",
        "pmsacl-local",
        "pmsacl-local-warm-up",
    }
    assert not torch.equal(weights(whole), weights(patches))
    assert [row["step"] for row in whole.history] == list(range(6))
    assert [row["step"] for row in patches.history] == list(range(4))
    assert [set(terms) for terms in steps_taken[6:]] == [
        *[{"aug"}] * 2,
        *[{"ctr", "pmsacl", "aug", "pos"}] * 2,
    ]


def test_images_train_as_if_there_were_no_patches(tmp_path):
    alone = encoders.trained(Run(tmp_path / "alone"), encoder())
    run = Run(tmp_path / "both")
    encoders.trained(run, on_patches_of(run))
    after = encoders.trained(run, encoder())

    assert torch.equal(weights(after), weights(alone))
    assert after.history == alone.history


@pytest.mark.parametrize("stopped_at", [1, 3])
def test_interrupted_patches_end_in_the_same_bits(tmp_path, monkeypatch, stopped_at):
    whole = Run(tmp_path / "whole")
    expected = encoders.trained(whole, on_patches_of(whole))
    losses, calls = pmsacl.losses, []

    def stops(*args):
        calls.append(1)
        if len(calls) == stopped_at + 1:
            raise KeyboardInterrupt
        return losses(*args)

    monkeypatch.setattr(pmsacl, "losses", stops)
    run = Run(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        encoders.trained(run, on_patches_of(run))
    again = Run(tmp_path / "cut")
    found = encoders.trained(again, on_patches_of(again))

    assert len(calls) == 4 + 1
    assert torch.equal(weights(found), weights(expected))
    assert found.history == expected.history


def test_patches_have_a_shared_warm_up_of_their_own(tmp_path, steps_taken):
    run = Run(tmp_path)
    both = [on_patches_of(run), on_patches_of(run, CLASS_ONLY)]
    for one in both:
        encoders.trained(run, one)
    other = on_patches_of(run, encoder("other", lr=0.1))

    assert len(steps_taken) == 4 + 2  # the twin took its second half alone
    assert [encoders.warm_up_stage(run, one) for one in (*both, other)] == [
        "pmsacl-local-warm-up",
        "pmsacl-local-warm-up",
        "other-local-warm-up",
    ]


@pytest.mark.parametrize("config", [TINY, SimCLRConfig(lr=0.5, epochs=10)])
def test_patches_change_no_setting_but_those_that_are_named(config):
    configs = Run(None).configs
    changed = {
        name
        for name in config.__dataclass_fields__
        if getattr(on_patches(config, configs), name) != getattr(config, name)
    }
    own = {"num_steps"} if config is TINY else set()
    assert changed == {"patch_size", "epochs"} | own
    configs["patches"] = PatchesConfig(lr=0.3, steps_fraction=0.001)
    rare = on_patches(config, configs)
    assert (rare.patch_size, rare.lr) == (16, 0.3)
    assert rare.num_steps == (1 if config is TINY else None)
    assert rare.epochs == max(1, config.epochs // 1_000)


def test_patches_need_steps():
    with pytest.raises(InputError, match=r"steps_fraction is 0; it must be"):
        PatchesConfig(steps_fraction=0)


def test_an_encoder_without_warm_up_has_no_stage_for_it(tmp_path):
    literal = encoder("literal", warm_up=0.0)
    trained = encoders.trained(run := Run(tmp_path), literal)

    assert encoders.warm_up_stage(run, literal) is None
    assert [path.name for path in tmp_path.iterdir()] == ["literal"]
    assert len(trained.history) == 6
