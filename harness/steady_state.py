"""From where on a series of latencies is steady, and how far it drifts after that.

Caches fill, clocks rise, chips heat: the first requests of a run are often not like the rest, and
a figure over both is a figure of neither.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.statistics import effective_sample_size

BATCH = 5
LEAST_SAMPLES = 50
# Standard errors between warm-up and rest before the warm-up is believed. The worst of all cuts is
# judged, hence more than the usual 2: about 1 in 100 steady runs is cut (of strongly correlated
# ones a few), at the price of faint warm-ups that stay.
CRITICAL = 4.0
# What few independent values wander by chance cannot be told from a change.
LEAST_WORTH = 15
LEAST_DRIFT_SAMPLES = 60
THIRD_BLOCKS = 4
T975_OF_6 = 2.447  # Student's t, 97.5 %, of the 2 * (THIRD_BLOCKS - 1) degrees of freedom
TREND_BLOCKS = 30

Column = NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """How much the last third of a series lies above the first, as a share of the first.

    `change` lies within `low` and `high` (95 %); `trend` is the Theil-Sen slope over the whole
    series, from its start to its end, as a share of its median. All are None, with a reason, where
    the sample is too small.
    """

    change: float | None
    low: float | None
    high: float | None
    trend: float | None
    reason: str | None = None

    @property
    def proven(self) -> bool:
        """Whether the interval excludes a series that stays where it is."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def warm_up_end(values: ArrayLike) -> int:
    """Return how many of the first values are warm-up: 0 if none, their number if it never ends.

    The cut is that of MSER-5 (White 1997; Franklin and White 2008): means of five neighbours, cut
    where the standard error of what is left is least. It is taken only if warm-up and rest differ
    by `CRITICAL` standard errors, those of the rest with its autocorrelation. Both steps work on
    normal scores (van der Waerden) of the ranks, so that one stall is no warm-up and the unit does
    not matter. A least standard error past the middle means that the series never settles. One or
    two slow requests at the start of a long series look like its tail, and stay; a slow creep is
    for `drift` to find. 0 also where there are fewer than `LEAST_SAMPLES` values, or where the rest
    is worth less than `LEAST_WORTH` independent ones. Raises ValueError for values that are not
    finite.
    """
    series = _finite(values)
    n = series.size
    if n < LEAST_SAMPLES:
        return 0
    scores = _normal_scores(series)
    batches = scores[: n // BATCH * BATCH].reshape(-1, BATCH).mean(axis=1)
    m = batches.size
    # Sums over what each cut leaves.
    left = np.arange(m, 0, -1)
    total = np.cumsum(batches[::-1])[::-1]
    squares = np.cumsum((batches**2)[::-1])[::-1]
    error = (squares - total**2 / left) / left.astype(np.float64) ** 2
    # A few batches that chance made alike at the very end are no steady state.
    cut = int(np.argmin(error[: m - m // 10]))
    if cut == 0:
        return 0
    settles = cut <= m // 2
    # Of a series that never settles the halves are compared.
    at = (cut if settles else m // 2) * BATCH
    warm, rest = scores[:at], scores[at:]
    level = _detrended(rest)
    worth = effective_sample_size(level)
    if worth < LEAST_WORTH:
        return 0
    standard_error = float(level.std()) * math.sqrt(n / (worth * at))
    if abs(_trimmed_mean(warm) - _trimmed_mean(rest)) <= CRITICAL * standard_error:
        return 0
    return at if settles else n


def drift(values: ArrayLike) -> Drift:
    """Return how far the level of the last third lies above that of the first.

    The level of a third is the mean logarithm of the medians of its `THIRD_BLOCKS` blocks; the
    interval is Student's t over these, so that correlation within a block is in it. Needs
    `LEAST_DRIFT_SAMPLES` values. Raises ValueError unless every value is finite and positive.
    """
    series = _finite(values)
    n = series.size
    if n and series.min() <= 0:
        raise ValueError("a drift is a ratio: every value must be positive")
    if n < LEAST_DRIFT_SAMPLES:
        reason = f"not supported by n: {n} samples, {LEAST_DRIFT_SAMPLES} needed"
        return Drift(None, None, None, None, reason)
    first = np.log(_block_medians(series[: n // 3], THIRD_BLOCKS))
    last = np.log(_block_medians(series[n - n // 3 :], THIRD_BLOCKS))
    change = float(last.mean() - first.mean())
    half = T975_OF_6 * math.sqrt(float(first.var(ddof=1) + last.var(ddof=1)) / THIRD_BLOCKS)
    return Drift(
        math.expm1(change), math.expm1(change - half), math.expm1(change + half), _trend(series)
    )


def _finite(values: ArrayLike) -> Column:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or not np.isfinite(series).all():
        raise ValueError("a series is one-dimensional and finite")
    return series


def _normal_scores(series: Column) -> Column:
    """Return the normal quantile of each value's rank; equal values share their mean rank."""
    _, inverse, counts = np.unique(series, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - (counts - 1) / 2) / (series.size + 1)
    quantile = NormalDist().inv_cdf
    scores: Column = np.array([quantile(p) for p in middle.tolist()])[inverse]
    return scores


def _block_medians(series: Column, blocks: int) -> Column:
    return np.array([float(np.median(part)) for part in np.array_split(series, blocks)])


def _trend(series: Column) -> float:
    """Return the Theil-Sen slope times the length, as a share of the median.

    Over block medians: their pairs are few, those of the values are n^2.
    """
    pairs = itertools.combinations(enumerate(_block_medians(series, TREND_BLOCKS)), 2)
    slope = float(np.median([(b - a) / (j - i) for (i, a), (j, b) in pairs]))
    return slope * TREND_BLOCKS / float(np.median(series))


def _detrended(series: Column) -> Column:
    """Return `series` about its least-squares line: a slope would pass for correlation."""
    offset = np.arange(series.size) - (series.size - 1) / 2
    slope = float(np.dot(offset, series) / np.dot(offset, offset))
    residual: Column = series - series.mean() - slope * offset
    # Of equal scores rounding is left, which would pass for correlation too.
    return np.where(np.abs(residual) < 1e-9, 0.0, residual)


def _trimmed_mean(series: Column, share: float = 0.1) -> float:
    """Return the mean without the least and the largest `share`, where a stall would be."""
    cut = int(series.size * share)
    return float(np.sort(series)[cut : series.size - cut].mean())
