"""Pixel metrics of anomaly maps from a streaming histogram in bounded memory.

Maps are counted as they come and forgotten. AUROC and PRO come out within 1e-6 of
their exact values, AP and FPR95 within 1e-4; each is returned with an error bound that
is proven from the histogram itself, so where the bins did not suffice, it says so.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.errors import InputError
from thesislib.metrics.pixel_bounds import Bounded, Intervals, PixelBounds
from thesislib.metrics.pixel_grid import (
    NUM_PAGES,
    PRO_LIMIT,
    Counts,
    PageGrid,
    best_bits,
    first_bits,
    to_keys,
    to_pages,
    to_scores,
)

STORED_BINS = 4096  # kept by `to_arrays`
LOOSE_LIMIT = 1 << 18  # intervals kept beside the grid
COST_GOAL = 0.5  # of the tolerances; a grid below it is left alone
REFIT_AFTER = 4  # times the pixels of the last fit
WORTH_WHILE = 0.7  # a new grid must promise this fraction of the cost or less


class PixelHistogram:
    """Counts of pixel scores inside and outside the ground truth.

    Pixels are kept exactly until there are `chunk_pixels` of them, so a small test set
    has no error at all. Then a grid of `num_bins` bins is laid where they are
    (`pixel_grid`). When later pixels ask for finer bins elsewhere, those are made; what
    was counted before in the coarser ones stays, as intervals, in the error bound.

    The result depends on the order of images but not on how they are cut into batches.
    Memory: about 150 bytes a bin and 100 bytes a pixel of a chunk at the peak.

    To send a histogram to another process, pickle it; `to_arrays` is for keeping.
    """

    def __init__(self, num_bins: int = 1 << 20, chunk_pixels: int = 1 << 20) -> None:
        if num_bins < 1 or chunk_pixels < 1:
            raise InputError(
                f"num_bins is {num_bins} and chunk_pixels {chunk_pixels}; both must "
                "be at least 1."
            )
        self.num_bins = num_bins
        self.chunk_pixels = chunk_pixels
        self.num_images = 0
        self.num_components = 0  # connected regions of the ground truth
        self._counts = Counts(PageGrid(np.zeros(NUM_PAGES, np.int8)))
        self._loose = _no_intervals()
        self._normal: list[NDArray[np.uint32]] = []  # keys not yet counted
        self._abnormal: list[NDArray[np.uint32]] = []
        self._overlap: list[NDArray[np.float64]] = []
        self._num_pending = 0  # pixels
        self._num_counted = 0
        self._num_fitted = 0  # of those counted when the grid was last fitted
        self._recorded: dict[str, Bounded] = {}
        self._bounds: PixelBounds | None = None

    def update(self, maps: ArrayLike, masks: ArrayLike) -> None:
        """Count the pixels of some images.

        Args:
            maps: Anomaly scores, (N, H, W), finite; read as float32.
            masks: True on the lesion, all False for normal images, (N, H, W).

        Raises:
            InputError: Shapes differ or a score is not finite.
        """
        maps, masks = check_maps(maps, masks)
        self._forget()
        self.num_images += len(maps)
        pixels = maps.shape[1] * maps.shape[2]
        start = 0
        while start < len(maps):
            room = self.chunk_pixels - self._num_pending
            stop = start + max(1, -(-room // pixels))  # images that fill the chunk
            self._hold(maps[start:stop], masks[start:stop])
            if self._num_pending >= self.chunk_pixels:
                self._count_pending()
            start = stop

    def merge(self, other: "PixelHistogram") -> None:
        """Count what `other` has counted, as if its images had been seen here."""
        self._forget()
        self.num_images += other.num_images
        self.num_components += other.num_components
        mine, theirs = self._counts, other._counts
        if other._num_counted:
            grid = PageGrid(_common_bits(mine, theirs))
            (mine, loose), (theirs, others) = mine.moved(grid), theirs.moved(grid)
            mine.add_counts(theirs)
            self._counts = mine
            self._loosen(loose, others)
        self._loosen(other._loose)
        self._normal += other._normal
        self._abnormal += other._abnormal
        self._overlap += other._overlap
        self._num_pending += other._num_pending
        self._num_counted += other._num_counted
        if self._num_pending >= self.chunk_pixels or not self._fits():
            self._count_pending()

    def auroc(self) -> Bounded:
        """Area under the ROC curve over all pixels, ties half."""
        return self._metric("auroc", lambda bounds: bounds.auroc())

    def ap(self) -> Bounded:
        """Step-wise average precision over all pixels."""
        return self._metric("ap", lambda bounds: bounds.ap())

    def fpr95(self) -> Bounded:
        """FPR at the highest threshold with a TPR of at least 0.95."""
        return self._metric("fpr95", lambda bounds: bounds.fpr_at_tpr(0.95))

    def pro(self, limit: float = PRO_LIMIT) -> Bounded:
        """Area under the per-region-overlap curve to FPR `limit`, divided by `limit`.

        The overlap is the fraction found of a connected region of the ground truth
        (8-connectivity), averaged over all regions of all images; the FPR is that of
        all pixels outside the ground truth (P. Bergmann et al., "The MVTec Anomaly
        Detection Dataset", IJCV 129, 2021). Linear between thresholds.
        """
        if not 0 < limit <= 1:
            raise InputError(f"limit is {limit}; it must be above 0 and at most 1.")
        return self._metric(
            f"pro@{limit:g}", lambda bounds: bounds.pro(limit, self.num_components)
        )

    def metrics(self) -> dict[str, Bounded]:
        """`auroc`, `ap`, `fpr95` and `pro` (to FPR 0.3)."""
        return {
            "auroc": self.auroc(),
            "ap": self.ap(),
            "fpr95": self.fpr95(),
            "pro": self.pro(),
        }

    def curve(self, num_points: int = STORED_BINS) -> dict[str, NDArray]:
        """Rates at descending thresholds, a pixel being abnormal at or above one.

        Args:
            num_points: At most so many thresholds, closest where the curves bend.

        Returns:
            `threshold` (float32), `fpr`, `tpr`, `pro`, `iou` and `dice`, each (K,);
            IoU and Dice are of all pixels pooled.
        """
        bins = _coarsened(self._intervals(), num_points)
        fp = np.cumsum(bins.normal[::-1]).astype(np.float64)
        tp = np.cumsum(bins.abnormal[::-1]).astype(np.float64)
        num_normal, num_abnormal = max(fp[-1], 1.0), max(tp[-1], 1.0)
        overlap = np.cumsum(bins.overlap[::-1])
        return {
            "threshold": to_scores(bins.low[::-1]),
            "fpr": fp / num_normal,
            "tpr": tp / num_abnormal,
            "pro": overlap / max(self.num_components, 1),
            "iou": tp / (fp + num_abnormal),
            "dice": 2 * tp / (tp + fp + num_abnormal),
        }

    def to_arrays(self, num_bins: int = STORED_BINS) -> dict[str, NDArray]:
        """What to keep of a finished histogram: some bins, and the metrics.

        Under 100 kB when compressed. The bins alone give every metric to about three
        digits; the metrics of the full histogram are kept beside them with their
        error, and `from_arrays` checks that the bins allow them.
        """
        bins = _coarsened(self._intervals(), num_bins)
        arrays = {
            "low": to_scores(bins.low),
            "high": to_scores(bins.high),
            "normal": bins.normal,
            "abnormal": bins.abnormal,
            "overlap": bins.overlap,
            "num_images": np.array(self.num_images),
            "num_components": np.array(self.num_components),
        }
        if bins.normal.any() and bins.abnormal.any():
            arrays |= {name: np.array(m) for name, m in self.metrics().items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> "PixelHistogram":
        """Read back what `to_arrays` made.

        The metrics are those of the full histogram. After `update` or `merge` they
        come from the bins kept, with the wider error that these allow.

        Raises:
            InputError: An array is missing, or the metrics cannot come from the bins.
        """
        histogram = cls()
        try:
            histogram._loose = Intervals(
                to_keys(np.asarray(arrays["low"], np.float32)),
                to_keys(np.asarray(arrays["high"], np.float32)),
                np.asarray(arrays["normal"], np.int64),
                np.asarray(arrays["abnormal"], np.int64),
                np.asarray(arrays["overlap"], np.float64),
            )
            histogram.num_images = int(arrays["num_images"])
            histogram.num_components = int(arrays["num_components"])
        except KeyError as error:
            raise InputError(f"the pixel histogram lacks the array {error}.") from None
        recorded = {}
        for name in ("auroc", "ap", "fpr95", "pro"):
            if name not in arrays:
                continue
            metric = Bounded(*(float(x) for x in arrays[name]))
            allowed = getattr(histogram, name)()
            if abs(metric.value - allowed.value) > allowed.error + metric.error + 1e-9:
                raise InputError(
                    f"the stored pixel {name} {metric.value:.6f} does not agree with "
                    f"the stored bins, which give {allowed.value:.6f} within "
                    f"{allowed.error:.1e}."
                )
            recorded[f"pro@{PRO_LIMIT:g}" if name == "pro" else name] = metric
        histogram._recorded = recorded
        return histogram

    def _metric(self, name, compute) -> Bounded:
        if name in self._recorded:
            return self._recorded[name]
        if self._bounds is None:
            self._bounds = PixelBounds(self._intervals())
        for kind, count in (
            ("inside", self._bounds.num_abnormal),
            ("outside", self._bounds.num_normal),
        ):
            if count == 0:
                raise InputError(
                    f"no pixel of the {self.num_images} images lies {kind} the "
                    "ground truth; pixel metrics need some of each."
                )
        return compute(self._bounds)

    def _forget(self) -> None:
        self._recorded, self._bounds = {}, None

    def _hold(self, maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> None:
        keys = to_keys(maps)
        lesion = masks.any(axis=(1, 2))
        self._normal.append(keys[~lesion].ravel())
        if lesion.any():
            keys, masks = keys[lesion], masks[lesion]
            weights, num_components = component_weights(masks)
            self.num_components += num_components
            self._normal.append(keys[~masks])
            self._abnormal.append(keys[masks])
            self._overlap.append(weights)
        self._num_pending += maps.size

    def _pending(self) -> tuple[NDArray, NDArray, NDArray]:
        """Keys of normal and of abnormal pixels, and weights; keys ascend."""
        normal = np.sort(np.concatenate([_NO_KEYS, *self._normal]))
        abnormal = np.concatenate([_NO_KEYS, *self._abnormal])
        order = np.argsort(abnormal, kind="stable")
        overlap = np.concatenate([np.zeros(0), *self._overlap])
        return normal, abnormal[order], overlap[order]

    def _count_pending(self) -> None:
        """Move held pixels into the grid, which is first made fine enough for them."""
        pending = self._pending()
        self._normal, self._abnormal, self._overlap = [], [], []
        self._num_counted += self._num_pending
        self._num_pending = 0
        pixels = _count_pages(pending[0][::4]) + _count_pages(pending[1][::4])
        pixels *= 4  # in each page, about: keys ascend
        bits = self._counts.grid.bits
        new = first_bits(pixels, self.num_bins, self._num_counted)
        if self._num_fitted == 0:
            self._regrid(new)
        if (
            self._num_counted >= REFIT_AFTER * self._num_fitted
            or (new > bits + 3).any()  # many pixels in coarse bins
            or not self._fits()
        ):
            self._fit(pending)
        self._counts.add(*pending)

    def _fit(self, pending: tuple[NDArray, NDArray, NDArray]) -> None:
        """Share out the bits of the grid anew if that makes the metrics more exact.

        A page that holds much already gets no finer: what it holds would stay coarse.
        """
        self._num_fitted = self._num_counted
        for _ in range(4):  # costs foretell the next grid only roughly
            trial = self._counts.copy()
            trial.add(*pending)
            costs, open_cost = trial.page_costs()
            if self._fits() and open_cost <= COST_GOAL:
                return
            bits = trial.grid.bits
            best = best_bits(bits, costs, self.num_bins)
            held = 4 * self._counts.page_pixels() > trial.page_pixels()
            best = np.where(held, np.minimum(best, bits), best)
            foreseen = costs @ np.exp2(bits.astype(float) - best)
            if self._fits() and foreseen > WORTH_WHILE * costs.sum():
                return
            self._regrid(best)

    def _fits(self) -> bool:
        return self._counts.grid.num_bins <= self.num_bins + NUM_PAGES

    def _regrid(self, bits: NDArray[np.int8]) -> None:
        self._counts, loose = self._counts.moved(PageGrid(bits))
        self._loosen(loose)

    def _loosen(self, *parts: Intervals) -> None:
        """Add intervals to those beside the grid; widen them when they are too many."""
        loose = Intervals.concatenate([self._loose, *parts])
        level = 0
        while len(loose.low) > LOOSE_LIMIT:
            level += 2
            inside = np.uint32((1 << level) - 1)
            loose = Intervals(
                loose.low & ~inside,
                loose.high | inside,
                loose.normal,
                loose.abnormal,
                loose.overlap,
            ).merge_equal()
        self._loose = loose

    def _intervals(self) -> Intervals:
        """All pixels counted, held and loose."""
        parts = [self._counts.intervals(), self._loose]
        if self._num_pending:
            normal, abnormal, overlap = self._pending()
            keys = np.concatenate([normal, abnormal])
            inside = np.arange(len(keys)) >= len(normal)
            held = Intervals(
                keys,
                keys,
                (~inside).astype(np.int64),
                inside.astype(np.int64),
                np.concatenate([np.zeros(len(normal)), overlap]),
            )
            parts.append(held.merge_equal())
        parts = [part for part in parts if len(part.low)]
        if len(parts) == 1:
            return parts[0]
        return Intervals.concatenate([_no_intervals(), *parts])


_NO_KEYS = np.zeros(0, np.uint32)


def check_maps(
    maps: ArrayLike, masks: ArrayLike
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return maps (N, H, W) in float32 and masks in bool, or say what is wrong."""
    maps, masks = np.asarray(maps, dtype=np.float32), np.asarray(masks)
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise InputError(
            f"maps have shape {maps.shape} and masks {masks.shape}; both must be "
            "(N, H, W)."
        )
    if masks.dtype != bool:
        raise InputError(f"masks have type {masks.dtype}; they must be bool.")
    if not np.isfinite(maps).all():
        raise InputError("maps hold NaN or infinite scores (as float32); none may.")
    return maps, masks


def label_components(masks: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Number the 8-connected regions of masks (N, H, W), 1 to K; 0 outside."""
    from scipy import ndimage  # heavy; only needed here

    within_image = np.zeros((3, 3, 3), bool)
    within_image[1] = True
    return ndimage.label(masks, structure=within_image)


def component_weights(masks: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """1 / |component| of each pixel inside masks (N, H, W), (A,); their number."""
    labels, count = label_components(masks)
    inside = labels[masks]
    sizes = np.bincount(inside, minlength=count + 1)
    return 1 / sizes[inside], count


def _no_intervals() -> Intervals:
    none = np.zeros(0, np.int64)
    return Intervals(_NO_KEYS, _NO_KEYS, none, none, np.zeros(0))


def _count_pages(keys: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Pixels in each page, (NUM_PAGES,)."""
    return np.bincount(to_pages(keys), minlength=NUM_PAGES)


def _common_bits(a: Counts, b: Counts) -> NDArray[np.int8]:
    """Bits for the sum of two histograms.

    The fewer of the two, as folding loses nothing to intervals; the more where the
    coarser side holds little of the page.
    """
    pixels = a.page_pixels(), b.page_pixels()
    bits_a, bits_b = a.grid.bits, b.grid.bits
    few, many = np.minimum(bits_a, bits_b), np.maximum(bits_a, bits_b)
    coarse = np.where(bits_a <= bits_b, pixels[0], pixels[1])
    fine = np.where(bits_a <= bits_b, pixels[1], pixels[0])
    return np.where(16 * coarse < fine, many, few)


def _coarsened(intervals: Intervals, num_bins: int) -> Intervals:
    """Join neighbouring intervals into at most `num_bins`, narrow where it matters."""
    middle = intervals.low // 2 + intervals.high // 2
    intervals = intervals.take(np.argsort(middle, kind="stable"))
    if len(intervals.low) <= num_bins:
        return intervals
    n = intervals.normal / max(intervals.normal.sum(), 1)
    p = intervals.abnormal / max(intervals.abnormal.sum(), 1)
    share = np.cumsum(n + p + 4 * np.sqrt(n * p))
    group = (share * (num_bins / share[-1] * (1 - 1e-9))).astype(np.int64)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    return Intervals(
        np.minimum.reduceat(intervals.low, first),
        np.maximum.reduceat(intervals.high, first),
        np.add.reduceat(intervals.normal, first),
        np.add.reduceat(intervals.abnormal, first),
        np.add.reduceat(intervals.overlap, first),
    )
