"""Tasks, rows and resuming of chapter 6, with networks that learn nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from thesislib import runs
from thesislib.experiments import (
    chapter06_figures,
    chapter06_tables,
    one_class,
    one_class_baselines,
)
from thesislib.experiments.chapter06 import Chapter06, Task
from thesislib.experiments.one_class import Detection
from thesislib.nn.resnet import ResNet18, load_weights
from thesislib.pretrain.distillation import Student
from thesislib.runs.run import Run
from thesislib.training.loop import Loop

DATA = {"data.num_train": 16, "data.num_test_normal": 4, "data.num_test_abnormal": 12}
TINY = DATA | {"igd.num_steps": 4, "igd.batch_size": 8, "study.num_maps": 4}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.setenv(f"THESIS_{name}", str(tmp_path / name.lower()))
    return tmp_path


@pytest.fixture
def start(request):
    """Open a run on a phantom; it is closed after the test."""

    def opened(overrides, **given):
        given = {"source": "phantom", "overrides": overrides, **given}
        run = runs.start(Chapter06, given)
        request.addfinalizer(run.close)
        return run

    return opened


@pytest.fixture
def weights(home):
    """A file in the form of ImageNet weights, with random ones in it."""
    path = home / "weights.pth"
    torch.save(ResNet18().state_dict(), path)
    return str(path)


@pytest.fixture
def guessing(monkeypatch):
    """Methods that answer at random in place of trained ones."""

    def guess(run, *what, **maps):
        (task,) = (one for one in what if isinstance(one, Task))
        seed = sum(map(ord, repr(what)))
        scores = np.random.default_rng(seed).normal(
            size=len(one_class.data_of(run, task).test_labels)
        )
        return Detection(
            scores=scores,
            terms={},
            shown=np.array([]),
            maps={},
            ends={},
            pixels={},
            images={},
        )

    monkeypatch.setattr(one_class, "detect_igd", guess)
    monkeypatch.setattr(chapter06_tables.one_class_baselines, "detect", guess)


def published(run, row=None):
    """(table, row, setting without the start, metric) -> what is printed there."""
    found = {}
    for one in run.rows:
        if one["table"] and row in (None, one["row"]):
            setting = {k: v for k, v in one["setting"].items() if k != "pretrain"}
            where = tuple(map(str, setting.values()))
            found[one["table"], one["row"], *where, one["metric"]] = one["published"]
    return found


def all_recomputed(run):
    """Seal the run and have `runs verify` compute every row anew."""
    run.finish()
    findings = [one for one in runs.verify([run.folder]) if one.kind != "changed"]
    number = len(run.rows)
    texts = [f"seal and files, {number} of {number} rows recomputed"]
    return [one.text for one in findings] == texts or findings


# --- Rows ------------------------------------------------------------------------


def test_rows_from_imagenet_stand_in_tables_6_1_and_a_3(start, weights, guessing):
    given = {"start": "imagenet", "weights": weights, "classes": ("0", "6")}
    run = start(DATA, **given)
    chapter06_tables.main_rows(run)

    assert published(run) == {
        ("A.3", "igd", "auc@fmnist/0"): 0.908,
        ("A.3", "igd", "auc@fmnist/6"): pytest.approx(
            chapter06_tables.paper.published(
                "A.3", "igd", {"pretrain": "imagenet"}, "auc@fmnist/6"
            )
        ),
        ("6.1", "igd", "auc@fmnist"): 0.9357,
    }
    assert all(row["setting"] == {"pretrain": "imagenet"} for row in run.rows)
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in run.rows)
    assert all_recomputed(run) is True


def test_rows_from_scratch_have_a_published_mean_only(start, guessing):
    run = start(DATA, classes=("0", "6"))
    chapter06_tables.main_rows(run)

    assert published(run) == {("6.1", "igd", "auc@fmnist"): 0.9201}
    classes = {row["metric"] for row in run.rows if row["table"] is None}
    assert classes == {"auc@fmnist/0", "auc@fmnist/6", "auc@fmnist"}
    assert all_recomputed(run) is True


def test_the_mean_over_classes_is_the_mean_of_their_rows(start, guessing):
    run = start(DATA, classes=("0", "3", "6"))
    found = chapter06_tables.main_rows(run)

    for row, (each, mean) in found.items():
        values = {r["metric"]: r["value"] for r in run.rows if r["row"] == row}
        assert values["auc@fmnist"] == mean.value
        assert mean.value == pytest.approx(np.mean([e.value for e in each]))
        assert values["auc@fmnist/3"] == each[1].value


def test_studies_of_cifar10_stand_in_tables_6_5_to_6_7(start, weights, guessing):
    given = {"start": "imagenet", "weights": weights, "part": "all"}
    run = start(DATA, dataset="cifar10", classes=("0", "1"), **given)
    chapter06_tables.main_rows(run)
    chapter06_tables.ablation(run)
    chapter06_tables.robustness(run)
    cells = published(run)

    for address, value in {
        ("A.4", "igd", "auc@cifar10/plane"): 0.868,
        ("A.4", "igd", "auc@cifar10/car"): 0.87,
        ("6.1", "igd", "auc@cifar10"): 0.8368,
        ("6.5", "igd", "['rec']", "auc_full"): 0.731,
        ("6.5", "igd", "['rec', 'gac']", "auc_small20"): 0.785,
        ("6.5", "igd", "['rec', 'gac', 'inter']", "auc_contaminated10"): 0.812,
        ("6.6", "igd", "0.2", "auc@cifar10"): 0.8219,
        ("6.6", "igd", "1.0", "auc@cifar10"): 0.8365,
        ("6.6", "dsvdd", "0.2", "auc@cifar10"): 0.7064,
        ("6.6", "dsvdd", "1.0", "auc@cifar10"): 0.7612,
        ("6.7", "igd", "0.1", "auc@cifar10"): 0.8122,
        ("6.7", "dsvdd", "0.1", "auc@cifar10"): 0.6717,
    }.items():
        assert cells.pop(address) == value, address
    assert {address[0] for address in cells} <= {"6.5"}  # the rest of its nine cells
    assert all_recomputed(run) is True


@pytest.mark.parametrize("part", ["main", "robustness", "all"])
def test_a_dataset_that_is_one_class_has_rows_of_every_part(
    start, weights, guessing, part
):
    """In part `robustness` fewer abnormal images are left to judge, so the published
    protocol, and with it Table 6.4, is left."""
    given = {"start": "imagenet", "weights": weights, "part": part}
    run = start(DATA | {"data.num_train": 40}, dataset="hyperkvasir", **given)
    chapter06_tables.main_rows(run)
    chapter06_tables.ablation(run)
    chapter06_tables.robustness(run)

    table = {("6.4", "igd", "auc@hyperkvasir"): 0.931}
    assert published(run, "igd") == ({} if part == "robustness" else table)
    (main,) = (
        row
        for row in run.rows
        if (row["row"], row["metric"], len(row["setting"])) == ("igd", "auc", 1)
    )
    assert main["n"] == (12 if part == "robustness" else 16)
    shares = {row["setting"].get("contamination") for row in run.rows}
    assert shares == ({None} if part == "main" else {None, 0.0, 0.1})
    assert all_recomputed(run) is True


# --- Training --------------------------------------------------------------------


def test_methods_share_the_data_of_a_task(start):
    run, seen = start(TINY), []

    def look(data):
        seen.append(data)
        return np.arange(len(data.test_labels))

    for name in ("one", "other"):
        one_class.detect(run, Task(name="6"), name, look)

    assert seen[0] is seen[1]
    assert one_class.data_of(run, Task(name="0")) is not seen[0]


def stopping(monkeypatch, stage, index):
    """Have training stop before a step, as a kill would; note the steps begun."""
    begun, original = [], Loop.steps

    def steps(loop, *args, **options):
        for step in original(loop, *args, **options):
            begun.append((loop.stage, step.index))
            if (loop.stage, step.index) == (stage, index):
                raise KeyboardInterrupt
            yield step

    loop = Run.loop
    monkeypatch.setattr(Loop, "steps", steps)
    monkeypatch.setattr(
        Run, "loop", lambda run, name, **o: loop(run, name, checkpoint_every=2, **o)
    )
    return begun


@pytest.mark.parametrize("stage", ["igd/class-6", "dsvdd/class-0"])
def test_a_killed_run_resumes_to_the_same_scores(start, monkeypatch, home, stage):
    given = {"classes": ("0", "6")}
    overrides = TINY | {"study.baselines": ["dsvdd"]}
    whole = start(overrides, **given)
    expected = chapter06_tables.main_rows(whole)

    monkeypatch.setenv("THESIS_RESULTS", str(home / "other"))
    killed = start(overrides, **given)
    with monkeypatch.context() as patch:
        stopping(patch, stage, 3)
        with pytest.raises(KeyboardInterrupt):
            chapter06_tables.main_rows(killed)
    killed.close()
    resumed = start(overrides, **given)
    begun = stopping(monkeypatch, "", 0)

    assert chapter06_tables.main_rows(resumed) == expected
    assert resumed.rows == whole.rows
    assert resumed._scores.text() == whole._scores.text()
    assert begun[:2] == [(stage, 2), (stage, 3)]  # no step before the checkpoint's


def test_a_pmsacl_encoder_is_frozen_and_its_linear_layer_learns(start):
    overrides = TINY | {
        "pmsacl.num_steps": 2,
        "pmsacl.batch_size": 4,
        "pmsacl.num_centre_images": 8,
    }
    run = start(overrides, start="pmsacl", classes=("6",), part="ablation")
    task = Task(name="6")
    backbone = one_class.backbone_of(run, task)
    before = {name: w.clone() for name, w in backbone.state_dict().items()}

    trained = one_class.igd_model(run, task)

    assert [row["step"] for row in trained.history] == [0, 1, 2, 3]
    encoder = trained.model.encoder
    after = encoder.backbone.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert encoder.project.weight.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in encoder.backbone.parameters())
    chapter06_tables.main_rows(run)
    assert published(run)["6.1", "igd", "auc@fmnist"] == 0.9441


# --- Distillation ----------------------------------------------------------------

STUDENT = TINY | {
    "local.num_steps": 2,
    "local.batch_size": 4,
    "distillation.num_steps": 3,
    "distillation.batch_size": 4,
    "distillation.base_width": 2,
    "distillation.teacher_size": 64,
}
GLOBAL_STUDENT = {
    name: v for name, v in STUDENT.items() if not name.startswith("local")
}
LOCAL = {"dataset": "hyperkvasir", "start": "imagenet"}
STEPS = {"distillation/local/all": 3, "local/all": 2}


def copy_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(module, weights):
    now = module.state_dict()
    return all(torch.equal(now[name], value) for name, value in weights.items())


def test_from_imagenet_the_local_encoder_is_a_student_of_the_global_one(start, weights):
    run, task = start(STUDENT, weights=weights, **LOCAL), Task()
    taught = one_class.student(run, task, "local")
    before = copy_of(taught.model)
    detected = one_class.detect_igd(run, task)
    encoders = {
        scale: one_class.igd_model(run, task, scale).model.encoder
        for scale in ("igd", "local")
    }

    published = ResNet18()
    load_weights(published, Path(weights))
    assert same(encoders["igd"].backbone, published.state_dict())
    assert isinstance(encoders["local"].backbone, Student)
    assert encoders["local"].backbone.image_size == 32
    assert same(encoders["local"].backbone, before)  # frozen under its linear layer
    assert encoders["local"].project.weight.grad.abs().sum() > 0
    assert encoders["local"].project.in_features == 512
    assert [row["step"] for row in taught.history] == [0, 1, 2]
    assert all({"kd", "spread"} <= row.keys() for row in taught.history)
    assert np.isfinite(detected.scores).all()
    losses = Path(run.folder / "checkpoints/distillation-local-all/losses.jsonl")
    assert len(losses.read_text("utf-8").splitlines()) == 3


def test_as_printed_the_global_encoder_is_a_student_too_and_baselines_share_it(
    start, weights
):
    given = {"start": "imagenet", "reading": "thesis", "classes": ("0", "6")}
    run = start(GLOBAL_STUDENT, weights=weights, **given)
    students = {}
    for name in "06":
        task = Task(name=name)
        students[name] = one_class.student(run, task, "igd").model
        of_igd = one_class.igd_model(run, task).model.encoder.backbone
        of_svdd = one_class_baselines.deep_model(run, "dsvdd", task).model
        assert of_igd is of_svdd.encoder.backbone is students[name]
        assert of_igd.image_size == one_class.data_of(run, task).train.image_size == 32

    assert not same(students["0"], copy_of(students["6"]))  # each class has its own
    text = chapter06_figures.distillation(run)
    assert "3 steps of 4 training images, which the teacher sees at 64 px" in text
    assert text.count("- global model: ") == 1


def test_a_start_from_scratch_says_that_it_distils_nothing(start):
    text = chapter06_figures.distillation(start(TINY))

    assert text == "This run distils no encoder."


def test_what_is_built_on_a_student_does_not_depend_on_when_it_was_taught(
    start, weights, monkeypatch, home
):
    """In a run that goes on after a kill the student is read back, or kept."""
    task, change = Task(), {"terms": ("rec",)}
    models = []
    for folder in ("one", "other"):
        monkeypatch.setenv("THESIS_RESULTS", str(home / folder))
        run = start(STUDENT, weights=weights, **LOCAL)
        if folder == "other":
            one_class.student(run, task, "local")
        models.append(one_class.igd_model(run, task, "local", "rec", change).model)

    assert same(models[0], copy_of(models[1]))


def test_killed_while_it_distils_and_after_it_resumes_to_the_same_scores(
    start, weights, monkeypatch, home
):
    given = LOCAL | {"weights": weights}
    expected = one_class.detect_igd(start(STUDENT, **given), Task()).scores

    monkeypatch.setenv("THESIS_RESULTS", str(home / "other"))
    lives = []
    for stage, index in (("distillation/local/all", 2), ("local/all", 1), ("", 0)):
        run = start(STUDENT, **given)
        with monkeypatch.context() as patch:
            lives.append(stopping(patch, stage, index))
            if stage:
                with pytest.raises(KeyboardInterrupt):
                    one_class.detect_igd(run, Task())
            else:
                scores = one_class.detect_igd(run, Task()).scores
        run.close()

    assert np.array_equal(scores, expected)
    distilled, local = ([(s, i) for i in range(n)] for s, n in STEPS.items())
    assert lives[0][-3:] == distilled
    assert lives[1] == [distilled[2], *local]  # goes on from the checkpoint
    assert lives[2] == local  # the student is read back


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_interpolations_need_no_number_of_normal_images(start, number):
    overrides = TINY | {"data.num_test_normal": number, "local.num_steps": 1}
    run = start(overrides, dataset="hyperkvasir")
    task = Task()
    weights, images = chapter06_figures.interpolated(run, task)

    assert weights.tolist() == pytest.approx(np.linspace(0, 1, 9).tolist())
    assert images.shape == (3, 9, 3, 64, 64)
    for row in images:  # from one image to another, if there are two
        assert np.array_equal(row[0], row[-1]) == (number == 1)
