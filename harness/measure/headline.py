"""Which operating point stands for a cell, and an operating point in words."""

from __future__ import annotations

from collections.abc import Sequence

from harness import units
from harness.schema.record import Point


def find_headline(points: Sequence[Point]) -> int | None:
    """Return the point that stands for the cell, of `points` by rising load.

    A single point without a load stands for itself. Otherwise: the highest load that met the SLO
    below every load that missed it; without one, the highest unproven below those; without that,
    none. Points at which the client was the limit neither stand for a cell nor miss anything.
    """
    if len(points) == 1 and points[0].load is None:
        return 0
    broken = (i for i, p in enumerate(points) if p.slo_state == "missed" and not p.client_bound)
    missed = next(broken, len(points))
    for state in ("met", "unproven"):
        indices = [
            i
            for i, point in enumerate(points[:missed])
            if point.slo_state == state and not point.client_bound
        ]
        if indices:
            return indices[-1]
    return None


def kept(point: Point) -> bool:
    """Return whether every percentile of the SLO is itself within its limit, proven or not."""
    return all(c.value_s is not None and c.value_s <= c.limit.limit_s for c in point.slo)


def cell_in_words(points: Sequence[Point], headline: int | None) -> str:
    """Return the point that stands for a cell in words, and of how many loads it is."""
    if headline is None:
        return "no load was within the SLO"
    text = in_words(points[headline])
    if points[headline].load is not None:
        text += f" at load {points[headline].load:.2g} of {len(points)} measured"
    return text


def in_words(point: Point) -> str:
    """Return what was found at `point`, for who watches."""
    rate = point.metrics["throughput_requests_per_s"].value
    text = units.rate(rate, "requests/s", "no throughput")
    median = point.metrics.get("latency_s.p50")
    if median is not None and median.value is not None:
        text += f", median {units.seconds(median.value)}"
    if point.slo_state != "not_applicable":
        text += f", SLO {point.slo_state}"
    if point.ending is not None and point.ending.supports:
        text += f" (time box over: {point.ending.supports})"
    if point.client_bound:
        text += " (the client was the limit)"
    return text
