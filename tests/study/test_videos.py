"""Rows of video methods: trained once, read back, recomputed by `runs verify`."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.datasets.videos import layouts
from thesislib import runs
from thesislib.chapters.ch08_rtfm.settings import Chapter08
from thesislib.errors import InputError
from thesislib.metrics.video import frame_scores
from thesislib.runs import verification
from thesislib.study import videos
from thesislib.study.video_task import VideoTask, tasks, videos_of
from thesislib.video import rtfm

TINY = {
    **{f"data.num_train_{kind}": 4 for kind in ("normal", "abnormal")},
    **{f"data.num_test_{kind}": 3 for kind in ("normal", "abnormal")},
    **{f"{name}.batch_size": 4 for name in ("rtfm", "deep_mil")},
    **{f"{name}.num_steps": 2 for name in ("rtfm", "deep_mil")},
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.setenv(f"THESIS_{name}", str(tmp_path / name.lower()))


@pytest.fixture
def start(request):
    def opened(**given):
        given = {"source": "phantom", "overrides": TINY} | given
        run = runs.start(Chapter08, given)
        request.addfinalizer(run.close)
        return run

    return opened


def methods(run):
    return [
        videos.network(run.configs["rtfm"], "rtfm", key="rtfm", label="RTFM"),
        videos.network(run.configs["deep_mil"], "deep_mil", key="mil", label="DeepMIL"),
        *(floor for floor in videos.floors(run) if floor.key == "logistic-videos"),
    ]


def test_rows_are_those_of_all_frames_and_can_be_computed_again(start):
    run = start()
    own = methods(run)
    found = videos.rows(run, own, [VideoTask()])
    difference = videos.contrast(run, own[0], replace(own[1], setting={"a": 1}))
    run.finish([(None, "rtfm"), (None, "mil"), (None, "logistic-videos")])
    (finding,) = verification.verify([run.folder])

    scores = videos.detect(run, own[2])
    expected = roc_auc_score(
        np.concatenate(run.data.test_frame_labels),
        np.concatenate([frame_scores(s, 16 * len(s)) for s in scores.scores]),
    )
    assert found["floor-logistic-videos"]["auc"].value == pytest.approx(expected)
    both = (found[name]["auc"].value for name in ("rtfm", "deep_mil"))
    assert difference["auc"].difference == pytest.approx(np.subtract(*both))
    assert finding.kind == "agrees"
    assert f"{len(run.rows)} of {len(run.rows)} rows recomputed" in finding.text


def test_a_method_is_trained_once_and_read_back(start, monkeypatch):
    run = start()
    first = [videos.detect(run, method).scores for method in methods(run)]
    run.close()
    monkeypatch.setattr(rtfm, "fit", None)  # a second training would call it
    again = [videos.detect(start(), method).scores for method in methods(run)]

    for one, two in zip(first, again, strict=True):
        assert all(map(np.array_equal, one, two))


def test_fewer_abnormal_videos_are_another_training_on_the_same_test(start):
    run, task = start(), VideoTask(num_abnormal=2)
    method = methods(run)[0]
    videos.rows(run, [method], [task])
    whole, few = (videos.detect(run, method, t) for t in (VideoTask(), task))

    assert all(map(np.array_equal, whole.labels, few.labels))
    assert not np.array_equal(whole.scores[0], few.scores[0])
    assert {str(row["setting"]) for row in run.rows} == {"{'num_abnormal': 2}"}


def test_over_draws_there_is_each_and_their_mean(start):
    run = start()
    training = [run.data.ids[v] for kind in (0, 1) for v in run.data.train(kind)]
    draws = tuple(frozenset(training) - {training[d]} for d in range(5))
    run.data = replace(run.data, draws=draws)
    of_draws = [VideoTask(draw=draw) for draw in range(5)]
    method, other = methods(run)[2], videos.floors(run)[1]
    found = videos.rows(run, [method], of_draws)[method.stage]
    minus = videos.contrast(run, method, other, of_draws)["auc"]
    aucs = [row for row in run.rows if row["metric"] == "auc"]
    run.finish([(None, "logistic-videos")])
    (finding,) = verification.verify([run.folder])

    assert [row["setting"] for row in aucs] == [{"draw": d} for d in range(5)] + [{}]
    mean = np.mean([row["value"] for row in aucs[:5]])
    assert found["auc"].value == aucs[5]["value"] == pytest.approx(mean)
    differences = [row for row in run.rows if row["metric"] == "auc difference"]
    assert [row["setting"].get("draw") for row in differences] == [*range(5), None]
    mean = np.mean([row["value"] for row in differences[:5]])
    assert minus.difference == differences[5]["value"] == pytest.approx(mean)
    assert len(videos_of(run, of_draws[0]).test) == 7
    assert finding.kind == "agrees"
    assert f"{len(run.rows)} of {len(run.rows)} rows" in finding.text


def test_two_rows_of_one_key_and_setting_are_refused(start):
    run = start()

    with pytest.raises(InputError, match="row key rtfm and one setting"):
        videos.rows(run, [methods(run)[0]] * 2, [VideoTask()])


def test_floors_have_a_key_and_a_stage_of_their_own_and_ceilings_are_for_phantoms(
    start,
):
    run = start()
    keys = [floor.key for floor in videos.floors(run)]
    run.data = replace(run.data, source="real")

    assert len(set(keys)) == len(keys) == 7
    assert [floor.key for floor in videos.floors(run)] == keys[:5]


def test_a_variant_that_changes_nothing_is_the_method_itself(start):
    own = methods(start())[0]
    same, other = videos.variants(own, "k", {3: {"k": 3}, 6: {"k": 6}})

    assert (same.stage, same.setting) == (own.stage, {"k": 3})
    assert (other.stage, other.setting) == ("rtfm/k-6", {"k": 6})
    assert (other.config.k, other.key) == (6, "rtfm")


FEW_STEPS = {key: value for key, value in TINY.items() if "data" not in key}


@pytest.mark.parametrize("dataset", ["xdviolence", "ucsdped2"])
def test_official_layouts_train_a_network_and_give_rows(start, tmp_path, dataset):
    """UCSD by its ten recorded draws, with features of motion."""
    root = tmp_path / "official"
    layouts.LAYOUTS[dataset](root)
    given = {"dataset": dataset, "source": "real", "data_root": str(root)}
    run = start(overrides=FEW_STEPS, **given)
    own = methods(run)[:1]
    found = videos.rows(run, own, tasks(run))["rtfm"]
    draws = {row["setting"].get("draw") for row in run.rows}
    run.finish([(None, "rtfm")])
    (finding,) = verification.verify([run.folder])

    assert 0 <= found["auc"].value <= 1
    assert draws == ({*range(10), None} if "ucsd" in dataset else {None})
    assert f"{len(run.rows)} of {len(run.rows)} rows" in finding.text
