"""Runs: parameters, records, locks, sealing and verification.

`start` opens a run from a chapter's parameters; `verify` recomputes what sealed
runs say. Both are imported on first use, so this package stays light.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thesislib.runs.opening import start
    from thesislib.runs.verification import verify

__all__ = ["start", "verify"]


def __getattr__(name: str) -> Any:
    if name == "start":
        from thesislib.runs.opening import start

        return start
    if name == "verify":
        from thesislib.runs.verification import verify

        return verify
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
