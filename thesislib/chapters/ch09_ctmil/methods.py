"""Chapter 9: its rows and variants.

A row that a table prints has the table's key and setting.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from thesislib.chapters.ch09_ctmil.settings import COMPONENTS, VARIANTS
from thesislib.study import videos
from thesislib.study.encoders import chosen_of
from thesislib.study.videos import VideoMethod, features_of, network

CTMIL = "contrastive-transformer-mil"
OFFICIAL = "i3d"  # features, as the tables call them
TERMS = {  # of Table 9.2, by row
    "top-k": ("l_snp",),
    "cte": ("l_snp", "cte"),
    "cte-vid": ("l_snp", "cte", "l_vid"),
}
WHOLE = ("l_snp", "cte", "l_vid", "l_cnt")


def main(run) -> VideoMethod:
    """CTMIL as configured."""
    setting = features_of(run, OFFICIAL)
    return network(
        run.configs["ctmil"], "ctmil", key=CTMIL, label="CTMIL", setting=setting
    )


def methods(run) -> list[VideoMethod]:
    """CTMIL, RTFM, DeepMIL, and what they are read beside."""
    setting = features_of(run, OFFICIAL)
    others = (("rtfm", "rtfm", "RTFM"), ("deep_mil", "sultani", "DeepMIL"))
    return [
        main(run),
        *(
            network(run.configs[name], name, key=key, label=label, setting=setting)
            for name, key, label in others
        ),
        *videos.floors(run),
    ]


def components(run) -> list[VideoMethod]:
    """Rows of Table 9.2; the last is the main path."""
    own, names = main(run), run.configs["study"].components
    found = []
    for name, changes in chosen_of("study.components", names, COMPONENTS).items():
        setting, config = _components(run, TERMS[name]), replace(own.config, **changes)
        given = {"key": own.key, "label": name, "setting": setting}
        found.append(network(config, f"ctmil/{name}", **given))
    return [*found, replace(own, setting=_components(run, WHOLE))] if found else []


def _components(run, terms: Sequence[str]) -> dict[str, Any]:
    return {**features_of(run, OFFICIAL), "components": list(terms)}


def variants(run) -> list[VideoMethod]:
    """Exploratory changes; the first is the main path."""
    own, names = main(run), run.configs["study"].variants
    changes = {"none": {}, **chosen_of("study.variants", names, VARIANTS)}
    if own.config.tokens == "channels":
        changes.pop("causal", None)  # each of whose tokens holds all snippets
    return videos.variants(own, "variant", changes if names else {})


def readings(run) -> list[VideoMethod]:
    """The readings beside each other."""
    return videos.readings(run, main(run), "ctmil")
