import sys
from types import SimpleNamespace

import pytest

from tests.runs.toy import Toy
from thesislib.errors import InputError
from thesislib.runs import parameters, stated


def read(**given):
    return parameters.read(Toy, given)


def said(**given) -> str:
    with pytest.raises(InputError) as error:
        read(**given).resolved_configs()
    sentence = str(error.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def test_an_unknown_name_lists_the_allowed_ones_and_the_likely_one():
    assert said(datset="lag") == (
        "Unknown parameter datset (did you mean dataset?); this chapter takes dataset, "
        "source, data_root, preset, reading, seed, device, overrides, methods, "
        "patients, on_bad_image, file_list, grey_range, lesion_levels, shots, live, "
        "classes."
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"preset": "fast"},
            "preset is 'fast', it must be one of quick, standard, paper.",
        ),
        ({"dataset": "mnist"}, "dataset is 'mnist', it must be one of covidx, lag."),
        ({"shots": "four"}, "shots is 'four', it must be a whole number."),
        ({"live": "yes"}, "live is 'yes', it must be true or false."),
        ({"classes": 3}, "classes is 3, it must be a list (a whole number)."),
        (
            {"seed": -1},
            "seed is -1, it must be a whole number from 0 to 2147483647.",
        ),
        (
            {"seed": True},
            "seed is True, it must be a whole number from 0 to 2147483647.",
        ),
        (
            {"device": "gpu"},
            "device is 'gpu', it must be auto, cpu, cuda, cuda:0 and so on, or mps.",
        ),
        (
            {"preset": "fast", "shots": 1.5},
            "preset is 'fast', it must be one of quick, standard, paper; shots is 1.5, "
            "it must be a whole number.",
        ),
        (
            {"overrides": "{3"},
            "overrides is '{3', which is not JSON; write for example "
            """'{"pmsacl.epochs": 3}'.""",
        ),
        ({"overrides": [1]}, "overrides must be a dict, not [1]."),
        (
            {"overrides": {"method.lr": "small"}},
            "Override method.lr is 'small'; it must be a number.",
        ),
        (
            {"overrides": {"method.num_steps": 2.5}},
            "Override method.num_steps is 2.5; it must be a whole number.",
        ),
        (
            {"overrides": {"method.scale": [1]}},
            "Override method.scale is [1]; it must be a list of 2 (a number).",
        ),
        (
            {"overrides": {"method.start": "coco"}},
            "Override method.start is 'coco'; it must be one of scratch, imagenet.",
        ),
        (
            {"overrides": {"method.clip_norm": "no"}},
            "Override method.clip_norm is 'no'; it must be a number or None.",
        ),
    ],
)
def test_what_is_not_allowed_is_one_sentence(given, sentence):
    assert said(**given) == sentence


@pytest.mark.parametrize(
    "key", ["method.step", "methods.lr", "lr", "method", "method.weak", "method.lr.x"]
)
def test_unknown_overrides_list_the_allowed_ones(key):
    assert said(overrides={key: 1}).endswith(
        "allowed are method.num_steps, method.lr, method.batch_size, method.norm, "
        "method.start, method.scale, method.layers, method.clip_norm, method.weak.flip."
    )


def test_text_from_the_command_line_gets_its_type():
    given = read(
        live="true",
        classes="[3, 4]",
        overrides='{"method.num_steps": 3, "method.norm": "false"}',
    )

    assert given.live is True
    assert given.classes == (3, 4)
    assert given.resolved_configs()["method"].num_steps == 3
    assert given.resolved_configs()["method"].norm is False
    assert read(live="false").live is False


def test_overrides_reach_nested_settings_and_leave_the_rest():
    before = read().resolved_configs()["method"]
    after = read(
        overrides={
            "method.weak.flip": 1,
            "method.layers": [3],
            "method.clip_norm": None,
            "method.lr": 1,
        }
    ).resolved_configs()["method"]

    assert (after.weak.flip, after.layers, after.lr) == (1.0, (3,), 1.0)
    assert isinstance(after.lr, float)
    assert after.batch_size == before.batch_size and before.weak.flip == 0.5


def test_parameters_cannot_be_changed_later():
    with pytest.raises(ValueError, match="frozen"):
        read().seed = 3


def in_a_notebook(monkeypatch, *cells: str) -> None:
    """Pretend that IPython ran these cells."""
    shell = SimpleNamespace(user_ns={"In": ["", *cells]})
    fake = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)


def test_unknown_names_are_found_in_papermills_injected_cell(monkeypatch):
    in_a_notebook(
        monkeypatch,
        'dataset = "covidx"  # which data',
        '# Parameters\ndatset = "lag"\nseed = 3\n',
        "import numpy as np",
    )
    namespace = {"__name__": "__main__", "dataset": "covidx", "datset": "lag"}

    with pytest.raises(InputError, match="Unknown parameter datset"):
        parameters.read(Toy, namespace)


def test_other_names_of_a_notebook_are_its_own_business(monkeypatch):
    in_a_notebook(monkeypatch, "# Parameters\nseed = 3\n", "datset = 1")
    namespace = {"__name__": "__main__", "datset": 1, "seed": 3, "np": sys}

    assert parameters.read(Toy, namespace).seed == 3


def settings(**given):
    kept = read(**given)
    return stated.settings(kept, "real", kept.file_hashes())


def test_patients_are_a_setting_only_where_they_are_given():
    assert "patients" not in settings()
    assert settings(patients=r"^(P\d+)_")["patients"] == r"^(P\d+)_"
    assert settings(patients="dicom") != settings(patients=r"^(P\d+)_") != settings()


def test_of_a_list_of_patients_the_content_counts_and_not_its_place(tmp_path):
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.CSV")]
    for path, patient in zip(paths, "111", strict=True):
        path.write_text(f"file,patient\n1.png,{patient}\n", encoding="utf-8")
    paths[2].write_text("file,patient\n1.png,2\n", encoding="utf-8")

    first, same, other = (settings(patients=str(path)) for path in paths)

    assert first == same != other
    assert str(tmp_path) not in str(first)
    with pytest.raises(InputError, match=r"patients is 'gone\.csv', which is no file"):
        settings(patients="gone.csv")
