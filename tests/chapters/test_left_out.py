"""What the chapters say beforehand of data that are too few for some of their parts."""

from types import SimpleNamespace

import numpy as np
import pytest

from thesislib import chapters
from thesislib.errors import InputError


def data(train=20, normal=6, abnormal=6, **given):
    return SimpleNamespace(
        name="folder",
        train=range(train),
        test_labels=np.repeat([0, 1], [normal, abnormal]),
        test_kinds=("normal",) * normal + ("crack",) * abnormal,
        test_masks=None,
        test_patients=None,
        **given,
    )


def test_each_sentence_names_its_chapters():
    assert chapters.left_out(data()) == []
    assert chapters.left_out(data(train=9, normal=4)) == [
        "4, 5, 6 without logistic regression on statistics, with labels. It needs at "
        "least 5 normal test images (here 4).",
        "6 without KDE. It needs at least 10 training images (here 9).",
    ]


def test_what_no_chapter_can_run_on_is_refused():
    with pytest.raises(InputError, match="1 abnormal test images"):
        chapters.left_out(data(abnormal=1))


def test_classes_that_take_turns_are_named():
    whole = SimpleNamespace(
        name="mvtec", class_names=("screw",), one_class=lambda name: data(train=3)
    )
    assert chapters.left_out(whole) == [
        "6 without KDE, class screw. It needs at least 10 training images (here 3)."
    ]


def test_every_chapter_with_images_declares_what_it_needs():
    assert {"04_ccd", "05_pmsacl", "06_igd"} <= set(chapters.names())
    for name in chapters.names():
        settings = chapters.part(name, "settings")
        allowed = settings.PARAMETERS.model_fields["dataset"].annotation
        assert "folder" not in str(allowed).split("'") or settings.PARTS
