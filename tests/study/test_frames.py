"""Rows of frames: what a run keeps of them, and that it can be verified."""

import json
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from thesislib import runs, sources
from thesislib.datasets import registry
from thesislib.datasets.phantoms.video import KINDS
from thesislib.datasets.videos.base import VideoPhantomSize
from thesislib.metrics import video
from thesislib.runs import record, verification
from thesislib.runs.parameters import ChapterParameters
from thesislib.study import frames

SIZE = VideoPhantomSize(
    num_train_normal=3, num_train_abnormal=3, num_test_normal=4, num_test_abnormal=4
)


class Films(ChapterParameters):
    chapter: ClassVar[str] = "08_films"
    dataset: Literal["shanghaitech", "ucsdped2"] = "shanghaitech"

    def locate(self, configs: dict[str, Any]):
        return registry.find_videos(self.dataset, "phantom", seed=9_000, phantom=SIZE)

    def load(self, located, device):
        return registry.load_videos(located)


@pytest.fixture
def sealed(tmp_path, monkeypatch):
    """Folder of a sealed run with two rows, a contrast and a mean over five draws."""
    (tmp_path / "_toc.yml").write_text("root: index\n", encoding="utf-8")
    (tmp_path / "chapters").mkdir()
    cells = {"cells": [{"cell_type": "code", "source": ["Films"]}]}
    path = tmp_path / "chapters/08_films.ipynb"
    path.write_text(json.dumps(cells), encoding="utf-8")
    monkeypatch.setenv("THESIS_HOME", str(tmp_path))
    for name in ("RESULTS", "DATA", "CACHE", "OVERWRITE"):
        monkeypatch.delenv(f"THESIS_{name}", raising=False)
    run = runs.start(Films, {})
    rng = np.random.default_rng(0)
    scores, worse = (
        [
            rng.normal(size=len(run.data.snippets(v)))
            + gain * run.data.frame_labels[v][::16]
            for v in run.data.test
        ]
        for gain in (1.5, 0.5)
    )
    one, other = (frames.video_scores(run.data, part) for part in (scores, worse))
    frames.add_frames(run, "rtfm", one)
    frames.add_frames(run, "deep-mil", other)
    frames.add_frame_contrast(run, "rtfm", "deep-mil", (one, other))
    draws = {
        draw: frames.video_scores(
            run.data, [s + rng.normal(size=len(s)) for s in scores]
        )
        for draw in range(5)
    }
    frames.add_draws(run, "drawn", draws, setting={"k": 3})
    frames.add_event_kinds(run, run.data, "rtfm", one)
    run.finish()
    return run


def found() -> dict[str, str]:
    kinds: dict[str, str] = {}
    for finding in runs.verify():
        kinds[finding.kind] = kinds.get(finding.kind, "") + finding.text + "\n"
    return kinds


def test_every_row_of_frames_is_recomputed(sealed):
    number = len(sealed.rows)
    kinds = [r for r in sealed.rows if "kind" in r["setting"]]
    assert number == 6 + 6 + 2 + 5 * 6 + 6 + len(kinds)
    assert found() == {
        "agrees": f"seal and files, {number} of {number} rows recomputed\n"
    }


def test_a_number_that_the_scores_do_not_give_is_noticed(sealed):
    forged = {
        ("rtfm", "auc"): "value",
        ("rtfm", "ap_trapezoid"): "ci_low",
        ("deep-mil", "false_alarms_per_hour"): "ci_high",
        ("rtfm", "ap difference"): "value",
        ("drawn", "latency"): "ci_high",
    }
    path = sealed.folder / "run.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for row in content["rows"]:
        part = {"draw", "kind"} & row["setting"].keys()
        if (row["row"], row["metric"]) in forged and not part:
            row[forged[row["row"], row["metric"]]] += 1e-6
    for name in content["files"]:
        content["files"][name] = sources.sha256_file(sealed.folder / name)
    content["seal"] = record.seal_of(content)
    path.write_text(json.dumps(content), encoding="utf-8")

    wrong = found()["wrong"].splitlines()

    assert len(wrong) == len(forged)
    for (row, metric), field in forged.items():
        assert any(row in line and f"{metric} has {field}" in line for line in wrong)


def test_rows_are_those_of_the_metrics_and_the_mean_is_that_of_the_draws(sealed):
    rows = {(r["row"], str(r["setting"]), r["metric"]): r for r in sealed.rows}
    drawn = [r for r in sealed.rows if r["row"] == "drawn" and r["metric"] == "ap"]
    assert drawn[-1]["value"] == pytest.approx(np.mean([r["value"] for r in drawn[:5]]))
    assert drawn[-1]["n"] == drawn[0]["n"]
    difference = rows["rtfm", "{'minus': 'deep-mil'}", "auc difference"]["value"]
    one, other = (rows[name, "{}", "auc"]["value"] for name in ("rtfm", "deep-mil"))
    assert difference == pytest.approx(one - other)


def test_kinds_of_events_are_judged_against_all_normal_frames(sealed):
    data = sealed.data
    kinds = {r["setting"]["kind"]: r for r in sealed.rows if "kind" in r["setting"]}
    assert set(KINDS) <= set(kinds)
    assert set(kinds) - set(KINDS) == set(data.test_kinds) - {"normal"}
    whole = np.concatenate(data.test_frame_labels)
    for kind in KINDS:
        labels = np.concatenate(data.labels_of_kind(kind))
        assert ((labels == 0) == (whole == 0)).all()
        assert kinds[kind]["n"] == (labels != 255).sum()


def test_verification_knows_every_metric_of_frames():
    assert verification.VIDEO == video.METRICS


def test_scores_of_another_length_name_the_video(sealed):
    scores = [np.zeros(3)] * 8
    with pytest.raises(ValueError, match="Video phantom-test-normal-0000 has 3 scores"):
        frames.video_scores(sealed.data, scores)
