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
        # bin = (key >> shift) + base, modulo 2^32
        first = np.arange(NUM_PAGES, dtype=np.int64) << 16
        self._base = (self.offset[:-1] - (first >> self._shift)).astype(np.uint32)

    def bins(self, keys: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Bin of each of ascending keys, (B,)."""
        pages = np.arange(keys[0] >> 16, (keys[-1] >> 16) + 1, dtype=np.uint32)
        starts = np.searchsorted(keys, pages << np.uint32(16))
        lengths = np.diff(starts, append=len(keys))
        bins = keys >> np.repeat(self._shift[pages], lengths)
        bins += np.repeat(self._base[pages], lengths)
        return bins

    def sum_pages(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum values of bins (num_bins,) within pages, (NUM_PAGES,)."""
        return np.add.reduceat(values, self.offset[:-1])


class Counts:
    """Pixels in the bins of a grid, all (num_bins,).

    `low` and `high` are the smallest and largest key met in a bin: where they are
    equal, as in maps of few distinct scores, the bin holds exact ties.
    """

    def __init__(self, grid: PageGrid) -> None:
        self.grid = grid
        self.normal = np.zeros(grid.num_bins, np.int64)
        self.abnormal = np.zeros(grid.num_bins, np.int64)
        self.overlap = np.zeros(grid.num_bins)
        self.low = np.full(grid.num_bins, 0xFFFFFFFF, np.uint32)
        self.high = np.zeros(grid.num_bins, np.uint32)

    def copy(self) -> "Counts":
        twin = Counts(self.grid)
        twin.add_counts(self)
        return twin

    def add_counts(self, other: "Counts") -> None:
        """Add what another has counted on the same grid."""
        self.normal += other.normal
        self.abnormal += other.abnormal
        self.overlap += other.overlap
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)

    def add(
        self,
        normal: NDArray[np.uint32],
        abnormal: NDArray[np.uint32],
        overlap: NDArray[np.float64],
    ) -> None:
        """Count ascending keys of normal (N,) and abnormal pixels (A,) with weights."""
        if len(normal):
            bins, first = self._meet(normal, normal)
            self.normal[bins] += _lengths(first, len(normal))
        if len(abnormal):
            bins, first = self._meet(abnormal, abnormal)
            self.abnormal[bins] += _lengths(first, len(abnormal))
            self.overlap[bins] += np.add.reduceat(overlap, first)

    def add_intervals(self, parts: Intervals) -> None:
        """Count ascending intervals, none of which crosses the edge of a bin."""
        if len(parts.low):
            bins, first = self._meet(parts.low, parts.high)
            self.normal[bins] += np.add.reduceat(parts.normal, first)
            self.abnormal[bins] += np.add.reduceat(parts.abnormal, first)
            self.overlap[bins] += np.add.reduceat(parts.overlap, first)

    def _meet(
        self, low: NDArray[np.uint32], high: NDArray[np.uint32]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Widen bins to ascending keys; the bins met, and where each begins."""
        bins = self.grid.bins(low)
        begins = np.empty(len(bins), bool)
        begins[0] = True
        np.not_equal(bins[1:], bins[:-1], out=begins[1:])
        first = np.flatnonzero(begins)
        lowest, bins = low[first], bins[first].astype(np.intp)
        highest = np.append(high[first[1:] - 1], high[-1:])
        self.low[bins] = np.minimum(self.low[bins], lowest)
        self.high[bins] = np.maximum(self.high[bins], highest)
        return bins, first

    def intervals(self) -> Intervals:
        """What is counted, in ascending order of keys."""
        filled = np.flatnonzero(self.normal + self.abnormal)
        return Intervals(
            self.low[filled],
            self.high[filled],
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
        moved.add_intervals(counted.take(~finer))
        return moved, counted.take(finer)

    def page_pixels(self) -> NDArray[np.float64]:
        """Pixels in each page, (NUM_PAGES,)."""
        return self.grid.sum_pages((self.normal + self.abnormal).astype(np.float64))

    def page_costs(self) -> tuple[NDArray[np.float64], float]:
        r"""Share of each page in the error bounds, in units of the tolerances.

        Bins that hold a single score add nothing to the bounds but would if they were
        wider: they count in the shares, by which bits are divided, and not in the sum.

        A bin with fractions $n$ of the normal and $p$ of the abnormal pixels leaves
        $np/2$ of the AUROC open, likewise PRO with $p$ replaced by its overlap over
        the limit, and of AP half the change of precision inside the bin times $p$.
        Pixels yet to come may fall where so far only the other class was, so $p$ and
        the overlap are each raised by $(n + p) / 2$.

        Returns:
            Shares (NUM_PAGES,) and the sum over bins that hold several scores.
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
        open_bins = self.low < self.high
        return self.grid.sum_pages(costs), float(costs @ open_bins)


def _lengths(first: NDArray[np.intp], stop: int) -> NDArray[np.intp]:
    """Lengths of stretches that begin at `first`, the last one ending at `stop`."""
    lengths = np.empty_like(first)
    np.subtract(first[1:], first[:-1], out=lengths[:-1])
    lengths[-1] = stop - first[-1]
    return lengths


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
