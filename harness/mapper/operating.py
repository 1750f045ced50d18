"""What a target does at the SLO: repeats of one measurement as one operating point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from harness.schema.base import Evidence, Interval
from harness.schema.record import EnergyReading, Metric, Point, Record, SloCheck

EVIDENCE_ORDER: tuple[Evidence, ...] = ("measured", "imported", "projected", "claimed")
"""Classes of evidence, best first."""


@dataclass(frozen=True, slots=True)
class Operating:
    """One or more repeats as one: medians, the widest interval, the worst state.

    `record` is the repeat whose throughput is nearest to the median. `series` holds for each repeat
    the points of the loads up to the operating one, which is the last, and `warm` what was metered
    with the session open and no traffic.
    """

    record: Record
    load: float | None
    throughput: Interval
    slo: tuple[SloCheck, ...]
    slo_state: str
    verdict: str
    reasons: tuple[str, ...]
    evidence: Evidence
    points: tuple[Point, ...]
    series: tuple[tuple[Point, ...], ...]
    warm: tuple[tuple[EnergyReading, ...], ...] = ()


def operating_point(records: Sequence[Record], metric: str) -> Operating | None:
    """Return the point at which `records` (repeats) keep the SLO, its throughput from `metric`.

    None if one of them keeps it at no load or has no such throughput: a promise that one of the
    repeats breaks is not kept.
    """
    points: list[Point] = []
    rates: list[float] = []
    for record in records:
        point = point_within_slo(record)
        rate = None if point is None else throughput_of(point, metric)
        if point is None or rate is None:
            return None
        points.append(point)
        rates.append(rate)
    if not points:
        return None
    middle = median(rates)
    nearest = min(range(len(records)), key=lambda i: (abs(rates[i] - middle), records[i].id))
    found = [
        _throughput(record, point, point.metrics[metric])
        for record, point in zip(records, points, strict=True)
    ]
    return Operating(
        record=records[nearest],
        load=points[nearest].load,
        throughput=Interval(
            value=median(each.value for each in found),
            low=_lowest([each.low for each in found]),
            high=_highest([each.high for each in found]),
        ),
        slo=_combined([point.slo for point in points]),
        slo_state=_worst([point.slo_state for point in points], ("unproven", "met")),
        verdict=_worst([r.verdict.state for r in records], ("invalid", "noisy", "valid")),
        reasons=tuple(dict.fromkeys(x.text for r in records for x in r.verdict.reasons)),
        evidence=worst_evidence(records),
        points=tuple(points),
        series=tuple(_up_to(r, p) for r, p in zip(records, points, strict=True)),
        warm=tuple(() if r.energy is None else r.energy.warm for r in records),
    )


def _up_to(record: Record, point: Point) -> tuple[Point, ...]:
    """Return the points of `record` at lower loads than `point`, then `point`."""
    lower = [
        p
        for p in record.points
        if p.load is not None
        and point.load is not None
        and p.load < point.load
        and not p.client_bound
    ]
    return (*sorted(lower, key=lambda p: p.load or 0.0), point)


def point_within_slo(record: Record) -> Point | None:
    """Return the record's headline point if it keeps the SLO (met or unproven), else None."""
    point = record.headline_point
    return point if point is not None and point.slo_state in ("met", "unproven") else None


def _throughput(record: Record, point: Point, metric: Metric) -> Interval:
    """Return the throughput at the SLO: at the capacity where the search found it, else at `point`.

    The headline is proven, and for that reason below the capacity, by luck more or less; all points
    of the search together say how far. Without a capacity the bound above is that of the next load,
    which broke the SLO: the metric's own interval knows only how well the headline was measured.
    None where no load broke it: then the target may be good for any rate above.
    """
    assert metric.value is not None
    rate, capacity = point.requested_rate, record.capacity
    if point.load is None or not rate:
        return Interval(value=metric.value, low=metric.low, high=metric.high)
    each = metric.value / rate
    if capacity is not None and capacity.value is not None:
        low, high = capacity.low, capacity.high
        return Interval(
            value=each * capacity.value,
            low=None if low is None else each * low,
            high=None if high is None else each * high,
        )
    above = [
        p.requested_rate
        for p in record.points
        if p.load is not None and p.load > point.load and p.requested_rate and not p.client_bound
    ]
    high = max(metric.high, each * min(above)) if above and metric.high is not None else None
    return Interval(value=metric.value, low=metric.low, high=high)


def throughput_of(point: Point, metric: str) -> float | None:
    """Return a throughput of `point` that can be planned with: present and above 0."""
    found = point.metrics.get(metric)
    return found.value if found is not None and found.value else None


def worst_evidence(records: Sequence[Record]) -> Evidence:
    """Return the weakest class of evidence among `records`."""
    return max((r.evidence for r in records), key=EVIDENCE_ORDER.index)


def share_of_limit(checks: Sequence[SloCheck]) -> float:
    """Return the largest value / limit of `checks`; infinite where one has no finite value."""
    return max(
        (math.inf if c.value_s is None else c.value_s / c.limit.limit_s for c in checks),
        default=math.inf,
    )


def tightest(checks: Sequence[SloCheck]) -> SloCheck:
    """Return the check of `checks` (at least one) that uses the largest share of its limit."""
    return max(checks, key=lambda check: share_of_limit((check,)))


def _combined(checks: Sequence[tuple[SloCheck, ...]]) -> tuple[SloCheck, ...]:
    combined = []
    for same in zip(*checks, strict=True):
        values = [check.value_s for check in same if check.value_s is not None]
        whole = len(values) == len(same)
        combined.append(
            SloCheck(
                limit=same[0].limit,
                value_s=median(values) if whole else None,
                high_s=_highest([check.high_s for check in same]),
                state=_worst([c.state for c in same], ("missed", "unproven", "met")),  # type: ignore[arg-type]
            )
        )
    return tuple(combined)


def _worst(states: Sequence[str], order: Sequence[str]) -> str:
    return min(states, key=order.index)


def _lowest(bounds: Sequence[float | None]) -> float | None:
    known = [bound for bound in bounds if bound is not None]
    return min(known) if len(known) == len(bounds) else None


def _highest(bounds: Sequence[float | None]) -> float | None:
    known = [bound for bound in bounds if bound is not None]
    return max(known) if len(known) == len(bounds) else None
