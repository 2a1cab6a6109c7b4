"""Tasks, rows and resuming of chapter 6, with networks that learn nothing."""

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thesislib import paper, runs
from thesislib.chapters.ch06_igd import accuracy, figures, settings
from thesislib.chapters.ch06_igd import methods as chapter06
from thesislib.chapters.ch06_igd.settings import Chapter06
from thesislib.detectors import igd_scores
from thesislib.nn.resnet import ResNet18, load_weights
from thesislib.pretrain.distillation import Student
from thesislib.runs.run import Run
from thesislib.study import detection, localisation, pictures, variants
from thesislib.study.detectors import variant
from thesislib.study.method import Detection, Method, detect
from thesislib.study.task import Task, data_of
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

    def guess(run, method, task, **maps):
        seed = sum(map(ord, f"{method.stage} {task}"))
        labels = data_of(run, task).test_labels
        return Detection(scores=np.random.default_rng(seed).normal(size=len(labels)))

    answering(monkeypatch, guess)
    return guess


def answering(monkeypatch, answer):
    for module in (accuracy, detection, localisation, pictures, variants):
        monkeypatch.setattr(module, "detect", answer)


def main_rows(run):
    """Record the rows of all methods on all tasks, as the notebook does."""
    rows, tasks = chapter06.methods(run), settings.full_tasks(run)
    return detection.rows(run, rows, tasks, **settings.printed_tables(run))


def igd_model(run, task, scale="igd", name="", change=None):
    """IGD of one scale, trained on a task."""
    network = chapter06.igd(run)
    network = variant(network, name, change) if name else network
    return network.model(run, task, scale)


def detect_igd(run, task):
    return detect(run, chapter06.method(run, "igd"), task, maps=False)


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
    main_rows(run)

    assert published(run) == {
        ("A.3", "igd", "auc@fmnist/0"): 0.908,
        ("A.3", "igd", "auc@fmnist/6"): pytest.approx(
            paper.published("A.3", "igd", {"pretrain": "imagenet"}, "auc@fmnist/6")
        ),
        ("6.1", "igd", "auc@fmnist"): 0.9357,
    }
    assert all(row["setting"] == {"pretrain": "imagenet"} for row in run.rows)
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in run.rows)
    assert all_recomputed(run) is True


def test_rows_from_scratch_have_a_published_mean_only(start, guessing):
    run = start(DATA, classes=("0", "6"))
    main_rows(run)

    assert published(run) == {("6.1", "igd", "auc@fmnist"): 0.9201}
    classes = {row["metric"] for row in run.rows if row["table"] is None}
    assert classes == {"auc@fmnist/0", "auc@fmnist/6", "auc@fmnist"}
    assert all_recomputed(run) is True


def test_the_mean_over_classes_is_the_mean_of_their_rows(start, guessing):
    run = start(DATA, classes=("0", "3", "6"))
    found = main_rows(run)

    for row, (each, mean) in found.items():
        values = {r["metric"]: r["value"] for r in run.rows if r["row"] == row}
        assert values["auc@fmnist"] == mean.value
        assert mean.value == pytest.approx(np.mean([e.value for e in each]))
        assert values["auc@fmnist/3"] == each[1].value


def test_studies_of_cifar10_stand_in_tables_6_5_to_6_7(start, weights, guessing):
    given = {"start": "imagenet", "weights": weights, "part": "all"}
    run = start(DATA, dataset="cifar10", classes=("0", "1"), **given)
    main_rows(run)
    chapter06.ablation_table(run)
    chapter06.robustness_table(run)
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
    main_rows(run)
    chapter06.ablation_table(run)
    chapter06.robustness_table(run)

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


# --- Accuracy at the score 0.5 ---------------------------------------------------

COUNTS = {"bottle": (3, 5), "grid": (2, 6), "screw": (4, 4)}  # test images
SCORES = {  # normal images, then abnormal ones
    "bottle": [0.1, 0.6, 0.4, 0.9, 0.5, 0.2, 1.9, 3.0],  # 2 and 4 right
    "grid": [0.7, 0.8, 1.5, 2.0, 0.6, 0.9, 1.0, 0.7],  # 0 and 6
    "screw": [0.1, 0.2, 0.3, 0.4, 0.1, 0.2, 0.3, 0.4],  # 4 and 0
}


@pytest.fixture
def industrial(home):
    """Three categories of MVTec AD in its layout, noise in place of pictures."""
    random = np.random.default_rng(0)
    for name, (normal, abnormal) in COUNTS.items():
        for part, number in (("train/good", 2), ("test/good", normal)):
            _paint(home / "mvtec" / name / part, number, random)
        _paint(home / "mvtec" / name / "test/crack", abnormal, random)
        _paint(home / "mvtec" / name / "ground_truth/crack", abnormal, random, "_mask")
    return str(home / "mvtec")


def _paint(folder, number, random, suffix=""):
    folder.mkdir(parents=True)
    for index in range(number):
        noise = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{index:03d}{suffix}.png")


@pytest.fixture
def scored(guessing, monkeypatch):
    """IGD with the scores above."""

    def known(run, method, task, **maps):
        found = guessing(run, method, task, **maps)
        if method.key != "igd":
            return found
        labels, scores = data_of(run, task).test_labels, SCORES[task.name]
        num_normal = COUNTS[task.name][0]
        found.scores[labels == 0] = scores[:num_normal]
        found.scores[labels == 1] = scores[num_normal:]
        return found

    answering(monkeypatch, known)


def cells_of(html):
    """First cell of each line -> its other cells, as text."""
    lines = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", x) for x in html.split("<tr>")]
    return {unescape(line[0]): line[1:] for line in lines if line}


def test_accuracy_stands_in_tables_a_1_and_6_2(start, weights, industrial, scored):
    given = {"dataset": "mvtec", "source": "real", "data_root": industrial}
    run = start({}, start="imagenet", weights=weights, preset="standard", **given)
    main_rows(run)
    html = accuracy.at_one_half(run)
    rows = {(r["row"], r["metric"]): r for r in run.rows if "accuracy" in r["metric"]}

    assert {
        key: (r["table"], r["published"], r["value"], r["n"])
        for key, r in rows.items()
        if key[0] == "igd"
    } == {
        ("igd", "accuracy@mvtec/bottle"): ("A.1", 0.95, 6 / 8, 8),
        ("igd", "accuracy@mvtec/grid"): ("A.1", 0.92, 6 / 8, 8),
        ("igd", "accuracy@mvtec/screw"): ("A.1", 0.58, 4 / 8, 8),
        ("igd", "accuracy"): ("6.2", 0.84, pytest.approx(2 / 3), 24),
    }
    assert all(0 < r["ci_low"] < r["value"] < r["ci_high"] < 1 for r in run.rows[-8:-4])
    floor = {m: r["value"] for (row, m), r in rows.items() if row == "all-abnormal"}
    assert floor == {
        "accuracy@mvtec/bottle": 5 / 8,
        "accuracy@mvtec/grid": 6 / 8,
        "accuracy@mvtec/screw": 4 / 8,
        "accuracy@mvtec": pytest.approx(5 / 8),
    }
    assert {r["ci_low"] for r in rows.values() if r["row"] == "all-abnormal"} == {None}
    cells = cells_of(html)
    assert cells["bottle"][:2] == ["0.95", "0.95"]
    assert cells["bottle"][3:] == ["0.625", "0.667", "0.800", "0.40 / 0.90"]
    assert cells["grid"][3:] == ["0.750", "0.000", "1.000", "0.75 / 0.95"]
    assert cells["mean"][:2] == ["0.84", "0.85"]
    assert cells["mean"][2].startswith("0.667<small>[0.")
    assert cells["mean"][3:6] == ["0.625", "0.556", "0.600"]
    assert "adds up two terms over 2 scales, from 0 to about 4" in html
    assert "over 3 classes" not in html  # the folder has no more
    assert all_recomputed(run) is True


def test_accuracy_from_scratch_and_of_some_classes_is_ours_alone(
    start, industrial, scored
):
    given = {"dataset": "mvtec", "source": "real", "data_root": industrial}
    run = start({}, classes=("bottle", "grid"), reading="code", **given)
    main_rows(run)
    html = accuracy.at_one_half(run)

    rows = [r for r in run.rows if r["row"] == "igd" and "accuracy" in r["metric"]]
    assert {(r["table"], r["metric"]) for r in rows} == {
        (None, "accuracy@mvtec/bottle"),
        (None, "accuracy@mvtec/grid"),
        (None, "accuracy@mvtec"),
    }
    assert "Our mean is over 2 classes, not over all." in html
    assert "weighted mean of its terms, from 0 to about 1" in html
    assert all_recomputed(run) is True


def test_other_readings_say_what_the_score_adds_up(start):
    def words(**given):
        return accuracy.score_words(start(DATA, **given))

    assert words() == "the score adds up two terms of one scale, from 0 to about 2"
    literal = words(dataset="hyperkvasir", reading="thesis")
    assert literal.endswith("two terms over 2 scales, one of them over all pixels")


def test_only_mvtec_is_judged_at_a_fixed_score(start, guessing):
    run = start(DATA)

    assert "MVTec AD alone" in accuracy.at_one_half(run)
    assert run.rows == []


def test_the_explorer_begins_where_the_tables_judge(start, industrial):
    """At 0.5 on MVTec AD, elsewhere at the median of the draws."""
    mvtec = start(TINY, dataset="mvtec", source="real", data_root=str(industrial))

    assert accuracy.threshold_of(mvtec) == 0.5
    assert accuracy.threshold_of(start(TINY, classes=["0"])) is None


@pytest.mark.parametrize(
    ("dataset", "says"),
    [("fmnist", "of the global model"), ("chestxray", "of each scale")],
)
def test_a_caption_speaks_of_each_scale_only_where_there_are_two(
    start, monkeypatch, dataset, says
):
    given = {"classes": ["0"]} if dataset == "fmnist" else {}
    run = start(TINY, dataset=dataset, **given)
    monkeypatch.setattr(pictures, "scale_heatmaps", lambda run, igd, said, task: said)

    assert says in figures.maps(run)


@pytest.mark.parametrize("reading", ["steady", "code"])
def test_only_the_code_takes_the_mean_of_both_scales(start, reading):
    """Its score is then a weighted mean of four terms; printed is their sum."""
    overrides = TINY | {"local.num_steps": 1, "local.batch_size": 4}
    run = start(overrides, dataset="hyperkvasir", reading=reading)
    task = Task()
    models = {
        scale: (igd_model(run, task, scale).model, run.configs[scale])
        for scale in ("igd", "local")
    }
    data = data_of(run, task)

    each = [
        igd_scores.score(model, data.test.batches(8), config).score.numpy()
        for model, config in models.values()
    ]
    detector = chapter06.igd(run).fit(run, task)
    both = detector.score(lambda: data.test.batches(8), maps=False).scores

    weight = {"steady": 1.0, "code": 0.5}[reading]
    np.testing.assert_allclose(both, weight * (each[0] + each[1]), rtol=1e-5)


# --- Training --------------------------------------------------------------------


def test_methods_share_the_data_of_a_task(start):
    run, seen = start(TINY), []

    def look(run, task):
        seen.append(data_of(run, task))
        return chapter06.method(run, "nn-statistics").fit(run, task)

    for name in ("one", "other"):
        detect(run, Method(key=name, label=name, stage=name, fit=look), Task(name="6"))

    assert seen[0] is seen[1]
    assert data_of(run, Task(name="0")) is not seen[0]


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
    expected = main_rows(whole)

    monkeypatch.setenv("THESIS_RESULTS", str(home / "other"))
    killed = start(overrides, **given)
    with monkeypatch.context() as patch:
        stopping(patch, stage, 3)
        with pytest.raises(KeyboardInterrupt):
            main_rows(killed)
    killed.close()
    resumed = start(overrides, **given)
    begun = stopping(monkeypatch, "", 0)

    assert main_rows(resumed) == expected
    assert resumed.rows == whole.rows
    assert resumed._scores.text() == whole._scores.text()
    assert begun[:2] == [(stage, 2), (stage, 3)]  # no step before the checkpoint's


SHORT = {  # settings of a self-supervised start, at next to no cost
    "simclr": {"simclr.num_steps": 2, "simclr.batch_size": 4, "simclr.base_width": 8},
    "pmsacl": {
        "pmsacl.num_steps": 2,
        "pmsacl.batch_size": 4,
        "pmsacl.base_width": 8,
        "pmsacl.num_centre_images": 4,
    },
}


@pytest.mark.parametrize(("method", "printed"), [("simclr", 0.9441), ("pmsacl", None)])
def test_a_pretrained_encoder_is_frozen_and_its_linear_layer_learns(
    start, method, printed
):
    """SimCLR is the thesis's SSL; PMSACL under IGD on Fashion-MNIST is not printed."""
    overrides = TINY | SHORT[method]
    run = start(overrides, start=method, classes=("6",), part="ablation")
    task = Task(name="6")
    backbone = chapter06.backbone(run, task, "igd")
    before = {name: w.clone() for name, w in backbone.state_dict().items()}

    trained = igd_model(run, task)

    assert [row["step"] for row in trained.history] == [0, 1, 2, 3]
    encoder = trained.model.encoder
    after = encoder.backbone.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert encoder.project.weight.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in encoder.backbone.parameters())
    main_rows(run)
    assert published(run).get(("6.1", "igd", "auc@fmnist")) == printed


@pytest.mark.parametrize("method", SHORT)
def test_a_pretrained_local_model_has_an_encoder_of_patches(start, method):
    overrides = TINY | {
        "local.num_steps": 2,
        "local.batch_size": 4,
        "patches.steps_fraction": 2.0,
    }
    overrides |= SHORT[method]
    run = start(overrides, dataset="hyperkvasir", start=method)
    task = Task()
    found = {
        scale: igd_model(run, task, scale).model.encoder.backbone.state_dict()
        for scale in ("igd", "local")
    }
    made = {
        scale: chapter06.backbone(run, task, scale).state_dict()
        for scale in ("igd", "local")
    }

    for scale, weights in found.items():
        assert all(torch.equal(w, made[scale][name]) for name, w in weights.items())
    assert not torch.equal(found["igd"]["conv1.weight"], found["local"]["conv1.weight"])
    stages = [json.loads(line)["stage"] for line in run._losses().splitlines()]
    steps = {  # those of a warm-up are recorded under its own name
        name: sum(stage in (name, f"{name}-warm-up") for stage in stages)
        for name in (method, f"{method}-local")
    }
    assert steps == {method: 2, f"{method}-local": 4}  # twice the steps, as asked


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
    taught = chapter06.student(run, task, "local")
    before = copy_of(taught.model)
    detected = detect_igd(run, task)
    encoders = {
        scale: igd_model(run, task, scale).model.encoder for scale in ("igd", "local")
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
        students[name] = chapter06.student(run, task, "igd").model
        of_igd = igd_model(run, task).model.encoder.backbone
        of_svdd = chapter06.deep(run, "dsvdd").model(run, task, "dsvdd").model
        assert of_igd is of_svdd.encoder.backbone is students[name]
        assert of_igd.image_size == data_of(run, task).train.image_size == 32

    assert not same(students["0"], copy_of(students["6"]))  # each class has its own
    text = figures.distillation(run)
    assert "3 steps of 4 training images, which the teacher sees at 64 px" in text
    assert text.count("- global model: ") == 1


def test_a_start_from_scratch_says_that_it_distils_nothing(start):
    text = figures.distillation(start(TINY))

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
            chapter06.student(run, task, "local")
        models.append(igd_model(run, task, "local", "rec", change).model)

    assert same(models[0], copy_of(models[1]))


def test_killed_while_it_distils_and_after_it_resumes_to_the_same_scores(
    start, weights, monkeypatch, home
):
    given = LOCAL | {"weights": weights}
    expected = detect_igd(start(STUDENT, **given), Task()).scores

    monkeypatch.setenv("THESIS_RESULTS", str(home / "other"))
    lives = []
    for stage, index in (("distillation/local/all", 2), ("local/all", 1), ("", 0)):
        run = start(STUDENT, **given)
        with monkeypatch.context() as patch:
            lives.append(stopping(patch, stage, index))
            if stage:
                with pytest.raises(KeyboardInterrupt):
                    detect_igd(run, Task())
            else:
                scores = detect_igd(run, Task()).scores
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
    weights, images = figures.interpolated(run, task)

    assert weights.tolist() == pytest.approx(np.linspace(0, 1, 9).tolist())
    assert images.shape == (3, 9, 3, 64, 64)
    for row in images:  # from one image to another, if there are two
        assert np.array_equal(row[0], row[-1]) == (number == 1)
