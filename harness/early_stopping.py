"""How many requests prove a percentile, by MLPerf's early-stopping rule (99 % confidence).

A percentile is certified when as few slow requests as were seen would be a 1 % surprise if the true
share of slow ones were 1 - percentile / 100. The rule: MLPerf Inference Rules, appendix "Early
Stopping Criterion" (tolerance 0). Requests are taken as independent, which a queue's are not:
`harness.statistics.percentile` is the second opinion that makes no such assumption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from harness.distributions import incomplete_beta

CONFIDENCE = 0.99


def odds(hits: int, misses: int, percentile: float) -> float:
    """Return the chance of at most `misses` slow requests among hits + misses.

    Slow has the probability 1 - percentile / 100: just too often. Formula: I_p(hits, misses + 1).
    """
    p = percentile / 100
    if not 0 < p < 1:
        raise ValueError(f"a percentile lies between 0 and 100, not {percentile}")
    return incomplete_beta(hits, misses + 1, p) if hits else 1.0


def minimum_queries(percentile: float, misses: int = 1) -> int:
    """Return the least number of requests that certifies `percentile` with `misses` slow ones.

    With the default of one miss it is the least number for which `latency_estimate` has a value.
    """
    if misses < 0:
        raise ValueError(f"misses cannot be negative: {misses}")
    return misses + _least(lambda hits: odds(hits, misses, percentile) < 1 - CONFIDENCE)


def allowed_misses(n: int, percentile: float) -> int | None:
    """Return how many of `n` requests may be slow; None where not even 0 proves the percentile."""
    if n < 1 or odds(n, 0, percentile) >= 1 - CONFIDENCE:
        return None
    return _least(lambda more: odds(max(n - more, 0), more, percentile) >= 1 - CONFIDENCE) - 1


def passes(n: int, misses: int, percentile: float) -> bool:
    """Return whether `misses` slow ones among `n` requests prove that `percentile` is fast."""
    if not 0 <= misses <= n:
        raise ValueError(f"misses must be within 0 and n = {n}, not {misses}")
    return odds(n - misses, misses, percentile) < 1 - CONFIDENCE


def latency_estimate(ordered: Sequence[float] | NDArray[Any], percentile: float) -> float | None:
    """Return a 99 % upper bound on the percentile of latencies in rising order, or None.

    As LoadGen reports it for single-stream and multi-stream: with t the allowed misses, the t-th
    largest latency. None below `minimum_queries(percentile)` requests. The unit is kept.
    """
    n = len(ordered)
    misses = allowed_misses(n, percentile)
    return float(ordered[n - misses]) if misses else None


def _least(holds: Callable[[int], bool]) -> int:
    """Return the least integer from 1 for which `holds`, which stays true once it is."""
    high = 1
    while not holds(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
