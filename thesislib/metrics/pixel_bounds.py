r"""Pixel metrics with proven error bounds from scores known up to an interval.

A histogram bin says of its pixels only that their scores lie between `low` and `high`.
Each metric here has a largest and a smallest value that any scores inside the
intervals can give; their middle is reported, half their distance is the error.

An interval is closed and given by sortable integers (`pixel_grid.to_keys`); one of
width zero is a known score, and ties at a known score are exact ties.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Bounded(NamedTuple):
    """A metric and the largest error it can have: |value - exact| <= error."""

    value: float
    error: float


@dataclass(frozen=True)
class Intervals:
    """Pixels grouped by interval, in any order; intervals may overlap.

    Axes: B intervals.
    """

    low: NDArray[np.uint32]  # (B,), smallest key a pixel may have
    high: NDArray[np.uint32]  # (B,), largest
    normal: NDArray[np.int64]  # (B,), pixels outside the ground truth
    abnormal: NDArray[np.int64]  # (B,), pixels inside
    overlap: NDArray[np.float64]  # (B,), sum of 1 / |component| over pixels inside

    def take(self, index: NDArray) -> "Intervals":
        return Intervals(
            self.low[index],
            self.high[index],
            self.normal[index],
            self.abnormal[index],
            self.overlap[index],
        )

    @staticmethod
    def concatenate(parts: "list[Intervals]") -> "Intervals":
        return Intervals(
            np.concatenate([p.low for p in parts]),
            np.concatenate([p.high for p in parts]),
            np.concatenate([p.normal for p in parts]),
            np.concatenate([p.abnormal for p in parts]),
            np.concatenate([p.overlap for p in parts]),
        )

    def merge_equal(self) -> "Intervals":
        """Sum the pixels of equal intervals; the result ascends by (low, high)."""
        name = (self.low.astype(np.uint64) << np.uint64(32)) | self.high
        unique, inverse = np.unique(name, return_inverse=True)
        size = len(unique)
        return Intervals(
            (unique >> np.uint64(32)).astype(np.uint32),
            (unique & np.uint64(0xFFFFFFFF)).astype(np.uint32),
            # exact: counts stay below 2^53
            np.bincount(inverse, self.normal, size).astype(np.int64),
            np.bincount(inverse, self.abnormal, size).astype(np.int64),
            np.bincount(inverse, self.overlap, size),
        )


class _Above:
    """Counts of what lies above a key, from keys (B,) and counts (B,)."""

    def __init__(self, keys: NDArray[np.uint32], counts: NDArray) -> None:
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")  # linear on sorted stretches
            keys, counts = keys[order], counts[order]
        self.keys = keys
        self.above = np.zeros(len(keys) + 1)
        np.cumsum(counts[::-1], dtype=np.float64, out=self.above[-2::-1])

    def strictly(self, keys: NDArray[np.uint32]) -> NDArray[np.float64]:
        return self.above[np.searchsorted(self.keys, keys, side="right")]

    def or_at(self, keys: NDArray[np.uint32]) -> NDArray[np.float64]:
        return self.above[np.searchsorted(self.keys, keys, side="left")]


class PixelBounds:
    """Bounds of all metrics; sorts the intervals once.

    Axes: A intervals that hold abnormal pixels.
    """

    def __init__(self, intervals: Intervals) -> None:
        self.abnormal = intervals.take(intervals.abnormal > 0)
        self.num_normal = float(intervals.normal.sum())
        self.num_abnormal = float(self.abnormal.abnormal.sum())
        # an interval without normal pixels adds nothing and needs no removal
        self.normal_low = _Above(intervals.low, intervals.normal)
        self.normal_high = _Above(intervals.high, intervals.normal)

    def auroc(self) -> Bounded:
        """Area under the ROC curve of all pixels."""
        share = self.abnormal.abnormal / self.num_abnormal
        return _between(*(self._area(share, 1.0, best) for best in (False, True)))

    def pro(self, limit: float, num_components: int) -> Bounded:
        """Area under the PRO curve from FPR 0 to `limit`, divided by `limit`."""
        share = self.abnormal.overlap / num_components
        low, high = (self._area(share, limit, best) for best in (False, True))
        return _between(low / limit, high / limit)

    def _area(self, share: NDArray[np.float64], limit: float, best: bool) -> float:
        r"""Area under a ROC curve to FPR `limit`, by its abnormal pixels.

        The curve rises by `share` at the FPR $f$ where an abnormal pixel is passed and
        keeps it to the limit, $\int = \sum_i s_i\,(L - f_i)_+$. Among tied normal
        pixels it rises linearly from $f$ to $g$, where $(L - x)_+$ is averaged over
        $x \in [f, g]$.

        Args:
            share: What the pixels of an interval raise the curve by, (A,).
            limit: L.
            best: Abnormal pixels at the upper and normal ones at the lower end of
                their intervals, or the reverse.
        """
        normal = self.normal_low if best else self.normal_high
        keys = self.abnormal.high if best else self.abnormal.low
        f = normal.strictly(keys) / self.num_normal
        g = normal.or_at(keys) / self.num_normal
        rest_f, rest_g = np.maximum(limit - f, 0), np.maximum(limit - g, 0)
        ramp = (rest_f**2 - rest_g**2) / np.where(g > f, 2 * (g - f), 1)
        return float(share @ np.where(g > f, ramp, rest_f))

    def ap(self) -> Bounded:
        r"""Step-wise average precision, $\sum_k (R_k - R_{k-1}) P_k$.

        The precision at an abnormal pixel's score rises with the abnormal and falls
        with the normal pixels at or above it. At best all of its interval's fellows
        are tied with it; at worst they follow one by one, the j-th seeing j of them,
        $\sum_{j=1}^{p} \frac{T+j}{T+j+F} \ge p - F \log\frac{T+F+p+1/2}{T+F+1/2}$
        (each $1/x$ lies below its mean over $x \pm 1/2$).
        """
        pixels = self.abnormal
        p = pixels.abnormal.astype(np.float64)
        tp_high, tp_low = _Above(pixels.high, p), _Above(pixels.low, p)

        tp, fp = tp_high.or_at(pixels.low), self.normal_low.or_at(pixels.high)
        highest = p * tp / (tp + fp)

        fp = self.normal_high.or_at(pixels.low)
        tied = tp_low.or_at(pixels.low)  # includes the pixels themselves
        after = tp_low.strictly(pixels.high)  # does not
        one_by_one = p - fp * np.log1p(p / (after + fp + 0.5))
        known = pixels.low == pixels.high
        lowest = np.where(known, p * tied / (tied + fp), one_by_one)
        return _between(
            float(lowest.sum()) / self.num_abnormal,
            float(highest.sum()) / self.num_abnormal,
        )

    def fpr_at_tpr(self, tpr: float) -> Bounded:
        """FPR at the highest threshold whose TPR is at least `tpr`."""
        num_needed = np.ceil(tpr * self.num_abnormal)
        if (num_needed - 1) / self.num_abnormal >= tpr:  # tpr * P was rounded up
            num_needed -= 1
        ends = []
        for keys in (self.abnormal.low, self.abnormal.high):
            above = _Above(keys, self.abnormal.abnormal)
            last = np.flatnonzero(above.above[:-1] >= num_needed)[-1]
            ends.append(above.keys[last])
        most = self.normal_high.or_at(ends[0]) / self.num_normal
        least = self.normal_low.or_at(ends[1]) / self.num_normal
        return _between(float(least), float(most))


def _between(low: float, high: float) -> Bounded:
    return Bounded((low + high) / 2, max((high - low) / 2, 0.0))
