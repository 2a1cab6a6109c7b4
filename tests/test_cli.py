import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from thesislib import cli

HEAVY = ("torch", "numpy", "pandas", "pydantic", "matplotlib", "scipy", "IPython")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    (tmp_path / "_toc.yml").write_text("", encoding="utf-8")
    (tmp_path / "chapters").mkdir()
    monkeypatch.setenv("THESIS_HOME", str(tmp_path))
    for name in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.delenv(f"THESIS_{name}", raising=False)
    return tmp_path


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `statement`."""
    code = (
        f"import sys\n{statement}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy():
    help_ = (
        "from thesislib import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass"
    )

    assert loaded_after(help_).isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["runs", "list"], ["runs", "verify"]])
def test_runs_without_runs_load_neither_torch_nor_pandas(arguments):
    loaded = loaded_after(f"from thesislib import cli; cli.main({arguments})")

    assert loaded.isdisjoint({"torch", "pandas", "matplotlib", "scipy"})


@pytest.mark.parametrize(
    "module",
    ["thesislib", "thesislib.runs", "thesislib.training", "thesislib.runs.record"],
)
def test_light_modules_stay_light(module):
    assert loaded_after(f"import {module}").isdisjoint(HEAVY)


def test_help_lists_the_commands_and_their_purpose(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])

    assert end.value.code == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("data", "runs", "ledger", "not for diagnosis"))


@pytest.mark.parametrize(
    "arguments",
    [[], ["data"], ["runs"], ["data", "check"], ["data", "fetch"], ["runs", "show"]],
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)

    assert end.value.code == 2
    assert "usage: thesislib" in capsys.readouterr().err


def test_data_list_names_every_dataset(capsys):
    assert cli.main(["data", "list"]) == 0

    said = capsys.readouterr().out
    assert "hyperkvasir" in said and "chestxray" in said and "licence" in said


def test_data_check_of_a_folder_that_is_not_there_is_exit_code_1(tmp_path, capsys):
    assert cli.main(["data", "check", "lag", str(tmp_path / "nowhere")]) == 1
    assert cli.main(["data", "check", "imagenet", str(tmp_path)]) == 1
    assert "hyperkvasir" in capsys.readouterr().out  # the names that are allowed


def test_data_check_says_what_the_data_are_too_few_for(tmp_path, capsys):
    random, numbers = np.random.default_rng(0), {"train/good": 9}
    numbers |= {"test/good": 5, "test/crack": 4, "test/stain": 1}
    for part, number in numbers.items():
        (tmp_path / part).mkdir(parents=True)
        for i in range(number):
            pixels = random.integers(0, 255, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / f"{i}.png")

    assert cli.main(["data", "check", "folder", str(tmp_path)]) == 0
    *_, first, second, last = capsys.readouterr().out.splitlines()
    assert {first, second} == {
        "chapters   6 without KDE. It needs at least 10 training images (here 9).",
        "chapters   4, 5 without the kind stain by itself. It needs at least 2 images.",
    }
    assert last == "ok"


def test_runs_are_listed_and_verified(capsys, monkeypatch):
    from tests.runs.toy import Toy, chapter
    from thesislib import runs

    run, _ = chapter()
    runs.start(Toy, {"seed": 1}).close()
    capsys.readouterr()

    assert cli.main(["runs", "list"]) == 0
    title, sealed, running = capsys.readouterr().out.splitlines()
    assert title.split() == ["status", "finished", "rows", "run"]
    assert sealed.startswith("sealed") and f"results/05_toy/{run.folder.name}" in sealed
    assert running.startswith("running") and "-s1-" in running

    assert cli.main(["runs", "verify"]) == 0
    assert "agrees: seal and files, 7 of 7 rows" in capsys.readouterr().out

    (run.folder / "scores.csv").write_text("", encoding="utf-8")
    assert cli.main(["runs", "verify", str(run.folder)]) == 1
    assert "scores.csv is not the file that was sealed" in capsys.readouterr().out


def test_an_error_is_one_sentence_on_stderr(tmp_path, capsys):
    assert cli.main(["runs", "verify", str(tmp_path / "nowhere")]) == 1

    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "holds no record" in err


def test_the_ledger_is_printed(capsys):
    assert cli.main(["ledger", "--table", "5.1"]) == 0
    assert "PaDiM" in capsys.readouterr().out
    assert cli.main(["ledger", "--table", "5.99"]) == 1
    assert "5.99" in capsys.readouterr().err
