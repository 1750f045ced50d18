"""Intervals of rates and means over requests that depend on their neighbours.

Where a statistic is a ratio of sums over requests (tokens per second, goodput, joules per token)
and requests queue behind one another, neither the binomial nor Student's t over requests holds.
The circular block bootstrap (Politis and Romano 1992) draws whole blocks of neighbours instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 2000
LEAST_SAMPLES = 16
MOST_BLOCKS = 1000
# Fewer blocks than this vary too little among themselves to tell how the sample varies.
LEAST_BLOCKS = 8
EXACT_MOST = 50_000
"""Values of which each resample is searched through as it is."""
CELLS_PER_BLOCK = 2
GRID = 129

Column = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value between the bounds of its 95 % interval, from blocks of `block` requests.

    The bounds are None, with a reason, where the sample supports none.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    block: int
    reason: str | None = None


def ratio_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    block: int | None = None,
) -> Interval:
    """Return sum(numerators) / sum(denominators) with its interval; one pair per request, in order.

    For a rate the denominators are the seconds that the requests took up (the times between ends);
    for goodput the numerators are 1 for a request within its limits and else 0. Without `block` the
    block length is that of `block_length` for the ratio's influence values. Bounds are the
    quantiles of the resampled ratios, spread for the part of the variance that blocks of b
    requests miss, sqrt(1 / (1 - g / (b S))) in the terms of `block_length`. Equal arguments give
    equal results. Raises ValueError for unlike lengths, denominators that are negative or all zero,
    and values that are not finite.
    """
    above = np.atleast_1d(np.asarray(numerators, dtype=np.float64))
    below = np.atleast_1d(np.asarray(denominators, dtype=np.float64))
    n = above.size
    if above.ndim != 1 or above.shape != below.shape:
        raise ValueError(f"one denominator per numerator: {above.shape} and {below.shape} differ")
    if not (np.isfinite(above).all() and np.isfinite(below).all()):
        raise ValueError("numerators and denominators must be finite")
    if n == 0 or below.min() < 0 or below.sum() <= 0:
        raise ValueError("denominators must not be negative, and their sum must be positive")
    value = float(above.sum() / below.sum())
    if n < LEAST_SAMPLES:
        reason = f"not supported by n: {n} requests, {LEAST_SAMPLES} needed"
        return Interval(value, None, None, n, 1, reason)
    automatic, reach = _dependence(above - value * below)
    length = automatic if block is None else block
    if not 1 <= length <= n:
        raise ValueError(f"a block has between 1 and n = {n} requests, not {length}")
    if n < LEAST_BLOCKS * length:
        reason = f"not supported by n: {n / length:.1f} independent blocks, {LEAST_BLOCKS} needed"
        return Interval(value, None, None, n, length, reason)
    if block is None:
        # A thousand blocks are plenty: in a large sample longer ones cost nothing but save time.
        length = max(length, math.ceil(n / MOST_BLOCKS))
    tops, bottoms = _resampled(above, below, length, resamples, np.random.default_rng(seed))
    if bottoms.min() <= 0:
        reason = "not supported by n: the denominators of whole resamples are zero"
        return Interval(value, None, None, n, length, reason)
    tail = (1 - confidence) / 2
    low, high = np.quantile(tops / bottoms, (tail, 1 - tail))
    blocks = n / length
    missing = min(max(reach / length, 0.0), 0.5)
    spread = math.sqrt(blocks / (blocks - 1) / (1 - missing))
    return Interval(
        value,
        float(value - max(value - low, 0.0) * spread),
        float(value + max(high - value, 0.0) * spread),
        n,
        length,
    )


@dataclass(frozen=True)
class Resampled:
    """A figure of one run and what it is in each resample of the run's requests.

    `drawn` is None, with a reason, where the sample supports no resampling.
    """

    value: float
    drawn: Column | None
    n: int
    block: int
    reason: str | None = None


def resampled_rate(
    numerators: Column, denominators: Column, resamples: int, seed: int
) -> Resampled:
    """Return sum(numerators) / sum(denominators), one pair per request in order, resampled."""
    n = numerators.size
    total = float(denominators.sum()) if n else 0.0
    if total <= 0:
        return Resampled(math.nan, None, n, 1, "not supported by n: no time between the answers")
    value = float(numerators.sum()) / total
    block = block_length(numerators - value * denominators) if n >= LEAST_SAMPLES else 1
    if (reason := _too_few(n, block)) is not None:
        return Resampled(value, None, n, block, reason)
    block = max(block, math.ceil(n / MOST_BLOCKS))
    rng = np.random.default_rng(seed)
    tops, bottoms = _resampled(numerators, denominators, block, resamples, rng)
    if bottoms.min() <= 0:
        reason = "not supported by n: the denominators of whole resamples are zero"
        return Resampled(value, None, n, block, reason)
    return Resampled(value, tops / bottoms, n, block)


def resampled_percentile(values: Column, percent: float, resamples: int, seed: int) -> Resampled:
    """Return the percentile of `values`, in the order they were taken, resampled.

    The order statistic is that of `statistics.percentile`; the block length is that of the
    indicator "above the percentile". Of more than `EXACT_MOST` values blocks begin on a lattice and
    their values are counted on a grid, so that a resample costs the same for any n.
    """
    n = values.size
    if n == 0:
        return Resampled(math.nan, None, 0, 1, "no sample")
    at = min(int(n * percent / 100), n - 1)
    value = float(np.partition(values, at)[at])
    block = block_length((values > value).astype(np.float64)) if n >= LEAST_SAMPLES else 1
    if (reason := _too_few(n, block)) is not None:
        return Resampled(value, None, n, block, reason)
    # Only values near the percentile can be it; of the others it counts how many lie below.
    reach = 6 * math.sqrt(percent / 100 * (1 - percent / 100) * block / n)
    ordered = np.sort(values)
    least = ordered[max(math.floor(at - reach * n), 0)]
    most = ordered[min(math.ceil(at + reach * n), n - 1)]
    block = max(block, math.ceil(n / MOST_BLOCKS))
    wrapped = np.concatenate((values, values[:block]))
    is_near = (wrapped >= least) & (wrapped <= most)
    near = wrapped[is_near]
    near_before = np.concatenate(([0], np.cumsum(is_near)))
    below_before = np.concatenate(([0], np.cumsum(wrapped < least)))
    lengths = np.full(math.ceil(n / block), block)
    lengths[-1] = n - block * (lengths.size - 1)
    rng = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    if n > EXACT_MOST:
        grid = _grid(ordered, at, reach)
        return Resampled(value, _on_lattice(values, grid, at, block, resamples, rng), n, block)
    for i in range(resamples):
        starts = rng.integers(n, size=lengths.size)
        ends = starts + lengths
        first, counts = near_before[starts], near_before[ends] - near_before[starts]
        skipped = np.repeat(first - np.cumsum(counts) + counts, counts)
        again = near[np.arange(skipped.size) + skipped]
        rank = at - int((below_before[ends] - below_before[starts]).sum())
        rank = min(max(rank, 0), again.size - 1)
        again.partition(rank)
        drawn[i] = again[rank]
    return Resampled(value, drawn, n, block)


def _grid(ordered: Column, at: int, reach: float) -> Column:
    """Return values of the sample around its order statistic `at`, up to `reach` (share) away."""
    n = ordered.size
    low, high = max(math.floor(at - reach * n), 0), min(math.ceil(at + reach * n), n - 1)
    return np.unique(ordered[np.linspace(low, high, GRID).astype(np.int64)])


def _on_lattice(
    values: Column, grid: Column, at: int, block: int, resamples: int, rng: np.random.Generator
) -> Column:
    """Return the order statistic `at` of each resample, as found between the values of `grid`.

    A block is whole cells of the lattice; the cells form a circle, as in the circular bootstrap.
    """
    n = values.size
    stride = max(block // CELLS_PER_BLOCK, 1)
    cells = math.ceil(n / stride)
    per_block = min(math.ceil(block / stride), cells)
    places = np.arange(n) // stride * (grid.size + 1) + np.searchsorted(grid, values)
    counts = np.bincount(places, minlength=cells * (grid.size + 1)).astype(np.float64)
    at_most = counts.reshape(cells, grid.size + 1).cumsum(axis=1)
    wrapped = np.concatenate((np.zeros((1, grid.size + 1)), at_most, at_most[: per_block - 1]))
    running = wrapped.cumsum(axis=0)
    blocks = running[per_block:] - running[:-per_block]
    draws = max(round(cells / per_block), 1)
    times = np.empty((resamples, cells))
    for row in times:
        row[:] = np.bincount(rng.integers(cells, size=draws), minlength=cells)
    # Blocks with the short last cell make a resample that is not of n: the rank follows.
    return np.array(
        [np.interp((at + 1) / n * total[-1], total[:-1], grid) for total in times @ blocks]
    )


def ratio_of_runs(new: Sequence[Resampled], base: Sequence[Resampled]) -> Interval:
    """Return the ratio of the geometric means of two sides' runs, with its interval.

    The sides are independent: the bounds are the quantiles of the ratios of the i-th resamples.
    They hold the noise of requests within these runs and nothing of how other runs would differ.
    All figures must be positive, and all runs resampled as often.
    """
    sides = [*new, *base]
    n, block = sum(run.n for run in sides), max(run.block for run in sides)
    means = [math.fsum(math.log(run.value) for run in side) / len(side) for side in (new, base)]
    value = math.exp(means[0] - means[1])
    reason = next((run.reason for run in sides if run.drawn is None), None)
    if reason is not None:
        return Interval(value, None, None, n, block, reason)
    logs = [
        np.mean([np.log(run.drawn) for run in side if run.drawn is not None], axis=0)
        for side in (new, base)
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.exp(logs[0] - logs[1]), (tail, 1 - tail))
    return Interval(value, min(float(low), value), max(float(high), value), n, block)


def _too_few(n: int, block: int) -> str | None:
    if n < LEAST_SAMPLES:
        return f"not supported by n: {n} requests, {LEAST_SAMPLES} needed"
    if n < LEAST_BLOCKS * block:
        return f"not supported by n: {n / block:.1f} independent blocks, {LEAST_BLOCKS} needed"
    return None


def mean_interval(
    values: ArrayLike,
    *,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    block: int | None = None,
) -> Interval:
    """Return the mean of `values` (say, one ratio per request) with its interval."""
    ones = np.ones(np.shape(values))
    return ratio_interval(
        values, ones, seed=seed, confidence=confidence, resamples=resamples, block=block
    )


def block_length(values: ArrayLike) -> int:
    """Return the automatic block length of Politis and White (2004, corrected 2009).

    b = (2 g^2 / d)^(1/3) n^(1/3) with g = sum |k| w(k) R(k), S = sum w(k) R(k), d = 4/3 S^2, where
    R are the autocovariances and w the flat-top window over twice the lag from which the
    autocorrelations are negligible. At most min(3 sqrt(n), n / 3); 1 for a constant series.
    """
    return _dependence(np.asarray(values, dtype=np.float64))[0]


def _dependence(values: Column) -> tuple[int, float]:
    """Return the automatic block length and g / S, how far (in requests) the dependence reaches."""
    n = values.size
    centred = values - values.mean()
    scale = float(np.abs(centred).max(initial=0.0))
    if n < 4 or scale == 0.0 or scale <= 1e-12 * float(np.abs(values).max()):
        return 1, 0.0
    centred /= scale
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum), size)[:n] / n
    run = max(5, math.ceil(math.sqrt(math.log10(n))))
    longest = min(math.ceil(math.sqrt(n)) + run, n - 1)
    negligible = 2 * math.sqrt(math.log10(n) / n)
    small = np.abs(covariance[1 : longest + 1] / covariance[0]) < negligible
    # The first lag after which `run` autocorrelations in a row are negligible.
    streak = np.convolve(small, np.ones(run), mode="valid") if small.size >= run else np.zeros(0)
    starts = np.nonzero(streak == run)[0]
    last = int(starts[0]) if starts.size else longest
    reach = 2 * max(last, 1)
    lags = np.arange(-min(reach, n - 1), min(reach, n - 1) + 1)
    window = np.clip(2 * (1 - np.abs(lags) / reach), 0.0, 1.0)
    weighted = window * covariance[np.abs(lags)]
    g = float((np.abs(lags) * weighted).sum())
    s = max(float(weighted.sum()), float(covariance[0]) * 1e-3)
    best = (2 * g * g / (4 / 3 * s * s)) ** (1 / 3) * n ** (1 / 3)
    return max(1, round(min(best, 3 * math.sqrt(n), n / 3))), g / s


def _resampled(
    above: Column, below: Column, length: int, resamples: int, rng: np.random.Generator
) -> tuple[Column, Column]:
    """Return both sums of each resample: n requests in blocks, the last one cut to fit."""
    n = above.size
    blocks = math.ceil(n / length)
    lengths = np.full(blocks, length)
    lengths[-1] = n - length * (blocks - 1)
    sums = [
        np.concatenate(([0.0], np.cumsum(np.concatenate((column, column[:length])))))
        for column in (above, below)
    ]
    drawn = np.empty((2, resamples))
    for i in range(resamples):
        starts = rng.integers(n, size=blocks)
        for row, total in zip(drawn, sums, strict=True):
            row[i] = (total[starts + lengths] - total[starts]).sum()
    return drawn[0], drawn[1]
