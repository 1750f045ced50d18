"""Estimates the rate at which a target just keeps its SLO, from all points of its operating curve.

The highest rate that met the SLO is proven, and for that reason below the capacity, by an amount
that depends on luck. A line through what all points say uses every request that missed a limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.measure.overload import TOLERANCE
from harness.schema.record import Metric

SLOPE, SLOPE_SPREAD = 18.0, 6.0
"""Before anything is measured: the share of misses grows about with the 18th power of the rate, as
in a queue at three quarters of its capacity whose limit is ten service times."""
NEAR, MOST_EXCESS = 2.0, 6.0
"""A point counts by how near (in ln of misses) it is to the limit: far off the line is no line."""
MOST_SPREAD = 4.0
"""The most that the bounds may lie apart, as a factor, for the estimate to say anything."""
STEPS = 30
Z = 1.96


@dataclass(frozen=True, slots=True)
class Tally:
    """How one limit did at a point: `missed` of `requests`, where a share of `allowed` may miss.

    `worth` is how many independent requests they are worth.
    """

    requests: int
    missed: int
    worth: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """The rate at which the SLO is just kept, within `low` and `high` (95 %), in requests/s."""

    rate: float
    low: float
    high: float


def estimate_capacity(points: Sequence[tuple[float, Sequence[Tally]]]) -> Capacity | None:
    """Return the capacity that two or more points tell; None where no request missed.

    `points` are rates, each with a tally for every limit. The limit that is reached first counts.
    """
    counts = {len(tallies) for _, tallies in points}
    if len(counts) != 1 or len(points) < 2:
        return None
    found = [
        capacity_for([(rate, tallies[limit]) for rate, tallies in points])
        for limit in range(counts.pop())
    ]
    return min((each for each in found if each), key=lambda each: each.rate, default=None)


def told(found: Capacity, most: float, requests: int, points: int) -> Metric:
    """Return `found` as a record tells it: never above `most`, and no figure if it says nothing.

    `most` is the highest rate that was offered and served (requests/s). Windows end before a queue
    that grows has missed all it would: the misses alone would promise more than can be served.
    """
    method = f"Poisson regression of the misses on the rate, {points} points"
    if found.high > most:
        rate = units.rate(most, "requests/s")
        method += f", at most {rate}, the highest rate that was offered and served"
    known = found.high <= MOST_SPREAD * found.low
    reason = (
        None if known else "too few requests missed a limit to tell at which rate it is reached"
    )
    return Metric(
        unit="requests/s",
        better="higher",
        value=min(found.rate, most) if known else None,
        # How well the highest rate is known, the misses do not tell.
        low=min(found.low, (1 - TOLERANCE) * most) if known else None,
        high=min(found.high, most) if known else None,
        n=requests,
        method=method,
        reason=reason,
    )


def capacity_for(points: Sequence[tuple[float, Tally]]) -> Capacity | None:
    """Return the rate at which just the allowed share of requests would miss the limit.

    The misses at a rate are Poisson with the mean independent requests x allowed share x
    exp(intercept + slope ln rate), points near the limit counting most, the slope with a normal
    prior; by Newton's method. A request is worth everywhere what it is at the point of the most
    correlated misses: single points with many misses in few clusters would count too little. The
    interval is the delta method's. None if no point had a miss. A point without a request that the
    limit is about (a time per output token, of answers of one token) tells nothing.
    """
    points = [(rate, tally) for rate, tally in points if tally.requests]
    missed = [tally for _, tally in points if tally.missed]
    if not missed:
        return None
    worth = min(1.0, min(tally.worth / tally.requests for tally in missed))
    centre = sum(math.log(rate) for rate, _ in points) / len(points)
    rows = []
    for rate, tally in points:
        independent = worth * tally.requests
        misses = tally.missed / tally.requests * independent
        rows.append((math.log(rate) - centre, independent * tally.allowed, misses))
    intercept, slope = 0.0, SLOPE
    for _ in range(STEPS):
        a = b = c = 0.0
        down, across = 0.0, -(slope - SLOPE) / SLOPE_SPREAD**2
        for x, expected, misses in rows:
            excess = min(intercept + slope * x, MOST_EXCESS)
            near = math.exp(-((excess / NEAR) ** 2) / 2)
            mean = expected * math.exp(excess)
            a, b, c = a + near * mean, b + near * mean * x, c + near * mean * x * x
            down += near * (misses - mean)
            across += near * (misses - mean) * x
        a, c = a + 1e-6, c + 1 / SLOPE_SPREAD**2
        whole = a * c - b * b
        first, second = (c * down - b * across) / whole, (a * across - b * down) / whole
        part = min(1.0, 1 / max(abs(first), abs(second), 1e-9))
        intercept, slope = intercept + part * first, max(1.0, slope + part * second)
    at = -intercept / slope
    spread = Z * math.sqrt((c - 2 * at * b + at * at * a) / (a * c - b * b)) / slope
    rate = math.exp(centre + at)
    return Capacity(rate, rate * math.exp(-spread), rate * math.exp(spread))
