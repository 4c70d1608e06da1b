"""How well pictures go with their texts: the distribution of the cosines of a collection, and who falls out of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.index.snapshot import BLOCK, Snapshot

DEVIATIONS = 3.5
"""A pair is misaligned when its cosine is so many robust deviations below the median (Iglewicz and Hoaglin, How to
Detect and Handle Outliers, 1993, section 3.3: modified z-scores beyond 3.5)."""
MAD_TO_STD = 1.4826
"""1 / Phi^-1(3/4): makes the median absolute deviation of a normal distribution its standard deviation."""
MIN_PAIRS = 20
"""Of fewer pairs nothing can be said about what is usual among them."""
_BINS = 32
_MIN_WIDTH = 0.01
"""Of the histogram, in cosine."""


@dataclass(frozen=True)
class Histogram:
    """Equal bins over the range of the values; the last one holds its upper edge too."""

    edges: tuple[float, ...]
    """n + 1, ascending."""
    counts: tuple[int, ...]
    """n."""


@dataclass(frozen=True)
class Distribution:
    """Cosines described; the numbers of an empty set are None."""

    count: int
    mean: float | None
    std: float | None
    median: float | None
    histogram: Histogram | None
    flagged_below: float | None
    """median - `DEVIATIONS` * `MAD_TO_STD` * MAD, MAD being the median of |cosine - median|; None when there are fewer
    than `MIN_PAIRS` or they have no spread."""
    flagged: int


def align(image: Snapshot, text: Snapshot) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Items that have both vectors (primary keys, ascending), and the cosine of the two in -1 to 1."""
    items, image_rows, text_rows = np.intersect1d(image.items, text.items, assume_unique=True, return_indices=True)
    cosines = np.empty(len(items), dtype=np.float32)
    for start in range(0, len(items), BLOCK):
        part = slice(start, start + BLOCK)
        cosines[part] = np.vecdot(image.directions(image_rows[part]), text.directions(text_rows[part]))
    return items, np.clip(cosines, -1, 1)


def describe(cosines: NDArray[np.float32]) -> Distribution:
    """Mean, population standard deviation, median and histogram of cosines [n], and the bound of misalignment."""
    values = cosines.astype(np.float64)
    if not len(values):
        return Distribution(0, None, None, None, None, None, 0)
    bound = misaligned_below(values)
    flagged = 0 if bound is None else int((values < bound).sum())
    mean, std, median = float(values.mean()), float(values.std()), float(np.median(values))
    return Distribution(len(values), mean, std, median, _histogram(values), bound, flagged)


def misaligned_below(values: NDArray[np.float64]) -> float | None:
    """The bound; see `Distribution.flagged_below`."""
    if len(values) < MIN_PAIRS:
        return None
    median = np.median(values)
    deviation = np.median(np.abs(values - median))
    return float(median - DEVIATIONS * MAD_TO_STD * deviation) if deviation > 0 else None


def _histogram(values: NDArray[np.float64]) -> Histogram:
    low, high = values.min(), values.max()
    margin = max(_MIN_WIDTH - (high - low), 0) / 2
    counts, edges = np.histogram(values, _BINS, (low - margin, high + margin))
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))
