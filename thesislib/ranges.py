"""Ranges of settings, declared in the `__post_init__` of their dataclass.

None is never out of range; of a tuple, every entry is looked at.
"""

import operator
import typing
from collections.abc import Callable
from typing import Any

from thesislib.errors import InputError


class RangeError(InputError):
    """A setting is out of range. The sentence begins with the name of its field:
    `runs.overrides` knows the config's and puts it before."""


def at_least(config: Any, least: float, *names: str) -> None:
    """Refuse settings below `least`."""
    _check(config, names, lambda value: value >= least, f"be {least} or more")


def above(config: Any, bound: float, *names: str) -> None:
    """Refuse settings that are not above `bound`."""
    _check(config, names, lambda value: value > bound, f"be above {bound}")


def within(config: Any, interval: str, *names: str) -> None:
    """Refuse settings outside an interval, closed as "[0, 1]" or open as "(0, 1)"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    enough = operator.ge if interval.startswith("[") else operator.gt
    little = operator.le if interval.endswith("]") else operator.lt
    _check(
        config,
        names,
        lambda value: enough(value, low) and little(value, high),
        f"lie in {interval}",
    )


def _check(
    config: Any, names: tuple[str, ...], allowed: Callable[[Any], bool], must: str
) -> None:
    for name in names:
        value = getattr(config, name)
        if value is None:
            continue
        if isinstance(value, tuple):
            for entry in value:
                if not allowed(entry):
                    raise RangeError(f"{name} has {entry}; each must {must}.")
        elif not allowed(value):
            kinds = typing.get_args(typing.get_type_hints(type(config))[name])
            or_none = ", or None" if type(None) in kinds else ""
            raise RangeError(f"{name} is {value}; it must {must}{or_none}.")
