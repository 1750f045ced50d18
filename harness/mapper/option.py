"""A feasible target as an option: how many units, at what cost, known how well."""

from __future__ import annotations

from harness import economics, units
from harness.mapper.capacity import Load, Work, replicas_for, sizing_throughput
from harness.mapper.operating import Operating, energy_per_request, power_of
from harness.mapper.standing import SIZING_SCENARIO
from harness.schema.brief import Economics
from harness.schema.decision import Interval, Option
from harness.schema.target import Target


def make_option(
    target: Target,
    operating: Operating,
    load: Load,
    work: Work,
    inputs: Economics,
    staff_usd_per_year: float,
) -> Option:
    """Return `target` (which has a price) sized for the peak of `load` and priced for its year.

    The cost interval comes from the throughput's: at its upper bound fewer units would do. Units
    are bought for the lower bound, so that the cost is the interval's upper end. Where a line of
    the cost is unknown there is no upper end.
    """
    price = target.price
    assert price is not None
    throughput = operating.throughput
    planned = sizing_throughput(throughput)
    peak = load.peak * work.per_request
    replicas = replicas_for(peak, planned, inputs.utilisation_max)
    power, reason = power_of(operating.points, target.hardware)
    unit = economics.unit_cost(price, inputs, power, reason)
    fleet = economics.fleet_cost(unit, replicas, staff_usd_per_year)
    amount = load.requests * work.per_request

    def at_demand(units_bought: int) -> float:
        cost = economics.fleet_cost(unit, units_bought, staff_usd_per_year).usd_per_year
        return economics.usd_per_unit(cost, amount, work.unit_size)

    def at_full(rate: float) -> float:
        served = rate * replicas * economics.SECONDS_PER_YEAR
        return economics.usd_per_unit(fleet.usd_per_year, served, work.unit_size)

    fewest = replicas_for(peak, throughput.high or throughput.value, inputs.utilisation_max)
    bounded = bool(throughput.low) and not fleet.unknown
    cost = Interval(
        value=at_demand(replicas),
        low=None if throughput.high is None else at_demand(fewest),
        high=at_demand(replicas) if bounded else None,
    )
    energy, boundary, energy_reason = energy_per_request(operating.points, target.hardware)
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
            value=at_full(throughput.value),
            low=None if throughput.high is None else at_full(throughput.high),
            high=at_full(throughput.low) if throughput.low and bounded else None,
        ),
        cost_unit=work.cost_unit,
        energy_j_per_request=energy,
        energy_boundary=boundary,
        energy_reason=energy_reason,
        price_source=price.source,
        price_date=price.date,
        load=operating.load,
        slo=operating.slo,
        cost_lines=fleet.lines,
        cost_per_audio_hour_usd=_per_audio_hour(cost, work),
        replicas_at_horizon=replicas_for(
            load.horizon_peak * work.per_request, planned, inputs.utilisation_max
        ),
        warnings=_incomplete(fleet) + _small_sample(throughput, work),
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


def _small_sample(throughput: Interval, work: Work) -> tuple[str, ...]:
    if throughput.low:
        return ()
    return (
        "the throughput has no lower bound, so units are sized with its value "
        f"{units.rate(throughput.value, work.throughput_unit)}",
    )
