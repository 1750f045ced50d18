"""Everything that an answer rests on beside the measurements, in words, with its source."""

from __future__ import annotations

from collections.abc import Sequence

from harness import units
from harness.mapper.draws import CLASS_SPREAD
from harness.schema.brief import Brief, BriefWorkload, CarbonIntensity
from harness.schema.decision import Assumption, WorkloadDecision
from harness.schema.target import Target
from harness.schema.workload import Demand, Workload

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
        *_of_brief(brief),
        *(item for row in asked for item in _of_demand(brief, *row)),
        *(item for target in targets for item in _of_price(target)),
        *(item for answer in answers for item in _of_power(answer)),
        *(Assumption(name=n, value=v, source="docs/mapper.md") for n, v in METHOD),
    )


def _of_brief(brief: Brief) -> list[Assumption]:
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
    rows += _of_uncertainty(brief)
    if limits.tiers:
        rows.append(("tiers", ", ".join(limits.tiers), source))
    if limits.residency:
        rows.append(("residency", ", ".join(limits.residency), source))
    return [Assumption(name=n, value=v, source=s) for n, v, s in rows]


def _of_uncertainty(brief: Brief) -> list[tuple[str, str, str]]:
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
    }
    return [
        Assumption(
            name=f"{workload.name}: demand",
            value=value,
            source=f"workload {workload.name}"
            if getattr(row.demand, name) is None
            else f"brief {brief.name}",
        )
        for name, value in values.items()
    ]


def _of_price(target: Target) -> list[Assumption]:
    price = target.price
    if price is None:
        return []
    if price.kind == "rent":
        value = f"{units.usd(price.usd_per_hour)} an hour for {price.sale_unit}"
    else:
        value = (
            f"{units.usd(price.purchase_usd)} for {price.sale_unit}, {price.life_years:g} years, "
            f"residual {units.percent(price.residual_share)}, maintenance "
            f"{units.percent(price.maintenance_share_per_year)} a year, colocation "
            f"{units.usd(price.colocation_usd_per_kw_month)} per kW and month"
        )
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
