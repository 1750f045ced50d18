"""A feasible target as an option: how many units, at what cost, known how well."""

from __future__ import annotations

from collections.abc import Sequence

from harness import economics, units
from harness.mapper.capacity import Load, Work, replicas_for
from harness.mapper.energy import RequestEnergy, energy_per_request
from harness.mapper.footprint import energy_lines
from harness.mapper.operating import Operating
from harness.mapper.power import UnitLoad, power_of
from harness.mapper.standing import SIZING_SCENARIO
from harness.schema.brief import Economics
from harness.schema.decision import EnergyLine, Interval, Option
from harness.schema.target import Target


def make_option(
    target: Target,
    operating: Operating,
    load: Load,
    work: Work,
    inputs: Economics,
    staff_usd_per_year: float,
    spare: int = 0,
) -> Option:
    """Return `target` (which has a price) sized for the peak of `load` and priced for its year.

    The cost interval comes from the throughput's, since at its upper bound fewer units would do, at
    its lower one more, and from that of the energy. Units are bought for the throughput's value,
    of which planning uses `utilisation_max` only, and `spare` stand by. Where a line of the cost is
    unknown the interval has no upper end.
    """
    price = target.price
    assert price is not None
    throughput = operating.throughput
    planned = throughput.value
    peak = load.peak * work.per_request

    def units_for(rate: float, unit_throughput: float) -> int:
        return replicas_for(rate, unit_throughput, inputs.utilisation_max) + spare

    replicas = units_for(peak, planned)
    amount = load.requests * work.per_request

    def fleet_of(units_bought: int) -> economics.YearlyCost:
        share = UnitLoad(load.mean / units_bought, load.peak / units_bought)
        power = power_of(operating.series, target.hardware, share, operating.warm)
        unit = economics.unit_cost(price, inputs, power)
        return economics.fleet_cost(unit, units_bought, staff_usd_per_year)

    def per_unit(usd_per_year: float) -> float:
        return economics.usd_per_unit(usd_per_year, amount, work.unit_size)

    fleet = fleet_of(replicas)
    busy = economics.fleet_cost(
        economics.unit_cost(price, inputs, power_of(operating.series, target.hardware)),
        replicas,
        staff_usd_per_year,
    )

    def at_full(usd_per_year: float, rate: float) -> float:
        served = rate * replicas * economics.SECONDS_PER_YEAR
        return economics.usd_per_unit(usd_per_year, served, work.unit_size)

    fewest = units_for(peak, throughput.high or throughput.value)
    most = units_for(peak, throughput.low or throughput.value)
    bounded = bool(throughput.low) and not fleet.unknown
    cost = Interval(
        value=per_unit(fleet.usd_per_year),
        low=None if throughput.high is None else per_unit(fleet_of(fewest).least_usd_per_year),
        high=per_unit(fleet_of(most).most_usd_per_year) if bounded else None,
    )
    energy = energy_per_request(operating.points, target.hardware)
    share = UnitLoad(load.mean / replicas, load.peak / replicas)
    power = power_of(operating.series, target.hardware, share, operating.warm)
    lines = energy_lines(power, replicas, price, inputs, target.hardware)
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
        utilisation=load.mean * work.per_request / (replicas * throughput.value),
        cost_per_year_usd=fleet.usd_per_year,
        cost_per_unit_usd=cost,
        cost_per_unit_full_usd=Interval(
            value=at_full(busy.usd_per_year, throughput.value),
            low=None
            if throughput.high is None
            else at_full(busy.least_usd_per_year, throughput.high),
            high=at_full(busy.most_usd_per_year, throughput.low)
            if throughput.low and bounded
            else None,
        ),
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
        cost_per_audio_hour_usd=_per_audio_hour(cost, work),
        replicas_at_horizon=units_for(load.horizon_peak * work.per_request, planned),
        warnings=_incomplete(fleet)
        + _modelled(fleet, lines)
        + _flagged(energy)
        + _small_sample(throughput, work),
    )


def _per_audio_hour(cost: Interval, work: Work) -> Interval | None:
    """Return the cost of an hour of audio from that of `work.unit_size` clips of one length."""
    if work.audio_s is None:
        return None
    factor = 3600 / (work.audio_s * work.unit_size)
    return Interval(
        value=cost.value * factor,
        low=None if cost.low is None else cost.low * factor,
        high=None if cost.high is None else cost.high * factor,
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
