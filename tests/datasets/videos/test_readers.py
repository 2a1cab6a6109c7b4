"""Official layouts of videos, read unchanged: splits, labels of frames, bad input."""

import json
import pickle
import shutil

import numpy as np
import pytest

from tests.datasets.videos import layouts
from tests.datasets.videos.layouts import LAYOUTS, Means, features, text
from thesislib.datasets import check, registry
from thesislib.datasets.videos import ucsd_ped
from thesislib.datasets.videos.base import VideoOptions
from thesislib.errors import InputError
from thesislib.metrics import video


def load(name, top, describe=None, **options):
    located = registry.find_videos(name, "real", top, options=VideoOptions(**options))
    return registry.load_videos(located, describe=describe or Means())


def frames_of(data, name):
    """Abnormal frames of a test video."""
    return np.flatnonzero(data.frame_labels[data.ids.index(name)]).tolist()


@pytest.mark.parametrize("name", registry.VIDEO_NAMES)
def test_a_layout_is_read_and_left_as_it_is(name, tmp_path):
    top = LAYOUTS[name](tmp_path / "own")
    before = sorted((p, p.stat().st_mtime_ns) for p in top.rglob("*"))

    data = load(name, top)
    bags = data.bags()

    assert sorted((p, p.stat().st_mtime_ns) for p in top.rglob("*")) == before
    assert data.partial == (name not in ("ucsdped1", "ucsdped2", "video-folder"))
    assert len(bags.normal) == len(data.train(0)) and len(bags.abnormal) > 0
    for number, labels in enumerate(data.test_frame_labels):
        snippets = data.test_video(number).shape[1]
        assert (snippets - 1) * data.stride < len(labels)
        assert len(labels) < snippets * data.stride + data.snippet


@pytest.mark.parametrize("name", ["ucfcrime", "xdviolence", "video-folder"])
def test_banks_of_fixed_splits_are_pieces_of_the_mapped_file(name, tmp_path):
    data = load(name, LAYOUTS[name](tmp_path / "own"))
    for bank in (data.bags().normal, data.bags().abnormal):
        assert np.shares_memory(bank._features.numpy(), data.features)


@pytest.mark.parametrize("name", registry.VIDEO_NAMES)
def test_a_good_folder_is_ok_and_its_counts_are_said(name, tmp_path):
    report, ok = check.check(name, LAYOUTS[name](tmp_path / "own"))

    assert ok, report
    assert "problem" not in report
    assert "train normal" in report
    assert " frames of " in report


def test_the_list_names_every_dataset_of_videos():
    text = check.list_datasets()
    for name in registry.VIDEO_NAMES:
        assert f"{name}: {registry.adapter(name).title}" in text
    assert "800 train normal, 810 train abnormal, 150 test normal" in text


@pytest.mark.parametrize(
    "name", [n for n in registry.VIDEO_NAMES if n != "video-folder"]
)
def test_an_absent_dataset_is_a_sentence_or_the_phantom(name):
    with pytest.raises(InputError, match=r"fetch .* and unpack it so that"):
        registry.find_videos(name, "real")
    assert registry.find_videos(name).source == "phantom"


def test_names_of_images_and_of_videos_are_kept_apart():
    with pytest.raises(InputError, match="holds videos"):
        registry.find("ucfcrime", image_size=32)
    with pytest.raises(InputError, match="holds images"):
        registry.find_videos("lag")


# --- Each dataset's own rules ------------------------------------------------------


def test_a_mask_of_shanghaitech_is_padded_with_its_last_value(tmp_path):
    data = load("shanghaitech", LAYOUTS["shanghaitech"](tmp_path))

    assert frames_of(data, "01_0002") == list(range(30, 48))
    assert frames_of(data, "03_004") == []
    assert data.test_ids == ("01_0002", "03_004")


def test_a_vector_says_nothing_where_test_videos_are_missing(tmp_path):
    top = LAYOUTS["shanghaitech"](tmp_path)
    shutil.rmtree(top / "testing")
    np.save(top / "gt-sh.npy", np.zeros(80))
    features(top / "SH_Test_ten_crop_i3d/05_006_i3d.npy", 2)
    (top / "SH_Train_ten_crop_i3d/02_003_i3d.npy").rename(top / "kept.npy")
    features(top / "SH_Train_ten_crop_i3d/02_004_i3d.npy", 4)
    for part, names in (("train", "01_0001 02_003 02_004"), ("test", "01_0002 03_004")):
        text(top / f"shanghai-i3d-{part}-10crop.list", names.split())
    assert load("shanghaitech", top).provenance["missing"] == ["02_003"]

    (top / "SH_Test_ten_crop_i3d/03_004_i3d.npy").rename(top / "gone.npy")
    text(top / "shanghai-i3d-test-10crop.list", ["01_0002", "03_004", "05_006"])
    with pytest.raises(InputError, match="1 of them are missing, the first 03_004"):
        load("shanghaitech", top)


def test_shanghaitechs_masks_and_its_vector_give_the_same_labels(tmp_path):
    by_mask = load("shanghaitech", LAYOUTS["shanghaitech"](tmp_path))
    shutil.rmtree(tmp_path / "testing")
    np.save(tmp_path / "gt-sh.npy", np.concatenate(by_mask.test_frame_labels) * 1.0)

    by_vector = load("shanghaitech", tmp_path)

    for one, other in zip(
        by_mask.test_frame_labels, by_vector.test_frame_labels, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_lists_of_windows_folders_and_another_order_give_the_same_videos(tmp_path):
    top = LAYOUTS["shanghaitech"](tmp_path)
    first = load("shanghaitech", top)
    text(
        top / "shanghai-i3d-test-10crop.list",
        ["G:\\SH\\03_004_i3d.npy", "G:\\SH\\01_0002_i3d.npy"],
    )

    second = load("shanghaitech", top)

    assert second.test_ids == ("03_004", "01_0002")
    assert frames_of(second, "01_0002") == frames_of(first, "01_0002")
    np.testing.assert_array_equal(first.test_video(0), second.test_video(1))


def test_without_lists_the_folders_of_shanghaitech_say_the_split(tmp_path):
    top = LAYOUTS["shanghaitech"](tmp_path)
    first = load("shanghaitech", top)
    for path in top.glob("*.list"):
        path.unlink()
    second = load("shanghaitech", top)
    assert dict(zip(first.ids, first.splits, strict=True)) == dict(
        zip(second.ids, second.splits, strict=True)
    )


@pytest.mark.parametrize(
    ("rule", "abuse", "shooting", "length"),
    [
        ("rtfm", [*range(4, 10), *range(20, 30)], list(range(40, 48)), 48),
        ("vadclip", [*range(4, 9), *range(20, 29)], list(range(40, 48)), 48),
        ("ur-dmu", [*range(4, 9), *range(20, 29)], list(range(40, 48)), 48),
    ],
)
def test_three_rules_of_ucf_crime(rule, abuse, shooting, length, tmp_path):
    data = load("ucfcrime", LAYOUTS["ucfcrime"](tmp_path), ground_truth=rule)

    assert frames_of(data, "Abuse028_x264") == abuse
    assert frames_of(data, "Shooting015_x264") == shooting
    whole = data.frame_labels[data.ids.index("Abuse028_x264")]
    assert len(whole) == (32 if rule == "ur-dmu" else length)  # 45 frames
    assert data.kinds[data.ids.index("Abuse028_x264")] == "Abuse"


def test_lists_of_ucf_crime_may_lie_apart(tmp_path):
    top = LAYOUTS["ucfcrime"](tmp_path / "own")
    first = load("ucfcrime", top)
    for path in top.glob("*.txt"):
        (tmp_path / "lists").mkdir(exist_ok=True)
        path.rename(tmp_path / "lists" / path.name)

    second = load("ucfcrime", top, annotations=str(tmp_path / "lists"))

    assert second.ids == first.ids
    assert second.fingerprint == first.fingerprint


def test_lists_without_features_are_reported_and_no_run(tmp_path):
    top = LAYOUTS["ucfcrime"](tmp_path)
    shutil.rmtree(top / "UCF_Train_ten_crop_i3d")
    shutil.rmtree(top / "UCF_Test_ten_crop_i3d")

    report, ok = check.check("ucfcrime", top)

    assert not ok
    assert "listed     1 train normal, 2 train abnormal, 1 test normal" in report
    with pytest.raises(InputError, match="left with no train normal"):
        load("ucfcrime", top)


def test_some_missing_features_are_named_and_make_the_data_partial(tmp_path):
    top = LAYOUTS["ucfcrime"](tmp_path)
    (top / "UCF_Train_ten_crop_i3d/Arson002_x264_i3d.npy").unlink()

    data = load("ucfcrime", top)

    assert "Arson002_x264" not in data.ids
    assert data.provenance["missing"] == ["Arson002_x264"]


def test_five_crops_in_five_files_and_names_full_of_dots(tmp_path):
    data = load("xdviolence", LAYOUTS["xdviolence"](tmp_path))

    assert data.num_crops == 5
    assert frames_of(data, layouts.XD_VIOLENT) == [*range(10), *range(40, 48)]
    assert data.kinds[data.ids.index(layouts.XD_VIOLENT)] == "shooting"
    third = tmp_path / f"i3d-features/RGBTest/{layouts.XD_VIOLENT}__3.npy"
    number = data.test_ids.index(layouts.XD_VIOLENT)
    np.testing.assert_allclose(
        data.test_video(number)[3], np.load(third), rtol=1e-3, atol=1e-3
    )


def test_ranges_of_ucsd_count_from_one_and_include_the_last(tmp_path):
    data = load("ucsdped2", LAYOUTS["ucsdped2"](tmp_path))
    assert frames_of(data, "Test001") == [2, 3, 4, 8, 9, 10, 11]
    assert frames_of(data, "Train001") == []
    assert len(data.frame_labels[data.ids.index("Test001")]) == 12  # no ._001.tif


def test_ten_draws_of_ucsd_are_those_of_the_stated_rule(tmp_path):
    recorded = json.loads(ucsd_ped.DRAWS.read_text(encoding="utf-8"))
    for name, num_test, num_train in (("ucsdped1", 36, 34), ("ucsdped2", 12, 16)):
        for draw, names in enumerate(recorded[name]):
            rng = np.random.default_rng(100 + draw)
            abnormal, normal = rng.permutation(num_test), rng.permutation(num_train)
            drawn = [f"Test{k + 1:03d}" for k in abnormal[:6]]
            drawn += [f"Train{k + 1:03d}" for k in normal[:4]]
            assert names == sorted(drawn)
        assert len(recorded[name]) == 10

    data = load("ucsdped2", LAYOUTS["ucsdped2"](tmp_path))
    for draw in range(10):
        one = data.drawn(draw)
        assert {one.ids[v] for v in one.train(0) + one.train(1)} == set(
            recorded["ucsdped2"][draw]
        )
        assert len(one.test) == 18
    with pytest.raises(InputError, match="ucsdped2 has 0 to 9"):
        data.drawn(10)


def test_frames_are_described_once_and_an_interrupted_extraction_goes_on(tmp_path):
    top = LAYOUTS["ucsdped2"](tmp_path)

    class Interrupted(Means):
        calls = 0

        def __call__(self, files):
            if self.calls == 9:
                raise KeyboardInterrupt
            return super().__call__(files)

    with pytest.raises(KeyboardInterrupt):
        load("ucsdped2", top, Interrupted())
    Means.calls = 0
    first = load("ucsdped2", top)
    assert Means.calls == 28 - 9
    second = load("ucsdped2", top)
    assert Means.calls == 28 - 9
    np.testing.assert_array_equal(first.features, second.features)


def test_frames_without_a_descriptor_are_refused(tmp_path):
    located = registry.find_videos("ucsdped2", "real", LAYOUTS["ucsdped2"](tmp_path))
    with pytest.raises(InputError, match="give `describe`"):
        registry.load_videos(located)


def test_the_vector_of_polyp_videos_is_cut_in_the_authors_order(tmp_path):
    data = load("polypvideo", LAYOUTS["polypvideo"](tmp_path))

    assert data.test_ids[0] == "test_normal/video0"
    assert frames_of(data, "test_abnormal/video0") == list(range(4, 20))
    assert data.num_crops == 1


def test_a_vector_of_another_length_or_order_is_refused(tmp_path):
    top = LAYOUTS["polypvideo"](tmp_path)
    np.save(top / "gt-colon.npy", np.zeros(150))
    with pytest.raises(InputError, match=r"150 frames, but .* have 160 \(16 x 10"):
        load("polypvideo", top)
    np.save(top / "gt-colon.npy", np.ones(160))
    with pytest.raises(InputError, match="normal video test_normal/video0 abnormal"):
        load("polypvideo", top)


def test_events_of_ones_own_videos_include_their_last_frame(tmp_path):
    data = load("video-folder", LAYOUTS["video-folder"](tmp_path))
    assert frames_of(data, "test-fall0") == [2, 3, 4, 5, *range(40, 48)]
    assert frames_of(data, "test-fall1") == [0]
    assert data.kinds[data.ids.index("test-fall0")] == "fall"


def test_without_events_all_frames_of_an_abnormal_video_count(tmp_path):
    top = LAYOUTS["video-folder"](tmp_path)
    (top / "events.csv").unlink()
    data = load("video-folder", top)
    assert frames_of(data, "test-fall0") == list(range(48))
    assert "no events.csv" in data.provenance["notes"][0]


def test_folders_of_frames_of_ones_own_are_described(tmp_path):
    for part in ("train/normal", "train/abnormal", "test/normal", "test/abnormal"):
        layouts.frames(tmp_path / part / part.replace("/", "-"), 13)
    text(tmp_path / "events.csv", ["video,start,end", "test-abnormal,3,6"])

    data = load("video-folder", tmp_path, Means())

    assert frames_of(data, "test-abnormal") == [3, 4, 5, 6]
    assert data.test_video(0).shape == (1, 5, 2)


# --- Pickles -----------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return eval, ("open('run', 'w').close()",)


@pytest.fixture
def pickled(tmp_path):
    """A folder with one pickled file, and a way to write another into it."""
    import torch

    top = LAYOUTS["video-folder"](tmp_path / "own")
    rows = [torch.randn(2, layouts.D) for _ in range(3)]

    def write(values):
        array = np.empty(len(values), dtype=object)
        array[:] = values
        np.save(top / "test/fall/test-fall0.npy", array, allow_pickle=True)

    for path in top.rglob("*.npy"):
        features(path, 3, crops=2)
    write(rows)
    return top, rows, write


def test_pickles_are_refused_unless_asked_for(pickled):
    with pytest.raises(InputError, match=r"test-fall0\.npy of video test-fall0 holds"):
        load("video-folder", pickled[0])


def test_pickled_tensors_and_arrays_are_read_when_asked_for(pickled):
    top, rows, write = pickled
    for values in (rows, [row.numpy() for row in rows]):
        write(values)
        data = load("video-folder", top, allow_pickle=True)
        found = data.snippets(data.ids.index("test-fall0"))
        np.testing.assert_allclose(found, np.stack(rows), rtol=1e-3, atol=1e-3)


def test_a_pickle_that_names_anything_else_never_runs(pickled, tmp_path, monkeypatch):
    top, _, write = pickled
    monkeypatch.chdir(tmp_path)
    write([Evil(), Evil(), Evil()])

    with pytest.raises(InputError, match=r"refused as a pickle: it names .*eval"):
        load("video-folder", top, allow_pickle=True)

    assert not (tmp_path / "run").exists()
    assert pickle.loads(pickle.dumps(1)) == 1  # pickle itself is left as it was


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_a_tensor_that_reaches_beyond_its_numbers_is_refused():
    import torch

    from thesislib.datasets.videos import feature_pickle

    storage = torch.zeros(4).storage()
    with pytest.raises(feature_pickle.RefusedError, match="beyond its numbers"):
        feature_pickle._tensor(storage, 0, (3, 2), (2, 1))


# --- Bad input: one sentence that names the video ------------------------------------


def truncate(top):
    path = top / "test/fall/test-fall0.npy"
    path.write_bytes(path.read_bytes()[:-8])


def no_numpy(top):
    (top / "test/fall/test-fall0.npy").write_bytes(b"something else")


def other_features(top):
    features(top / "test/fall/test-fall0.npy", 3, crops=None, dim=layouts.D + 1)


def no_snippets(top):
    features(top / "test/fall/test-fall0.npy", 0, crops=None)


def not_finite(top):
    path = top / "test/fall/test-fall0.npy"
    array = np.load(path)
    array[1, 2] = np.nan
    np.save(path, array)


def too_large(top):
    path = top / "test/fall/test-fall0.npy"
    np.save(path, np.load(path) + 1e6)


def late_event(top):
    text(top / "events.csv", ["video,start,end", "test-fall0,40,48", "test-fall1,0,1"])


def backward_event(top):
    text(top / "events.csv", ["video,start,end", "test-fall0,9,3", "test-fall1,0,1"])


def unknown_video(top):
    text(
        top / "events.csv",
        ["video,start,end", "test-fall0,1,3", "test-fall1,0,1", "walk,1,2"],
    )


def no_event(top):
    text(top / "events.csv", ["video,start,end", "test-fall0,1,3"])


def normal_event(top):
    text(top / "events.csv", ["video,start,end", "test-normal0,1,3"])


def empty_frames(top):
    (top / "train/normal/walk").mkdir()


def twice(top):
    features(top / "train/abnormal/train-normal0.npy", 3, crops=None)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (truncate, r"test-fall0\.npy of video test-fall0 is truncated: it has"),
        (no_numpy, r"test-fall0\.npy of video test-fall0 is no whole \.npy file"),
        (other_features, "has 1 crop of 7 features, but .* has 1 crop of 6 features"),
        (no_snippets, "Video test-fall0 has no snippets"),
        (not_finite, "A feature of video test-fall0 is not finite"),
        (too_large, "A feature of video test-fall0 is 1e.06"),
        (late_event, "Video test-fall0 has an event from frame 40 to 48, but only 48"),
        (
            backward_event,
            "Video test-fall0 has an event from frame 9 to 3, which is no",
        ),
        (unknown_video, "events.csv has events of walk, which is no video of test/"),
        (no_event, "Video test-fall1 lies among the abnormal test videos, but"),
        (normal_event, "events of test-normal0, which lies among the normal videos"),
        (empty_frames, "Video walk has no frames"),
        (twice, "Video train-normal0 is listed a second time"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_input_is_one_sentence(break_it, said, tmp_path):
    top = LAYOUTS["video-folder"](tmp_path / "own")
    break_it(top)

    with pytest.raises(InputError, match=said) as caught:
        load("video-folder", top)

    assert str(caught.value).count(". ") == 0
    report, ok = check.check("video-folder", top)
    assert not ok
    assert str(caught.value)[:20] in report or "must be alike" in report


def mask_length(top):
    np.save(top / "testing/test_frame_mask/01_0002.npy", np.ones(49, dtype=np.uint8))


def mask_values(top):
    np.save(top / "testing/test_frame_mask/01_0002.npy", np.full(37, 3))


def no_mask(top):
    (top / "testing/test_frame_mask/01_0002.npy").rename(
        top / "testing/test_frame_mask/01_0009.npy"
    )


def one_list(top):
    (top / "shanghai-i3d-test-10crop.list").unlink()


def in_both(top):
    text(top / "shanghai-i3d-test-10crop.list", ["01_0002_i3d.npy", "02_003_i3d.npy"])


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (mask_length, "Video 01_0002 has 3 snippets of 16 frames, but its mask .* 49"),
        (mask_values, r"01_0002\.npy of video 01_0002 holds other values than 0 and 1"),
        (no_mask, "Video 01_0002 is abnormal, but test_frame_mask holds no"),
        (one_list, "the list of test videos is not"),
        (in_both, "Video 02_003 stands twice in both lists"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_lists_and_masks_of_shanghaitech(break_it, said, tmp_path):
    top = LAYOUTS["shanghaitech"](tmp_path / "own")
    break_it(top)
    with pytest.raises(InputError, match=said):
        load("shanghaitech", top)


def annotate(line):
    def break_it(top):
        path = top / "Temporal_Anomaly_Annotation.txt"
        path.write_text(path.read_text() + line + "\n")

    return break_it


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Abuse001_x264  Abuse  1  2  -1  -1", "Abuse001_x264, which is no video of"),
        ("Abuse028_x264  Abuse  999  1200  -1  -1", "event from frame 999 to 1200"),
        ("Abuse028_x264  Abuse  few", "has the line 'Abuse028_x264  Abuse  few'"),
    ],
)
def test_bad_annotations_of_ucf_crime(line, said, tmp_path):
    top = LAYOUTS["ucfcrime"](tmp_path / "own")
    annotate(line)(top)
    with pytest.raises(InputError, match=said):
        load("ucfcrime", top)


def test_a_missing_crop_is_named(tmp_path):
    top = LAYOUTS["xdviolence"](tmp_path)
    next(top.rglob("*label_G-0-0__2.npy")).unlink()
    with pytest.raises(InputError, match=r"Video Film\.2\.0.* has no file for crop 2"):
        load("xdviolence", top)


# --- Real lists and frames ---------------------------------------------------------


def test_real_lists_of_ucf_crime_and_xd_violence(real_data):
    top = real_data("video_anomaly_annotations")

    ucf, _ = check.check("ucfcrime", top)
    xd, _ = check.check("xdviolence", top)

    assert (
        "listed     800 train normal, 810 train abnormal, 150 test normal, 140" in ucf
    )
    assert "events     156 listed" in ucf
    assert "500 test abnormal" in xd
    assert "events     1,238 listed" in xd


def test_real_frames_of_ucsd_ped2(real_data):
    report, ok = check.check("ucsdped2", real_data("ucsd_ped2_180"))
    assert ok
    assert "frames     4,560 in 28 folders, 120 to 180 each" in report
    assert "labels     4,560 frames of 28 videos, 1,648 abnormal" in report


class Counted:
    """One number a snippet, without looking at a frame."""

    snippet, stride, about = 8, 4, {"name": "counted"}

    def __call__(self, files):
        return np.zeros(((len(files) - 8) // 4 + 1, 1, 1))


def test_telling_ped2s_clips_apart_is_nearly_all_of_its_weak_protocol(real_data):
    """Every frame of a test clip called abnormal, mean over the ten draws."""
    data = load("ucsdped2", real_data("ucsd_ped2_180"), Counted())
    aucs = []
    for draw in range(10):
        one = data.drawn(draw)
        scores = [
            np.full(len(frames), one.labels[v])
            for v, frames in zip(one.test, one.test_frame_labels, strict=True)
        ]
        aucs.append(video.auc(one.test_frame_labels, scores))
    assert np.mean(aucs) == pytest.approx(0.962, abs=0.001)
