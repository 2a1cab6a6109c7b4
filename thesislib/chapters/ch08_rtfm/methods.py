"""Chapter 8: its rows and variants.

A row that a table prints has the table's key and setting; DeepMIL is "Sultani et al.
(retrained)" there.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from thesislib.chapters.ch08_rtfm.settings import COMPONENTS
from thesislib.study import videos
from thesislib.study.encoders import chosen_of
from thesislib.study.video_task import VideoTask
from thesislib.study.videos import VideoMethod, features_of, network
from thesislib.video import rtfm

PARTS = ("pdc", "tsa", "fm")  # of RTFM, as Table 8.5 orders them
OFFICIAL = "i3d-rgb"  # features, as the tables call them


def main(run) -> VideoMethod:
    """RTFM as configured."""
    setting = {**features_of(run, OFFICIAL), "supervision": "weak"}
    return network(
        run.configs["rtfm"], "rtfm", key="rtfm", label="RTFM", setting=setting
    )


def methods(run) -> list[VideoMethod]:
    """RTFM, DeepMIL, and what they are read beside."""
    own, config = main(run), run.configs["deep_mil"]
    setting = {**own.setting, "retrained": True}
    given = {"key": "sultani", "label": "DeepMIL", "setting": setting}
    return [own, network(config, "deep_mil", **given), *videos.floors(run)]


def components(run) -> list[VideoMethod]:
    """Rows of Table 8.5; the last is the main path."""
    own, names = main(run), run.configs["study"].components
    found = []
    for name, parts in chosen_of("study.components", names, COMPONENTS).items():
        setting = _components(run, [part for part in PARTS if parts[part]])
        config = rtfm.row(own.config, **parts)
        given = {"key": own.key, "label": name, "setting": setting}
        found.append(network(config, f"rtfm/{name}", **given))
    return [*found, replace(own, setting=_components(run, PARTS))] if found else []


def _components(run, parts: Sequence[str]) -> dict[str, Any]:
    return {**features_of(run, OFFICIAL), "components": ["baseline", *parts]}


def ks(run) -> list[VideoMethod]:
    """Figure B.1, left: numbers of snippets that stand for a video."""
    return _sweep(run, "k", run.configs["study"].ks)


def margins(run) -> list[VideoMethod]:
    """Figure B.1, right: margins, at 2,048 features."""
    return _sweep(run, "margin", run.configs["study"].margins)


def _sweep(run, name: str, values: Sequence) -> list[VideoMethod]:
    """RTFM with other values of a setting, in order, its own among them."""
    own = main(run)
    every = sorted({*values, getattr(own.config, name)} if values else ())
    return videos.variants(own, name, {value: {name: value} for value in every})


def readings(run) -> list[VideoMethod]:
    """The readings beside each other."""
    return videos.readings(run, main(run), "rtfm")


def causal(run) -> list[VideoMethod]:
    """RTFM beside its causal form, which sees past snippets only."""
    values = (False, True) if run.configs["study"].causal else ()
    changes = {value: {"causal": value} for value in values}
    return videos.variants(main(run), "causal", changes)


def fewer_abnormal(run) -> list[VideoTask]:
    """Figure 8.5: training sets with fewer abnormal videos."""
    return [VideoTask(num_abnormal=n) for n in run.configs["study"].num_abnormal]
