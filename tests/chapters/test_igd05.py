"""Which encoder each scale of IGD stands on in chapter 5, Section 5.4.2."""

import json

import pytest
import torch

from thesislib import runs
from thesislib.chapters.ch05_pmsacl import figures
from thesislib.chapters.ch05_pmsacl import methods as chapter05
from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.errors import InputError
from thesislib.study import encoders
from thesislib.study.detectors import encoder_of_scale
from thesislib.study.method import detect
from thesislib.study.task import WHOLE

TINY = {
    "data.num_train": 16,
    "data.num_test_normal": 6,
    "data.num_test_abnormal": 6,
    "pmsacl.num_steps": 4,
    "pmsacl.batch_size": 4,
    "pmsacl.num_centre_images": 4,
    "pmsacl.base_width": 8,
    "simclr.num_steps": 2,
    "simclr.batch_size": 4,
    "simclr.base_width": 8,
    "igd.num_steps": 2,
    "igd.batch_size": 4,
    "local.num_steps": 2,
    "local.batch_size": 4,
    "study.num_maps": 2,
}


@pytest.fixture
def start(request, tmp_path, monkeypatch):
    """Open a run on a phantom; it is closed after the test."""
    for name in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.setenv(f"THESIS_{name}", str(tmp_path / name.lower()))

    def opened(overrides=None, **given):
        overrides = TINY | (overrides or {})
        given = {"source": "phantom", "overrides": overrides, **given}
        run = runs.start(Chapter05, given)
        request.addfinalizer(run.close)
        return run

    return opened


def same(one, other):
    """Whether two encoders have the same weights and the same statistics."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def stages(run):
    """Names under which losses will be recorded."""
    return {json.loads(line)["stage"] for line in run._losses().splitlines()}


def test_the_local_model_stands_on_an_encoder_of_patches(start):
    run = start()
    main = chapter05.encoders(run)["pmsacl"]
    padim = encoders.trained(run, main).model
    found = {
        scale: chapter05.igd(run, main).model(run, WHOLE, scale).model.encoder
        for scale in chapter05.SCALES
    }
    patches = main.on_patches(run.configs)

    assert patches.config.patch_size == run.configs["local"].patch_size == 32
    assert same(found["igd"].backbone, padim)
    assert same(found["local"].backbone, encoders.trained(run, patches).model)
    assert not same(found["local"].backbone, padim)
    assert not any(p.requires_grad for p in found["local"].backbone.parameters())
    assert {"pmsacl-local", "pmsacl-local-warm-up"} <= stages(run)


def test_every_row_has_encoders_of_one_kind_at_both_scales(start):
    run = start()
    kinds = {}
    for encoder in chapter05.encoders(run).values():
        patches = encoder_of_scale(run, encoder, "local")
        assert encoder_of_scale(run, encoder, "igd") is encoder
        kinds[encoder.stage] = patches
        if encoder.config:
            assert patches.stage == f"{encoder.stage}-local"
            assert type(patches.config) is type(encoder.config)
            assert (patches.config.patch_size, encoder.config.patch_size) == (32, None)
            assert patches.config.num_steps == encoder.config.num_steps // 2

    assert kinds["pmsacl-class-only"].config.terms == ("aug",)
    assert kinds["pmsacl"].config.terms == ("ctr", "pmsacl", "aug", "pos")
    same_at_both = chapter05.encoders(run).values()
    assert kinds["untrained"] in same_at_both
    simclr = encoders.trained(run, kinds["simclr"]).model
    assert not same(simclr, encoders.untrained(run, kinds["simclr"].base_width))
    assert "simclr-local" in stages(run)


def test_liu_s_frames_have_a_global_model_alone(start):
    run = start(dataset="liu-colonoscopy")
    named = {method.key: method for method in chapter05.methods(run)}
    detect(run, named[chapter05.PMSACL_IGD])

    main = chapter05.encoders(run)["pmsacl"]
    assert tuple(chapter05.igd(run, main).configs) == ("igd",)
    assert stages(run) == {"pmsacl", "pmsacl-warm-up", "igd/pmsacl"}
    assert "no local model" in figures.patch_losses(run)
    assert stages(run) == {"pmsacl", "pmsacl-warm-up", "igd/pmsacl"}


def test_the_figure_shows_both_trainings(start, monkeypatch):
    run, drawn = start(), []
    monkeypatch.setattr(
        figures.curves,
        "panels",
        lambda history, groups, **how: drawn.append((history, groups)),
    )
    monkeypatch.setattr(type(run), "figure", lambda self, fig, name, **text: Text(text))
    says = figures.patch_losses(run)

    ((history, groups),) = drawn
    assert "2 steps of 4" in says and "32 px" in says
    assert [len(keys) for keys in groups.values()] == [3, 3]
    for name in ("images", "patches"):
        main = chapter05.encoders(run)["pmsacl"]
        scale = "local" if name == "patches" else "igd"
        encoder = encoder_of_scale(run, main, scale)
        for term in ("aug", "pos"):
            key = f"{term} {name}"
            shown = [row[key] for row in history if key in row]
            trained = encoders.trained(run, encoder).history
            assert shown == [row[term] for row in trained if term in row]
            assert shown


class Text:
    def __init__(self, text):
        self.data = " ".join(text.values())


def test_images_without_room_for_pairs_are_refused_in_one_sentence(start):
    run = start({"data.image_size": 48})

    with pytest.raises(InputError, match=r"patch_size must lie in 4\.\.24 for pairs"):
        main = chapter05.encoders(run)["pmsacl"]
        chapter05.igd(run, main).model(run, WHOLE, "local")


@pytest.mark.parametrize(("size", "says"), [(64, "both scales"), (32, "global model")])
def test_a_caption_speaks_of_local_maps_only_where_there_are_some(start, size, says):
    run = start({"data.image_size": size}, dataset="covidx")
    (method,) = (m for m in chapter05.methods(run) if m.key == chapter05.PMSACL_IGD)
    seen = []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures.pictures, "of_added", lambda run: "")
        patch.setattr(figures.pictures, "heatmaps", lambda *a: seen.append(a) or "")
        figures.igd_heatmaps(run, method)

    assert says in seen[0][2]
