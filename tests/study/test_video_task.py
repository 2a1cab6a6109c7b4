"""Videos of a run: located, drawn, divided."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from thesislib.chapters.ch08_rtfm.settings import Chapter08
from thesislib.errors import InputError
from thesislib.study import video_task
from thesislib.study.video_task import VideoTask

FEW = {f"data.num_{kind}": 5 for kind in ("train_normal", "train_abnormal")} | {
    f"data.num_test_{kind}": 2 for kind in ("normal", "abnormal")
}


class Run(SimpleNamespace):
    """What a run has of its videos."""

    __hash__ = object.__hash__


def a_run(**given):
    chosen = Chapter08(source="phantom", overrides=FEW, **given)
    located = chosen.locate(chosen.resolved_configs())
    data, device = chosen.load(located, "cpu"), torch.device("cpu")
    return Run(parameters=chosen, located=located, data=data, device=device)


def test_a_phantom_has_the_numbers_of_the_settings_and_standard_features():
    run = a_run()
    normal = np.concatenate([run.data.snippets(v) for v in run.data.train(0)])

    assert len(run.data.test) == 4
    assert normal.astype(np.float32).mean() == pytest.approx(0, abs=0.01)
    assert normal.astype(np.float32).std() == pytest.approx(1, abs=0.03)


def test_a_phantom_is_drawn_anew_for_every_seed():
    first, again, other = (a_run(seed=seed).located for seed in (0, 0, 1))

    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_features_of_an_unknown_name_are_refused_before_anything_is_read():
    chosen = Chapter08(source="phantom", features="hog")

    with pytest.raises(InputError, match=r"features are 'hog'; allowed are motion"):
        chosen.locate(chosen.resolved_configs())


def test_bags_have_both_kinds_and_as_many_abnormal_ones_as_asked_for():
    run = a_run()
    whole = video_task.bags_of(run)
    few = video_task.bags_of(run, VideoTask(num_abnormal=2))
    batch = few.abnormal.sample(8, torch.Generator().manual_seed(0))

    assert (len(whole.normal), len(whole.abnormal)) == (5, 5)
    assert (len(few.normal), len(few.abnormal)) == (5, 2)
    assert batch.shape == (8, 1, 32, 64)
    assert video_task.bags_of(run) is whole
    with pytest.raises(InputError, match="there are 1 to 5"):
        video_task.bags_of(run, VideoTask(num_abnormal=6))


def test_tasks_are_the_recorded_draws_where_there_are_some():
    run = a_run()
    drawn = Run(data=SimpleNamespace(draws=(frozenset(), frozenset())))

    assert video_task.tasks(run) == [VideoTask()]
    assert [task.draw for task in video_task.tasks(drawn)] == [0, 1]


def test_each_draw_is_standardised_by_its_own_normal_training_videos():
    asked = []

    class Data:
        def drawn(self, draw):
            asked.append(draw)
            return self

        def standardised(self):
            return f"standardised {asked[-1]}"

    run = Run(data=Data())
    assert video_task.videos_of(run, VideoTask(draw=3)) == "standardised 3"
    assert video_task.videos_of(run) is run.data


def test_stages_and_settings_tell_tasks_apart():
    task = VideoTask(draw=3, num_abnormal=15)

    assert task.stage == "draw-3 abnormal-15"
    assert task.setting == {"draw": 3, "num_abnormal": 15}
    assert (VideoTask().stage, VideoTask().setting) == ("", {})


@pytest.mark.parametrize(
    "given", [{"patients": "dicom"}, {"on_bad_image": "skip"}, {"grey_range": (0, 9)}]
)
def test_what_is_said_of_images_is_not_passed_over(given):
    chapter = Chapter08(**given)

    with pytest.raises(InputError, match="which is for images, not videos"):
        chapter.locate(chapter.configs())
