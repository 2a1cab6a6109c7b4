"""A fitted detector: the models of a method, one a scale, and what they say together.

Every detector of the thesis is one model, or one of whole images and one of patches.
Here they answer alike: a score an image, maps by scale, and the terms of the score.

Axes in all shapes: B images, M images in all, H = W pixels.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from thesislib.errors import InputError

BOTH = "both"  # the name of a global and a local scale together
Batches = Callable[[], Iterable[Tensor]]  # gives images, (B, C, H, W), afresh each time


class Scores(NamedTuple):
    """What a model without further terms says of M images.

    Attributes:
        score: (M,); larger is more abnormal.
        maps: (M, H, W), None if it has none.
    """

    score: Tensor
    maps: Tensor | None


class Scored(NamedTuple):
    """What a detector says of M images.

    Attributes:
        scores: (M,), larger is more abnormal.
        maps: Scale -> anomaly maps, (M, H, W), the detector's own last; empty if it has
            none or none were asked for.
        terms: "<term> <scale>" -> parts of the score, (M,).
    """

    scores: Tensor
    maps: dict[str, Tensor]
    terms: dict[str, Tensor]


class Detector(nn.Module):
    """Models of a method and how they score.

    Args:
        models: Scale -> model, the global one first.
        configs: Scale -> settings.
        score: Called with (model, batches, config, maps=bool); gives a named tuple with
            `score` (M,), perhaps `maps`, and terms of the score.
        combine: Two such tuples as one, where there are two scales.
        maps: Whether the models draw maps: not at all, when asked, or always, because
            maps cost nothing beside the scores.
    """

    def __init__(
        self,
        models: Mapping[str, Any],
        configs: Mapping[str, Any],
        score: Callable,
        combine: Callable | None = None,
        *,
        maps: Literal["none", "asked", "free"] = "none",
    ) -> None:
        super().__init__()
        self.by_scale, self.configs = dict(models), dict(configs)
        self.models = nn.ModuleDict(
            {scale: m for scale, m in models.items() if isinstance(m, nn.Module)}
        )
        self.score_one, self.combine, self.maps = score, combine, maps

    @torch.no_grad()
    def score(self, batches: Batches, *, maps: bool = True) -> Scored:
        """Score images; see `Scored`."""
        found = {
            scale: self.score_one(model, batches(), self.configs[scale], maps=maps)
            for scale, model in self.by_scale.items()
        }
        if self.combine and len(found) == 2:
            found[BOTH] = self.combine(*found.values())
        drawn = {s: one.maps for s, one in found.items() if _has_maps(one)}
        terms = {
            f"{term} {scale}": getattr(one, term)
            for scale, one in found.items()
            if scale != BOTH
            for term in one._fields
            if term not in ("score", "maps") and getattr(one, term) is not None
        }
        return Scored(list(found.values())[-1].score, drawn, terms)

    def tensors(self) -> dict[str, Tensor]:
        """All that scoring needs beside the settings, name -> tensor.

        Raises:
            InputError: If a model is not made of tensors.
        """
        if len(self.models) < len(self.by_scale):
            raise InputError("its model is no network and is not kept with the run.")
        state = self.state_dict().items()  # scales may share an encoder
        return {name: tensor.cpu().clone() for name, tensor in state}

    def restore(self, tensors: Mapping[str, Tensor]) -> "Detector":
        """Put what `tensors` gave back into a detector of the same settings."""
        rest = dict(tensors)
        for name, buffer in list(self.named_modules()):
            for key, value in buffer._buffers.items():
                place = f"{name}.{key}" if name else key
                if value is None and place in rest:  # measured, not learnt: of any size
                    setattr(buffer, key, rest[place])
        self.load_state_dict(rest)
        return self.eval()


def _has_maps(found: Any) -> bool:
    return getattr(found, "maps", None) is not None
