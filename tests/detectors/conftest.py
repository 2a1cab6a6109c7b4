"""What the tests of IGD's training share."""

from functools import partial

import pytest

from tests.detectors.igd_toy import loop_in, smooth_bank


@pytest.fixture(scope="module")
def bank():
    return smooth_bank()


@pytest.fixture
def make_loop(tmp_path):
    return partial(loop_in, tmp_path)
