"""An option as what its cost follows from, so that thousands of cases are priced at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness import economics
from harness.mapper.capacity import ROUNDING, Load, Work
from harness.mapper.operating import Operating
from harness.mapper.power import RATE, UnitLoad, power_of
from harness.schema.base import Evidence, Tier
from harness.schema.brief import Economics
from harness.schema.decision import Interval
from harness.schema.target import Target

FloatArray = npt.NDArray[np.float64]

KWH_PER_WATT_YEAR = economics.HOURS_PER_YEAR / 1000


@dataclass(frozen=True, slots=True)
class Candidate:
    """One unit of an option, as inputs of its cost.

    `throughput` is in work a second, of which a request holds `per_request`. Of a unit's year
    `priced_usd` follows the price (`stated_usd` in `price_unit`), `colocation_usd` stays, and
    energy is `usd_per_watt` times the power at its rate, the line through `rates` (requests/s) and
    `watts`. `power` is the planned power with its bounds; None: energy is not known and not in the
    cost. `complete` is False where a cost is missing.
    """

    target: str
    tier: Tier
    rented: bool
    price_source: str
    chip: str
    evidence: Evidence
    throughput: Interval
    per_request: float
    stated_usd: float
    price_unit: str
    priced_usd: float
    colocation_usd: float
    usd_per_watt: float
    rates: tuple[float, ...]
    watts: tuple[float, ...]
    power: Interval | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Cases:
    """Cases to price `m` candidates in, `d` of each.

    `mean` and `peak` are the demand's rates in requests/s (d); `electricity` (d), `price` and
    `power` (m, d) are factors on what the candidates state, `throughput` (m, d) is in work/s.
    """

    mean: FloatArray
    peak: FloatArray
    electricity: FloatArray
    price: FloatArray
    power: FloatArray
    throughput: FloatArray


def candidate_of(
    target: Target,
    operating: Operating,
    load: Load,
    work: Work,
    inputs: Economics,
    replicas: int,
) -> Candidate:
    """Return the unit of `target` (which has a price) as a candidate; `replicas` are planned."""
    price = target.price
    assert price is not None
    share = UnitLoad(load.mean / replicas, load.peak / replicas)
    power = power_of(operating.series, target.hardware, share, operating.warm)
    lines = economics.unit_cost(price, inputs, power).lines
    usd = {line.name: line.usd_per_year for line in lines}
    pays = price.kind == "purchase" and isinstance(power, economics.Power)
    rates = _knots(operating, share.mean) if pays else (0.0,)
    watts = (0.0,) * len(rates)
    known: Interval | None = None
    if pays:
        assert isinstance(power, economics.Power)
        at = [
            power_of(operating.series, target.hardware, UnitLoad(r, r), operating.warm)
            for r in rates
        ]
        watts = tuple(p.watts if isinstance(p, economics.Power) else 0.0 for p in at)
        known = Interval(value=power.watts, low=power.low, high=power.high)
    stated = price.usd_per_hour if price.kind == "rent" else price.purchase_usd
    assert stated is not None
    return Candidate(
        target=target.name,
        tier=target.site.tier,
        rented=price.kind == "rent",
        price_source=price.source,
        chip=f"{target.hardware.vendor} {target.hardware.chip}",
        evidence=operating.evidence,
        throughput=operating.throughput,
        per_request=work.per_request,
        stated_usd=stated,
        price_unit="USD/h" if price.kind == "rent" else "USD",
        priced_usd=math.fsum(usd.get(name) or 0.0 for name in ("rent", "capital", "maintenance")),
        colocation_usd=usd.get("colocation") or 0.0,
        usd_per_watt=inputs.electricity_usd_per_kwh.value * inputs.pue.value * KWH_PER_WATT_YEAR,
        rates=rates,
        watts=watts,
        power=known,
        complete=all(line.usd_per_year is not None for line in lines),
    )


def units_in(
    candidates: Sequence[Candidate], cases: Cases, utilisation_max: float, spare: int
) -> FloatArray:
    """Return how many units each candidate takes in each case (m, d): `replicas_for` and spare."""
    each = np.array([[c.per_request] for c in candidates])
    needed = np.ceil(cases.peak * each / (cases.throughput * utilisation_max) * (1 - ROUNDING))
    units: FloatArray = np.maximum(needed, 1.0) + spare
    return units


def yearly_costs(
    candidates: Sequence[Candidate],
    cases: Cases,
    utilisation_max: float,
    spare: int,
    staff_usd_per_year: float,
) -> FloatArray:
    """Return what each candidate costs in each case, in USD of the first year (m, d).

    units x (price lines x price + colocation + USD per W x W(mean rate of a unit) x power x
    electricity) + staff.
    """
    units = units_in(candidates, cases, utilisation_max, spare)
    priced = np.array([[c.priced_usd] for c in candidates])
    fixed = np.array([[c.colocation_usd] for c in candidates])
    unit = priced * cases.price + fixed + np.zeros_like(units)
    for row, candidate in enumerate(candidates):
        if candidate.power is not None:
            watts = np.interp(cases.mean / units[row], candidate.rates, candidate.watts)
            paid = candidate.usd_per_watt * cases.electricity
            unit[row] += watts * cases.power[row] * paid
    costs: FloatArray = units * unit + staff_usd_per_year
    return costs


def _knots(operating: Operating, mean: float) -> tuple[float, ...]:
    """Return the rates between which the power of a unit is a line: those that were measured."""
    found = [p.metrics.get(RATE) for points in operating.series for p in points]
    rates = {metric.value for metric in found if metric is not None and metric.value is not None}
    return tuple(sorted({0.0, mean, *rates}))
