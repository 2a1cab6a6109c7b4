"""One folder a chapter: what is that chapter's own, nothing else."""

from importlib import import_module
from types import ModuleType

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
