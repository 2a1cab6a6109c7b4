"""What a terminal shows while Snakemake's runs are at work.

Each run writes events into a file of its own (`training/status.py`); a thread of the
Snakemake process reads them. On a terminal a line a run and one for all are redrawn.
In a log there is a line where a run starts, one for each stage that takes a while, and
one where it ends. What is left is estimated from earlier sealed runs of the chapter,
those of this very report among them.
"""

import atexit
import heapq
import json
import os
import platform
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from thesislib import paths
from thesislib.runs.record import is_sealed, read

STAGE_SECONDS = 20.0  # a shorter stage has no line of its own in a log
REDRAW_SECONDS = 1.0
NOT_DONE = "not-done.txt"  # in the folder of status files, for make's last words

Costs = Mapping[str, float]  # stage -> seconds


@dataclass
class Watched:
    """A run that has started, as its events tell it."""

    title: str  # with its number
    starts: dict[str, Any]
    stages: dict[str, float] = field(default_factory=dict)  # open ones -> since when
    over: set[str] = field(default_factory=set)
    label: str | None = None
    steps: str = ""
    logged: set[str] = field(default_factory=set)  # stages that the log spoke of
    ended: float | None = None

    def doing(self) -> str:
        """What it does now."""
        if self.stages:
            return f"{list(self.stages)[-1]}{self.steps}"
        if self.label:
            return f"{self.label}{self.steps}"
        return "tables and figures" if self.over else "starting"

    def is_gone(self) -> bool:
        """Whether its process has vanished, as after a kill."""
        if self.starts["host"] != platform.node():
            return False
        try:
            os.kill(self.starts["pid"], 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


class Board:
    """The events of all runs, put into words.

    Args:
        titles: Run -> its title, of all that are going to run, in order.
        workers: How many run at a time.
        earlier: Gives the costs of an earlier run like this one, None if there is none.
        began: Time at which this began.
    """

    def __init__(
        self,
        titles: Mapping[str, str],
        workers: int,
        earlier: Callable[[str], Costs | None],
        began: float,
    ) -> None:
        self.titles, self.workers, self.began = dict(titles), workers, began
        self.runs: dict[str, Watched] = {}
        self.stopped: dict[str, str] = {}  # by an error, a kill or the user: and how
        self._earlier, self._costs = earlier, {}

    def take(self, run: str, event: Mapping[str, Any]) -> str | None:
        """Note an event; a line that is to stay, where it deserves one."""
        if "starts" in event:
            title = f"[{len(self.runs) + 1}/{len(self.titles)}] {self.titles[run]}"
            self.runs[run] = Watched(title, event["starts"] | {"at": event["at"]})
            return f"{title} starts"
        if not (known := self.runs.get(run)):
            return None
        if "stage" in event:
            known.stages[event["stage"]] = event["at"]
        elif "stage_ended" in event:
            known.stages.pop(event["stage_ended"], None)
            known.over.add(event["stage_ended"])
            known.label, known.steps = None, ""
        elif "label" in event:
            known.label = event["label"]
            known.steps = f" {event['done']}/{event['total']}" if known.label else ""
        elif "ends" in event:
            known.ended = event["at"]
            self._costs.clear()  # its record is there now
            line = f"{known.title}: {event['ends']}, after "
            line += spoken(known.ended - known.starts["at"])
            if event["ends"] == "done":
                return line + self.words_left(known.ended)
            self.stopped[run] = event["ends"]
            return line
        return None

    def new_stages(self, now: float) -> list[str]:
        """Lines of the stages that have lasted long enough to be worth one."""
        lines = []
        for run in self._at_work():
            for stage, since in run.stages.items():
                if now - since >= STAGE_SECONDS and stage not in run.logged:
                    run.logged.add(stage)
                    lines.append(f"{run.title}: {stage}")
        return lines

    def picture(self, now: float) -> list[str]:
        """A line for each run at work, and one for all."""
        lines = [
            f"{run.title}: {run.doing()}, {spoken(now - run.starts['at'])}"
            for run in self._at_work()
        ]
        return [*lines, self.summary(now) + self.words_left(now)]

    def summary(self, now: float) -> str:
        """How many runs are done, and how long all took."""
        ended = sum(run.ended is not None for run in self.runs.values())
        stopped = f", {len(self.stopped)} stopped" if self.stopped else ""
        return (
            f"{ended - len(self.stopped)} of {len(self.titles)} runs done{stopped}, "
            f"{spoken(now - self.began)}"
        )

    def not_done(self) -> list[str]:
        """The runs that came to no good end and why, a sentence each."""
        lines = []
        for name in self.titles:
            if name not in self.runs:
                lines.append(f"{name}: not started.")
            elif self.runs[name].ended is None:
                lines.append(f"{name}: not ended.")
            elif name in self.stopped:
                lines.append(f"{name}: {self.stopped[name]}")
        return lines

    def words_left(self, now: float) -> str:
        """How long it still takes, where that can be said."""
        seconds = self.seconds_left(now)
        return f"; about {spoken(seconds)} left" if seconds else ""

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the last run ends, None where no run like them is known.

        A run takes as long as the stages that are not over took an earlier one; one
        of a chapter that never ran, as long as the longest that is known.
        """
        for name in self.titles:
            if name not in self._costs:
                self._costs[name] = self._earlier(name)
        known = [sum(costs.values()) for costs in self._costs.values() if costs]
        if not known:
            return None
        busy = [
            self._seconds_left(name, now, max(known))
            for name, run in self.runs.items()
            if run.ended is None
        ]
        busy += [0.0] * (self.workers - len(busy))
        heapq.heapify(busy)
        for name in self.titles:
            if name not in self.runs:  # goes to whoever is free first
                costs = self._costs[name]
                seconds = sum(costs.values()) if costs else max(known)
                heapq.heapreplace(busy, busy[0] + seconds)
        return max(busy)

    def _seconds_left(self, name: str, now: float, longest: float) -> float:
        """Seconds until a run at work ends."""
        run, costs = self.runs[name], self._costs[name]
        if not costs:
            return max(0.0, longest - (now - run.starts["at"]))
        left = sum(cost for stage, cost in costs.items() if stage not in run.over)
        if run.stages:
            stage, since = list(run.stages.items())[-1]
            left -= min(now - since, costs.get(stage, 0.0))
        return left

    def _at_work(self) -> list[Watched]:
        return [run for run in self.runs.values() if run.ended is None]


class Log:
    """Lines that stay."""

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def turn(self, board: Board, now: float) -> None:
        for line in board.new_stages(now):
            self.say(line)

    def close(self) -> None:
        pass


class Live:
    """Lines that are redrawn, and above them the few that stay."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._tqdm, self._bars = tqdm, []

    def say(self, line: str) -> None:
        if not line.endswith(" starts"):  # the picture has it
            self._tqdm.write(line, file=sys.stderr)

    def turn(self, board: Board, now: float) -> None:
        width = shutil.get_terminal_size().columns - 1
        lines = [line[:width] for line in board.picture(now)]
        while len(self._bars) < len(lines):
            self._bars.append(
                self._tqdm(
                    bar_format="{desc}",
                    position=len(self._bars),
                    leave=False,
                    file=sys.stderr,
                )
            )
        for bar, line in zip_longest(self._bars, lines, fillvalue=""):
            bar.set_description_str(line)

    def close(self) -> None:
        for bar in reversed(self._bars):
            bar.close()


class Watch:
    """The thread that reads the events of all runs and shows them.

    Args:
        board: What puts them into words.
        folder: Holds the status file of each run, `<run>.jsonl`.
        screen: Where the words go.
    """

    def __init__(self, board: Board, folder: Path, screen: Log | Live) -> None:
        self.board, self.folder, self.screen = board, folder, screen
        self._read: dict[str, int] = {}  # run -> bytes
        self._over = threading.Event()
        # A daemon: when its process is killed nothing is left that waits or draws.
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Show what came last, and how it ended."""
        self._over.set()
        self._thread.join()
        self.turn()
        self.screen.close()
        words = [self.board.summary(time.time()), ", ".join(self.board.stopped)]
        self.screen.say(f"{': '.join(filter(None, words))}.")
        if lines := self.board.not_done():
            text = "".join(f"{line}\n" for line in lines)
            (self.folder / NOT_DONE).write_text(text, encoding="utf-8")

    def turn(self) -> None:
        """Read what is new, and show it."""
        gone = [
            name
            for name, run in self.board.runs.items()
            if run.ended is None and run.is_gone()
        ]  # before reading: what they wrote last comes first
        events = [event for name in self.board.titles for event in self._new(name)]
        for name, event in sorted(events, key=lambda pair: pair[1]["at"]):
            self._take(name, event)
        now = time.time()
        for name in gone:
            if self.board.runs[name].ended is None:
                self._take(name, {"at": now, "ends": "stopped without a word"})
        self.screen.turn(self.board, now)

    def _watch(self) -> None:
        while not self._over.wait(REDRAW_SECONDS):
            self.turn()

    def _take(self, name: str, event: Mapping[str, Any]) -> None:
        if line := self.board.take(name, event):
            self.screen.say(line)

    def _new(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """Events of a run since the last look, whole lines only."""
        try:
            with open(self.folder / f"{name}.jsonl", "rb") as file:
                file.seek(self._read.get(name, 0))
                lines = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        self._read[name] = self._read.get(name, 0) + len(lines[0] + lines[1])
        return [(name, json.loads(line)) for line in lines[0].splitlines()]


def watch(
    runs: Mapping[str, tuple[str, Mapping[str, Any]]],
    folder: Path,
    *,
    workers: int,
    quiet: bool,
) -> None:
    """Show what runs do until this process ends.

    Args:
        runs: Name -> chapter and parameters, of all that are going to run.
        folder: For their status files; what earlier ones left is removed.
        workers: How many run at a time.
        quiet: Whether nothing else writes to the terminal, so that lines of it can be
            redrawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*folder.glob("*.jsonl"), folder / NOT_DONE):
        path.unlink(missing_ok=True)
    titles = {name: title(*run) for name, run in runs.items()}
    times = Counter(titles.values())
    titles = {n: words if times[words] == 1 else n for n, words in titles.items()}
    board = Board(titles, workers, lambda name: costs(*runs[name]), time.time())
    can_redraw = sys.stdout.isatty() and sys.stderr.isatty()
    can_redraw &= os.environ.get("TERM", "dumb") != "dumb"
    shown = Watch(board, folder, Live() if quiet and can_redraw else Log())
    shown.start()
    atexit.register(shown.stop)


def title(chapter: str, parameters: Mapping[str, Any]) -> str:
    """What a reader calls a run, "05_pmsacl lag seed 0"."""
    return f"{chapter} {parameters['dataset']} seed {parameters['seed']}"


def costs(chapter: str, parameters: Mapping[str, Any]) -> dict[str, float] | None:
    """Seconds of each stage of the newest sealed run of a chapter and preset.

    One of the same dataset is preferred. Stages are stretched to the whole run, of
    which they leave out kernels, tables and figures, if it was run in one go.
    """
    found = []
    for path in (paths.results_dir() / chapter).glob("*/run.json"):
        record = read(path)
        if not is_sealed(record):
            continue
        resolved = record["parameters"]["resolved"]
        if resolved["preset"] == parameters["preset"]:
            same = resolved["dataset"] == parameters["dataset"]
            found.append((same, record["finished"], record))
    if not found:
        return None
    record = max(found, key=lambda one: one[:2])[2]
    seconds = {stage["name"]: stage["wall_seconds"] for stage in record["stages"]}
    stages = sum(seconds.values())
    begun, ended = (datetime.fromisoformat(record[k]) for k in ("started", "finished"))
    if record["sessions"] == 1 and stages:
        factor = max(1.0, (ended - begun).total_seconds() / stages)
        return {stage: factor * value for stage, value in seconds.items()}
    return seconds


def spoken(seconds: float) -> str:
    """A duration in words, "40 s" or "4 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
