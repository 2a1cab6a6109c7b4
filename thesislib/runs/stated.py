"""What a record states of a run's parameters and data, for others to read.

Nothing of it names the user's own folders.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thesislib.runs.overrides import plain
from thesislib.runs.parameters import ChapterParameters
from thesislib.runs.provenance import private

NOT_SETTINGS = ("device", "data_root", "overrides")  # configs hold the overrides
LATER = (  # parameters that came after the first records
    *("methods", "patients", "on_bad_image", "file_list", "grey_range"),
    "lesion_levels",
)


def settings(
    parameters: ChapterParameters, source: str, hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Parameters that decide the result; of files, what they hold."""
    values = _values(parameters)
    kept = {key: value for key, value in values.items() if key not in NOT_SETTINGS}
    return private({**kept, "source": source, **hashes})


def resolved(parameters: ChapterParameters, source: str, chosen: Any) -> dict[str, Any]:
    """Parameters as used, without the user's own folders."""
    values = private(_values(parameters))
    root = Path(parameters.data_root).name if parameters.data_root else ""
    if not root:
        root = "$THESIS_DATA" if os.environ.get("THESIS_DATA") else "data"
    return {**values, "source": source, "device": str(chosen), "data_root": root}


def given(
    parameters: ChapterParameters, namespace: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters as they stood in the notebook, without the user's own folders."""
    values = {
        name: plain(namespace[name])
        for name in type(parameters).model_fields
        if name in namespace
    }
    if "overrides" in values:
        values["overrides"] = plain(parameters.overrides)
    if parameters.data_root:
        values["data_root"] = Path(parameters.data_root).name
    return private(values)


def _values(parameters: ChapterParameters) -> dict[str, Any]:
    """Without those of `LATER` that are left as they are, as in older records."""
    values = parameters.model_dump()
    fields = type(parameters).model_fields
    return {
        key: plain(value)
        for key, value in values.items()
        if key not in LATER or value != fields[key].default
    }


def data(found: Any) -> dict[str, Any]:
    """What a record says of the data, located or loaded."""
    return {
        "name": found.name,
        "source": found.source,
        "modality": found.modality,
        "counts": found.counts,
        "published_counts": found.published_counts,
        "partial": found.partial,
        "fingerprint": found.fingerprint,
        "provenance": private(plain(found.provenance)),
    }
