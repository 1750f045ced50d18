"""What one unit draws over the year: metered for the whole machine, or modelled and said so.

A reading of the chips alone never stands for the machine. Formulas: docs/mapper.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import median

from harness import units
from harness.economics import NoPower, Power
from harness.mapper.energy import (
    DEVICE_BOUNDARIES,
    WHOLE_MACHINE,
    best_reading,
    boundary_text,
    known,
    no_energy,
)
from harness.schema.record import EnergyReading, Point
from harness.schema.target import Hardware

NOT_THE_WHOLE = {"partial_coverage", "simulated"}
"""Flags of a reading that no power can be paid for by."""

HOST_SPREAD = 0.35
"""Relative uncertainty of a declared host power at 95 %.

The upper end of the error of nameplate models of accelerator nodes, 27-37 % (arXiv 2506.14551).
"""

RATE = "throughput_requests_per_s"


@dataclass(frozen=True, slots=True)
class UnitLoad:
    """What one unit of a fleet serves, in requests/s: on average, and in the busiest hour."""

    mean: float
    peak: float


@dataclass(frozen=True, slots=True)
class _Draw:
    """The power of a unit at a rate in requests/s, in W, with its bounds."""

    rate: float
    watts: float
    low: float
    high: float


def power_of(
    series: Sequence[Sequence[Point]],
    hardware: Hardware,
    load: UnitLoad | None = None,
    warm: Sequence[Sequence[EnergyReading]] = (),
) -> Power | NoPower:
    """Return what one unit draws on average at `load`; without a load, at the operating point.

    `series` holds for each repeat the points up to the operating one, which is the last, and `warm`
    what was read with the session open and no traffic: the power at rate 0. The power is the node's
    or the wall's as metered; else the device's with the host power that the target declares; else
    the chips' TDP with it. Between metered loads it is linear; below the lowest it is that of the
    lowest, the upper bound being the same, the lower bound linear from the host.
    """
    idles = warm or [()] * len(series)
    repeats = list(zip(series, idles, strict=True))
    metered = [_metered(points, WHOLE_MACHINE, idle) for points, idle in repeats]
    if mixed := _mixed(series, WHOLE_MACHINE):
        return mixed
    if all(metered):
        return _mean_power(metered, load, _whole_basis(series), modelled=_modelled(series))
    device = DEVICE_BOUNDARIES.get(hardware.kind, ("module", "chip"))
    chips = [_metered(points, device, idle) for points, idle in repeats]
    host = hardware.host_power_w
    if host is None:
        return _no_power([points[-1] for points in series], hardware)
    declared = f"{units.watts(host.value)} declared for the host, ± {units.percent(HOST_SPREAD)}"
    declared += f" ({host.source}, {host.date.isoformat()})"
    if mixed := _mixed(series, device):
        return mixed
    if all(chips):
        nodes = [[_with_host(draw, host.value) for draw in draws] for draws in chips]
        names = _names(series, device)
        basis = f"modelled: {names} metered, plus {declared}"
        return _mean_power(nodes, load, basis, modelled=True, idle=host.value * (1 - HOST_SPREAD))
    tdp = hardware.tdp_w
    if tdp is None or not tdp.value:
        return _no_power([points[-1] for points in series], hardware)
    each = "chip" if hardware.count == 1 else f"{hardware.count} chips"
    return Power(
        watts=tdp.value * hardware.count + host.value,
        basis=f"modelled: TDP of the {each} ({tdp.source}, {tdp.date.isoformat()}), which is the "
        f"most they draw, plus {declared}",
        low=host.value * (1 - HOST_SPREAD),
        high=tdp.value * hardware.count + host.value * (1 + HOST_SPREAD),
        modelled=True,
    )


def _whole_reading(point: Point, allowed: Sequence[str]) -> EnergyReading | None:
    """Return the reading of `point` that its power can be paid by."""
    found = best_reading(point, allowed)
    return None if found is None or not _pays(found) else found


def _pays(reading: EnergyReading) -> bool:
    return not NOT_THE_WHOLE & set(reading.flags) and reading.duration_s > 0


def _metered(
    points: Sequence[Point], allowed: Sequence[str], warm: Sequence[EnergyReading] = ()
) -> list[_Draw]:
    """Return the draws at `points` from the meter of the last one, by rate; none: not metered.

    The draw at rate 0 is that of `warm`, if the same meter read it.
    """
    own = _whole_reading(points[-1], allowed)
    if own is None:
        return []
    found = []
    for point in points:
        reading, rate = _whole_reading(point, allowed), point.metrics.get(RATE)
        if reading is None or _source(reading) != _source(own):
            continue
        if rate is not None and rate.value is not None:
            found.append(_draw(rate.value, reading))
    if not found:
        return [_draw(0.0, own)]
    idle = next((r for r in warm if _source(r) == _source(own) and r.joules and _pays(r)), None)
    found += [] if idle is None else [_draw(0.0, idle)]
    return sorted(found, key=lambda draw: draw.rate)


def _source(reading: EnergyReading) -> tuple[object, ...]:
    return reading.meter, reading.boundary, reading.covers, reading.provenance


def _draw(rate: float, reading: EnergyReading) -> _Draw:
    watts = known(reading.joules) / reading.duration_s
    spread = watts * known(reading.uncertainty)
    return _Draw(rate, watts, max(0.0, watts - spread), watts + spread)


def _with_host(draw: _Draw, host_w: float) -> _Draw:
    return _Draw(
        draw.rate,
        draw.watts + host_w,
        draw.low + host_w * (1 - HOST_SPREAD),
        draw.high + host_w * (1 + HOST_SPREAD),
    )


def _mean_power(
    repeats: Sequence[Sequence[_Draw]],
    load: UnitLoad | None,
    basis: str,
    *,
    modelled: bool,
    idle: float = 0.0,
) -> Power:
    """Return the median of the repeats' mean powers, between their widest bounds.

    Of the hours only their mean and their peak are known. The power at the mean rate is the figure;
    the least and the greatest mean power over all hours with that mean and peak are the bounds.
    `idle` is what a unit draws at least, in W.
    """
    tops = [draws[-1] for draws in repeats]
    peak_watts = median(draw.watts for draw in tops)
    if load is None:
        return Power(
            watts=peak_watts,
            basis=f"{basis}; at the operating point",
            low=min(draw.low for draw in tops),
            high=max(draw.high for draw in tops),
            modelled=modelled,
        )
    values, lows, highs = [], [], []
    for draws in repeats:
        least = [_Draw(0.0, idle, idle, idle), *draws] if draws[0].rate > 0 else draws
        values.append(_at([(d.rate, d.watts) for d in draws], load.mean))
        lows.append(_envelope([(d.rate, d.low) for d in least], load, min))
        highs.append(_envelope([(d.rate, d.high) for d in draws], load, max))
    loads = max(sum(draw.rate > 0 for draw in draws) for draws in repeats) or 1
    lowest = max(draws[0].rate for draws in repeats)
    at = "one load" if loads == 1 else f"{loads} loads"
    at += " and idle" if all(len(draws) > 1 and draws[0].rate == 0 for draws in repeats) else ""
    text = f"{basis}, at {at}; taken at the mean rate"
    if load.mean < lowest:
        text += (
            f", {units.rate(load.mean, 'requests/s')} a unit, which is below the lowest metered "
            f"({units.rate(lowest, 'requests/s')}): the power there stands for it, an upper bound"
        )
    return Power(
        watts=median(values),
        basis=text,
        low=min(*lows, *values),
        high=max(*highs, *values),
        peak_watts=peak_watts,
        modelled=modelled,
    )


def _at(curve: Sequence[tuple[float, float]], rate: float) -> float:
    """Return the value of a line through `curve` (sorted) at `rate`; level beyond its ends."""
    if rate <= curve[0][0]:
        return curve[0][1]
    for (x, y), (next_x, next_y) in pairwise(curve):
        if rate <= next_x:
            return y + (next_y - y) * (rate - x) / (next_x - x) if next_x > x else next_y
    return curve[-1][1]


def _envelope(
    curve: Sequence[tuple[float, float]],
    load: UnitLoad,
    pick: Callable[[Sequence[float]], float],
) -> float:
    """Return the least (`min`) or greatest (`max`) mean over hours with this mean and peak rate.

    That is the lower convex or upper concave envelope of the line on [0, peak] at the mean: the
    extreme of all chords between two of its corners on either side.
    """
    peak = max(load.peak, load.mean)
    corners = {0.0, load.mean, peak, *(x for x, _ in curve if 0 < x < peak)}
    left = [x for x in corners if x <= load.mean]
    right = [x for x in corners if x >= load.mean]
    return pick(
        [_at([(a, _at(curve, a)), (b, _at(curve, b))], load.mean) for a, b in product(left, right)]
    )


def _whole_basis(series: Sequence[Sequence[Point]]) -> str:
    return f"power metered, boundary {_names(series, WHOLE_MACHINE)}"


def _names(series: Sequence[Sequence[Point]], allowed: Sequence[str]) -> str:
    readings = [_whole_reading(points[-1], allowed) for points in series]
    flags = sorted({flag.replace("_", " ") for r in readings if r is not None for flag in r.flags})
    names = ", ".join(dict.fromkeys(boundary_text(r) for r in readings if r is not None))
    return f"{names} (flags: {', '.join(flags)})" if flags else names


def _mixed(series: Sequence[Sequence[Point]], allowed: Sequence[str]) -> NoPower | None:
    """Return that the repeats were not all metered at one boundary, or None."""
    readings = [_whole_reading(points[-1], allowed) for points in series]
    names = dict.fromkeys(boundary_text(r) for r in readings if r is not None)
    if len(names) < 2:
        return None
    return NoPower(
        f"not known: the repeats were metered at different boundaries: {', '.join(names)}",
        "run all repeats with the same meters",
    )


def _modelled(series: Sequence[Sequence[Point]]) -> bool:
    readings = [_whole_reading(points[-1], WHOLE_MACHINE) for points in series]
    return any(r is not None and r.provenance == "modelled" for r in readings)


def _no_power(points: Sequence[Point], hardware: Hardware) -> NoPower:
    """Return why the power of the whole machine is not known."""
    declare = "declare hardware.host_power_w in the target, with its source and date"
    readings = [r for point in points for r in point.energy if r.joules is not None]
    flags = {f.replace("_", " ") for r in readings for f in r.flags if f in NOT_THE_WHOLE}
    if readings:
        names = ", ".join(sorted({r.boundary for r in readings if r.boundary}))
        flagged = f" ({', '.join(sorted(flags))})" if flags else ""
        host = "" if hardware.host_power_w else ", and the target declares no host_power_w"
        return NoPower(
            f"not known: only {names}{flagged} was metered, which is not the whole machine{host}",
            f"meter the node or the wall, or {declare}",
        )
    none = no_energy(points, WHOLE_MACHINE)
    missing = [n for n in ("tdp_w", "host_power_w") if getattr(hardware, n) is None]
    text = f", and the target declares no {' and no '.join(missing)}" if missing else ""
    return NoPower(
        f"not known: {none.reason}{text}",
        f"{none.remedy}; or declare hardware.tdp_w and hardware.host_power_w in the target, "
        "with their sources",
    )
