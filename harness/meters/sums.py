"""Adds readings of parts to one of the whole, and refuses where the sum would mean nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.errors import MeasurementError
from harness.schema.record import EnergyFlag, EnergyReading

SAME_WINDOW = 0.01
"""Windows that differ by more than this share are not the same window."""
TOGETHER = ("sensor", "model", "skew")
"""Parts that may be wrong by the same sign in every reading: they add up, the others do not."""


def add(readings: Sequence[EnergyReading]) -> EnergyReading:
    """Return the joules of `readings` together: one boundary, one window, no component twice.

    Uncertainty: u = sqrt(sum over parts of p^2) with p = sum(p_i J_i) / J for the parts that
    readings share by sign (`TOGETHER`), p = sqrt(sum((p_i J_i)^2)) / J for the rest.
    Raises MeasurementError with the reason where the readings cannot be added.
    """
    refusal = refused(readings)
    if refusal is not None:
        raise MeasurementError(f"these readings cannot be added: {refusal}")
    if len(readings) == 1:
        return readings[0]
    first = readings[0]
    joules = sum(reading.joules or 0.0 for reading in readings)
    names = sorted({name for reading in readings for name in reading.parts})
    parts = {name: _share(name, readings, joules) for name in names}
    flags: set[EnergyFlag] = {flag for reading in readings for flag in reading.flags}
    return EnergyReading(
        meter="-".join(dict.fromkeys(reading.meter for reading in readings)),
        joules=joules,
        duration_s=max(reading.duration_s for reading in readings),
        boundary=first.boundary,
        covers=tuple(sorted(name for reading in readings for name in reading.covers)),
        provenance=first.provenance,
        uncertainty=math.hypot(*parts.values()),
        parts=parts,
        flags=tuple(sorted(flags)),
    )


def refused(readings: Sequence[EnergyReading]) -> str | None:
    """Return why `readings` have no sum; None if they have one."""
    if not readings:
        return "there is none"
    for reading in readings:
        if reading.joules is None:
            return f"{reading.meter} has no joules ({reading.reason})"
    if len(readings) == 1:
        return None
    boundaries = sorted({str(reading.boundary) for reading in readings})
    if len(boundaries) > 1:
        return f"different boundaries ({', '.join(boundaries)})"
    kinds = sorted({str(reading.provenance) for reading in readings})
    if len(kinds) > 1:
        return f"they are known in different ways ({', '.join(kinds)})"
    seen: dict[str, str] = {}
    for reading in readings:
        if not reading.covers:
            return f"{reading.meter} does not say what it covers"
        if not reading.parts:
            return f"{reading.meter} does not say what its uncertainty is made of"
        for name in reading.covers:
            if name in seen:
                return f"{seen[name]} and {reading.meter} both hold {name}"
        seen.update(dict.fromkeys(reading.covers, reading.meter))
    longest = max(reading.duration_s for reading in readings)
    if longest - min(reading.duration_s for reading in readings) > SAME_WINDOW * longest:
        return "their windows are of different length"
    return None


def _share(name: str, readings: Sequence[EnergyReading], joules: float) -> float:
    amounts = [reading.parts.get(name, 0.0) * (reading.joules or 0.0) for reading in readings]
    if joules <= 0:
        return max(reading.parts.get(name, 0.0) for reading in readings)
    return (sum(amounts) if name in TOGETHER else math.hypot(*amounts)) / joules
