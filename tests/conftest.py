"""Fixtures shared by all tests."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Tests fork: a child of a process that has started OpenMP's threads waits for them
# for ever. One thread has none to wait for; the Makefile says the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Find a real dataset under `$THESIS_TEST_DATA`, or skip with the reason."""

    def find(name: str) -> Path:
        top = os.environ.get("THESIS_TEST_DATA")
        if not top:
            pytest.skip("needs real data: THESIS_TEST_DATA is not set")
        path = Path(top).expanduser().resolve() / name
        if not path.is_dir():
            pytest.skip(f"needs real data: no folder {name} in THESIS_TEST_DATA")
        return path

    return find
