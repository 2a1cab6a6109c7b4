"""The entries of `paper/claims.toml`: what may stand there, and what they then say."""

import inspect
from pathlib import Path

import pytest

from tests.report.test_claims import judged, rows_of
from thesislib import paper
from thesislib.errors import InputError
from thesislib.report import claims
from thesislib.report.designs import designs
from thesislib.report.judges import FUNCTIONS, KINDS
from thesislib.report.ledger import Ledger

HEAD = Path(paper.__file__).with_name("claims.toml").read_text("utf-8").split("\n[")[0]
PADIM, BEST = '"5.1 padim auc"', '"5.1 pmsacl-padim auc"'


def entry(*items, claim="C5-01", more=""):
    return f"[{claim}]\n{more}\njudged = [{', '.join(f'{{{i}}}' for i in items)}]"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (entry(claim="C5-99"), "C5-99: the texts make no claim of this name"),
        ('[CM-04]\nsame_as = "C5-1"', "CM-04: no field is called same_as; there are"),
        ('[C5-01]\npart = "half"', "the field judged is missing"),
        (entry(more="parts = 1"), "no field is called parts; there are judged, part,"),
        (entry(more='needs = "some"'), "needs is 'all' or 'any'"),
        (entry(more='real = "yes"'), "real cannot be 'yes'"),
        (entry('kind = "gian"'), "gian: the kinds are gain, order, bound, value"),
        (entry("size = 0.1"), "no kind: the kinds are gain,"),
        (
            entry(f'kind = "gain", of = {BEST}, over = {PADIM}, siz = 0.1'),
            "C5-01, gain: no field is called siz; there are of, over, as_printed",
        ),
        (
            entry(f'kind = "gain", of = {BEST}, over = {PADIM}, size = "0.1"'),
            "gain: size cannot be '0.1'",
        ),
        (entry(f'kind = "gain", of = {BEST}'), "gain: the field over is missing"),
        (
            entry('kind = "value", cells = "5.1 pandim auc"'),
            "C5-01, value: '5.1 pandim auc' is not printed",
        ),
        (
            entry(f'kind = "gain", of = {BEST}, over = "pandim"'),
            "gain: '5.1 pandim auc' is not printed",
        ),
        (entry('kind = "value", cells = "5.1 padim"'), "'5.1 padim' is not printed"),
        (
            entry('kind = "value", cells = "6.2 igd auc"'),
            "value: '6.2 igd auc' is not one cell; name a setting",
        ),
        (
            entry(f'kind = "order", first = {BEST}, before = ["4.3 dae auc@lag"]'),
            "order: '4.3 dae auc@lag' is not printed",  # an empty cell
        ),
        (
            entry(f'kind = "gain", of = {BEST}, over = "6.1 igd auc@*"'),
            "gain: over names one cell, not 8",
        ),
        (
            entry('kind = "function", name = "most blocks", of = "6.1 igd auc@*"'),
            "function: it has a name (of most blocks, falls more, images left out",
        ),
        (
            entry('kind = "function", name = "fall", why = "so", of = "6.1 igd auc@*"'),
            "function: it has a name (of most blocks, falls more, images left out",
        ),
    ],
)
def test_a_wrong_entry_gets_one_sentence(text, says):
    with pytest.raises(InputError) as caught:
        claims.read(text)

    sentence = str(caught.value)
    assert sentence.startswith("claims.toml, C") and says in sentence
    assert sentence.endswith(".") and "\n" not in sentence


def test_a_whole_number_will_do_for_a_number():
    text = entry('kind = "value", cells = "5.1 padim auc", said = 1')

    assert claims.read(text)["C5-01"].judged[0].fields["said"] == 1


def test_the_head_explains_every_kind_and_field():
    words = set(HEAD.replace(",", " ").split())

    assert inspect.signature(claims.Entry).parameters.keys() | {"same_as"} <= words
    for name, judge in KINDS.items():
        assert f"#   {name} " in HEAD
        part = HEAD.partition(f"#   {name} ")[2].partition("\n#   function ")[0]
        fields = set(inspect.signature(judge).parameters) - {"view"}
        assert fields <= set(part.replace(",", " ").replace(";", " ").split()), name


def test_every_function_is_used_and_says_what_for():
    used = {one.judge for entry in claims.entries().values() for one in entry.judged}

    assert used == {*KINDS.values(), *FUNCTIONS.values()}
    assert all(judge.__doc__ for judge in used)


def test_a_row_alone_is_the_one_in_the_same_column():
    short, full = (
        claims.read(entry(f'kind = "order", first = {BEST}, before = {before}'))
        for before in ('["padim", "igd"]', f'[{PADIM}, "5.1 igd auc"]')
    )

    assert short == full


def test_a_repetition_is_judged_as_its_original():
    found = claims.entries()

    assert found["CM-04"].judged == found["C5-01"].judged


# --- what is not built yet ----------------------------------------------------------


def test_a_claim_is_implemented_when_all_that_it_speaks_of_is_built():
    def implemented(*items, chapters=("05_pmsacl",)):
        found = claims.read(entry(*items))["C5-01"]
        return found.implemented(set(chapters))

    other = '"5.1 ocgan auc"'
    assert implemented(f'kind = "value", cells = {BEST}')
    assert not implemented(f'kind = "value", cells = [{BEST}, {other}]')
    assert not implemented(f'kind = "gain", of = {BEST}, over = {other}')
    assert implemented(f'kind = "gain", of = {BEST}, over = {other}, as_printed = true')
    images = 'kind = "protocol", chapter = "05_pmsacl", dataset = "lag", images = {}'
    assert implemented(images)
    assert not implemented(images, chapters=())


TABLES_4 = ("4.1", "4.2", "4.3")
OWN_4 = {
    "hyperkvasir": {
        "batch_size": {16: 0.93, 32: 0.97, 64: 0.96, 128: 0.95},
        "strong": {"rotation": 0.94, "permutation": 0.97, "cutout": 0.95},
    },
    "lag": {"strong": {"rotation": 0.97, "permutation": 0.94, "cutout": 0.95}},
}


@pytest.fixture
def chapter_4(made):
    """Claims judged from runs that give what chapter 4 prints."""
    ccd = claims.entries()["C4-15"].judged[0].fields["configs"]["ccd"]
    images = [one.fields for one in claims.entries()["C4-14"].judged]
    runs = []
    for dataset, counts in ((one["dataset"], one["images"]) for one in images):
        rows = [
            made.row(c.metric, c.value, row=c.row, table=c.table, setting=c.setting)
            for table in TABLES_4
            for c in paper.cells(table)
            if c.dataset == dataset
        ]
        for name, found in OWN_4.get(dataset, {}).items():
            for setting, number in found.items():
                own = {"row": "ccd-igd", "table": None, "setting": {name: setting}}
                rows.append(made.row("auc", number, **own))
        for seed in range(3):
            for row in rows:
                row["value"] += 1e-4 * seed
                row |= {"ci_low": row["value"] - 1e-4, "ci_high": row["value"] + 1e-4}
            config = {"ccd": ccd | {"num_steps": None}}
            record = made.record(
                rows, seed=seed, dataset=dataset, chapter="04_ccd", configs=config
            )
            record["dataset"]["counts"] = counts
            runs.append(record)
    found = made.runs(runs).runs
    everything = claims.judge_all(Ledger([], [], designs(found), found))
    return {one.claim["id"]: one for one in everything}


DISAGREE = {  # as the transcription says of its own tables
    "C4-12": "confirmed in direction",  # 2.3 points
    "C4-13": "fails",  # 0.24 to 0.42
}


def test_chapter_4_will_hold_where_its_own_tables_bear_it_out(chapter_4):
    states = {
        name: one.state.partition(" in 3 of 4")[0]  # augmentations at hand
        for name, one in chapter_4.items()
        if name[:2] == "C4"
    }

    assert len(states) == 16 and states.pop("C4-16") == "not implemented"
    assert states == {name: DISAGREE.get(name, "holds") for name in states}


def test_all_claims_of_chapter_4_but_one_can_be_judged():
    found = claims.judge_all(Ledger([], [], [], []))

    own = {one.claim["id"]: one.state for one in found if one.claim["chapter"] == 4}
    assert own.pop("C4-16") == "not implemented"  # no run has supervised segmenters
    assert set(own.values()) == {"not run"} and len(own) == 15


# --- what has to be at hand ---------------------------------------------------------


def test_phantoms_may_lack_a_gain_unless_all_are_needed(made):
    def state(claim, rows, **changes):
        return judged(made, rows, **changes)[claim].state

    phantom = {"source": "phantom", "seeds": 5}
    one_gain = rows_of(made, "C5-01")[:2]
    assert state("C5-01", one_gain) == "not run"
    assert state("C5-01", one_gain, **phantom) == (
        "indicative on phantoms: confirmed in direction in 1 of 4"
    )
    without_simclr = [r for r in rows_of(made, "C5-35") if "simclr" not in r["row"]]
    assert state("C5-35", without_simclr, **phantom) == "not run"
