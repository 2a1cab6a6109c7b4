import json
import shutil

import numpy as np
import pytest

from tests.runs.toy import chapter
from thesislib import runs, sources
from thesislib.errors import InputError
from thesislib.runs import record
from thesislib.runs.store import Histograms, Scores


def found(*paths) -> dict[str, str]:
    """Texts by kind."""
    kinds: dict[str, str] = {}
    for finding in runs.verify(paths):
        kinds[finding.kind] = kinds.get(finding.kind, "") + finding.text + "\n"
    return kinds


def reseal(folder, change) -> None:
    """Change a record and seal it again, as a forger would."""
    path = folder / "run.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    for name in content["files"]:
        content["files"][name] = sources.sha256_file(folder / name)
    content["seal"] = record.seal_of(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_sealed_run_agrees_in_every_row():
    chapter()
    assert found() == {"agrees": "seal and files, 7 of 7 rows recomputed\n"}


def test_a_changed_row_breaks_the_seal():
    path = chapter()[0].folder / "run.json"
    text = path.read_text(encoding="utf-8")
    content = json.loads(text)
    content["rows"][0]["value"] += 1e-6
    path.write_text(json.dumps(content), encoding="utf-8")

    assert "the seal does not fit" in found()["wrong"]


@pytest.mark.parametrize("name", ["scores.csv", "histograms.npz", "losses.jsonl"])
def test_a_changed_or_missing_file_is_noticed(name):
    path = chapter()[0].folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert f"{name} is not the file that was sealed" in found()["wrong"]
    path.unlink()
    assert f"{name} is gone" in found()["wrong"]


@pytest.mark.parametrize("field", ["value", "ci_low", "ci_high"])
@pytest.mark.parametrize("number", range(7))
def test_a_number_that_the_scores_do_not_give_is_noticed(number, field, sealed):
    def forge(content):
        row = content["rows"][number]
        row[field] = None if row[field] is None else row[field] + 1e-6

    reseal(sealed, forge)

    content = record.read(sealed / "run.json")
    row = content["rows"][number]
    if row[field] is None:  # the pixel metric has no interval
        assert "wrong" not in found(sealed)
    else:
        assert (
            f"{row['metric']} has {field} {row[field]}, now" in found(sealed)["wrong"]
        )


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A sealed run, made once."""
    home = tmp_path_factory.mktemp("home")
    (home / "_toc.yml").write_text("", encoding="utf-8")
    (home / "chapters").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THESIS_HOME", str(home))
        return chapter()[0].folder


@pytest.fixture
def sealed(once, tmp_path):
    return shutil.copytree(once, tmp_path / "results" / "05_toy" / once.name)


def one_class_run(apart):
    """A sealed run of three classes whose test images are shared, or are not."""
    from tests.runs.toy import Toy
    from thesislib.metrics import classes

    run = runs.start(Toy, {"seed": int(apart)})
    digit = np.repeat([0, 1, 2], 20)
    labels = [(digit != c).astype(int) for c in range(3)]
    generator = np.random.default_rng(0)
    scores = [label + generator.normal(0, 1, 60) for label in labels]
    measure = classes.apart if apart else classes.over_classes
    each, mean = measure(labels, scores)
    for c in range(3):
        names = [f"{c if apart else 'all'}/{i}" for i in range(60)]
        setting = {"pretrain": "scratch", "class": str(c)}
        run.add_scores("igd", setting, names, labels[c], scores[c])
        run.add_row(None, "igd", {"pretrain": "scratch"}, f"auc@lag/{c}", *each[c])
    run.add_row(None, "igd", {"pretrain": "scratch"}, "auc@lag", *mean)
    run.finish()
    return run.folder


@pytest.mark.parametrize("apart", [False, True])
def test_classes_of_a_benchmark_and_their_mean_are_recomputed(apart):
    folder = one_class_run(apart)

    assert found(folder) == {"agrees": "seal and files, 4 of 4 rows recomputed\n"}

    for number in (1, 3):
        reseal(folder, lambda c, n=number: c["rows"][n].update(ci_low=0.1))
    wrong = found(folder)["wrong"]
    assert "auc@lag/1 has ci_low 0.1" in wrong and "auc@lag has ci_low 0.1" in wrong


@pytest.mark.parametrize("labels", [0, 1], ids=["normal", "abnormal"])
def test_a_rank_correlation_is_recomputed_on_normal_images_alone(labels):
    from tests.runs.toy import Toy
    from thesislib.metrics.ranks import rank_correlation

    run = runs.start(Toy, {"seed": labels})
    truth, random = run.data.labels, np.random.default_rng(0)
    scores, floor = random.normal(size=(2, len(truth)))
    run.add_scores("igd", {"variant": "a"}, run.data.ids, truth, scores)
    run.add_scores("nn-statistics", {}, run.data.ids, truth, floor)
    among = rank_correlation(scores[truth == labels], floor[truth == labels])
    setting = {"variant": "a", "floor": "nn-statistics"}
    run.add_row(None, "igd", setting, "rank correlation", *among)
    run.finish()

    if labels == 0:
        assert "1 of 1 rows recomputed" in found(run.folder)["agrees"]
    else:
        assert "rank correlation has value" in found(run.folder)["wrong"]


def test_an_accuracy_by_class_is_recomputed_at_one_half_and_nowhere_else():
    """The accuracy of chapter 5, at a threshold chosen on images, would be another."""
    from tests.runs.toy import Toy
    from thesislib.metrics import accuracy, image

    run = runs.start(Toy, {"seed": 2})
    labels = np.repeat([0, 1], 10)
    scores = [2.0 + labels, np.linspace(0, 1, 20)]  # apart at 2.5; at 0.5
    each, mean = accuracy.over_classes([labels, labels], scores)
    for number, estimate in enumerate(each):
        names, of_class = [f"{number}/{i}" for i in range(20)], {"class": str(number)}
        run.add_scores("igd", of_class, names, labels, scores[number])
        run.add_row(None, "igd", {}, f"accuracy@mvtec/{number}", *estimate)
    run.add_row(None, "igd", {}, "accuracy@mvtec", *mean)
    run.finish()

    assert [row["value"] for row in run.rows] == [0.5, 1.0, 0.75]
    assert image.evaluate(labels, scores[0])["accuracy"].value == 1.0
    assert found(run.folder) == {"agrees": "seal and files, 3 of 3 rows recomputed\n"}
    for number in (0, 2):
        reseal(run.folder, lambda c, n=number: c["rows"][n].update(value=1.0))
    wrong = found(run.folder)["wrong"]
    assert "igd accuracy@mvtec/0 has value 1.0, now 0.5" in wrong
    assert "igd accuracy@mvtec has value 1.0, now 0.75" in wrong


def test_pixel_aurocs_of_classes_and_their_mean_are_recomputed():
    """Tables A.5 and 6.3: the mean over images of each class, then over classes."""
    from tests.runs.toy import Toy
    from thesislib.metrics import per_image

    run, setting = runs.start(Toy, {"seed": 3}), {"pretrain": "scratch"}
    aurocs = {"bottle": np.array([0.9, 0.8, 0.7]), "grid": np.array([0.6, 0.5])}
    each, mean = per_image.over_classes(list(aurocs.values()))
    for (name, found_in), estimate in zip(aurocs.items(), each, strict=True):
        run.add_histograms("igd", {**setting, "images": name}, {"aurocs": found_in})
        run.add_row(None, "igd", setting, f"pixel_auc@mvtec/{name}", *estimate)
    other = {"aurocs": np.array([0.1, 0.2])}
    run.add_histograms("igd", {"pretrain": "imagenet", "images": "pill"}, other)
    run.add_row(None, "igd", setting, "pixel_auc", *mean)
    run.finish()

    assert found(run.folder) == {"agrees": "seal and files, 3 of 3 rows recomputed\n"}
    for field in ("value", "ci_low"):
        reseal(run.folder, lambda c, f=field: c["rows"][2].update({f: 0.5}))
    wrong = found(run.folder)["wrong"]
    assert "pixel_auc has value 0.5, now 0.675" in wrong
    assert "pixel_auc has ci_low 0.5, now" in wrong


def test_changed_scores_are_noticed_though_sealed_again(sealed):
    path = sealed / "scores.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].rpartition(",")[0] + ",1e9"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    reseal(sealed, lambda content: None)

    assert "pmsacl-padim auc has value" in found(sealed)["wrong"]


def test_a_published_number_that_is_not_printed_is_noticed(sealed):
    reseal(sealed, lambda content: content["rows"][0].update(published=0.5))

    assert "has 0.5 as published, printed is 0.658" in found(sealed)["wrong"]


def test_modules_that_changed_since_are_named(sealed):
    def forge(content):
        content["modules"]["thesislib.training.loop"] = "0" * 64
        content["modules"]["thesislib.gone"] = "0" * 64

    reseal(sealed, forge)

    assert found(sealed)["changed"] == (
        "since it was sealed: thesislib.gone, thesislib.training.loop\n"
    )
    assert "wrong" not in found(sealed)


def test_a_copy_of_a_run_is_no_recorded_run(home, sealed):
    (home / "book" / "records").mkdir(parents=True)
    shutil.copy(sealed / "run.json", home / "book" / "records" / "long.json")
    shutil.rmtree(sealed)

    assert "`thesislib runs record` writes one" in found()["wrong"]


def test_an_unsealed_run_is_no_result(home):
    from tests.runs.toy import Toy

    run = runs.start(Toy, {})

    assert "status running, so it is no result" in found()["unsealed"]
    assert found(run.folder).keys() == {"unsealed"}


def test_what_cannot_be_recomputed_is_named(sealed):
    reseal(sealed, lambda content: content["rows"][0].update(row="other", table=None))

    kinds = found(sealed)
    assert "no scores or histograms that give other auc" in kinds["absent"]


def test_a_path_without_record_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="holds no record; give a run's folder"):
        runs.verify([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no record"):
        runs.verify([tmp_path / "empty"])


def test_scores_and_histograms_are_read_back_as_they_were(sealed):
    scores = Scores.read(sealed / "scores.csv")["pmsacl-padim", "{}"]
    histograms = Histograms.read(sealed / "histograms.npz")["pmsacl-padim", "{}"]

    assert scores["ids"][3] == "image 3.png" and scores["patients"] is None
    assert scores["scores"].shape == scores["labels"].shape == (40,)
    assert histograms["normal"].sum() + histograms["abnormal"].sum() == 4 * 8 * 8
