"""The power of a record's target by load and idle, as figures: pure functions of the readings.

Idle power, marginal joules per request, energy proportionality and dynamic range, for each
boundary that was metered. Formulas and sources: docs/energy.md, "Figures per record".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from harness import units
from harness.distributions import student_quantile
from harness.measure.energy_figures import method_of, reading_metrics, traffic_share, work_of
from harness.measure.idle import LONG_ENOUGH_S, short
from harness.meters.sums import TOGETHER
from harness.schema.record import EnergyProfile, EnergyReading, Metric, Point
from harness.statistics import Z975

LEAST_POINTS = 3
LEAST_RANDOM = 0.001
"""No point is taken to be known better than this, so that none outweighs all others."""
PER_REQUEST = "J/request"
SEVERAL_LOADS = "measure the scenario 'server' at several loads"
ONE_LOAD = f"the scenario has one load only; {SEVERAL_LOADS}"


@dataclass(frozen=True, slots=True)
class Draw:
    """The mean power (W) over a metered window in which requests were served at `rate` (1/s).

    Relative at 95 %: `random` differs from window to window, `sensor` is the same in all of them.
    """

    rate: float
    watts: float
    random: float
    sensor: float

    @property
    def uncertainty(self) -> float:
        """Both parts together."""
        return math.hypot(self.random, self.sensor)


@dataclass(frozen=True, slots=True)
class Found:
    """A figure with its 95 % interval, from `n` windows, and how it came about."""

    value: float
    low: float
    high: float
    n: int
    method: str


def energy_profile(
    points: Sequence[Point],
    headline: int | None,
    off: Sequence[EnergyReading] = (),
    warm: Sequence[EnergyReading] = (),
) -> EnergyProfile | None:
    """Return the figures of every boundary that `points` have joules of; None if they have none.

    `off` and `warm` are the readings of the idle windows. Windows are joined only if the same meter
    read the same components. Modelled joules give the loaded power, marked as such, and no more.
    """
    first: dict[str, EnergyReading] = {}
    for reading in (*(r for point in points for r in point.energy), *warm, *off):
        if reading.joules is not None and reading.boundary is not None:
            first.setdefault(reading.boundary, reading)
    if not first and not off and not warm:
        return None
    metrics: dict[str, Metric] = {}
    for boundary, reading in first.items():
        own = _Boundary(reading, points, headline, off, warm)
        metrics |= {f"{name}@{boundary}": metric for name, metric in own.metrics().items()}
    return EnergyProfile(off=tuple(off), warm=tuple(warm), metrics=metrics)


class _Boundary:
    """What one meter read at one boundary: the curve of power over rate, and the idle levels."""

    def __init__(
        self,
        like: EnergyReading,
        points: Sequence[Point],
        headline: int | None,
        off: Sequence[EnergyReading],
        warm: Sequence[EnergyReading],
    ) -> None:
        self._like = like
        self._off = next((r for r in off if source(r) == source(like)), None)
        self._warm = next((r for r in warm if source(r) == source(like)), None)
        self._point = None if headline is None else points[headline]
        loaded = [self._draw(point) for point in points if point.load is not None]
        self._by_load = bool(loaded)
        self._curve = sorted((d for d in loaded if d is not None), key=lambda draw: draw.rate)
        self._top = None if self._point is None else self._draw(self._point)
        self._idle = None if self._warm is None else draw_of(self._warm)

    def metrics(self) -> dict[str, Metric]:
        """Return the figures by name; one that is not known says why."""
        marginal: Found | str
        above: Found | str
        proportional: Found | str
        span: Found | str
        if self._like.provenance == "modelled":
            refused = "modelled joules say nothing of how the power follows the load"
            marginal = above = proportional = span = refused
        else:
            marginal, above = self._marginal(), self._above_idle()
            proportional, span = self._proportionality(), self._dynamic_range()
        return {
            "idle_off_w": self._level(self._off, "before the session was opened"),
            "idle_warm_w": self._level(self._warm, "with the session open and no traffic"),
            "loaded_w": self._loaded(),
            "marginal_j_per_request": self._metric(marginal, PER_REQUEST),
            "above_idle_j_per_request": self._metric(above, PER_REQUEST),
            "energy_proportionality": self._metric(proportional, "1", "higher"),
            "dynamic_range": self._metric(span, "share"),
        }

    def _metric(
        self, found: Found | str, unit: str, better: Literal["lower", "higher"] = "lower"
    ) -> Metric:
        known = method_of(self._like)
        if isinstance(found, str):
            return Metric(unit=unit, better=better, value=None, n=0, method=known, reason=found)
        return Metric(
            unit=unit,
            better=better,
            value=found.value,
            low=found.low,
            high=found.high,
            n=found.n,
            method=f"{found.method}; {known}",
        )

    def _level(self, reading: EnergyReading | None, when: str) -> Metric:
        """Return the mean power of an idle window."""
        draw = None if reading is None else draw_of(reading)
        if reading is None:
            return self._metric(f"the idle power was not metered {when}", "W")
        if draw is None:
            return self._metric(reading.reason or "the idle window has no joules", "W")
        method = f"{units.duration(reading.duration_s)} {when}"
        if short(reading):
            method += f" (below {units.duration(LONG_ENOUGH_S)}: widened for drift)"
        spread = draw.watts * draw.uncertainty
        low = max(0.0, draw.watts - spread)
        found = Found(draw.watts, low, draw.watts + spread, 1, method)
        return self._metric(found, "W")

    def _loaded(self) -> Metric:
        """Return the mean power at the headline point."""
        if self._point is None:
            return self._metric("no load was within the SLO", "W")
        reading = self._reading(self._point)
        name = f"power_w@{self._like.boundary}"
        found = None
        if reading is not None:
            found = reading_metrics(reading, work_of(self._point)).get(name)
        return found or self._metric("the headline point was not metered", "W")

    def _reading(self, point: Point) -> EnergyReading | None:
        own = source(self._like)
        return next((r for r in point.energy if source(r) == own and r.joules is not None), None)

    def _draw(self, point: Point) -> Draw | None:
        reading = self._reading(point)
        return None if reading is None else draw_of(reading, point)

    def _top_and_idle(self) -> tuple[Draw, Draw] | str:
        """Return the headline's draw and the idle one, or what is missing."""
        if self._point is None:
            return "no load was within the SLO"
        if self._top is None:
            return "the headline point was not metered"
        if self._idle is None:
            return "the idle power with the session open was not metered at this boundary"
        if not self._top.rate:
            return "no request was served"
        return self._top, self._idle

    def _marginal(self) -> Found | str:
        return marginal_of(self._curve) if self._by_load else ONE_LOAD

    def _above_idle(self) -> Found | str:
        """Return (E - P_idle T) / N of the headline point."""
        both = self._top_and_idle()
        if isinstance(both, str):
            return both
        top, idle = both
        value = (top.watts - idle.watts) / top.rate
        half = math.hypot(top.watts * top.uncertainty, idle.watts * idle.uncertainty) / top.rate
        return Found(value, value - half, value + half, 2, "joules above the warm idle power")

    def _within_slo(self) -> tuple[list[Draw], str] | str:
        """Return the draws from idle to the highest rate within the SLO, and a remark on it."""
        if self._point is not None and self._point.load is None:
            return ONE_LOAD
        both = self._top_and_idle()
        if isinstance(both, str):
            return both
        top, idle = both
        assert self._point is not None
        remark = "" if self._point.slo_state == "met" else " (the SLO is unproven there)"
        return [idle, *(d for d in self._curve if d.rate < top.rate), top], remark

    def _proportionality(self) -> Found | str:
        found = self._within_slo()
        return found if isinstance(found, str) else proportionality_of(*found)

    def _dynamic_range(self) -> Found | str:
        found = self._within_slo()
        if isinstance(found, str):
            return found
        (idle, *_, top), remark = found
        value = idle.watts / top.watts
        half = value * math.hypot(idle.uncertainty, top.uncertainty)
        method = f"warm idle power over that at the highest rate within the SLO{remark}"
        return Found(value, max(0.0, value - half), value + half, 2, method)


def source(reading: EnergyReading) -> tuple[object, ...]:
    """Return what two readings must share to lie on one curve."""
    return reading.meter, reading.boundary, reading.covers, reading.provenance


def draw_of(reading: EnergyReading, point: Point | None = None) -> Draw | None:
    """Return the mean power of `reading`, and the rate of `point` over the same, metered time.

    Both over the metered time lie on one line with the idle power, if the harness leaves the device
    idle between its stages. How far it does not is unknown, so that share of the time is added to
    the uncertainty. None without joules.
    """
    if not reading.joules or reading.uncertainty is None or reading.duration_s <= 0:
        return None
    sensor = math.hypot(*(reading.parts.get(name, 0.0) for name in TOGETHER))
    random = math.sqrt(max(0.0, reading.uncertainty**2 - sensor**2))
    rate = 0.0
    if point is not None:
        work = work_of(point)
        rate = work.requests / reading.duration_s
        random = math.hypot(random, 1 - traffic_share(reading, work))
    return Draw(rate, reading.joules / reading.duration_s, random, sensor)


def marginal_of(curve: Sequence[Draw]) -> Found | str:
    """Return the slope of power over rate, joules per further request; or why there is none.

    Weighted least squares, each point by its random uncertainty. The interval holds the fit's and
    the sensor's, whose error may differ between the ends of the line.
    """
    if len(curve) < LEAST_POINTS:
        found = units.count(len(curve))
        return f"metered at {found} loads, the slope needs {LEAST_POINTS}; {SEVERAL_LOADS}"
    low, high = min(curve, key=lambda d: d.rate), max(curve, key=lambda d: d.rate)
    width = high.rate - low.rate
    if width <= 0:
        return "all loads served the same rate, so power has no slope"
    x = np.array([draw.rate for draw in curve])
    y = np.array([draw.watts for draw in curve])
    deviations = np.array([d.watts * max(d.random, LEAST_RANDOM) / Z975 for d in curve])
    weights = deviations**-2
    middle = float(np.average(x, weights=weights))
    spread = float((weights * (x - middle) ** 2).sum())
    slope = float((weights * (x - middle) * y).sum() / spread)
    level = float(np.average(y, weights=weights))
    freedom = len(curve) - 2
    excess = float((weights * (y - level - slope * (x - middle)) ** 2).sum()) / freedom
    # Few residuals may be small by luck: the fit is never better than the readings' own deviations.
    scatter = max(Z975, student_quantile(0.975, freedom) * math.sqrt(excess)) / math.sqrt(spread)
    sensor = max(d.sensor for d in curve) * math.hypot(low.watts, high.watts) / width
    half = math.hypot(scatter, sensor)
    method = (
        f"slope of power over rate by weighted least squares, {len(curve)} loads from "
        f"{units.number(low.rate)} to {units.rate(high.rate, 'requests/s')}"
    )
    return Found(slope, slope - half, slope + half, len(curve), method)


def proportionality_of(curve: Sequence[Draw], remark: str = "") -> Found | str:
    """Return 1 - (A - 0.5) / 0.5, A the area under P / P_max from idle to the highest rate.

    `curve` runs from the idle draw (rate 0) to the highest rate. Power is linear between metered
    rates; the interval holds any power that never falls with the rate. 1: in proportion to the
    load; 0: the same at any load.
    """
    top = curve[-1]
    if len(curve) < LEAST_POINTS:
        return f"no load between idle and the highest rate was metered; {SEVERAL_LOADS}"
    area = lowest = highest = 0.0
    errors = [0.0] * len(curve)
    for number, (left, right) in enumerate(pairwise(curve)):
        step = (right.rate - left.rate) / top.rate
        area += step * (left.watts + right.watts) / 2 / top.watts
        lowest += step * min(left.watts, right.watts) / top.watts
        highest += step * max(left.watts, right.watts) / top.watts
        errors[number] += step * left.watts * left.uncertainty / 2 / top.watts
        errors[number + 1] += step * right.watts * right.uncertainty / 2 / top.watts
    # P_max is in its own half of the last step too, and divides out there.
    rest = area - (top.rate - curve[-2].rate) / top.rate / 2
    half = math.hypot(sum(errors[:-1]), rest * top.uncertainty)
    shares = ", ".join(units.percent(round(draw.rate / top.rate, 2)) for draw in curve)
    return Found(
        2 - 2 * area,
        2 - 2 * (highest + half),
        2 - 2 * (lowest - half),
        len(curve),
        f"metered at {shares} of the highest rate within the SLO{remark}, interpolated between",
    )
