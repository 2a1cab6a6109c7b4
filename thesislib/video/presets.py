"""Settings of the methods of chapters 8 and 9 that both chapters share.

Numbers of steps are fixed in advance: RTFM learns its bags by heart if it goes on.
"""

from dataclasses import replace
from typing import Any

from thesislib.video import ctmil, deep_mil, rtfm

FEW_VIDEOS = ("ucsdped1", "ucsdped2")  # ten for training, with features of our own


def in_reading(method, config, reading: str, preset: str):
    """A method's settings in one of its readings.

    Args:
        method: Its module.
        config: Settings of the preset.
        reading: One that `method.read` knows.
        preset: But for `paper`, the number of steps stays the preset's.
    """
    found = method.read(config, reading)
    return found if preset == "paper" else replace(found, num_steps=config.num_steps)


def settings(preset: str, dataset: str) -> dict[str, Any]:
    """Settings of each method, name -> config.

    Args:
        preset: `paper` is the thesis's and the programs' own, meant for a GPU; `quick`
            and `standard` are ours, for two cores.
        dataset: Key of the dataset.
    """
    if preset == "paper":
        found = {
            "rtfm": rtfm.PAPER,
            "deep_mil": deep_mil.PAPER,
            "ctmil": ctmil.PAPER,
        }
        if dataset == "xdviolence":  # Section 8.4.2
            found["rtfm"] = replace(rtfm.PAPER, lr=1e-4)
        return found
    found = {"rtfm": rtfm.SMALL, "deep_mil": deep_mil.SMALL, "ctmil": ctmil.SMALL}
    if dataset in FEW_VIDEOS:
        for name, config in found.items():
            found[name] = replace(config, batch_size=8, num_steps=240)
        found["rtfm"] = replace(found["rtfm"], lr=3e-4, dropout=0.3)
    return found
