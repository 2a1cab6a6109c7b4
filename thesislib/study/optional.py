"""Parts of a chapter that a run can do without.

Only the main path may stop a run. Any other part that the data are too few for, or that
fails on them, is left out: the record says so, and so does what stands in its place.
"""

from collections.abc import Callable, Iterable
from functools import partial, wraps
from html import escape
from inspect import signature
from typing import Any, TypeVar

from thesislib.study import minima

T = TypeVar("T")


class Html(str):
    """Text that a notebook shows as HTML."""

    @property
    def data(self) -> str:  # as IPython's own HTML has it
        return str(self)

    def _repr_html_(self) -> str:
        return str(self)


def attempt(run, part: str, make: Callable[[], T], why: str = "") -> T | None:
    """What `make` gives; None where the part is left out.

    Args:
        part: What is left out, for readers.
        why: Why it has to be, known beforehand; "" to try.
    """
    if why:
        run.leave_out(part, why)
    elif not (run.sealed and part in run.left_out):
        with run.optional(part):
            return make()
    return None


def section(part: str, key: str = "") -> Callable:
    """A section of a chapter, as HTML, that is left out where it fails.

    Args:
        part: What it shows, for readers; of which method, and under which name, is
            added where it is given such.
        key: Of `minima.NEEDS`, where it needs more than every run.
    """

    def decorate(make: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(make)
        def shown(run, *args: Any, **kwargs: Any) -> Any:
            given = signature(make).bind(run, *args, **kwargs).arguments
            what = part
            if label := next((v.label for v in given.values() if _named(v)), ""):
                what = f"{part} of {label}"
            elif "name" in given:
                what = f"{part} ({given['name']})"
            why = minima.lacking(run.data, key)
            found = attempt(run, what, partial(make, run, *args, **kwargs), why)
            return in_place(run, [what]) if found is None else found

        return shown

    return decorate


def _named(value: Any) -> bool:
    return isinstance(getattr(value, "label", None), str)


def in_place(run, parts: Iterable[str]) -> Html:
    """What stands in the place of parts that were left out, of those that were."""
    return Html(
        "".join(
            f"<p><em>Left out</em>: {escape(part)}. {escape(run.left_out[part])}</p>"
            for part in parts
            if part in run.left_out
        )
    )
