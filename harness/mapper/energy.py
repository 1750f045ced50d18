"""What a request takes, only within the boundary of one reading; readings are never added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from harness.schema.base import Interval
from harness.schema.record import EnergyReading, Point
from harness.schema.target import Hardware

WHOLE_MACHINE = ("wall", "node")
"""Boundaries that hold all of what is paid for, best first."""

DEVICE_BOUNDARIES = {"cpu": ("package",), "gpu": ("module", "chip")}
"""Boundaries, best first, that hold the device of a kind; a CPU's package does not hold a GPU."""


HARMLESS = {"short_window", "wrap_corrected"}
"""Flags whose effect is in the figure or its interval already."""


@dataclass(frozen=True, slots=True)
class RequestEnergy:
    """J per served request with its boundary, or None with the reason and what would help.

    `flags` are those of the readings that a reader must know.
    """

    figure: Interval | None
    boundary: str | None = None
    reason: str | None = None
    remedy: str | None = None
    flags: tuple[str, ...] = ()


def energy_per_request(points: Sequence[Point], hardware: Hardware) -> RequestEnergy:
    """Return J per served request at `points` (repeats), from the best boundary of the device.

    The joules of failed requests count. Repeats: median, widest interval; None if one has none.
    """
    allowed = (*WHOLE_MACHINE, *DEVICE_BOUNDARIES.get(hardware.kind, ("module", "chip")))
    chosen = [best_reading(point, allowed) for point in points]
    per_request: list[Interval] = []
    for point, reading in zip(points, chosen, strict=True):
        served = point.requests - point.failed
        if reading is None or reading.joules is None or reading.uncertainty is None:
            return no_energy(points, allowed)
        if not served:
            return RequestEnergy(None, reason="no request was served")
        value = reading.joules / served
        spread = value * reading.uncertainty
        per_request.append(Interval(value=value, low=max(0.0, value - spread), high=value + spread))
    names = dict.fromkeys(boundary_text(reading) for reading in chosen if reading is not None)
    if len(names) != 1:
        return RequestEnergy(
            None,
            reason=f"the repeats were metered at different boundaries: {', '.join(names)}",
            remedy="run all repeats with the same meters",
        )
    figure = Interval(
        value=median(i.value for i in per_request),
        low=min(known(i.low) for i in per_request),
        high=max(known(i.high) for i in per_request),
    )
    flags = {flag for reading in chosen if reading is not None for flag in reading.flags}
    return RequestEnergy(figure, next(iter(names)), flags=tuple(sorted(flags - HARMLESS)))


def boundary_text(reading: EnergyReading) -> str:
    """Return the boundary of `reading`, marked where it is in part, modelled or simulated."""
    name = (
        f"{reading.boundary} in part" if "partial_coverage" in reading.flags else reading.boundary
    )
    marks = ["modelled"] if reading.provenance == "modelled" else []
    marks += ["simulated"] if "simulated" in reading.flags else []
    return f"{name} ({', '.join(marks)})" if marks else f"{name}"


def best_reading(point: Point, allowed: Sequence[str]) -> EnergyReading | None:
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


def no_energy(points: Sequence[Point], allowed: Sequence[str]) -> RequestEnergy:
    """Return why `points` have no usable reading, in the meters' own words where there are any."""
    readings = [reading for point in points for reading in point.energy]
    metered = sorted({r.boundary for r in readings if r.joules is not None and r.boundary})
    remedies = dict.fromkeys(r.remedy for r in readings if r.joules is None and r.remedy)
    remedy = "; ".join(remedies) or None
    if metered and not set(metered) & set(allowed):
        reason = f"only {', '.join(metered)} was metered, not {' or '.join(allowed)}"
        return RequestEnergy(None, reason=reason, remedy=remedy)
    reasons = dict.fromkeys(r.reason for r in readings if r.joules is None and r.reason)
    return RequestEnergy(
        None,
        reason="; ".join(reasons) or "no energy was metered",
        remedy=remedy or "`harness doctor` says which meters work and what would enable others",
    )


def known(value: float | None) -> float:
    """Return `value`, which a reading with joules always has."""
    assert value is not None
    return value
