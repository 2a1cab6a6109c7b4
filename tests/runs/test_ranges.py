"""Settings out of range stop a run in the notebook's second cell, with a sentence."""

import typing
from dataclasses import dataclass, field, fields

import pytest

from thesislib import runs
from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.chapters.ch06_igd.settings import Chapter06
from thesislib.errors import InputError
from thesislib.ranges import above, at_least, within
from thesislib.runs import overrides as override_rules

CHAPTERS = {5: Chapter05, 6: Chapter06}
CHECKED = ("data", "pmsacl", "simclr", "padim", "igd", "local", "patches", "study")
OF_ALL = {"dataset": "hyperkvasir", "part": "all"}  # chapter 6 with all it has


def said(home, kind, **given) -> str:
    """The sentence with which a run is refused, before anything is written."""
    with pytest.raises(InputError) as error:
        runs.start(kind, given)
    assert not (home / "results").exists()
    sentence = str(error.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"pmsacl.batch_size": 0}, "pmsacl.batch_size is 0; it must be 1 or more."),
        ({"pmsacl.batch_size": -3}, "pmsacl.batch_size is -3; it must be 1 or more."),
        (
            {"pmsacl.num_steps": 0},
            "pmsacl.num_steps is 0; it must be 1 or more, or None.",
        ),
        ({"pmsacl.num_classes": 1}, "pmsacl.num_classes is 1; it must be 2 or more."),
        ({"pmsacl.base_width": 7}, "pmsacl.base_width is 7; it must be 8 or more."),
        ({"pmsacl.temperature": 0}, "pmsacl.temperature is 0.0; it must be above 0."),
        ({"pmsacl.alpha": 0}, "pmsacl.alpha is 0.0; it must be above 0."),
        ({"pmsacl.lr": -1}, "pmsacl.lr is -1.0; it must be above 0."),
        (
            {"pmsacl.clip_norm": 0},
            "pmsacl.clip_norm is 0.0; it must be above 0, or None.",
        ),
        ({"pmsacl.momentum": 1}, "pmsacl.momentum is 1.0; it must lie in [0, 1)."),
        ({"pmsacl.warm_up": 1}, "pmsacl.warm_up is 1.0; it must lie in [0, 1)."),
        (
            {"pmsacl.weak.jitter.hue": 0.7},
            "pmsacl.weak.jitter.hue is 0.7; it must lie in [0, 0.5].",
        ),
        (
            {"pmsacl.medmix.visible": 0.5},
            "pmsacl.medmix.visible is 0.5; it must lie in [0, 0.15].",
        ),
        (
            {"pmsacl.weak.crop_scale": [0, 1]},
            "pmsacl.weak.crop_scale has 0.0; each must lie in (0, 1].",
        ),
        ({"patches.lr": -1}, "patches.lr is -1.0; it must be above 0, or None."),
        ({"pmsacl.warm_up": 2.0}, "pmsacl.warm_up is 2.0; it must lie in [0, 1)."),
        (
            {"pmsacl.terms": []},
            "pmsacl.terms is empty; it must be one or more of ctr, pmsacl, aug, pos.",
        ),
        (
            {"pmsacl.terms": ["aug", "rot"]},
            "pmsacl.terms is aug, rot; it must be one or more of ctr, pmsacl, aug, "
            "pos.",
        ),
        (
            {"pmsacl.terms": ["ctr", "pmsacl"]},
            "pmsacl.warm_up is 0.5, but terms is ctr, pmsacl: without aug, all that a "
            "warm-up trains by, it must be 0.",
        ),
        (
            {"pmsacl.strong": "rotation", "pmsacl.num_classes": 3},
            "pmsacl.num_classes is 3, but rotation has 4 classes; only medmix takes "
            "other numbers.",
        ),
        ({"simclr.batch_size": 1}, "simclr.batch_size is 1; it must be 2 or more."),
        ({"simclr.epochs": 0}, "simclr.epochs is 0; it must be 1 or more."),
        ({"padim.num_stages": 5}, "padim.num_stages is 5; it must lie in [1, 4]."),
        ({"igd.batch_size": 0}, "igd.batch_size is 0; it must be 1 or more."),
        ({"local.batch_size": 0}, "local.batch_size is 0; it must be 1 or more."),
        ({"igd.e_step_every": 0}, "igd.e_step_every is 0; it must be 1 or more."),
        ({"igd.base_width": 0}, "igd.base_width is 0; it must be 1 or more."),
        ({"local.stride": 0}, "local.stride is 0; it must be 1 or more."),
        (
            {"igd.variance_floor": 0},
            "igd.variance_floor is 0.0; it must be above 0, or None.",
        ),
        ({"igd.rho": 1.1}, "igd.rho is 1.1; it must lie in [0, 1]."),
        ({"igd.zeta": 2}, "igd.zeta is 2.0; it must lie in [0, 1], or None."),
        ({"igd.beta_1": 1}, "igd.beta_1 is 1.0; it must lie in [0, 1)."),
        (
            {"local.terms": ["gac"]},
            "local.terms is gac; rec has to be among them, gac and inter may be.",
        ),
        ({"data.image_size": 7}, "data.image_size is 7; it must be 8 or more."),
        ({"data.num_train": 1}, "data.num_train is 1; it must be 2 or more."),
        ({"study.num_tsne": 3}, "study.num_tsne is 3; it must be 4 or more."),
        ({"study.num_maps": 1}, "study.num_maps is 1; it must be 2 or more."),
        ({"study.num_ceiling": 0}, "study.num_ceiling is 0; it must be 2 or more."),
        (
            {"study.num_classes": [3, 1]},
            "study.num_classes has 1; each must be 2 or more.",
        ),
        ('{"pmsacl.lr": NaN}', "Override pmsacl.lr is nan; it must be a number."),
        ({"igd.lr": float("inf")}, "Override igd.lr is inf; it must be a number."),
    ],
)
def test_chapter_5_refuses(home, overrides, sentence):
    assert said(home, Chapter05, overrides=overrides) == sentence


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            {"study.fractions": [0.2, 1]},
            "study.fractions has 1.0; each must lie in (0, 1).",
        ),
        (
            {"study.contaminations": [0]},
            "study.contaminations has 0.0; each must lie in (0, 1).",
        ),
        ({"study.num_maps": 0}, "study.num_maps is 0; it must be 2 or more."),
        (
            {"local.patch_size": 0},
            "local.patch_size is 0; it must be 1 or more, or None.",
        ),
        (
            {"igd.terms": ["rec", "gan"]},
            "igd.terms is rec, gan; rec has to be among them, gac and inter may be.",
        ),
    ],
)
def test_chapter_6_refuses(home, overrides, sentence):
    assert said(home, Chapter06, **OF_ALL, overrides=overrides) == sentence


def numbers(kind, **given) -> list[str]:
    """Keys of all settings in the configs of `CHECKED` that are numbers."""
    found = []
    for name, config in kind(**given).configs().items():
        kinds = typing.get_type_hints(type(config))
        for one in fields(config) if name in CHECKED else ():
            if {int, float} & {kinds[one.name], *typing.get_args(kinds[one.name])}:
                found.append(f"{name}.{one.name}")
    return found


KEYS = [
    *((5, key) for key in numbers(Chapter05)),
    *((6, key) for key in numbers(Chapter06, **OF_ALL)),
]


@pytest.mark.parametrize(("chapter", "key"), KEYS)
def test_no_number_may_be_negative(home, chapter, key):
    given = OF_ALL if chapter == 6 else {}
    tuples = ("num_classes", "fractions", "contaminations")
    many = key.startswith("study.") and key.endswith(tuples)
    overrides = {key: [-1] if many else -1}
    sentence = said(home, CHAPTERS[chapter], **given, overrides=overrides)

    assert sentence.startswith(f"{key} {'has' if many else 'is'} -1")
    assert "must " in sentence


@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize("preset", ["quick", "standard", "paper"])
def test_what_a_preset_has_is_in_range_when_given_again(chapter, preset):
    kind = CHAPTERS[chapter]
    given = {"preset": preset} | (OF_ALL if chapter == 6 else {})
    configs = kind(**given).configs()
    plain = override_rules.plain(configs)
    overrides = {}
    for key in override_rules.keys(configs):
        value = plain
        for part in key.split("."):
            value = value[part]
        overrides[key] = value

    assert kind(**given, overrides=overrides).resolved_configs() == configs


@pytest.mark.parametrize(
    "overrides",
    [
        {"pmsacl.terms": ["pmsacl"], "pmsacl.warm_up": 0},
        {"pmsacl.warm_up": 0, "pmsacl.terms": ["pmsacl"]},
        {"pmsacl.warm_up": 0.99, "pmsacl.centre_momentum": 0.0},
        {"igd.num_steps": 1, "igd.batch_size": 1, "igd.variance_floor": None},
        {"igd.rho": 0, "igd.zeta": 1, "igd.share_gac": 0.5, "igd.terms": ["rec"]},
        {"study.num_classes": [], "study.num_tsne": 4, "study.num_maps": 2},
    ],
)
def test_the_ends_of_a_range_and_settings_given_together_are_taken(overrides):
    configs = Chapter05(overrides=overrides).resolved_configs()

    plain = override_rules.plain(configs)
    for key, value in overrides.items():
        name, setting = key.split(".")
        assert plain[name][setting] == value


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = 1
    shares: tuple[float, ...] = (0.5,)
    rate: float | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "size")
        within(self, "(0, 1]", "shares")
        above(self, 0, "rate")


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("size", 0, "size is 0; it must be 1 or more."),
        ("shares", [1, 0], "shares has 0.0; each must lie in (0, 1]."),
        ("rate", 0, "rate is 0.0; it must be above 0, or None."),
    ],
)
def test_a_setting_is_named_by_its_whole_key(key, value, sentence):
    with pytest.raises(InputError) as error:
        override_rules.apply({"outer": Outer()}, {f"outer.inner.{key}": value})

    assert str(error.value) == f"outer.inner.{sentence}"


def test_a_config_by_itself_names_the_setting():
    with pytest.raises(
        InputError, match=r"^rate is nan; it must be above 0, or None\.$"
    ):
        Inner(rate=float("nan"))
