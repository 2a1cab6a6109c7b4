"""Installing and building: one list of packages, make's promises, a light start."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from thesislib.report import terminal

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"pytorch": "torch"}
FREE = {"torch", "torchvision"}  # CPU or CUDA: the user's choice, a lower bound only
HEAVY = ("torch", "pandas", "pydantic", "matplotlib", "scipy", "sklearn", "numpy")

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def requirement(line):
    """Name, bounds and platform of a requirement, in one spelling."""
    found = Requirement(line)
    return canonicalize_name(found.name), str(found.specifier), str(found.marker)


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(text("pyproject.toml"))["project"]


@pytest.fixture(scope="module")
def frozen():
    """Name -> version in constraints.txt."""
    lines = [line for line in text("constraints.txt").splitlines() if line[0] != "#"]
    pairs = [line.split("==") for line in lines]
    assert all(len(pair) == 2 for pair in pairs)
    return {canonicalize_name(name): version for name, version in pairs}


# --- Packages --------------------------------------------------------------------


def test_conda_and_pip_get_the_same_packages(project):
    environment = yaml.safe_load(text("environment.yml"))
    *lines, pip = environment["dependencies"]
    assert pip["pip"][-1] == "-e ."
    for line in pip["pip"][:-1]:
        lines.append(line)
    named = {requirement(line) for line in lines}
    named = {(CONDA_NAMES.get(name, name), *rest) for name, *rest in named}
    python = requirement(f"python{project['requires-python']}")
    expected = {requirement(line) for line in project["dependencies"]}

    assert named == expected | {python, requirement("pip")}


def test_the_frozen_set_holds_every_package_and_keeps_its_bounds(project, frozen):
    lines = project["dependencies"] + project["optional-dependencies"]["dev"]
    for found in map(Requirement, lines):
        if (name := canonicalize_name(found.name)) not in FREE:
            assert found.specifier.contains(frozen[name]), found


def test_torch_and_what_it_brings_are_left_to_the_machine(frozen):
    brought = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*|sympy|networkx")
    assert [name for name in frozen if brought.fullmatch(name)] == []


def test_the_package_carries_its_data_files():
    data = tomllib.loads(text("pyproject.toml"))["tool"]["setuptools"]["package-data"]
    patterns = data["thesislib"]
    tracked = subprocess.run(
        ["git", "ls-files", "thesislib"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    endings = {Path(name).suffix for name in tracked} - {".py"}
    assert endings <= {pattern.removeprefix("**/*") for pattern in patterns}


# --- A light start ---------------------------------------------------------------


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, thesislib; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "thesislib.report.staleness",
        "thesislib.report.terminal",
        "thesislib.book.extension",
    ],
)
def test_snakemake_and_the_book_start_without_anything_heavy(module):
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


# --- make ------------------------------------------------------------------------

NOT_DONE = f".snakemake/status/{terminal.NOT_DONE}"


class Sandbox:
    """The Makefile with stand-ins for Python and what it installs, which keep a log."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, root)
        self.write_python(3, 11)
        bin_ = root / ".venv" / "bin"
        bin_.mkdir(parents=True)
        for name in ("python", "pip", "snakemake", "jupyter-book", "ruff"):
            self.write(f".venv/bin/{name}", f'echo {name} "$@" >> log\n')

    def write(self, name: str, body: str) -> None:
        path = self.root / name
        path.write_text(f"#!/bin/sh\n{body}", encoding="utf-8")
        path.chmod(0o755)

    def write_python(self, major: int, minor: int) -> None:
        """A Python that takes itself for another version."""
        self.write(
            "python",
            f"[ $1 = --version ] && echo Python {major}.{minor}.0 && exit\n"
            f'exec {sys.executable} -c "import sys; '
            f'sys.version_info = ({major}, {minor}, 0); $2"\n',
        )

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MAKE", "OMP_", "THESIS_"))
        }
        return subprocess.run(
            ["make", f"PYTHON={self.root / 'python'}", *arguments],
            cwd=self.root,
            env=kept | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def log(self) -> list[str]:
        """What was called since the last look."""
        path = self.root / "log"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


@needs_make
def test_the_environment_is_made_once_and_again_when_its_packages_change(sandbox):
    def installs():
        assert sandbox.make("setup").returncode == 0
        return [line for line in sandbox.log() if "-m pip" in line]

    (line,) = installs()
    assert line.endswith("-c constraints.txt -e .[dev]")
    assert installs() == []
    stamp = sandbox.root / ".venv" / ".thesis-setup"
    for name in ("pyproject.toml", "constraints.txt"):
        later = stamp.stat().st_mtime + 5
        os.utime(sandbox.root / name, (later, later))
        assert len(installs()) == 1
        os.utime(stamp, (later + 5, later + 5))


@needs_make
def test_an_installation_that_failed_is_tried_again(sandbox):
    sandbox.write(".venv/bin/python", "exit 1\n")
    assert sandbox.make("setup").returncode != 0
    sandbox.write(".venv/bin/python", 'echo python "$@" >> log\n')
    assert sandbox.make("setup").returncode == 0
    assert len(sandbox.log()) == 1


@needs_make
def test_a_torch_index_is_asked_for_torch_first_and_for_nothing_else(sandbox):
    assert sandbox.make("setup", "TORCH_INDEX=https://example.org/cpu").returncode == 0
    torch, rest = sandbox.log()
    assert torch.endswith("--index-url https://example.org/cpu torch torchvision")
    assert "index-url" not in rest


@needs_make
def test_an_old_python_is_refused_in_one_sentence(sandbox):
    sandbox.write_python(3, 10)
    done = sandbox.make("report")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        f"The companion needs Python 3.11 or newer, and '{sandbox.root / 'python'}' is "
        "Python 3.10.0; name another one: make report PYTHON=python3.12"
    )
    assert sandbox.log() == []


@needs_make
def test_the_book_is_built_after_a_failed_run_and_make_fails_all_the_same(sandbox):
    sandbox.make("setup")
    sandbox.log()
    assert sandbox.make("report").returncode == 0
    calls = [line.split()[0] for line in sandbox.log()]
    assert calls == ["snakemake", "jupyter-book"]

    sandbox.write(".venv/bin/snakemake", "echo snakemake >> log; exit 1\n")
    done = sandbox.make("report")
    assert sandbox.log() == ["snakemake", "jupyter-book build -q book"]
    assert done.returncode != 0
    assert "open " in done.stdout
    *_, head, words, _ = done.stderr.splitlines()  # the last line is make's own
    assert head == "But not all runs of the report are done:"
    assert words == "Snakemake ended with exit code 1 and says why above."


@needs_make
def test_a_failed_run_is_named_last(sandbox):
    sandbox.make("setup")
    words = "06_igd--fmnist-s0: failed. InputError: no (see book/runs/x.ipynb)"
    told = f'mkdir -p {Path(NOT_DONE).parent}; echo "{words}" > {NOT_DONE}'
    sandbox.write(".venv/bin/snakemake", f"{told}; exit 1\n")
    done = sandbox.make("report")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-2] == words

    sandbox.write(".venv/bin/snakemake", "exit 0\n")
    done = sandbox.make("report")
    assert (done.returncode, done.stderr) == (0, "")


@needs_make
def test_no_book_is_called_ready_that_was_not_built(sandbox):
    sandbox.make("setup")
    sandbox.write(".venv/bin/jupyter-book", "exit 1\n")
    done = sandbox.make("report")
    assert done.returncode != 0
    assert "ready" not in done.stdout


@needs_make
@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ({}, "1 PASSIVE"),
        ({"OMP_NUM_THREADS": "2"}, "2 PASSIVE"),
        ({"OMP_NUM_THREADS": "2", "THESIS_THREADS": "4"}, "4 PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "1 ACTIVE"),
    ],
)
def test_one_thread_a_run_unless_told_otherwise(sandbox, given, threads):
    sandbox.write(
        ".venv/bin/jupyter-book", 'echo "$OMP_NUM_THREADS $OMP_WAIT_POLICY" >> log\n'
    )
    sandbox.make("setup")
    sandbox.log()
    assert sandbox.make("book", **given).returncode == 0
    assert sandbox.log() == [threads]


@needs_make
def test_clean_keeps_results_notebooks_and_environment(sandbox):
    kept = [
        sandbox.root / name
        for name in ("results/run.json", "book/runs/a.ipynb", ".cache/a", "data/a.jpg")
    ]
    gone = [sandbox.root / name for name in ("_build/a", "book/chapters/a.ipynb")]
    for path in kept + gone:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    done = sandbox.make("clean")
    assert done.returncode == 0
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)
    assert (sandbox.root / ".venv").is_dir()
    assert "results/" in done.stdout


# --- README ----------------------------------------------------------------------


def test_the_readme_says_only_commands_that_are_there(project):
    targets = set(re.findall(r"^([a-z ]+):(?!=)", text("Makefile"), re.M))
    targets = {name for line in targets for name in line.split()}
    readme = text("README.md")
    asked = set(re.findall(r"\bmake ([a-z]+)\b(?=[`\s,:;)A-Z])", code_of(readme)))
    assert {"report", "test"} <= asked <= targets
    assert set(re.findall(r"^(\w+) ", code_of(readme), re.M)) <= {
        *("make", "conda", "snakemake", "pip", "source", "papermill", "thesislib"),
        "jupyter",
    }
    assert project["scripts"] == {"thesislib": "thesislib.cli:main"}


def test_the_readme_begins_with_the_two_commands_and_the_warning():
    readme = text("README.md")
    first = code_of(readme).splitlines()
    assert [line.split("  ")[0].strip() for line in first[:2]] == [
        "make report",
        "make test",
    ]
    assert "not for diagnosis" in readme.split("```")[0]


def test_chapters_and_folders_that_the_readme_names_are_tracked_or_made():
    made = {"_build/html/index.html", "results/", "scores/", ".cache/", ".venv/"}
    yours = {"data/", "normal/", "abnormal/", "train/good/", "ground_truth/"}
    yours |= {"train/normal/", "train/abnormal/", "test/normal/", "test/abnormal/"}
    yours |= {"events.csv"}
    for name in re.findall(r"`([\w./-]+(?:/|\.\w+))`", text("README.md")):
        if name not in made | yours:
            assert (ROOT / name).exists(), name


def code_of(markdown):
    """The commands of a page: its bash blocks, then its `make ...` in the text."""
    blocks = re.findall(r"```bash\n(.*?)```", markdown, re.S)
    inline = re.findall(r"`(make [^`]*)`", markdown)
    return "".join(blocks) + "\n".join(inline) + "\n"
