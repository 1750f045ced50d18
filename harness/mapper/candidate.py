"""An option as what its cost follows from, so that thousands of cases are priced at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness import economics
from harness.mapper.capacity import ROUNDING, Load, Work
from harness.mapper.makers import vendor_of
from harness.mapper.operating import Operating
from harness.mapper.power import RATE, UnitLoad, power_of
from harness.mapper.terms import Terms
from harness.schema.base import Evidence, Interval, Tier
from harness.schema.brief import Economics
from harness.schema.option import OptionKind
from harness.schema.target import Target

FloatArray = npt.NDArray[np.float64]

KWH_PER_WATT_YEAR = economics.HOURS_PER_YEAR / 1000

PRICED = ("rent", "capital", "maintenance", "licence")
"""The cost lines of a unit that follow its price."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One unit of an option, as inputs of its cost.

    `throughput` is in work a second, of which a request holds `per_request`. Of a unit's year
    `priced_usd` follows the price (`stated_usd` in `price_unit`), `colocation_usd` stays, and
    energy is `usd_per_watt` times the power at its rate, the line through `rates` (requests/s) and
    `watts`. `power` is the planned power with its bounds; None: energy is not known and not in the
    cost. `complete` is False where a cost is missing.

    Each request costs `usd_per_request`, which follows the price too, and a year `fixed_usd`
    whatever the fleet. A `metered` one (an API) has no units. `sites` each have units of their own
    for an equal part of the demand. Of the units `failure_domain_units` fail together, and they are
    sold in lots of `sold_in_units`.
    """

    target: str
    tier: Tier
    rented: bool
    price_source: str
    chip: str
    vendor: str
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
    usd_per_request: float = 0.0
    fixed_usd: float = 0.0
    metered: bool = False
    sites: int = 1
    failure_domain_units: int = 1
    sold_in_units: int = 1

    @property
    def kind(self) -> OptionKind:
        """The kind of supply that it is: an API, or its tier."""
        return "api" if self.metered else self.tier


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
    terms: Terms | None = None,
) -> Candidate:
    """Return the unit of `target` (which has a price) as a candidate; `replicas` are planned.

    An API needs its `terms`, since it has no units: `replicas` are 0.
    """
    price = target.price
    assert price is not None
    if price.kind == "api":
        assert terms is not None
        return _metered(target, operating, work, terms)
    share = UnitLoad(load.mean / replicas, load.peak / replicas)
    power = power_of(operating.series, target.hardware, share, operating.warm)
    lines = economics.unit_cost(price, inputs, power).lines
    usd: dict[str, float | None] = {line.name: line.usd_per_year for line in lines}
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
    rented = price.kind == "rent"
    stated = economics.hourly_rent(price, inputs.rent_mix).usd if rented else price.purchase_usd
    assert stated is not None
    per_request = None if terms is None else terms.per_request
    return Candidate(
        target=target.name,
        tier=target.site.tier,
        rented=rented,
        price_source=price.source,
        chip=f"{target.hardware.vendor} {target.hardware.chip}",
        vendor=vendor_of(target, operating.record),
        evidence=operating.evidence,
        throughput=operating.throughput,
        per_request=work.per_request,
        stated_usd=stated,
        price_unit="USD/h" if rented else "USD",
        priced_usd=math.fsum(usd.get(name) or 0.0 for name in PRICED),
        colocation_usd=usd.get("colocation") or 0.0,
        usd_per_watt=inputs.electricity_usd_per_kwh.value * inputs.pue.value * KWH_PER_WATT_YEAR,
        rates=rates,
        watts=watts,
        power=known,
        complete=all(line.usd_per_year is not None for line in lines)
        and (per_request is None or per_request.usd is not None),
        usd_per_request=0.0 if per_request is None else per_request.usd or 0.0,
        fixed_usd=_once(terms),
        sites=1 if terms is None else terms.sites,
        failure_domain_units=price.failure_domain_units,
        sold_in_units=price.sold_in_units,
    )


def _metered(target: Target, operating: Operating, work: Work, terms: Terms) -> Candidate:
    """Return an API as a candidate: its cost is that of the requests."""
    price, paid = target.price, terms.per_request
    assert price is not None
    assert paid is not None
    return Candidate(
        target=target.name,
        tier=target.site.tier,
        rented=True,
        price_source=price.source,
        chip=f"{target.hardware.vendor} {target.hardware.chip}",
        vendor=vendor_of(target, operating.record),
        evidence=operating.evidence,
        throughput=operating.throughput,
        per_request=work.per_request,
        stated_usd=1000 * (paid.usd or 0.0),
        price_unit="USD/1,000 requests",
        priced_usd=0.0,
        colocation_usd=0.0,
        usd_per_watt=0.0,
        rates=(0.0,),
        watts=(0.0,),
        power=None,
        complete=paid.usd is not None,
        usd_per_request=paid.usd or 0.0,
        fixed_usd=_once(terms),
        metered=True,
    )


def _once(terms: Terms | None) -> float:
    """Return what a year of taking up the stack costs."""
    if terms is None or terms.integration is None:
        return 0.0
    return terms.integration.usd_per_year or 0.0


def units_in(
    candidates: Sequence[Candidate], cases: Cases, utilisation_max: float, spare: int
) -> FloatArray:
    """Return how many units each candidate takes in each case (m, d); 0 of what is metered.

    Each of its sites has those that `replicas_for` its part of the demand, and the spare.
    """
    each = np.array([[c.per_request / (c.sites * utilisation_max)] for c in candidates])
    units: FloatArray = np.ceil(cases.peak * (each * (1 - ROUNDING)) / cases.throughput)
    np.maximum(units, 1.0, out=units)
    for row, candidate in enumerate(candidates):
        lot = candidate.sold_in_units
        if spare:
            units[row] += spare * candidate.failure_domain_units
        if lot > 1:
            units[row] = np.ceil(units[row] / lot) * lot
        if candidate.sites > 1:
            units[row] *= candidate.sites
        if candidate.metered:
            units[row] = 0.0
    return units


def yearly_costs(
    candidates: Sequence[Candidate],
    cases: Cases,
    utilisation_max: float,
    spare: int,
    staff_usd_per_year: float,
) -> FloatArray:
    """Return what each candidate, with the units it takes, costs in each case, in USD (m, d).

    It is the cost of the first year: `costs_of` the `units_in` each case.
    """
    units = units_in(candidates, cases, utilisation_max, spare)
    return costs_of(candidates, cases, units, staff_usd_per_year)


def costs_of(
    candidates: Sequence[Candidate], cases: Cases, units: FloatArray, staff_usd_per_year: float
) -> FloatArray:
    """Return what `units` of each candidate cost in each case, in USD a year (m, d).

    units x (price lines x price + colocation + USD per W x W(mean rate of a unit) x power x
    electricity) + requests x USD per request x price + fixed + staff.
    """
    priced = np.array([[c.priced_usd] for c in candidates])
    fixed = np.array([[c.colocation_usd] for c in candidates])
    unit = priced * cases.price
    unit += fixed
    for row, candidate in enumerate(candidates):
        if candidate.power is not None:
            watts = np.interp(cases.mean / units[row], candidate.rates, candidate.watts)
            paid = candidate.usd_per_watt * cases.electricity
            unit[row] += watts * cases.power[row] * paid
    costs: FloatArray = units * unit
    costs += np.array([[staff_usd_per_year + c.fixed_usd] for c in candidates])
    for row, candidate in enumerate(candidates):
        if candidate.usd_per_request:
            requests = cases.mean * economics.SECONDS_PER_YEAR
            costs[row] += requests * candidate.usd_per_request * cases.price[row]
    return costs


def _knots(operating: Operating, mean: float) -> tuple[float, ...]:
    """Return the rates between which the power of a unit is a line: those that were measured."""
    found = [p.metrics.get(RATE) for points in operating.series for p in points]
    rates = {metric.value for metric in found if metric is not None and metric.value is not None}
    return tuple(sorted({0.0, mean, *rates}))
