"""Arrival times and the order in which inputs are used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def poisson_arrivals(
    rate: float, duration_s: float, seed: int, *, most: int = 1_000_000
) -> NDArray[np.float64]:
    """Return the arrival times in seconds of a Poisson process of `rate` per second.

    All times are within [0, `duration_s`), rising; at most `most` of them, and at least one.
    Raises ValueError unless rate and duration are positive.
    """
    if not (rate > 0 and duration_s > 0):
        raise ValueError(f"rate and duration must be positive, not {rate} and {duration_s}")
    rng = np.random.default_rng(seed)
    expected = rate * duration_s
    draw = max(1, min(most, int(expected + 6 * expected**0.5 + 10)))
    times = np.cumsum(rng.exponential(1 / rate, size=draw))
    within = times[times < duration_s]
    return within if within.size else np.zeros(1)


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
