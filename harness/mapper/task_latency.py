"""How long a task of several independent calls takes: the distribution of their sum or slowest.

Formulas and sources: docs/demand.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.schema.demand import Agent
from harness.schema.record import Point
from harness.statistics import Z975

FloatArray = npt.NDArray[np.float64]

STEPS_OF_A_TASK = 8192
"""Steps of the grid that the mean of a task is divided into."""

MOST_STEPS = 1 << 19
"""Steps of the whole grid; a longer tail makes them coarser."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Latencies of single calls as (s, share) in rising order; the rest of the shares failed.

    Of `count` calls, which `n_eff` independent ones are worth. A call takes at most `margin` times
    the seconds that stand for it.
    """

    seconds: FloatArray
    shares: FloatArray
    n_eff: float
    count: int
    margin: float = 1.0

    @property
    def mean_s(self) -> float:
        """The mean of the calls that were answered, in s."""
        return float((self.seconds * self.shares).sum() / self.shares.sum())

    def of_rank(self, rank: int) -> float:
        """Return the latency of the call of `rank` (from 1) in s; infinite: it failed."""
        counted = np.cumsum(self.shares) * self.count
        place = int(np.searchsorted(counted, min(rank, self.count) - 0.5))
        return float(self.seconds[place]) if place < len(counted) else math.inf


@dataclass(frozen=True, slots=True)
class Tasks:
    """P(a task takes at most `seconds`) in rising order, with half of its 95 % interval.

    The shares end below 1 where calls failed: such a task is never done. `mean_s` is of the others.
    """

    seconds: FloatArray
    below: FloatArray
    half: FloatArray
    mean_s: float

    def quantile(self, share: float) -> float:
        """Return the least time that more than `share` of the tasks keep; infinite: none."""
        place = int(np.searchsorted(self.below, share, side="right"))
        return float(self.seconds[place]) if place < len(self.seconds) else math.inf

    def upper(self, share: float) -> float:
        """Return the upper bound of the quantile: that of `share` + half the interval at `share`.

        The half is that where the share is, not where the bound is: it shrinks towards the end of
        the sample, where a bound would then come too early.
        """
        place = int(np.searchsorted(self.below, share, side="right"))
        at = min(place, len(self.seconds) - 1)
        return self.quantile(share + max(float(self.half[at]), float(self.half[max(at - 1, 0)])))


def calls_of(point: Point) -> Calls | None:
    """Return the calls of `point`; None if none was answered.

    A bucket of the histogram counts with its geometric middle. The effective sample size is the
    least that a percentile of the latency has, and at most the number of calls.
    """
    growth = point.latency.growth
    counted = sorted(point.latency.counts)
    answered = sum(count for _, count in counted)
    if not answered:
        return None
    total = answered + point.failed
    sizes = [
        metric.n_eff
        for name, metric in point.metrics.items()
        if name.startswith("latency_s.p") and metric.n_eff is not None
    ]
    return Calls(
        seconds=np.array([growth ** (bucket + 0.5) for bucket, _ in counted]),
        shares=np.array([count / total for _, count in counted]),
        n_eff=min([float(total), *sizes]),
        count=total,
        margin=math.sqrt(growth),
    )


def tasks_of(calls: Calls, agent: Agent) -> Tasks:
    """Return how long the tasks of `agent` take that are made of `calls`."""
    if agent.order == "sequential":
        return sequential(calls, agent.calls_per_task)
    return parallel(calls, agent.calls_per_task)


def sequential(calls: Calls, count: int) -> Tasks:
    """Return the distribution of the sum of `count` independent calls.

    The calls are put on a grid, each share split between its two neighbours so that the mean stays,
    and convolved with themselves by a Fourier transform. The interval is 1.96 times the standard
    error of a von Mises statistic of n_eff calls, K sd(F_(K-1)(x - Y)) / sqrt(n_eff), Y one call
    (Hoeffding 1948).
    """
    mean = calls.mean_s
    step = count * max(mean / STEPS_OF_A_TASK, float(calls.seconds[-1]) / MOST_STEPS)
    places = calls.seconds / step
    left = np.floor(places).astype(np.int64)
    size = 1 << (count * (int(left[-1]) + 1)).bit_length()
    one = np.zeros(size)
    np.add.at(one, left, calls.shares * (1 - (places - left)))
    np.add.at(one, left + 1, calls.shares * (places - left))
    spectrum = np.fft.rfft(one)
    below = _cumulated(np.fft.irfft(spectrum**count, size))
    others = _cumulated(np.fft.irfft(spectrum ** (count - 1), size))
    # E[F_(K-1)(x - Y)^2]; a failed call leaves no chance, so it adds nothing.
    twice = np.fft.rfft(one, 2 * size) * np.fft.rfft(others**2, 2 * size)
    variance = np.clip(np.fft.irfft(twice, 2 * size)[:size] - below**2, 0.0, None)
    half = Z975 * count * np.sqrt(variance / calls.n_eff)
    return Tasks(
        seconds=np.arange(size, dtype=np.float64) * step,
        below=below,
        half=half,
        mean_s=count * mean,
    )


def parallel(calls: Calls, count: int) -> Tasks:
    """Return the distribution of the slowest of `count` independent calls: F(x)^K.

    The interval is that of the share of the calls (Wilson 1927), to the power of K; a percentile's
    bound comes from the order of the calls instead, as that of a single call does.
    """
    share = np.minimum(np.cumsum(calls.shares), 1.0)
    below = share**count
    spread = Z975**2 / calls.n_eff
    upper = share + spread / 2 + np.sqrt(spread * share * (1 - share) + spread**2 / 4)
    steps = np.diff(below, prepend=0.0)
    return Tasks(
        seconds=calls.seconds,
        below=below,
        half=np.minimum(upper / (1 + spread), 1.0) ** count - below,
        mean_s=float((calls.seconds * steps).sum() / below[-1]),
    )


def per_call(percentile: float, count: int) -> float:
    """Return the percentile of a call at which `count` of them together keep `percentile`."""
    return 100 * math.pow(percentile / 100, 1 / count)


def _cumulated(mass: FloatArray) -> FloatArray:
    """Return the running sum of `mass`, whose rounding errors may be below 0."""
    below: FloatArray = np.minimum(np.maximum.accumulate(np.cumsum(mass)), 1.0)
    return below
