"""What figures call the images of a reader's own folders."""

from types import SimpleNamespace

import numpy as np
import pytest

from thesislib.report import text
from thesislib.study import pictures, units

DATA = SimpleNamespace(
    test_labels=np.array([0, 0, 1, 1, 1, 1, 1, 1]),
    test_kinds=("normal",) * 4 + ("pasted 1",) * 2 + ("crack",) * 2,
    test_ids=tuple("abcdefgh"),
    test_patients=None,
)


def test_abnormal_images_are_never_called_as_normal_ones():
    assert pictures.kind_names(DATA, np.arange(8)) == [
        *("normal", "normal", "abnormal: normal", "abnormal: normal"),
        *("abnormal: pasted 1", "abnormal: pasted 1", "crack", "crack"),
    ]


def test_a_kind_called_normal_is_judged_against_the_normal_images():
    class Run:
        parameters = SimpleNamespace(seed=0)
        add_scores = add_row = staticmethod(lambda *given: None)

    scores = np.array([0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, 0.5])
    found = units.add_kinds(Run, DATA, "padim", scores)

    assert {kind: (e.value, e.n) for kind, e in found.items()} == {
        "crack": (0.5, 4),
        "normal": (1.0, 4),
        "pasted 1": (0.0, 4),
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cost_$100$", r"cost\_\$100\$"),
        ("<b>*x*</b>", r"\<b\>\*x\*\</b\>"),
        ("two\nlines", "two lines"),
        ("crack", "crack"),
    ],
)
def test_markdown_shows_names_as_they_are(name, shown):
    assert text.markdown(name) == shown
