"""What a target does at the SLO: repeats of one measurement as one operating point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from harness.economics import Power
from harness.schema.base import Evidence
from harness.schema.decision import Interval
from harness.schema.record import EnergyReading, Metric, Point, Record, SloCheck
from harness.schema.target import Hardware

EVIDENCE_ORDER: tuple[Evidence, ...] = ("measured", "imported", "projected", "claimed")
"""Classes of evidence, best first."""

WHOLE_MACHINE = ("wall", "node")
DEVICE_BOUNDARIES = {"cpu": ("package",), "gpu": ("module", "chip")}
"""Boundaries, best first, that hold the device of a kind; a CPU's package does not hold a GPU."""

POWER_BOUNDARIES = {"cpu": (*WHOLE_MACHINE, "package")}
"""Boundaries whose power can be paid for, by kind; a card's own leaves out the rest of its node."""


@dataclass(frozen=True, slots=True)
class Operating:
    """One or more repeats as one: medians, the widest interval, the worst state.

    `record` is the repeat whose throughput is nearest to the median.
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
    metrics = [point.metrics[metric] for point in points]
    return Operating(
        record=records[nearest],
        load=points[nearest].load,
        throughput=Interval(
            value=middle,
            low=_lowest([m.low for m in metrics]),
            high=_highest(
                [_upper(r, p, m) for r, p, m in zip(records, points, metrics, strict=True)]
            ),
        ),
        slo=_combined([point.slo for point in points]),
        slo_state=_worst([point.slo_state for point in points], ("unproven", "met")),
        verdict=_worst([r.verdict.state for r in records], ("invalid", "noisy", "valid")),
        reasons=tuple(dict.fromkeys(x.text for r in records for x in r.verdict.reasons)),
        evidence=worst_evidence(records),
        points=tuple(points),
    )


def point_within_slo(record: Record) -> Point | None:
    """Return the record's headline point if it keeps the SLO (met or unproven), else None."""
    point = record.headline_point
    return point if point is not None and point.slo_state in ("met", "unproven") else None


def _upper(record: Record, point: Point, metric: Metric) -> float | None:
    """Return the bound above the throughput at the SLO: that of the next load, which broke it.

    The highest rate within the SLO lies between the highest load that kept it and the lowest that
    did not; the metric's own interval knows only how well the first was measured. None where no
    load broke it: then the target may be good for any rate above.
    """
    if point.load is None or not point.requested_rate or metric.value is None:
        return metric.high
    above = [
        p.requested_rate
        for p in record.points
        if p.load is not None and p.load > point.load and p.requested_rate
    ]
    if not above or metric.high is None:
        return None
    return max(metric.high, metric.value * min(above) / point.requested_rate)


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


def energy_per_request(
    points: Sequence[Point], hardware: Hardware
) -> tuple[Interval | None, str | None, str | None]:
    """Return J per served request, the boundary, and the reason where there is no figure.

    The joules of failed requests count. Repeats: median, widest interval; None if one has none.
    """
    allowed = (*WHOLE_MACHINE, *DEVICE_BOUNDARIES.get(hardware.kind, ("module", "chip")))
    chosen = [_reading(point, allowed) for point in points]
    per_request: list[Interval] = []
    for point, reading in zip(points, chosen, strict=True):
        served = point.requests - point.failed
        if reading is None or reading.joules is None or reading.uncertainty is None or not served:
            return None, None, _no_energy(points, allowed)
        value = reading.joules / served
        spread = value * reading.uncertainty
        per_request.append(Interval(value=value, low=max(0.0, value - spread), high=value + spread))
    names = dict.fromkeys(_boundary(reading) for reading in chosen if reading is not None)
    if len(names) != 1:
        return None, None, f"the repeats were metered at different boundaries: {', '.join(names)}"
    figure = Interval(
        value=median(i.value for i in per_request),
        low=_lowest([i.low for i in per_request]),
        high=_highest([i.high for i in per_request]),
    )
    return figure, next(iter(names)), None


def power_of(points: Sequence[Point], hardware: Hardware) -> tuple[Power | None, str]:
    """Return the power that one unit draws at `points`, or None with the reason.

    Metered where the boundary holds what is paid for; else the chips' TDP from the target's facts.
    Power at the operating point stands for the whole year, idle hours too: an upper bound.
    """
    allowed = POWER_BOUNDARIES.get(hardware.kind, WHOLE_MACHINE)
    readings = [_reading(point, allowed) for point in points]
    watts = [
        r.joules / r.duration_s
        for r in readings
        if r is not None and r.joules is not None and r.duration_s > 0
    ]
    if watts and len(watts) == len(points):
        names = ", ".join(dict.fromkeys(_boundary(r) for r in readings if r is not None))
        return Power(median(watts), f"power metered at the operating point, boundary {names}"), ""
    if hardware.tdp_w is not None and hardware.tdp_w.value:
        fact = hardware.tdp_w
        chips = "the chip" if hardware.count == 1 else f"{hardware.count} chips"
        return (
            Power(
                fact.value * hardware.count,
                f"power taken as the TDP of {chips}, without the rest of the machine "
                f"({fact.source}, {fact.date.isoformat()})",
            ),
            "",
        )
    return None, f"power not known: {_no_energy(points, allowed)}, and the target states no tdp_w"


def _reading(point: Point, allowed: Sequence[str]) -> EnergyReading | None:
    """Return the reading with the best of the `allowed` boundaries; readings are never added up."""
    usable = [r for r in point.energy if r.joules is not None and r.boundary in allowed]
    return min(
        usable,
        key=lambda r: (
            allowed.index(r.boundary or ""),
            r.provenance == "modelled",
            -len(r.covers),
            r.uncertainty,
            r.meter,
        ),
        default=None,
    )


def _boundary(reading: EnergyReading) -> str:
    modelled = " (modelled)" if reading.provenance == "modelled" else ""
    return f"{reading.boundary}{modelled}"


def _no_energy(points: Sequence[Point], allowed: Sequence[str]) -> str:
    """Return why `points` have no usable reading, in the meters' own words where there are any."""
    readings = [reading for point in points for reading in point.energy]
    metered = sorted({r.boundary for r in readings if r.joules is not None and r.boundary})
    if metered and not set(metered) & set(allowed):
        return f"only {', '.join(metered)} was metered, not {' or '.join(allowed)}"
    reasons = dict.fromkeys(r.reason for r in readings if r.joules is None and r.reason)
    return "; ".join(reasons) or "no energy was metered"


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
