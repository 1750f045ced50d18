"""Everything that an answer rests on beside the measurements, in words, with its source."""

from __future__ import annotations

from collections.abc import Sequence

from harness import units
from harness.economics import api_rates
from harness.mapper.dependence import taken_as_independent
from harness.mapper.draws import CLASS_SPREAD
from harness.mapper.limits import limit_texts, portfolio_texts
from harness.schema.brief import Brief, BriefWorkload, CarbonIntensity, Economics
from harness.schema.decision import Assumption, WorkloadDecision
from harness.schema.demand import Demand
from harness.schema.target import Target
from harness.schema.workload import Workload

METHOD = (
    ("year", "the first year from the brief's date on; its volume is the mean over the year"),
    (
        "peak",
        "units are sized for the busiest hour of that year: at its end if the volume grows, at its "
        "start if it shrinks",
    ),
    (
        "replicas",
        "peak rate / (throughput at the SLO x the share that may be used), rounded up, and the "
        "spare units; each unit has a queue of its own, which its measured throughput contains",
    ),
    (
        "choice",
        "least expected regret over draws of the inputs, among the targets that keep the SLO",
    ),
    (
        "evidence in the draws",
        "the throughput spreads by a further "
        + ", ".join(f"{units.percent(v)} if {k}" for k, v in CLASS_SPREAD.items() if v),
    ),
    (
        "throughput",
        "that of the highest tested load of the 'server' scenario that keeps the SLO; what lies "
        "between the tested loads is not credited",
    ),
    (
        "energy",
        "no target is chosen for its energy: it counts only by its price, and only where the whole "
        "machine was metered or its host power is declared",
    ),
    ("month", "a month is 730 hours, a year 8,760"),
)
"""What docs/mapper.md explains, as the assumptions of every decision."""


POWER_LINES = {"it_energy": "energy", "embodied_carbon": "embodied carbon"}
"""The energy lines that rest on more than the brief, in words."""


def assumptions(
    brief: Brief,
    asked: Sequence[tuple[BriefWorkload, Workload, Demand]],
    targets: Sequence[Target],
    answers: Sequence[WorkloadDecision],
) -> tuple[Assumption, ...]:
    """Return the inputs of the brief, the demands, the prices of `targets` and the method."""
    return (
        *_of_brief(brief, [demand for _, _, demand in asked]),
        *(item for row in asked for item in _of_demand(brief, *row)),
        *(item for answer in answers for item in _of_answer(answer)),
        *(item for target in targets for item in _of_price(target)),
        *(item for answer in answers for item in _of_power(answer)),
        *(Assumption(name=n, value=v, source="docs/mapper.md") for n, v in METHOD),
    )


def _of_brief(brief: Brief, demands: Sequence[Demand]) -> list[Assumption]:
    source = f"brief {brief.name}"
    money, limits = brief.economics, brief.constraints
    kwh, pue = money.electricity_usd_per_kwh, money.pue
    rows = [
        ("as of", brief.as_of.isoformat(), source),
        ("horizon", f"{money.horizon_years:g} years", source),
        ("discount rate", f"{units.percent(money.discount_rate)} a year", source),
        (
            "utilisation",
            f"at most {units.percent(money.utilisation_max)} of the throughput at the SLO in the "
            "peak hour",
            source,
        ),
        ("electricity", f"{units.usd(kwh.value)} per kWh", f"{kwh.source}, {kwh.date.isoformat()}"),
        ("PUE", units.number(pue.value), f"{pue.source}, {pue.date.isoformat()}"),
        _carbon(money.carbon_intensity),
        (
            "staff",
            f"{units.usd(money.staff_usd_per_year)} a year, shared equally by "
            f"{len(brief.workloads)} workload{'s' if len(brief.workloads) > 1 else ''}",
            source,
        ),
        ("price age", f"at most {limits.max_price_age_days} days", source),
        ("evidence", f"{limits.minimum_evidence} or better", source),
    ]
    rows += [(name, value, source) for name, value in _of_payment(money)]
    rows += _of_uncertainty(brief, demands)
    rows += [(name, value, source) for name, value in limit_texts(limits)]
    if brief.portfolio is not None:
        rows += [
            (f"shared fleet: {name}", value, source)
            for name, value in portfolio_texts(brief.portfolio, limits.spare_units)
        ]
    rows += [
        (
            f"{offer.target}: offered",
            f"{offer.site.tier} in {offer.site.region}, data under {offer.site.jurisdiction}, in "
            "place of what the target declares",
            source,
        )
        for offer in brief.offers
    ]
    return [Assumption(name=n, value=v, source=s) for n, v, s in rows]


def _of_payment(money: Economics) -> list[tuple[str, str]]:
    """Return how rent is paid, what a new stack takes, and how the demand begins.

    What the brief leaves out is told where it stands for something.
    """
    mix, weeks = money.rent_mix, money.integration_weeks_per_stack
    rows = [
        (
            "rent",
            "all on demand"
            if mix is None
            else f"{units.percent(mix.on_demand)} on demand, {units.percent(mix.reserved)} "
            f"reserved, {units.percent(mix.spot)} spot, as far as a price has them",
        ),
        (
            "integration",
            f"{weeks:g} weeks at {units.usd(money.integration_usd_per_week)} for each workload "
            f"on a new stack; known: {', '.join(money.known_stacks) or 'none'}"
            if weeks
            else "not stated, so taking up a new stack costs nothing",
        ),
        (
            "ramp",
            f"the demand grows to its full volume over {money.ramp_months} months"
            if money.ramp_months
            else "none: the full volume from the first month",
        ),
    ]
    if money.egress_bytes_per_request is not None:
        rows.append(("egress", f"{units.data(money.egress_bytes_per_request)} a request"))
    if money.edge_sites > 1:
        sites = units.count(money.edge_sites)
        rows.append(("edge sites", f"{sites}, each with an equal part of the demand"))
    return rows


def _of_uncertainty(brief: Brief, demands: Sequence[Demand]) -> list[tuple[str, str, str]]:
    """Return the spare units and how far each input may be from what is stated."""
    source, spread = f"brief {brief.name}", brief.uncertainty
    spare = brief.constraints.spare_units
    stated = [
        ("price", spread.price, "one factor for each price source"),
        ("volume", spread.volume, "one factor for all targets"),
        ("peak factor", spread.peak_factor, "of its excess over 1"),
        ("growth", spread.growth, "a year, added to the growth"),
        ("electricity", spread.electricity, "one factor for all"),
        ("throughput without a bound", spread.throughput_open, "on the side that has none"),
        ("throughput, unit to unit", spread.unit_to_unit, "one factor for each chip"),
    ]
    if any(demand.result_cache_hit for demand in demands):
        stated.append(("result cache hits", spread.result_cache_hit, "added to their share"))
    if any(demand.batchable_share for demand in demands):
        stated.append(("batchable share", spread.batchable_share, "added to the share"))
    return [
        (
            "spare units",
            f"{units.count(spare)} in every fleet"
            + ("; N + 1 is 'spare_units: 1' in the constraints" if spare == 0 else ""),
            source,
        ),
        *(
            (f"spread of the {name}", f"standard deviation {units.percent(value)}, {how}", source)
            for name, value, how in stated
        ),
        (
            "draws",
            f"{units.count(spread.draws)}, seed {spread.seed}",
            source,
        ),
    ]


def _carbon(intensity: CarbonIntensity | None) -> tuple[str, str, str]:
    """Return what a kWh emits, or that the brief does not say."""
    if intensity is None:
        return ("carbon intensity", "not stated, so no emissions are", "docs/mapper.md")
    return (
        "carbon intensity",
        f"{units.number(intensity.kg_per_kwh)} kgCO2e per kWh, {intensity.method}-based, "
        f"{intensity.kind}, data of {intensity.year}",
        f"{intensity.source}, {intensity.date.isoformat()}"[:2000],
    )


def _of_demand(
    brief: Brief, row: BriefWorkload, workload: Workload, demand: Demand
) -> list[Assumption]:
    """Return the demand of one workload; each figure says whether the brief set it."""
    values = {
        "requests_per_month": f"{units.count(demand.requests_per_month)} requests a month",
        "growth_per_year": f"growth {units.percent(demand.growth_per_year)} a year",
        "peak_factor": f"busiest hour {units.number(demand.peak_factor)} x the mean",
        "residency": f"data in {', '.join(demand.residency) or 'any jurisdiction'}",
        "tiers": f"tiers {', '.join(demand.tiers)}",
        **_demand_texts(demand, workload),
    }
    # What follows from another statement has the source of that one.
    stated_as = {
        "requests_per_month": "tasks_per_month" if demand.tasks_per_month else None,
        "peak_factor": "hourly_profile" if demand.hourly_profile else None,
    }
    return [
        Assumption(
            name=f"{workload.name}: demand",
            value=value,
            source=f"workload {workload.name}"
            if getattr(row.demand, stated_as.get(name) or name) is None
            else f"brief {brief.name}",
        )
        for name, value in values.items()
    ]


def _demand_texts(demand: Demand, workload: Workload) -> dict[str, str]:
    """Return the parts of the demand that may be left out, each by its field."""
    profile, agent, burst = demand.hourly_profile, demand.agent, demand.burst
    texts = {
        "batchable_share": f"{units.percent(demand.batchable_share)} of the requests may wait for "
        "other hours"
        + (", and run at the mean rate of all hours" if demand.batchable_share else ""),
        "result_cache_hit": f"{units.percent(demand.result_cache_hit)} of the requests are "
        "answered from a cache before the fleet",
        "prefix_hit": f"{units.percent(demand.prefix_hit)} of the prompt tokens are in a prefix "
        "cache; no throughput is credited for it",
    }
    if profile is not None:
        texts["hourly_profile"] = f"an hourly profile of {units.count(len(profile))} hours"
    if demand.tasks_per_month is not None:
        texts["tasks_per_month"] = f"{units.count(demand.tasks_per_month)} tasks a month"
    if agent is not None:
        order = "one after another" if agent.order == "sequential" else "at once"
        latencies = (
            "whose latencies are independent of each other"
            if workload.agent is None
            else "whose latencies are those of the tasks that were measured, and where a record "
            "cannot tell them, of calls that are independent of each other"
        )
        texts["agent"] = (
            f"tasks of {units.count(agent.calls_per_task)} calls {order}, {latencies}; calls that "
            "a cache answers count as the others"
        )
    if burst is not None:
        texts["burst"] = (
            f"a burst of {units.number(burst.factor)} times the busiest hour's rate for "
            f"{units.seconds(burst.duration_s)}, as a fluid queue before all units, the spare ones "
            "too, at their throughput at the SLO"
            + (f"; {dependent}" if (dependent := taken_as_independent(workload, demand)) else "")
        )
    return texts


def _of_answer(answer: WorkloadDecision) -> list[Assumption]:
    """Return the utilisation that follows from the demand, and what the levers rest on."""
    found = []
    used = answer.utilisation
    if used is not None and used.low is not None and used.high is not None:
        found.append(
            Assumption(
                name=f"{answer.workload}: utilisation",
                value=f"the units of the choice are used to {units.percent(used.value)} over the "
                f"year ({units.percent(used.low)} to {units.percent(used.high)} in 95 % of the "
                "draws): it follows from volume, profile, spare and throughput",
                source="docs/demand.md",
            )
        )
    found += [
        Assumption(
            name=f"{answer.workload}: lever {lever.kind.replace('_', ' ')}",
            value=text,
            source="docs/demand.md",
        )
        for lever in answer.levers
        for text in lever.assumptions
    ]
    return found


def _of_price(target: Target) -> list[Assumption]:
    price = target.price
    if price is None:
        return []
    if price.kind == "api":
        value = api_rates(price)
        if price.requests_per_minute_max is not None:
            value += f"; at most {units.number(price.requests_per_minute_max)} requests a minute"
    elif price.kind == "rent":
        value = f"{units.usd(price.usd_per_hour)} an hour for {price.sale_unit}"
        if price.reserved_usd_per_hour is not None:
            value += (
                f"; reserved {units.usd(price.reserved_usd_per_hour)} for "
                f"{price.commitment_years:g} years"
            )
        if price.spot_usd_per_hour is not None:
            value += f"; spot {units.usd(price.spot_usd_per_hour)}"
        if price.egress_usd_per_gb is not None:
            value += f"; egress {units.usd(price.egress_usd_per_gb)} per GB"
    else:
        value = (
            f"{units.usd(price.purchase_usd)} for {price.sale_unit}, {price.life_years:g} years, "
            f"residual {units.percent(price.residual_share)}, maintenance "
            f"{units.percent(price.maintenance_share_per_year)} a year, colocation "
            f"{units.usd(price.colocation_usd_per_kw_month)} per kW and month"
        )
    if price.licence_usd_per_year is not None:
        value += f"; licence {units.usd(price.licence_usd_per_year)} a unit and year"
    return [
        Assumption(
            name=f"{target.name}: price",
            value=value,
            source=f"{price.source}, {price.date.isoformat()}"[:2000],
        )
    ]


def _of_power(answer: WorkloadDecision) -> list[Assumption]:
    """Return what the energy of each option was worked out from, and what making it emitted."""
    return [
        Assumption(
            name=f"{option.target}: {words} for {answer.workload}",
            value=line.basis,
            source=f"record {option.record}" if line.name == "it_energy" else option.target,
        )
        for option in answer.options
        for line in option.energy_lines
        if line.figure is not None and (words := POWER_LINES.get(line.name))
    ]
