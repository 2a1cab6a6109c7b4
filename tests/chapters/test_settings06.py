"""Chapter 6's parameters resolve, its tasks and rows lie where the thesis prints."""

import itertools
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from thesislib import paper
from thesislib.chapters.ch06_igd import settings as chapter06
from thesislib.chapters.ch06_igd.settings import Chapter06
from thesislib.datasets.bank import ImageBank
from thesislib.detectors import igd, igd_scores
from thesislib.errors import InputError
from thesislib.runs import parameters
from thesislib.runs.run import safe_name
from thesislib.study.task import Task
from thesislib.training.loop import Loop


def allowed(name):
    return get_args(Chapter06.model_fields[name].annotation)


DATASETS, PARTS, READINGS = map(allowed, ("dataset", "part", "reading"))
LARGE = tuple(name for name in DATASETS if name not in chapter06.TINY)


def stub(names=None, **given):
    """What `class_names` and the tasks need of a run: parameters, settings, data."""
    chosen = Chapter06(**given)
    data = SimpleNamespace() if names is None else SimpleNamespace(class_names=names)
    configs = chosen.resolved_configs()
    return SimpleNamespace(parameters=chosen, configs=configs, data=data, left_out={})


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("preset", allowed("preset"))
def test_every_configuration_resolves(dataset, preset):
    expected = {"data", "igd", "shallow", "study"}
    expected |= {"local"} if dataset in LARGE else set()
    for reading, part in itertools.product(READINGS, PARTS):
        chosen = Chapter06(dataset=dataset, preset=preset, reading=reading, part=part)
        assert set(chosen.resolved_configs()) == expected


def test_pretraining_brings_its_own_settings():
    for start in ("simclr", "pmsacl"):
        assert start in Chapter06(start=start).resolved_configs()
    for dataset, start, there in (
        ("hyperkvasir", "pmsacl", True),
        ("hyperkvasir", "simclr", True),
        ("fmnist", "pmsacl", False),  # no patches to look at
        ("hyperkvasir", "scratch", False),
    ):
        configs = Chapter06(dataset=dataset, start=start).resolved_configs()
        assert ("patches" in configs) == there


@pytest.fixture
def from_imagenet(tmp_path):
    """Parameters of a start from ImageNet; nothing reads what the file holds here."""
    weights = tmp_path / "weights.pth"
    weights.touch()
    return {"start": "imagenet", "weights": str(weights)}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("reading", READINGS)
def test_imagenet_distils_the_local_encoder_and_as_printed_both(
    from_imagenet, dataset, reading
):
    run = stub(dataset=dataset, reading=reading, **from_imagenet)
    expected = ("local",) if dataset in LARGE else ()
    if reading == "thesis":
        expected = ("igd", *expected)

    assert chapter06.distilled(run) == expected
    assert ("distillation" in run.configs) == bool(expected)
    size = run.configs["data"].image_size
    assert size == (32 if dataset in chapter06.TINY and reading == "thesis" else 64)
    gone = " ".join(chapter06.left_out(run))
    assert ("the thesis names none" in gone) == bool(expected)
    assert ("a distilled global encoder" in gone) == (reading != "thesis")


@pytest.mark.parametrize("start", ["scratch", "simclr", "pmsacl"])
@pytest.mark.parametrize("reading", READINGS)
def test_nothing_is_distilled_without_imagenet(start, reading):
    run = stub(dataset="lag", start=start, reading=reading)

    assert chapter06.distilled(run) == ()
    assert "distillation" not in run.configs
    assert "distil" not in " ".join(chapter06.left_out(run))


def test_paper_distils_as_section_6_4_2_has_it(from_imagenet):
    chosen = Chapter06(dataset="mvtec", preset="paper", **from_imagenet)
    config = chosen.configs()["distillation"]

    assert (config.lr, config.weight_decay) == (1e-4, 1e-5)
    assert (config.batch_size, config.num_steps) == (64, 50_000)
    assert config.base_width == 64


def test_the_distillation_takes_overrides_and_refuses_bad_ones(from_imagenet):
    def resolved(overrides):
        given = {"dataset": "lag", "overrides": overrides, **from_imagenet}
        return parameters.read(Chapter06, given).resolved_configs()

    assert resolved({"distillation.num_steps": 3})["distillation"].num_steps == 3
    for overrides, says in (
        ({"distillation.teacher_size": 16}, "teacher_size is 16 pixels; .*32 or more"),
        ({"distillation.steps": 3}, "did you mean distillation.num_steps"),
        ({"distillation.lr": "fast"}, "distillation.lr is 'fast'; it must be a number"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            resolved(overrides)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dataset", DATASETS)
def test_paper_is_what_the_thesis_prints(dataset):
    """Section 6.4.2 and, of the sizes of images and patches, Section 6.4.1."""
    configs = Chapter06(dataset=dataset, preset="paper").configs()

    for name in {"igd", "local"} & configs.keys():
        config = configs[name]
        assert (config.lr, config.weight_decay) == (1e-4, 1e-6)
        assert (config.batch_size, config.epochs, config.num_steps) == (64, 256, None)
        assert (config.num_features, config.rho) == (128, 0.15)
        assert (config.lambda_1, config.lambda_2, config.lambda_3) == (1, 1, 0.1)
        assert (config.base_width, config.residual) == (64, True)
        assert config.terms == ("rec", "gac", "inter")
        assert config.reconstruction == "ms-ssim"
    small = dataset in chapter06.TINY
    assert configs["data"].image_size == (32 if small else 256)
    assert configs["igd"].patch_size is None
    if small:
        assert "local" not in configs
    else:
        assert configs["local"].patch_size == 32
        assert replace(configs["local"], patch_size=None) == configs["igd"]


@pytest.mark.parametrize(
    ("dataset", "scale", "num_channels", "width"),
    [
        ("fmnist", "igd", 1, 64),
        ("hyperkvasir", "local", 3, 64),
        ("hyperkvasir", "igd", 3, 4),
    ],
)
def test_paper_takes_two_steps(tmp_path, dataset, scale, num_channels, width):
    """Of two images; patches that are scored lie farther apart. At 256 px a step of
    the whole network takes a CPU a minute, so that one is narrower."""
    configs = Chapter06(dataset=dataset, preset="paper").configs()
    config, size = configs[scale], configs["data"].image_size
    config = replace(
        config,
        batch_size=2,
        num_steps=2,
        stride=112,
        base_width=width,
        critic_width=width,
    )
    pixels = torch.randint(0, 256, (2, num_channels, size, size), dtype=torch.uint8)
    bank = ImageBank.from_array(pixels)
    model = igd.IGD(config, config.patch_size or size, num_channels)
    before = [parameter.clone() for parameter in model.parameters()]

    loop = Loop(scale, seed=0, folder=tmp_path, progress=None)
    igd.fit(model, bank, config, loop)

    assert len(loop.history) == 2
    assert {"rec", "gac", "inter", "critic"} <= set(loop.history[-1])
    after = list(model.parameters())
    moved = [not torch.equal(*pair) for pair in zip(before, after, strict=True)]
    assert all(moved)
    assert igd_scores.score(model, bank.batches(2), config).score.isfinite().all()


# --- Readings --------------------------------------------------------------------

SHARES = {"igd": 0.9, "local": 0.1}
DIFFERENCES = {  # from `steady`
    "thesis": {
        "pixels": "sum",
        "bounded": False,
        "variance_floor": None,
        "lr_power": 0.0,
    },
    "code": {
        "bounded": False,
        "variance_floor": 1.0,
        "e_step_every": 10,
        "old_mean": True,
        "centre_margin": 0.1,
        "zeta": 0.2,
        "beta_1": 0.0,
        "flip": True,
    },
}


@pytest.mark.parametrize("reading", DIFFERENCES)
@pytest.mark.parametrize("preset", allowed("preset"))
@pytest.mark.parametrize("dataset", ["fmnist", "lag"])
def test_readings_differ_where_they_say_and_nowhere_else(dataset, preset, reading):
    steady = Chapter06(dataset=dataset, preset=preset).configs()
    other = Chapter06(dataset=dataset, preset=preset, reading=reading).configs()

    assert steady.keys() == other.keys()
    for name, config in steady.items():
        before, after = asdict(config), asdict(other[name])
        changed = {key: after[key] for key in after if after[key] != before[key]}
        expected = DIFFERENCES[reading] if name in SHARES else {}
        if reading == "code" and name in SHARES:
            expected = expected | {"share_gac": SHARES[name]}
        assert changed == expected, name


def test_steady_floors_the_variance_and_averages():
    config = Chapter06().configs()["igd"]

    assert config.variance_floor > 1
    assert (config.pixels, config.lr_power, config.share_gac) == ("mean", 0.9, None)


# --- What is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dataset": "covidx"}, "fmnist"),
        ({"part": "tables"}, "main, baselines, ablation, robustness"),
        ({"start": "ssl"}, "scratch, imagenet, simclr, pmsacl"),
        ({"reading": "printed"}, "steady, thesis"),
        ({"class": ["0"]}, "classes"),
        ({"classes": "0"}, "classes"),
        ({"overrides": {"igd.steps": 3}}, "igd.num_steps"),
        ({"overrides": {"local.num_steps": 3}}, "local"),
        ({"overrides": {"distillation.num_steps": 3}}, "override 'distillation.num"),
        ({"overrides": {"study.baselines": ["svdd"]}}, "study.baselines has svdd; .*"),
        ({"overrides": {"study.ablation": ["gac"]}}, "study.ablation has gac; .*rec"),
        ({"overrides": {"study.robust": ["mse"]}}, "study.robust has mse; .*dae"),
        (
            {"overrides": {"study.oscillation": ["floor"]}},
            "study.oscillation has floor; .*floor-1",
        ),
    ],
)
def test_a_wrong_parameter_is_named_before_anything_is_trained(given, says):
    with pytest.raises(InputError, match=says) as caught:
        parameters.read(Chapter06, given).resolved_configs()
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_absent_imagenet_weights_are_an_error_not_a_random_start(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    with pytest.raises(InputError, match="weights are absent"):
        Chapter06(start="imagenet").configs()
    with pytest.raises(InputError, match="no file"):
        Chapter06(start="imagenet", weights="nowhere.pth").configs()


# --- Classes and tasks -----------------------------------------------------------

DIGITS = tuple("0123456789")
MVTEC = ("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather")


@pytest.mark.parametrize(
    ("given", "names", "expected"),
    [
        ({}, DIGITS, "0 6 9"),
        ({"preset": "standard"}, DIGITS, " ".join(DIGITS)),
        ({"preset": "paper", "part": "ablation"}, DIGITS, " ".join(DIGITS)),
        ({"preset": "paper", "part": "robustness"}, DIGITS, "0 6 9"),
        ({"classes": ("7", "2", "5")}, DIGITS, "2 5 7"),  # in the tables' order
        ({"dataset": "mvtec"}, MVTEC, "bottle carpet hazelnut"),
        ({"dataset": "mvtec", "preset": "paper"}, MVTEC, " ".join(MVTEC)),
        ({"dataset": "mvtec"}, ("grid", "wood"), "grid wood"),  # none of the three
        ({"dataset": "lag"}, None, ""),
    ],
)
def test_classes_follow_the_preset_in_the_order_of_the_tables(given, names, expected):
    assert " ".join(chapter06.class_names(stub(names, **given))) == expected


def test_wrong_classes_are_named():
    with pytest.raises(InputError, match=r"classes has 10, x; fmnist has 0, 1, .*9\."):
        chapter06.class_names(stub(DIGITS, classes=("x", "3", "10")))
    with pytest.raises(InputError, match="lag is one class; leave classes empty"):
        chapter06.class_names(stub(None, dataset="lag", classes=("0",)))


def test_no_two_tasks_share_a_stage():
    tasks = {
        Task(name=name, fraction=fraction, contamination=contamination)
        for name in ("", *DIGITS, "metal_nut")
        for fraction in (0.005, 0.01, 0.07, 0.2, 0.29, 0.6, 1.0)
        for contamination in (0.0, 0.005, 0.01, 0.05, 0.1, 0.29)
    }

    assert len({safe_name(task.stage or "all") for task in tasks}) == len(tasks)


@pytest.mark.parametrize("preset", allowed("preset"))
def test_tasks_of_robustness_are_addressed_as_tables_6_6_and_6_7_are(preset):
    run = stub(DIGITS, preset=preset, part="robustness", classes=("3",))
    settings = [task.setting for task in chapter06.robustness_tasks(run)]

    if preset == "quick":
        assert settings == [{"train_fraction": 0.2}, {"contamination": 0.1}]
    else:
        assert settings == [
            *({"train_fraction": f} for f in (0.2, 0.6)),
            *({"contamination": c} for c in (0.01, 0.05, 0.1)),
        ]
    assert Task(name="3").setting == {}
    for table, row, setting, metric in [
        ("6.6", "igd", settings[0], "auc@cifar10"),
        ("6.7", "dsvdd-rec", settings[-1], "auc@mvtec"),
    ]:
        published = paper.published(table, row, setting, metric)
        assert published in (0.8219, 0.7687)


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        ("main", {"baselines", "oscillation"}),
        ("baselines", {"baselines"}),
        ("ablation", {"ablation"}),
        ("robustness", {"fractions", "contaminations"}),
        (
            "all",
            {"baselines", "oscillation", "ablation", "fractions", "contaminations"},
        ),
    ],
)
def test_a_part_runs_what_is_its_own_and_names_the_rest(part, kept):
    run = stub(DIGITS, preset="paper", part=part)
    study = run.configs["study"]
    gone = " ".join(chapter06.left_out(run))

    fields = {
        "baselines": "baselines of Table 6.1",
        "ablation": "Table 6.5",
        "fractions": "Table 6.6",
        "contaminations": "Table 6.7",
        "oscillation": "without its floor",
    }
    assert {field for field in fields if getattr(study, field)} == kept
    whole = kept - {"baselines"} if part == "main" else kept  # it has the cheap ones
    assert {field for field, words in fields.items() if words not in gone} == whole


@pytest.mark.parametrize(
    "classes", [[0, 6], ["0", "6"], "[0, 6]", '["0", "6"]', (0, 6)]
)
def test_yaml_may_take_the_names_of_classes_for_numbers(classes):
    assert parameters.read(Chapter06, {"classes": classes}).classes == ("0", "6")
