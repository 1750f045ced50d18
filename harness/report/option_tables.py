"""Tables of the decision: what each target would cost for each workload, or why it is ruled out."""

from __future__ import annotations

from collections.abc import Sequence

from harness.mapper.choice import unknown_lines
from harness.mapper.energy import boundary_text
from harness.report import energy, words
from harness.report.tables import Cell, Kind, Table, joined, spread, spread_columns, table
from harness.report.view import Row, WorkloadView
from harness.schema.decision import WorkloadDecision
from harness.schema.option import Option
from harness.schema.record import EnergyReading
from harness.schema.rejection import Rejection

PLACE: tuple[tuple[str, Kind, str], ...] = (
    ("workload", "text", "The workload's name."),
    ("workload_title", "text", "The workload's title."),
    ("target", "text", "The target's name."),
    ("target_title", "text", "The target's title."),
)
RULE: tuple[tuple[str, Kind, str], ...] = (
    ("rule", "text", "The rule that speaks against the target; empty: none does."),
    ("rule_number", "number", "What the rule is about, in `rule_unit`."),
    ("rule_limit", "number", "The rule's limit, in `rule_unit`."),
    ("rule_margin", "number", "(limit - number) / limit; negative: the share it misses by."),
    ("rule_unit", "text", "Unit of number and limit."),
    ("rule_text", "text", "The rule in words."),
    ("rule_remedy", "text", "What may change it."),
)
OPTIONS: tuple[tuple[str, Kind, str], ...] = (
    *PLACE,
    ("standing", "text", "chosen, runner_up, feasible or excluded."),
    ("feasible", "flag", "Whether no rule speaks against the target, cost aside."),
    *RULE,
    ("rules", "count", "How many rules speak against it; `rejections` has them all."),
    ("evidence", "text", "measured, imported, projected or claimed; empty: there are no figures."),
    ("validity", "text", "valid, noisy or invalid; failed, unsupported or not measured."),
    ("validity_reasons", "text", "Why it is not simply valid."),
    ("slo_state", "text", "met, unproven or missed."),
    ("record", "text", "The record that stands for the target."),
    ("scenario", "text", "The traffic of that record."),
    ("load", "number", "Share of the back-to-back rate at which the SLO is kept."),
    *spread_columns("throughput", "Throughput within the SLO, in `throughput_unit`."),
    ("throughput_unit", "text", "Unit of the throughput."),
    ("replicas", "count", "Units to buy or rent."),
    ("replicas_at_horizon", "count", "Units at the end of the plan."),
    ("utilisation", "number", "Mean demand over what the units can serve, a share."),
    ("cost_usd_per_year", "number", "Cost of the first year."),
    *spread_columns("cost_usd_per_unit", "Cost of `cost_unit` at the buyer's demand."),
    *spread_columns("cost_usd_per_unit_full", "Cost of `cost_unit` at full use."),
    ("cost_unit", "text", "What the cost is for."),
    ("cost_without", "text", "Costs that are not known and not in the figures."),
    ("cost_energy_modelled", "flag", "Whether the energy in the cost is modelled, not metered."),
    ("no_figures", "text", "Why throughput, replicas and cost are empty."),
    *spread_columns("energy_j_per_request", "Energy of a request within `energy_boundary`."),
    ("energy_boundary", "text", "What the energy includes: chip, package, node, wall."),
    ("energy_provenance", "text", "counter, sampled, external or modelled."),
    ("energy_modelled", "flag", "Whether the energy is modelled or simulated."),
    ("energy_reason", "text", "Why the energy is empty."),
    ("energy_remedy", "text", "What would give it."),
    ("p_best", "number", "Share of the draws in which no other option costs less."),
    ("regret_usd_per_year", "number", "Expected cost above the cheapest of each draw."),
    ("price_source", "text", "Where the price comes from."),
    ("price_date", "text", "Day of the price."),
    ("warnings", "text", "What the figures leave out."),
)
REJECTIONS = (*PLACE, ("order", "count", "1 for the rule that is named first."), *RULE)
COSTS: tuple[tuple[str, Kind, str], ...] = (
    *PLACE,
    ("standing", "text", "chosen, runner_up or feasible."),
    ("line", "text", "rent, capital, maintenance, colocation, energy or staff; or of the year."),
    ("unit", "text", "Unit of the figure, a year of the fleet."),
    *spread_columns("figure", "The figure."),
    ("modelled", "flag", "Whether it rests on a declared power, not on a meter alone."),
    ("basis", "text", "The assumptions, or why the figure is empty."),
    ("remedy", "text", "What would give it."),
)


def option_tables(views: Sequence[WorkloadView]) -> tuple[Table, ...]:
    """Return `options`, `rejections` and `fleet_year`, in the order of the report."""
    pairs = [(view.decision, row) for view in views for row in view.rows]
    return (
        table("options", OPTIONS, [_option(decision, row) for decision, row in pairs]),
        table(
            "rejections",
            REJECTIONS,
            [
                {**_place(decision, row), "order": order, **_rule(rejection)}
                for decision, row in pairs
                for order, rejection in enumerate(row.outcome.rejections, start=1)
            ],
        ),
        table("fleet_year", COSTS, [c for decision, row in pairs for c in _year(decision, row)]),
    )


def cost_is_modelled(option: Option) -> bool:
    """Return whether the cost of `option` holds the price of an energy that no meter read."""
    priced = any(c.name == "energy" and c.usd_per_year is not None for c in option.cost_lines)
    return priced and any(e.name == "it_energy" and e.modelled for e in option.energy_lines)


def _place(decision: WorkloadDecision, row: Row) -> dict[str, Cell]:
    return {
        "workload": decision.workload,
        "workload_title": decision.title,
        "target": row.outcome.target,
        "target_title": row.title,
    }


def _rule(rejection: Rejection | None) -> dict[str, Cell]:
    return {
        "rule": None if rejection is None else rejection.rule,
        "rule_number": None if rejection is None else rejection.number,
        "rule_limit": None if rejection is None else rejection.limit,
        "rule_margin": None if rejection is None else rejection.margin,
        "rule_unit": None if rejection is None else rejection.unit,
        "rule_text": None if rejection is None else rejection.text,
        "rule_remedy": None if rejection is None else rejection.remedy,
    }


def _option(decision: WorkloadDecision, row: Row) -> dict[str, Cell]:
    rejections = row.outcome.rejections
    return {
        **_place(decision, row),
        "standing": row.standing,
        "feasible": row.outcome.feasible,
        **_rule(rejections[0] if rejections else None),
        "rules": len(rejections),
        **_known(row),
        **_figures(row),
        **_energy(row),
        **_odds(decision, row),
        "price_source": None if row.option is None else row.option.price_source,
        "price_date": None if row.option is None else row.option.price_date.isoformat(),
        "warnings": None if row.option is None else joined(row.option.warnings),
    }


def _known(row: Row) -> dict[str, Cell]:
    """Return how the figures are known: the option's own word, else that of the record."""
    option, record = row.option, row.record
    if option is not None:
        return {
            "evidence": option.evidence,
            "validity": option.verdict,
            "validity_reasons": joined(option.verdict_reasons),
            "slo_state": option.slo_state,
            "record": option.record,
            "scenario": option.scenario,
            "load": option.load,
        }
    reasons = [] if record is None else [reason.text for reason in record.verdict.reasons]
    if record is not None and record.failure is not None:
        reasons.append(record.failure.message)
    return {
        "evidence": record.evidence if record is not None and record.status == "ok" else None,
        "validity": row.doubt,
        "validity_reasons": joined(reasons),
        "slo_state": None if row.point is None else row.point.slo_state,
        "record": None if record is None else record.id,
        "scenario": None if record is None else record.cell.scenario.kind,
        "load": None if row.point is None else row.point.load,
    }


def _figures(row: Row) -> dict[str, Cell]:
    option = row.option
    why = None
    if option is None:
        why = joined([words.rule(rejection.rule) for rejection in row.outcome.rejections])
        why = f"excluded: {why or 'no reason given'}"
    return {
        **spread("throughput", None if option is None else option.throughput),
        "throughput_unit": None if option is None else option.throughput_unit,
        "replicas": None if option is None else option.replicas,
        "replicas_at_horizon": None if option is None else option.replicas_at_horizon,
        "utilisation": None if option is None else option.utilisation,
        "cost_usd_per_year": None if option is None else option.cost_per_year_usd,
        **spread("cost_usd_per_unit", None if option is None else option.cost_per_unit_usd),
        **spread(
            "cost_usd_per_unit_full", None if option is None else option.cost_per_unit_full_usd
        ),
        "cost_unit": None if option is None else option.cost_unit,
        "cost_without": None if option is None else unknown_lines(option),
        "cost_energy_modelled": None if option is None else cost_is_modelled(option),
        "no_figures": why,
    }


def _energy(row: Row) -> dict[str, Cell]:
    option = row.option
    figure = None if option is None else option.energy_j_per_request
    known = option is not None and figure is not None
    reason = None if known else "the target is no option" if option is None else "no reason given"
    return {
        **spread("energy_j_per_request", figure),
        "energy_boundary": energy.boundary(option) if option is not None and known else None,
        "energy_provenance": _provenance(row) if known else None,
        "energy_modelled": energy.is_modelled(option) if option is not None and known else None,
        "energy_reason": reason if option is None or known else option.energy_reason or reason,
        "energy_remedy": None if option is None else option.energy_remedy,
    }


def _provenance(row: Row) -> str:
    """Return how the readings behind the option's energy were taken."""
    option = row.option
    assert option is not None
    readings: list[EnergyReading] = [
        reading
        for record, point in row.operations
        if record.cell.scenario.kind == option.scenario and point.load == option.load
        for reading in point.energy
        if reading.joules is not None and boundary_text(reading) == option.energy_boundary
    ]
    found = sorted({f"{reading.provenance}" for reading in readings})
    return joined(found) or "not stated"


def _odds(decision: WorkloadDecision, row: Row) -> dict[str, Cell]:
    odds = () if decision.confidence is None else decision.confidence.odds
    own = next((each for each in odds if each.target == row.outcome.target), None)
    return {
        "p_best": None if own is None else own.p_best,
        "regret_usd_per_year": None if own is None else own.regret_usd_per_year,
    }


def _year(decision: WorkloadDecision, row: Row) -> list[dict[str, Cell]]:
    """Return a year of the option's fleet: its costs, then its energy and emissions."""
    if row.option is None:
        return []
    head = {**_place(decision, row), "standing": row.standing}
    rows: list[dict[str, Cell]] = [
        {
            **head,
            "line": line.name,
            "unit": "USD",
            "figure": line.usd_per_year,
            "figure_low": line.low_usd_per_year,
            "figure_high": line.high_usd_per_year,
            "modelled": line.name == "energy" and cost_is_modelled(row.option),
            "basis": line.basis,
            "remedy": None,
        }
        for line in row.option.cost_lines
    ]
    rows += [
        {
            **head,
            "line": each.name,
            "unit": each.unit,
            **spread("figure", each.figure),
            "modelled": each.modelled,
            "basis": each.basis,
            "remedy": each.remedy,
        }
        for each in row.option.energy_lines
    ]
    return rows
