"""Reproducible companion to Yu Tian's thesis on anomaly detection (2022).

Research software, not for diagnosis.
"""

from typing import Any

__version__ = "0.1.0"


def load(run: Any, method: str = "", **given: Any) -> Any:
    """The detector of a sealed run, with `.score(images)` and `.maps(images)`.

    See `thesislib.scoring.load`; imported when called, so that `import thesislib` stays
    light.
    """
    from importlib import import_module

    return import_module("thesislib.scoring").load(run, method, **given)
