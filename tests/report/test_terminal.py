"""What a terminal and a log show of runs, from made-up events."""

import json
import os
import platform
import re
import subprocess
import sys
import time

import pytest

from thesislib.report import terminal
from thesislib.report.terminal import Board, Live, Log, Watch
from thesislib.runs import record
from thesislib.training import status

HERE = {"pid": os.getpid(), "host": platform.node()}
TITLES = {f"run-{n}": f"05_pmsacl lag seed {n}" for n in range(4)}
COSTS = {"pre-training": 60.0, "PaDiM": 30.0, "IGD": 10.0}


def board(earlier=None, workers=2):
    return Board(TITLES, workers, lambda name: earlier, began=0.0)


def told(board, run, at, **event):
    return board.take(run, {"at": at, **event})


# --- Words -----------------------------------------------------------------------


def test_each_run_has_a_number_a_name_a_beginning_and_an_end():
    runs = board()

    assert told(runs, "run-2", 0, starts=HERE) == "[1/4] 05_pmsacl lag seed 2 starts"
    assert told(runs, "run-0", 0, starts=HERE) == "[2/4] 05_pmsacl lag seed 0 starts"
    assert told(runs, "run-2", 1, stage="PaDiM") is None
    assert (
        told(runs, "run-2", 240, ends="done")
        == "[1/4] 05_pmsacl lag seed 2: done, after 4 min"
    )
    assert (
        told(runs, "run-0", 250, ends="failed. No (see there)")
        == "[2/4] 05_pmsacl lag seed 0: failed. No (see there), after 4 min"
    )
    assert told(runs, "run-1", 251, stage="of a run that never said it started") is None
    assert runs.summary(300) == "1 of 4 runs done, 1 stopped, 5 min"


def test_the_picture_says_what_each_run_does_now():
    runs = board()
    told(runs, "run-0", 0, starts=HERE)

    def now():
        (line, _) = runs.picture(30)
        return line.removeprefix("[1/4] 05_pmsacl lag seed 0: ").removesuffix(", 30 s")

    assert now() == "starting"
    told(runs, "run-0", 1, label="decoding images", done=3, total=9)
    assert now() == "decoding images 3/9"
    told(runs, "run-0", 2, label=None)
    told(runs, "run-0", 2, stage="pre-training pmsacl")
    told(runs, "run-0", 3, label="pmsacl", done=188, total=300)
    assert now() == "pre-training pmsacl 188/300"
    told(runs, "run-0", 4, stage="part of it")
    assert now() == "part of it 188/300"
    told(runs, "run-0", 5, stage_ended="part of it")
    assert now() == "pre-training pmsacl"
    told(runs, "run-0", 6, stage_ended="pre-training pmsacl")
    assert now() == "tables and figures"
    assert runs.picture(30)[-1] == "0 of 4 runs done, 30 s"
    told(runs, "run-0", 7, ends="done")
    assert runs.picture(30) == ["1 of 4 runs done, 30 s"]


def test_a_log_has_one_line_for_each_stage_that_takes_a_while():
    runs = board()
    told(runs, "run-0", 0, starts=HERE)
    told(runs, "run-0", 0, stage="long")

    assert runs.new_stages(terminal.STAGE_SECONDS - 1) == []
    assert runs.new_stages(terminal.STAGE_SECONDS) == [
        "[1/4] 05_pmsacl lag seed 0: long"
    ]
    assert runs.new_stages(1_000) == []
    told(runs, "run-0", 1_000, stage_ended="long")
    told(runs, "run-0", 1_000, stage="short")
    told(runs, "run-0", 1_001, stage_ended="short")
    assert runs.new_stages(2_000) == []
    told(runs, "run-0", 2_000, stage="outer")
    told(runs, "run-0", 2_000, stage="inner")
    assert len(runs.new_stages(3_000)) == 2
    assert runs.new_stages(3_001) == []


# --- The time left ---------------------------------------------------------------


def test_nothing_is_said_of_the_time_left_where_nothing_is_known():
    assert board().seconds_left(10) is None
    assert board().words_left(10) == ""


@pytest.mark.parametrize(("workers", "seconds"), [(1, 400), (2, 200), (3, 200)])
def test_runs_that_wait_go_to_whoever_is_free_first(workers, seconds):
    # four runs of 100 s each
    assert board(COSTS, workers).seconds_left(0) == seconds


def test_what_is_over_takes_no_more_time_and_what_is_under_way_less():
    runs = Board({"run-0": "one"}, 1, lambda name: COSTS, began=0.0)
    told(runs, "run-0", 0, starts=HERE)
    assert runs.seconds_left(50) == 100
    told(runs, "run-0", 50, stage="pre-training")
    assert runs.seconds_left(70) == 80
    assert runs.seconds_left(700) == 40  # it takes longer than it did
    told(runs, "run-0", 700, stage_ended="pre-training")
    assert runs.seconds_left(700) == 40
    told(runs, "run-0", 710, ends="done")
    assert runs.seconds_left(710) == 0


def test_a_run_like_no_other_takes_as_long_as_the_longest_that_is_known():
    known = {"run-0": COSTS, "run-1": {"all": 300.0}}
    runs = Board(TITLES, 2, known.get, began=0.0)
    told(runs, "run-2", 0, starts=HERE)

    assert runs.seconds_left(0) == 600  # 300, 300 | 100, 300
    assert runs.seconds_left(200) == 400  # 100, 300 | 100, 300
    told(runs, "run-2", 200, ends="done")
    assert runs.words_left(200) == "; about 7 min left"  # 100, 300 | 300: 400 s


def test_costs_are_asked_again_when_a_run_has_ended():
    asked = []
    runs = Board(TITLES, 2, asked.append, began=0.0)
    told(runs, "run-0", 0, starts=HERE)
    runs.picture(1), runs.picture(2)
    assert asked == list(TITLES)
    told(runs, "run-0", 3, ends="done")
    assert asked == 2 * list(TITLES)


def test_costs_are_those_of_the_newest_sealed_run_like_it(tmp_path, monkeypatch):
    monkeypatch.setenv("THESIS_RESULTS", str(tmp_path))

    def write(name, dataset, minute, seconds, *, preset="quick", sessions=1, ok=True):
        entry = {
            "status": "sealed" if ok else "running",
            "parameters": {"resolved": {"preset": preset, "dataset": dataset}},
            "stages": [{"name": "PaDiM", "wall_seconds": seconds}],
            "started": f"2026-01-01T10:{minute:02}:00Z",
            "finished": f"2026-01-01T10:{minute + 1:02}:00Z",
            "sessions": sessions,
        }
        entry["seal"] = record.seal_of(entry)
        path = tmp_path / "05_pmsacl" / name / "run.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(entry), encoding="utf-8")

    def costs():
        return terminal.costs("05_pmsacl", {"preset": "quick", "dataset": "lag"})

    assert costs() is None
    write("paper", "lag", 9, 10.0, preset="paper")
    write("broken", "lag", 9, 10.0, ok=False)
    assert costs() is None
    write("other", "covidx", 8, 20.0)
    assert costs() == {"PaDiM": 60.0}  # what a minute holds besides is its own
    write("resumed", "lag", 1, 30.0, sessions=2)
    assert costs() == {"PaDiM": 30.0}  # who knows when it stood still
    write("newer", "lag", 2, 40.0)
    assert costs() == {"PaDiM": 60.0}


# --- From files to the screen ----------------------------------------------------


class Stream:
    """Status files of runs, written as the runs write them."""

    def __init__(self, folder, monkeypatch):
        self.folder, self._monkeypatch = folder, monkeypatch

    def tell(self, run, **event):
        self._monkeypatch.setenv(status.VARIABLE, str(self.folder / f"{run}.jsonl"))
        assert status.tell(**event)


@pytest.fixture
def stream(tmp_path, monkeypatch):
    return Stream(tmp_path, monkeypatch)


def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_nothing_is_told_where_nobody_listens(monkeypatch, tmp_path):
    monkeypatch.delenv(status.VARIABLE, raising=False)
    assert not status.tell(stage="PaDiM")
    monkeypatch.setenv(status.VARIABLE, str(tmp_path / "absent" / "run.jsonl"))
    assert not status.tell(stage="PaDiM")


def test_a_log_tells_the_whole_story_in_lines_that_stay(stream, capsys):
    watch = Watch(board(), stream.folder, Log())
    for n in range(2):
        stream.tell(f"run-{n}", starts=HERE)
    watch.turn()
    for n in range(2):
        stream.tell(f"run-{n}", stage="PaDiM")
        stream.tell(f"run-{n}", label="x", done=1, total=2)
        stream.tell(f"run-{n}", stage_ended="PaDiM")
        stream.tell(f"run-{n}", ends="done")
    with open(stream.folder / "run-2.jsonl", "w", encoding="utf-8") as file:
        file.write('{"at": 1')  # not a whole line yet
    watch.turn()
    watch.turn()

    out, err = capsys.readouterr()
    assert out == ""
    assert "\r" not in err and "\x1b" not in err
    assert [re.sub(r", after.*", "", line) for line in err.splitlines()] == [
        "[1/4] 05_pmsacl lag seed 0 starts",
        "[2/4] 05_pmsacl lag seed 1 starts",
        "[1/4] 05_pmsacl lag seed 0: done",
        "[2/4] 05_pmsacl lag seed 1: done",
    ]


def test_a_killed_run_is_not_waited_for(stream, capsys):
    watch = Watch(board(), stream.folder, Log())
    stream.tell("run-0", starts={**HERE, "pid": gone()})
    stream.tell("run-1", starts={**HERE, "pid": gone(), "host": "elsewhere"})
    stream.tell("run-2", starts=HERE)
    watch.turn()
    stream.tell("run-0", stage="PaDiM")
    watch.turn()

    lines = capsys.readouterr().err.splitlines()
    assert lines[3].startswith("[1/4] 05_pmsacl lag seed 0: stopped without a word")
    assert len(watch.board.picture(0)) == 2 + 1


def test_what_a_run_said_last_counts_though_its_process_is_gone(stream, capsys):
    watch = Watch(board(), stream.folder, Log())
    stream.tell("run-0", starts={**HERE, "pid": gone()})
    watch.turn()
    stream.tell("run-0", ends="done")
    watch.turn()

    assert capsys.readouterr().err.count("\n") == 2  # its start, its end
    assert watch.board.stopped == {}


def test_the_thread_ends_with_the_last_words(stream, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "REDRAW_SECONDS", 0.01)
    watch = Watch(board(), stream.folder, Log())
    watch.start()
    stream.tell("run-0", starts=HERE)
    stream.tell("run-0", ends="interrupted; the same command goes on with it")
    watch.stop()

    assert not watch._thread.is_alive()
    assert capsys.readouterr().err.splitlines()[1:] == [
        "[1/4] 05_pmsacl lag seed 0: interrupted; the same command goes on with it, "
        "after 0 s",
        watch.board.summary(time.time()) + ": run-0.",
    ]
    assert (stream.folder / terminal.NOT_DONE).read_text().splitlines() == [
        "run-0: interrupted; the same command goes on with it",
        *(f"run-{n}: not started." for n in (1, 2, 3)),
    ]


class Screen:
    """What a terminal shows of stderr: it knows \\r, \\n and the cursor up."""

    def __init__(self, capsys):
        self.capsys, self.shown, self.row, self.column = capsys, [""], 0, 0

    def lines(self):
        text = self.capsys.readouterr().err
        for part in re.findall(r"\x1b\[\d*[A-Za-z]|.", text, re.DOTALL):
            if part == "\x1b[A":
                self.row -= 1
            elif part == "\r":
                self.column = 0
            elif part == "\n":
                self.row, self.column = self.row + 1, 0
                self.shown += [""] * (self.row + 1 - len(self.shown))
            else:
                assert len(part) == 1, f"unknown sequence {part!r}"
                line = self.shown[self.row].ljust(self.column)
                line = line[: self.column] + part + line[self.column + 1 :]
                self.shown[self.row] = line
                self.column += 1
        return [line.rstrip() for line in self.shown]


def test_a_terminal_sees_one_steady_picture_and_keeps_what_matters(
    stream, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "50")
    screen = Screen(capsys)
    watch = Watch(board(), stream.folder, Live())
    for n in range(2):
        stream.tell(f"run-{n}", starts=HERE)
        stream.tell(f"run-{n}", stage="pre-training of a very long name")
    watch.turn()
    assert [line[:40] for line in screen.lines()[:2]] == [
        "[1/4] 05_pmsacl lag seed 0: pre-training",
        "[2/4] 05_pmsacl lag seed 1: pre-training",
    ]
    assert screen.lines()[2].startswith("0 of 4 runs done")
    assert max(map(len, screen.lines())) < 50

    stream.tell("run-0", ends="done")
    for _ in range(3):
        watch.turn()
    lines = screen.lines()
    first, second, third, *rest = lines
    assert first.startswith("[1/4] 05_pmsacl lag seed 0: done, after 0 s")
    assert second.startswith("[2/4] 05_pmsacl lag seed 1: pre-training")
    assert third.startswith("1 of 4 runs done")
    assert "".join(rest) == ""

    watch._thread.start()
    watch.stop()
    lines = screen.lines()
    assert lines[0] == first
    assert lines[1].startswith("1 of 4 runs done")
    assert "".join(lines[2:]) == ""


@pytest.mark.parametrize(
    ("tty", "quiet", "term", "kind"),
    [
        (True, True, "xterm", Live),
        (True, False, "xterm", Log),
        (True, True, "dumb", Log),
        (False, True, "xterm", Log),
    ],
)
def test_lines_are_redrawn_only_where_that_can_be_done(
    tmp_path, monkeypatch, tty, quiet, term, kind
):
    made = []
    monkeypatch.setattr(terminal.atexit, "register", lambda stop: None)
    monkeypatch.setattr(Watch, "start", lambda watch: made.append(watch))
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: tty)
    monkeypatch.setenv("TERM", term)
    (tmp_path / "old.jsonl").write_text("{}", encoding="utf-8")
    one = {"dataset": "lag", "seed": 0}
    runs = {
        "a": ("05_pmsacl", one),
        "b": ("06_igd", {**one, "reading": "thesis"}),
        "c": ("06_igd", {**one, "reading": "staged"}),
    }

    terminal.watch(runs, tmp_path, workers=2, quiet=quiet)

    assert type(made[0].screen) is kind
    assert made[0].board.titles == {"a": "05_pmsacl lag seed 0", "b": "b", "c": "c"}
    assert list(tmp_path.iterdir()) == []
