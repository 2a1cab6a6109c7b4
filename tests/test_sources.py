from pathlib import Path

import pytest

from thesislib import sources


def test_what_cannot_change_a_number_is_there():
    """A room that was renamed would begin to count."""
    rooms = {path.stem for path in Path(sources.PACKAGE).iterdir()}

    assert set(sources.BESIDE_WEIGHTS) - {""} <= rooms


@pytest.mark.parametrize(
    ("module", "rooms", "lies_beside"),
    [
        ("thesislib", sources.BESIDE_ARRAYS, True),
        ("thesislib.book.pages", sources.BESIDE_ARRAYS, True),
        ("thesislib.figures.style", sources.BESIDE_ARRAYS, False),
        ("thesislib.figures.style", sources.BESIDE_NUMBERS, True),
        ("thesislib.metrics.image", sources.BESIDE_NUMBERS, False),
        ("thesislib.metrics.image", sources.BESIDE_WEIGHTS, True),
        ("thesislib.paper_mill", sources.BESIDE_WEIGHTS, False),
        ("thesislib.training.loop", sources.BESIDE_WEIGHTS, False),
    ],
)
def test_a_module_lies_beside_what_its_room_cannot_change(module, rooms, lies_beside):
    assert sources.beside(module, rooms) is lies_beside


def test_a_module_that_is_gone_or_another_has_changed():
    now = sources.imported()
    assert sources.changed(now) == sources.changed(now, on_disk=True) == []

    recorded = now | {"thesislib.gone": "0" * 64, "thesislib.errors": "0" * 64}
    assert sources.changed(recorded) == ["thesislib.errors", "thesislib.gone"]
