"""One folder a chapter: what is that chapter's own, nothing else."""

from collections import defaultdict
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from thesislib.errors import InputError


def part(chapter: str, name: str) -> ModuleType:
    """A module of a chapter: `part("05_pmsacl", "methods")`.

    Every chapter has `settings`, with its class of parameters as `PARAMETERS`, and
    `methods`, with `methods(run)`: its rows.

    Raises:
        InputError: If there is no such chapter.
    """
    folder = f"ch{chapter}" if chapter[:1].isdigit() else chapter.lower()
    try:
        return import_module(f"thesislib.chapters.{folder}.{name}")
    except ModuleNotFoundError as error:
        raise InputError(f"There is no chapter {chapter!r} in this version.") from error


def names() -> list[str]:
    """The chapters of this version, "05_pmsacl", in order."""
    here = Path(__file__).parent
    return sorted(p.parent.name.removeprefix("ch") for p in here.glob("*/settings.py"))


def left_out(data: Any) -> list[str]:
    """What chapters leave out because data are too few for it, a sentence each.

    Args:
        data: A `Dataset`, or one whose classes take turns in being normal.

    Raises:
        InputError: If they are too few for any run.
    """
    from thesislib.study import minima  # heavy: a chapter is looked up without it

    if not getattr(data, "class_names", None):
        minima.require(data)
    found = defaultdict(list)
    for name in names():
        settings = part(name, "settings")
        known = get_args(settings.PARAMETERS.model_fields["dataset"].annotation)
        if data.name in known:
            number = name.partition("_")[0].removeprefix("0")
            for what, why in minima.left_out(data, settings.PARTS):
                found[f"{what}. {why}"].append(number)
    return [f"{', '.join(those)} without {words}" for words, those in found.items()]
