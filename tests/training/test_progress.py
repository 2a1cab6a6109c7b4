import json
import sys

import pytest

from thesislib.training import progress, status
from thesislib.training.progress import Progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


class Line:
    """A display handle that remembers what it showed."""

    def __init__(self):
        self.shown = []

    def update(self, bundle, raw, metadata):
        self.shown.append(bundle["text/plain"])


@pytest.fixture
def notebook(monkeypatch, tmp_path):
    """As in a kernel under Papermill: a line, and the original stderr."""
    line, log = Line(), open(tmp_path / "log", "wb")  # noqa: SIM115, closed below
    monkeypatch.setattr(progress, "_notebook_line", lambda text: line)
    monkeypatch.setattr(progress, "_terminal", log.fileno)
    yield line, lambda: (tmp_path / "log").read_bytes()
    log.close()


def test_a_notebook_has_one_line_and_the_terminal_a_line_an_update(notebook, clock):
    line, log = notebook
    bar = Progress(100, "pmsacl")
    for done in range(1, 101):
        clock.now += 0.5
        bar.update(done, con=1.0 / done)
    bar.close()

    assert len(line.shown) == 50 + 1  # one a second, and the last
    assert line.shown[1] == "pmsacl 4/100 con 0.25 2 s, 48 s left"
    assert line.shown[-1] == "pmsacl 100/100 50 s"
    assert log().count(b"\n") == 10 + 1  # one each five seconds, and the last
    assert log().startswith(b"\rpmsacl 10/100")


def test_the_time_left_counts_only_what_was_done_here(notebook, clock):
    bar = Progress(100, "pmsacl", start=90)
    clock.now = 10.0
    bar.update(95)

    assert notebook[0].shown[-1] == "pmsacl 95/100 10 s, 10 s left"


def test_what_stops_says_so(notebook, clock):
    with pytest.raises(KeyboardInterrupt), Progress(3, "pmsacl"):
        raise KeyboardInterrupt

    assert notebook[0].shown == ["pmsacl stopped"]


def test_a_lost_terminal_is_no_error(notebook, clock, monkeypatch):
    monkeypatch.setattr(progress, "_terminal", lambda: 9_999)
    bar = Progress(3, "pmsacl")
    clock.now = 10.0
    bar.update(1)
    bar.close()


def test_short_work_in_plain_python_says_nothing(clock, capsys):
    bar = Progress(3, "pmsacl")
    for done in range(3):
        clock.now += 1.1
        bar.update(done)
    bar.close()

    assert capsys.readouterr() == ("", "")


def test_long_work_in_plain_python_writes_lines_to_stderr(clock, capsys):
    bar = Progress(10, "pmsacl")
    for done in range(1, 11):
        clock.now += 2
        bar.update(done)
    bar.close()

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "pmsacl 3/10 6 s, 14 s left"
    assert err.splitlines()[-1] == "pmsacl 10/10 20 s"


def test_a_terminal_sees_one_line_that_replaces_itself(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = Progress(10, "pmsacl")
    clock.now = 2.0
    bar.update(1)
    bar.close()

    err = capsys.readouterr().err
    assert err.count("\r") == 2 and err.count("\n") == 1


def test_a_reporter_shows_nothing_before_there_is_work(monkeypatch):
    made = []
    monkeypatch.setattr(progress, "Progress", lambda *a: made.append(a) or Bar())

    class Bar:
        def update(self, done):
            made.append(done)

        def close(self):
            made.append("closed")

    report = progress.reporter("decoding")
    assert made == []
    report(1, 2)
    report(2, 2)
    assert made == [(2, "decoding"), 1, 2, "closed"]


def test_where_another_process_shows_the_runs_it_is_told_instead_of_the_terminal(
    clock, monkeypatch, tmp_path
):
    """The notebook's own line stays as it is."""
    file, line = tmp_path / "run.jsonl", Line()
    monkeypatch.setenv(status.VARIABLE, str(file))
    monkeypatch.setattr(progress, "_notebook_line", lambda text: line)
    monkeypatch.setattr(sys.stderr, "_original_stdstream_copy", 9_999, raising=False)
    bar = Progress(10, "pmsacl")
    clock.now = 7.0
    bar.update(5, con=0.5)
    bar.close()

    assert bar.descriptor is None
    assert line.shown == ["pmsacl 5/10 con 0.5 7 s, 7 s left", "pmsacl 10/10 7 s"]
    events = [json.loads(text) for text in file.read_text("utf-8").splitlines()]
    for event in events:
        del event["at"]
    assert events == [{"label": "pmsacl", "done": 5, "total": 10}, {"label": None}]
