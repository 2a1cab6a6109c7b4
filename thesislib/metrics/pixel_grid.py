r"""A grid over float32 scores that is fine where the pixels are.

Scores become sortable integers (`to_keys`), so no range has to be known. The upper 16
bits of a key name its page (1/128 of an octave of scores), and each page is cut into
$2^b$ bins, b from 0 to 16; at 16 every float32 value has a bin of its own. The bits
are shared out so that the pixel metrics come out as exactly as the number of bins
allows: for costs $C_i / x_i$ under $\sum x_i \le B$ the best is
$x_i \propto \sqrt{C_i}$.
"""

import numpy as np
from numpy.typing import NDArray

from thesislib.metrics.pixel_bounds import Intervals

NUM_PAGES = 1 << 16
AREA_TOLERANCE = 1e-6  # of AUROC and PRO
AP_TOLERANCE = 1e-4
PRO_LIMIT = 0.3  # FPR to which PRO is integrated (Bergmann et al. 2021)
FPR_REACH = 0.35  # to which bins count for PRO: the limit, and some to spare
BLOCK = 1 << 15  # bins looked at together


def to_keys(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Integers in the order of the scores; -0.0 and 0.0 are one value."""
    pattern = (scores + np.float32(0)).view(np.int32)
    flip = (pattern >> 31).view(np.uint32) | np.uint32(1 << 31)
    return pattern.view(np.uint32) ^ flip


def to_scores(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Inverse of `to_keys`."""
    negative = keys < np.uint32(1 << 31)
    flip = np.where(negative, np.uint32(0xFFFFFFFF), np.uint32(1 << 31))
    return (keys ^ flip).view(np.float32)


def to_pages(keys: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Page of each key, 0 to NUM_PAGES - 1."""
    return (keys >> np.uint32(16)).astype(np.intp)


class PageGrid:
    """A partition of keys into bins: `bits` of each page, fixed for its life."""

    def __init__(self, bits: NDArray[np.int8]) -> None:
        self.bits = bits  # (NUM_PAGES,)
        self.offset = np.concatenate([[0], np.cumsum(np.int64(1) << bits)])
        self.num_bins = int(self.offset[-1])
        self._shift = (16 - bits).astype(np.uint32)

    def bins(self, keys: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Bin of each key."""
        page = to_pages(keys)
        inside = (keys & np.uint32(0xFFFF)) >> self._shift[page]
        return self.offset[page] + inside

    def ends(
        self, bins: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Smallest and largest key of ascending bins."""
        page = np.searchsorted(self.offset, bins, side="right") - 1
        shift = self._shift[page]
        inside = (bins - self.offset[page]).astype(np.uint32) << shift
        low = (page.astype(np.uint32) << np.uint32(16)) | inside
        return low, low + ((np.uint32(1) << shift) - np.uint32(1))

    def sum_pages(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum values of bins (num_bins,) within pages, (NUM_PAGES,)."""
        return np.add.reduceat(values, self.offset[:-1])


class Counts:
    """Pixels in the bins of a grid: `normal`, `abnormal`, `overlap`, (num_bins,)."""

    def __init__(self, grid: PageGrid) -> None:
        self.grid = grid
        self.normal = np.zeros(grid.num_bins, np.int64)
        self.abnormal = np.zeros(grid.num_bins, np.int64)
        self.overlap = np.zeros(grid.num_bins)

    def copy(self) -> "Counts":
        twin = Counts(self.grid)
        twin.normal += self.normal
        twin.abnormal += self.abnormal
        twin.overlap += self.overlap
        return twin

    def add(
        self,
        normal: NDArray[np.uint32],
        abnormal: NDArray[np.uint32],
        overlap: NDArray[np.float64],
    ) -> None:
        """Count keys of normal pixels (N,), and keys and weights of abnormal (A,)."""
        size = self.grid.num_bins
        self.normal += np.bincount(self.grid.bins(normal), minlength=size)
        if len(abnormal):
            bins = self.grid.bins(abnormal)
            self.abnormal += np.bincount(bins, minlength=size)
            self.overlap += np.bincount(bins, overlap, minlength=size)

    def intervals(self) -> Intervals:
        """What is counted, in ascending order of keys."""
        filled = np.flatnonzero(self.normal + self.abnormal)
        low, high = self.grid.ends(filled)
        return Intervals(
            low,
            high,
            self.normal[filled],
            self.abnormal[filled],
            self.overlap[filled],
        )

    def moved(self, grid: PageGrid) -> "tuple[Counts, Intervals]":
        """The counts on another grid.

        Pages with fewer bits are folded. What was counted in a page that now has more
        bits cannot be told apart and is handed back as intervals.
        """
        counted, moved = self.intervals(), Counts(grid)
        page = to_pages(counted.low)
        finer = grid.bits[page] > self.grid.bits[page]
        kept = counted.take(~finer)
        bins, size = grid.bins(kept.low), grid.num_bins
        moved.normal += np.bincount(bins, kept.normal, size).astype(np.int64)
        moved.abnormal += np.bincount(bins, kept.abnormal, size).astype(np.int64)
        moved.overlap += np.bincount(bins, kept.overlap, size)
        return moved, counted.take(finer)

    def page_pixels(self) -> NDArray[np.float64]:
        """Pixels in each page, (NUM_PAGES,)."""
        return self.grid.sum_pages((self.normal + self.abnormal).astype(np.float64))

    def page_costs(self) -> NDArray[np.float64]:
        r"""Share of each page in the error bounds, in units of the tolerances.

        A bin with fractions $n$ of the normal and $p$ of the abnormal pixels leaves
        $np/2$ of the AUROC open, likewise PRO with $p$ replaced by its overlap over
        the limit, and of AP half the change of precision inside the bin times $p$.
        Pixels yet to come may fall where so far only the other class was, so $p$ and
        the overlap are each raised by $(n + p) / 2$.
        """
        num_normal = max(int(self.normal.sum()), 1)
        num_abnormal = max(int(self.abnormal.sum()), 1)
        num_components = max(float(self.overlap.sum()), 1e-300)
        costs = np.empty(self.grid.num_bins)
        fp = tp = 0.0  # above the block
        for stop in range(self.grid.num_bins, 0, -BLOCK):
            block = slice(max(stop - BLOCK, 0), stop)
            normal, abnormal = self.normal[block], self.abnormal[block]
            n, p = normal / num_normal, abnormal / num_abnormal
            fps = fp + np.cumsum(normal[::-1])[::-1]  # at or above a bin
            tps = tp + np.cumsum(abnormal[::-1])[::-1]
            yet_to_come = (n + p) / 2
            overlap = self.overlap[block] / num_components + yet_to_come
            overlap *= (fps - normal <= FPR_REACH * num_normal) / PRO_LIMIT
            change = (normal * tps + abnormal * fps / 2) / np.maximum(tps + fps, 1) ** 2
            area = n * (p + yet_to_come + overlap)
            costs[block] = area / (2 * AREA_TOLERANCE) + p * change / (2 * AP_TOLERANCE)
            fp, tp = float(fps[0]), float(tps[0])
        return self.grid.sum_pages(costs)


def first_bits(
    pixels: NDArray[np.int64], num_bins: int, num_pixels: int
) -> NDArray[np.int8]:
    """Bits of pages in proportion to their share of all pixels, (NUM_PAGES,)."""
    bits = np.floor(np.log2(np.maximum(num_bins * (pixels / num_pixels), 1)))
    return np.minimum(bits, 16).astype(np.int8)


def best_bits(
    bits: NDArray[np.int8], costs: NDArray[np.float64], num_bins: int
) -> NDArray[np.int8]:
    """Bits that minimise the sum of costs, which halve with every bit of a page.

    Args:
        bits: At which the costs were measured, (NUM_PAGES,).
        costs: (NUM_PAGES,).
        num_bins: Not to be exceeded by more than the one bin that every page has.
    """
    # cost x 2^bits is the cost in one bin; x proportional to its root
    ideal = (np.log2(np.maximum(costs, 1e-300)) + bits) / 2
    low, high = -600.0, 600.0
    for _ in range(60):
        shift = (low + high) / 2
        shared = np.clip(np.floor(ideal + shift + 0.5), 0, 16)
        fits = np.exp2(shared).sum() <= num_bins + NUM_PAGES
        low, high = (shift, high) if fits else (low, shift)
    return np.clip(np.floor(ideal + low + 0.5), 0, 16).astype(np.int8)
