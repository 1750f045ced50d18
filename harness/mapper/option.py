"""A feasible target as an option: how many units, at what cost, known how well."""

from __future__ import annotations

from collections.abc import Sequence

from harness import economics, units
from harness.mapper.capacity import Load, Work, replicas_for, units_bought
from harness.mapper.energy import RequestEnergy, energy_per_request
from harness.mapper.footprint import energy_lines
from harness.mapper.operating import Operating
from harness.mapper.power import UnitLoad, power_of
from harness.mapper.standing import SIZING_SCENARIO
from harness.mapper.terms import Terms, Usage
from harness.mapper.unit_prices import per_audio_hour, per_request_of, per_task, token_costs
from harness.schema.base import Interval
from harness.schema.brief import Economics
from harness.schema.costs import CostLine, EnergyLine
from harness.schema.demand import Demand
from harness.schema.option import Option
from harness.schema.target import Target


def make_option(
    target: Target,
    operating: Operating,
    load: Load,
    work: Work,
    inputs: Economics,
    staff_usd_per_year: float,
    spare: int = 0,
    terms: Terms | None = None,
    usage: Usage | None = None,
    demand: Demand | None = None,
) -> Option:
    """Return `target` (which has a price) sized for the peak of `load` and priced for its year.

    The cost interval comes from the throughput's, since at its upper bound fewer units would do, at
    its lower one more, and from that of the energy. Units are bought for the throughput's value,
    of which planning uses `utilisation_max` only, and `spare` stand by. Where a line of the cost is
    unknown the interval has no upper end.

    `terms` are what the target charges beside its units; an API, which has none, needs them, and
    its cost follows the requests alone. `usage` and `demand` divide the cost among tokens and
    tasks.
    """
    price = target.price
    assert price is not None
    metered = price.kind == "api"
    assert terms is not None or not metered
    sites = 1 if terms is None else terms.sites
    throughput = operating.throughput
    planned = throughput.value
    peak = load.peak * work.per_request

    def units_for(rate: float, unit_throughput: float) -> int:
        if metered:
            return 0
        each = replicas_for(rate / sites, unit_throughput, inputs.utilisation_max)
        return sites * units_bought(each, spare, price)

    replicas = units_for(peak, planned)
    amount = load.requests * work.per_request

    def others(requests: float) -> tuple[CostLine, ...]:
        return () if terms is None else terms.lines(requests)

    def power_for(units_bought: int) -> economics.Power | economics.NoPower:
        if metered:
            return economics.NoPower("the provider of an API does not state its energy")
        share = UnitLoad(load.mean / units_bought, load.peak / units_bought)
        return power_of(operating.series, target.hardware, share, operating.warm)

    def fleet_of(units_bought: int) -> economics.YearlyCost:
        unit = economics.unit_cost(price, inputs, power_for(units_bought))
        lines = others(load.requests)
        return economics.fleet_cost(unit, units_bought, staff_usd_per_year, lines)

    def per_unit(usd_per_year: float) -> float:
        return economics.usd_per_unit(usd_per_year, amount, work.unit_size)

    fleet = fleet_of(replicas)
    busy = economics.fleet_cost(
        economics.unit_cost(price, inputs, power_of(operating.series, target.hardware)),
        replicas,
        staff_usd_per_year,
        others(0.0),
    )
    paid = None if terms is None else terms.per_request
    by_request = 0.0 if paid is None else (paid.usd or 0.0) * work.unit_size / work.per_request

    def at_full(usd_per_year: float, rate: float) -> float:
        served = rate * replicas * economics.SECONDS_PER_YEAR
        return economics.usd_per_unit(usd_per_year, served, work.unit_size) + by_request

    fewest = units_for(peak, throughput.high or throughput.value)
    most = units_for(peak, throughput.low or throughput.value)
    bounded = (bool(throughput.low) or metered) and not fleet.unknown
    cost = Interval(
        value=per_unit(fleet.usd_per_year),
        low=None
        if throughput.high is None and not metered
        else per_unit(fleet_of(fewest).least_usd_per_year),
        high=per_unit(fleet_of(most).most_usd_per_year) if bounded else None,
    )
    at_capacity = cost
    if not metered:
        at_capacity = Interval(
            value=at_full(busy.usd_per_year, throughput.value),
            low=None
            if throughput.high is None
            else at_full(busy.least_usd_per_year, throughput.high),
            high=at_full(busy.most_usd_per_year, throughput.low)
            if throughput.low and bounded
            else None,
        )
    energy = energy_per_request(operating.points, target.hardware)
    lines = energy_lines(power_for(replicas), replicas, price, inputs, target.hardware)
    request = per_request_of(cost, work)
    return Option(
        target=target.name,
        title=target.title,
        tier=target.site.tier,
        region=target.site.region,
        evidence=operating.evidence,
        record=operating.record.id,
        scenario=SIZING_SCENARIO,
        slo_state=operating.slo_state,  # type: ignore[arg-type]
        verdict=operating.verdict,  # type: ignore[arg-type]
        verdict_reasons=operating.reasons,
        throughput=throughput,
        throughput_unit=work.throughput_unit,
        replicas=replicas,
        utilisation=None
        if metered
        else load.mean * work.per_request / (replicas * throughput.value),
        cost_per_year_usd=fleet.usd_per_year,
        cost_per_unit_usd=cost,
        cost_per_unit_full_usd=at_capacity,
        cost_unit=work.cost_unit,
        energy_j_per_request=energy.figure,
        energy_boundary=energy.boundary,
        energy_reason=energy.reason,
        energy_remedy=energy.remedy,
        energy_lines=lines,
        price_source=price.source,
        price_date=price.date,
        load=operating.load,
        slo=operating.slo,
        cost_lines=fleet.lines,
        cost_per_audio_hour_usd=per_audio_hour(cost, work),
        replicas_at_horizon=None
        if metered
        else units_for(load.horizon_peak * work.per_request, planned),
        warnings=_incomplete(fleet)
        + _modelled(fleet, lines)
        + _flagged(energy)
        + (_beyond(target, throughput, load, work) if metered else _small_sample(throughput, work))
        + (() if terms is None else terms.warnings),
        kind="api" if metered else target.site.tier,
        cost_per_1000_requests_usd=economics.scaled(request, 1000),
        cost_per_task_usd=per_task(request, demand),
        token_costs=None if usage is None else token_costs(request, price, usage, operating),
    )


def _incomplete(cost: economics.YearlyCost) -> tuple[str, ...]:
    if not cost.unknown:
        return ()
    names = " and ".join(line.name for line in cost.unknown)
    why = "; ".join(dict.fromkeys(line.basis for line in cost.unknown))
    return (f"the cost of {names} is not in the figures: {why}",)


def _modelled(cost: economics.YearlyCost, lines: Sequence[EnergyLine]) -> tuple[str, ...]:
    """Return that the yearly cost holds a modelled energy, with what it is modelled from."""
    if not any(line.name == "energy" and line.usd_per_year is not None for line in cost.lines):
        return ()
    drawn = next(line for line in lines if line.name == "it_energy")
    return (f"the energy in the cost is not metered: {drawn.basis}",) if drawn.modelled else ()


def _flagged(energy: RequestEnergy) -> tuple[str, ...]:
    flags = ", ".join(flag.replace("_", " ") for flag in energy.flags)
    return (f"the energy of a request is flagged: {flags}",) if flags else ()


def _small_sample(throughput: Interval, work: Work) -> tuple[str, ...]:
    if throughput.low:
        return ()
    return (
        "the throughput has no lower bound, so units are sized with its value "
        f"{units.rate(throughput.value, work.throughput_unit)}",
    )


def _beyond(target: Target, throughput: Interval, load: Load, work: Work) -> tuple[str, ...]:
    """Return where an API's demand goes beyond what was measured of it or what it takes."""
    found = []
    measured = throughput.value / work.per_request
    if load.peak > measured:
        found.append(
            f"the API was measured up to {units.rate(measured, 'requests/s')}, and the busiest "
            f"hour asks for {units.rate(load.peak, 'requests/s')}: its SLO there is not known"
        )
    limit = None if target.price is None else target.price.requests_per_minute_max
    if limit is not None and load.horizon_peak * 60 > limit:
        found.append(
            f"at the horizon the busiest hour asks for {units.count(load.horizon_peak * 60)} "
            f"requests a minute, above the {units.count(limit)} that the provider takes"
        )
    return tuple(found)
