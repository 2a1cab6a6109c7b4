"""Pages that the book build writes: the ledger, the claims, the inconsistencies.

Tables are HTML inside Markdown, one line each, because a thousand Markdown cells
take Sphinx longer than all the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from thesislib import paper
from thesislib.book.notebooks import cost, seconds
from thesislib.report import says, text
from thesislib.report.claims import Judged
from thesislib.report.designs import Design, Result
from thesislib.report.ledger import INDICATIVE, Entry, Ledger
from thesislib.report.records import Run
from thesislib.report.tables import STYLE, table
from thesislib.runs import recorded

Links = Mapping[str, str]  # seal of a run -> page, relative to results/

TITLES = {
    3: "ADGAN",
    4: "CCD",
    5: "PMSACL",
    6: "IGD",
    7: "MemMC-MAE",
    8: "RTFM",
    9: "Contrastive transformer",
    10: "FSAD-Net",
    11: "PEBAL",
    None: "SALAD",
}
RECORDED = '<span class="thesis-mark">recorded</span>'
KINDS = {
    "reproduced": "good",
    "holds": "good",
    "exceeds": "good",
    "confirmed in direction": "good",
    "falls short": "bad",
    "fails": "bad",
}


def page_name(chapter: int | None) -> str:
    """Name of a chapter's ledger page below results/, without suffix."""
    return f"ledger_chapter_{chapter:02d}" if chapter else "ledger_salad"


def chapter_title(chapter: int | None) -> str:
    return f"Chapter {chapter}: {TITLES[chapter]}" if chapter else "SALAD paper"


def ledger_pages(ledger: Ledger, links: Links) -> dict[str, str]:
    """Name -> Markdown: an overview and one page a chapter."""
    chapters = list(TITLES)
    pages = {"ledger": _overview(ledger, links, chapters)}
    for chapter in chapters:
        entries = [e for e in ledger.entries if e.cell.chapter == chapter]
        pages[page_name(chapter)] = _chapter(ledger, links, chapter, entries)
    return pages


def standing(ledger: Ledger, judged: Iterable[Judged], chapters: set[str]) -> str:
    """Markdown: where each chapter stands, in a line.

    Args:
        chapters: Names of the notebooks that have a page.
    """
    judged, lines = list(judged), []
    for number in TITLES:
        prefix = f"{number:02d}_" if number else "?"
        title = chapter_title(number)
        entries = [
            entry
            for entry in ledger.entries
            if entry.cell.chapter == number
            and entry.counterpart
            and entry.counterpart.chapter.startswith(prefix)
        ]
        claims = [one for one in judged if one.claim["chapter"] == number]
        own = [one for one in ledger.designs if one.chapter.startswith(prefix)]
        for name in (name for name in chapters if name.startswith(prefix)):
            title = f'<a href="chapters/{name}.html">{title}</a>'
        words = [badge(_stands(entries, claims, own))]
        if own:
            words.append(f"{own[0].name}: {says.say(own[0])[0].words}")
        if entries:
            words.append(f"*{_counted(entry.verdict for entry in entries)}*")
        lines.append(f"{title}\n: {' '.join(words)}\n")
    return "\n".join(lines)


def _stands(
    entries: Sequence[Entry], claims: Sequence[Judged], own: Sequence[Design]
) -> str:
    """A chapter in a word; one number or claim that fails is enough to fail."""
    if not entries:
        return "not implemented"
    found = {entry.verdict for entry in entries}
    findings = [one.finding for one in claims if one.finding is not None]
    found |= {one.state for one in findings if not one.reasons}
    if found & {"falls short", "fails"}:
        return "fails"
    for state in ("undecided", "reproduced", "exceeds"):
        if state in found:
            return state
    return INDICATIVE[own[0].runs[0].source == "phantom"] if own else "not run"


def _counted(states: Iterable[str]) -> str:
    """`82 published numbers: 12 indicative on phantoms, 70 not run.`"""
    states = list(states)
    found = [f"{states.count(one)} {one}" for one in dict.fromkeys(states)]
    return f"{len(states)} published numbers: {', '.join(found)}."


def _overview(ledger: Ledger, links: Links, chapters: list[int | None]) -> str:
    names = [name for name, count in ledger.counts().items() if count]
    rows = []
    for chapter in chapters:
        found = [e.verdict for e in ledger.entries if e.cell.chapter == chapter]
        link = f'<a href="{page_name(chapter)}.html">{chapter_title(chapter)}</a>'
        rows.append([link, len(found), *(found.count(name) or "–" for name in names)])
    total = [ledger.counts()[name] for name in names]
    rows.append(["<strong>all</strong>", sum(total), *total])
    counts = table(
        "Published numbers by chapter and verdict.",
        ["chapter", "numbers", *names],
        rows,
        "thesis-counts",
    )
    notes = "".join(f"- {escape(problem)}\n" for problem in ledger.problems)
    notes = f"\n## Passed over\n\n{notes}" if notes else ""
    return (
        "# The ledger\n\n"
        "Every number printed in the thesis, in the MSACL preprint and in the SALAD "
        "paper, with ours beside it where a sealed run states it. "
        "[How to read](../how_to_read.md) explains the verdicts. The same on the "
        "command line: `thesislib ledger`.\n\n"
        f"{STYLE}\n\n{counts}\n\n## Runs that count\n\n{_runs(ledger.runs, links)}\n"
        f"{notes}"
    )


def _runs(runs: Iterable[Run], links: Links) -> str:
    rows = [
        [
            _data(run.dataset, run.source, run.partial),
            f"{run.preset}, {run.reading}",
            run.seed,
            run.finished[:16].replace("T", " "),
            escape(cost(run.record)),
            _linked(escape(run.where), links.get(run.record["seal"]))
            + (f" {RECORDED}" if run.recorded else ""),
        ]
        for run in runs
    ]
    if not rows:
        return "Nothing has been run yet: `make report` makes the quick runs."
    head = ["data", "preset, reading", "seed", "finished (UTC)", "cost", "where"]
    return table("Sealed runs found in this checkout.", head, rows, "thesis-runs")


def recorded_table(ledger: Ledger) -> str:
    """Markdown: the recorded runs that count, and the commands that repeat them."""
    runs = [run for run in ledger.runs if run.recorded]
    left_out = [one for one in ledger.problems if one.startswith("book/records/")]
    notes = "".join(f"- {escape(problem)}\n" for problem in left_out)
    notes = f"\nLeft out:\n\n{notes}" if notes else ""
    if not runs:
        return f"No run is recorded in this checkout.\n{notes}"
    rows = [
        [
            escape(run.where.rpartition("/")[2].removesuffix(".json")),
            _data(run.dataset, run.source, run.partial),
            f"{run.preset}, {run.reading}",
            run.seed,
            run.finished[:16].replace("T", " "),
            escape(recorded.hardware(run.record)),
            f"{seconds(run.record) / 60:.1f}",
            _memory(run.record),
            len(run.record["rows"]),
            _since(run.record),
        ]
        for run in runs
    ]
    head = ["run", "data", "preset, reading", "seed", "finished (UTC)", "hardware"]
    head += ["minutes", "peak memory", "rows", "package since"]
    commands = "\n".join(
        run.record["command"].replace(" -p", " \\\n    -p", 1) for run in runs
    )
    return (
        f"{STYLE}\n\n{table('Recorded runs.', head, rows, 'thesis-runs')}\n\n"
        f"What repeats them, on hardware like theirs:\n\n```bash\n{commands}\n```\n"
        f"{notes}"
    )


def _memory(record: Mapping) -> str:
    """Largest peak over the stages: of the GPU where there was one."""
    for key in ("peak_cuda_bytes", "peak_memory_bytes"):
        found = [stage.get(key) or 0 for stage in record["stages"]]
        if any(found):
            return f"{max(found) / 2**30:.1f} GiB"
    return "–"


def _since(record: Mapping) -> str:
    """Whether the package is still the one that the run used."""
    changed = recorded.changed_modules(record)
    if not changed:
        return "unchanged"
    names = ", ".join(name.removeprefix("thesislib.") for name in changed)
    return (
        f"<details><summary>{len(changed)} modules changed</summary>"
        f"{escape(names)}</details>"
    )


def _chapter(
    ledger: Ledger, links: Links, chapter: int | None, entries: list[Entry]
) -> str:
    parts = [
        f"# Ledger, {chapter_title(chapter)}\n",
        STYLE,
    ]
    for source in paper.tables():
        if source["chapter"] == chapter:
            own = [e for e in entries if e.cell.table == source["id"]]
            parts.append(_section(source, own, links))
    if extra := _others(ledger, links, chapter):
        parts += ["## Ours without a published counterpart\n", extra]
    return "\n\n".join(parts) + "\n"


def _section(source: dict, entries: list[Entry], links: Links) -> str:
    """One published table: what we have a counterpart for, then the rest."""
    where = text.SOURCES[source["source"]]
    name = source["id"] if source["source"] == "thesis" else source["id"].split("-")[1]
    of = "" if source["source"] == "thesis" else f" of the {where}"
    parts = [f"## Table {name}{of}\n", f"{escape(source['caption'])}.\n"]
    if source.get("split"):
        parts.append(f"Split: {escape(source['split'])}.\n")
    built = [entry for entry in entries if entry.counterpart is not None]
    if built:
        parts.append(_beside(built, source, links) + "\n")
    commands = dict.fromkeys(
        entry.counterpart.command for entry in built if entry.verdict == "not run"
    )
    if commands:
        words = "What was not run is run by this (and again with `-p seed 1`, `2`):"
        shown = "\n".join(
            command.replace(" -p", " \\\n    -p", 1) for command in commands
        )
        parts.append(f"{words}\n\n```bash\n{shown}\n```\n")
    rest = [entry for entry in entries if entry.counterpart is None]
    if rest:
        parts.append(_published_only(rest, source, bool(built)) + "\n")
    if source.get("notes"):
        items = "".join(f"<li>{escape(note)}</li>" for note in source["notes"])
        parts.append(
            f"<details><summary>Notes on Table {name}</summary><ul>{items}</ul>"
            "</details>\n"
        )
    return "\n".join(parts)


def _beside(entries: list[Entry], source: dict, links: Links) -> str:
    made = _Made(links)
    rows = []
    for entry in entries:
        name = escape(text.line(entry.cell))
        metric = escape(text.metric(entry.cell.metric))
        start = [name, metric, text.published(entry.cell)]
        if not entry.results:
            rows.append([*start, "–", "–", badge("not run")])
        for number, result in enumerate(entry.results):
            seeds, status = made.seeds(result), badge(entry.verdict, result.reasons)
            if number:  # weaker evidence on the same number
                name_again = f"{name}<small>also {seeds.partition(' ')[2]}</small>"
                start, status = [name_again, metric, ""], "–"
            rows.append([*start, _number(result), seeds, status])
    head = ["method", "metric", "published", "ours", "seeds [how]", "verdict"]
    caption = f"Table {source['id']}: published and ours."
    return table(caption, head, rows, "thesis-beside") + made.legend()


class _Made:
    """How results were made: a number in the table, the words below it."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self.numbers: dict[str, int] = {}

    def seeds(self, result: Result) -> str:
        """Number of seeds, and in brackets the number of the note."""
        note = self.numbers.setdefault(self._words(result), len(self.numbers) + 1)
        return f"{len(result.seeds)} [{note}]"

    def legend(self) -> str:
        items = "".join(f"<li>[{n}] {words}</li>" for words, n in self.numbers.items())
        return f'<ul class="thesis-legend">{items}</ul>' if items else ""

    def _words(self, result: Result) -> str:
        runs = zip(result.seeds, result.seals, result.runs, strict=True)
        seeds = ", ".join(
            _linked(str(seed), self.links.get(seal))
            + (f" {RECORDED}" if where.startswith("book/records/") else "")
            for seed, seal, where in runs
        )
        return (
            f"{escape(result.how)}; settings: {result.settings}; seeds {seeds}; "
            f"interval: {escape(result.interval)}."
        )


def _number(result: Result) -> str:
    """Our number with its interval and its mark."""
    mark = f'<span class="thesis-mark">{result.mark}</span>' if result.mark else ""
    return f"{text.value(result)}<small>{text.interval(result)}</small>{mark}"


def _published_only(entries: list[Entry], source: dict, others: bool) -> str:
    """Rows that nobody has built yet, as printed: a line a method."""
    metrics = list(dict.fromkeys(entry.cell.metric for entry in entries))
    lines: dict[str, dict[str, str]] = {}
    for entry in entries:
        values = lines.setdefault(text.line(entry.cell), {})
        values[entry.cell.metric] = text.published(entry.cell)
    rows = [
        [
            escape(name),
            *(values.get(metric, "–") for metric in metrics),
            badge("not implemented"),
        ]
        for name, values in lines.items()
    ]
    head = ["method", *(escape(text.metric(m)) for m in metrics), "verdict"]
    kind = "the other published numbers" if others else "published numbers"
    return table(f"Table {source['id']}: {kind}.", head, rows, "thesis-published")


def _others(ledger: Ledger, links: Links, chapter: int | None) -> str:
    """A table for each design, differences first."""
    made, tables = _Made(links), []
    for design in ledger.designs:
        if chapter is None or not design.chapter.startswith(f"{chapter:02d}_"):
            continue
        own = design.unpublished()
        rows = [
            [
                escape(", ".join(filter(None, (text.row(key), text.setting(setting))))),
                escape(text.metric(row["metric"])),
                _number(result),
                made.seeds(result),
            ]
            for row, result in sorted(own, key=lambda p: "minus" not in p[0]["setting"])
            for key, setting in [(row["row"], row["setting"])]
        ]
        head = ["method", "metric", "ours", "seeds [how]"]
        caption = f"Rows of ours that no publication has: {design.name}."
        tables += [table(escape(caption), head, rows, "thesis-own")] if rows else []
    return "\n\n".join(tables) + made.legend() if tables else ""


def claims_page(judged: Iterable[Judged]) -> str:
    """Markdown: all claims, chapter by chapter."""
    judged = list(judged)
    states = [one.state.partition(":")[0] for one in judged]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    parts = [
        "# The claims\n",
        f"{len(judged)} claims that the texts make in words: {counts}.\n"
        "*In print* says whether the text agrees with its own tables; *here* what our "
        "rows say. Anything but *not implemented* is judged by a tested function over "
        "ledger rows; claims about protocols and settings are judged from what the "
        "runs state of themselves. [How to read](../how_to_read.md#claims) defines the "
        "states.\n",
        STYLE,
    ]
    for chapter in dict.fromkeys(one.claim["chapter"] for one in judged):
        own = [one for one in judged if one.claim["chapter"] == chapter]
        rows = [_claim_row(one) for one in own]
        caption = f"Claims of {chapter_title(chapter)}."
        head = ["claim", "in words", "in print", "here"]
        parts.append(f"## {chapter_title(chapter)}\n")
        parts.append(table(caption, head, rows, "thesis-prose"))
    return "\n\n".join(parts) + "\n"


def _claim_row(one: Judged) -> list[str]:
    finding = one.finding
    here = badge(one.state, finding.reasons if finding else ())
    if one.part and one.implemented:
        here += f"<div>Judged: {escape(one.part)}.</div>"
    if finding is not None:
        here += f"<div>{escape(finding.detail)}.</div>"
    claim = one.claim
    words = [escape(claim["text"]), escape(claim["table_check"])]
    return [claim["id"], *words, here]


def inconsistencies_table() -> str:
    """Markdown: where text, tables and captions of the publications disagree."""
    rows = [
        [
            item["id"],
            item["type"],
            escape(", ".join(item["where"])),
            escape(item["detail"]),
            escape(item["suggestion"] or "–"),
        ]
        for item in paper.inconsistencies()
    ]
    head = ["id", "kind", "where", "what", "used here"]
    caption = "Disagreements within and between the publications."
    return f"{STYLE}\n\n{table(caption, head, rows, 'thesis-prose')}\n"


def badge(state: str, reasons: Iterable[str] = ()) -> str:
    """A verdict as a label whose words, not colour alone, say what it is."""
    kind = KINDS.get(state, "plain")
    why = f"<small>{escape(', '.join(reasons))}</small>" if reasons else ""
    return f'<span class="thesis-verdict {kind}">{escape(state)}</span>{why}'


def _data(dataset: str, source: str, partial: bool) -> str:
    name = escape(text.DATASETS.get(dataset, dataset))
    if source == "phantom":
        return f'{name} <span class="thesis-mark">phantom</span>'
    return name + (' <span class="thesis-mark">partial</span>' if partial else "")


def _linked(words: str, target: str | None) -> str:
    return f'<a href="{target}">{words}</a>' if target else words
