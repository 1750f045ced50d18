"""Intervals of rates and means over requests that depend on their neighbours.

Where a statistic is a ratio of sums over requests (tokens per second, goodput, joules per token)
and requests queue behind one another, neither the binomial nor Student's t over requests holds.
The circular block bootstrap (Politis and Romano 1992) draws whole blocks of neighbours instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 2000
LEAST_SAMPLES = 16
MOST_BLOCKS = 1000
# Fewer blocks than this vary too little among themselves to tell how the sample varies.
LEAST_BLOCKS = 8

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
