"""Arrival times and the order in which inputs are used."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

MOST_ARRIVALS = 1_000_000


@dataclass(frozen=True, slots=True)
class Spikes:
    """A rate that is `factor` times the calm one for `spike_s` in the middle of every `every_s`.

    The calm rate is such that the mean over a whole period is that of the process.
    """

    factor: float
    spike_s: float
    every_s: float

    def __post_init__(self) -> None:
        if not (self.factor >= 1 and 0 < self.spike_s < self.every_s):
            raise ValueError(f"no profile of spikes: {self}")

    @property
    def calm(self) -> float:
        """The calm rate as a share of the mean rate."""
        return 1 / (1 + (self.factor - 1) * self.spike_s / self.every_s)

    def periods(self, duration_s: float) -> float:
        """Return the shortest time of whole periods that is at least `duration_s`."""
        return self.every_s * max(1, math.ceil(duration_s / self.every_s - 1e-9))

    def when(self, progress_s: Times) -> Times:
        """Return the times at which the mean rate times the elapsed time reaches `progress_s`.

        The inverse of the cumulative rate: it turns a stationary process into one with spikes.
        """
        before = (self.every_s - self.spike_s) / 2
        clock = np.array([0.0, before, before + self.spike_s, self.every_s])
        rates = np.array([self.calm, self.calm * self.factor, self.calm])
        reached = np.concatenate(([0.0], np.cumsum(np.diff(clock) * rates)))
        whole = np.floor(progress_s / self.every_s)
        rest = progress_s - whole * self.every_s
        times: Times = whole * self.every_s + np.interp(rest, reached, clock)
        return times


def poisson_arrivals(
    rate: float, duration_s: float, seed: int, *, most: int = MOST_ARRIVALS
) -> Times:
    """Return the arrival times in seconds of a Poisson process of `rate` per second.

    All times are within [0, `duration_s`), rising; at most `most` of them, and at least one.
    Raises ValueError unless rate and duration are positive.
    """
    _must_be_positive(rate, duration_s)
    rng = np.random.default_rng(seed)
    expected = rate * duration_s
    draw = max(1, min(most, int(expected + 6 * expected**0.5 + 10)))
    times = np.cumsum(rng.exponential(1 / rate, size=draw))
    within = times[times < duration_s]
    return within if within.size else np.zeros(1)


def burst_arrivals(
    rate: float,
    duration_s: float,
    seed: int,
    *,
    shape: float = 0.25,
    spikes: Spikes | None = None,
    most: int = MOST_ARRIVALS,
) -> Times:
    """Return the arrival times in seconds of a renewal process with gamma gaps of shape `shape`.

    The mean rate is `rate` per second. The variance of the gaps is 1 / `shape` times the squared
    mean; counts over long times are as much more variable than a Poisson process's. The process
    begins in its steady state (the first gap is a residual one), so that the expected count is
    `rate` times the time from the start. `spikes` bends the time axis. Times as of
    `poisson_arrivals`; ValueError also unless shape is positive.
    """
    _must_be_positive(rate, duration_s)
    if not shape > 0:
        raise ValueError(f"shape must be positive, not {shape}")
    rng = np.random.default_rng(seed)
    scale = 1 / (rate * shape)
    # The gap that an observer falls into is length-biased, and what is left of it uniform.
    times = np.array([rng.gamma(shape + 1, scale) * rng.random()])
    while times.size < most:
        progress = times if spikes is None else spikes.when(times[-1:])
        if progress[-1] >= duration_s:
            break
        expected = rate * duration_s
        draw = max(
            1, min(most - times.size, int(expected / 2 + 3 * (expected / shape) ** 0.5 + 10))
        )
        times = np.concatenate((times, times[-1] + np.cumsum(rng.gamma(shape, scale, size=draw))))
    if spikes is not None:
        times = spikes.when(times)
    within = times[times < duration_s]
    return within if within.size else np.zeros(1)


def trace_arrivals(times_s: Times, speed: float) -> Times:
    """Return the recorded `times_s` from the first on, `speed` times as fast."""
    if not speed > 0:
        raise ValueError(f"speed must be positive, not {speed}")
    scaled: Times = (times_s - times_s[0]) / speed
    return scaled


def input_order(inputs: int, count: int, seed: int) -> NDArray[np.int64]:
    """Return `count` indices into `inputs` inputs: whole random permutations, one after the other.

    Every input is used equally often (MLPerf's "equal issue"), so that runs of different length
    see the same mix.
    """
    rng = np.random.default_rng(seed)
    rounds = -(-count // inputs)
    return np.concatenate([rng.permutation(inputs) for _ in range(max(1, rounds))])[:count].astype(
        np.int64
    )


def _must_be_positive(rate: float, duration_s: float) -> None:
    if not (rate > 0 and duration_s > 0):
        raise ValueError(f"rate and duration must be positive, not {rate} and {duration_s}")
