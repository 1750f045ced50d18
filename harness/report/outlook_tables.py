"""Tables of what stands beside the choice: unit costs, years, break-evens, front, levers, tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report.option_tables import PLACE
from harness.report.tables import Cell, Kind, Table, joined, spread, spread_columns, table
from harness.report.view import Row, WorkloadView
from harness.schema.decision import WorkloadDecision
from harness.schema.option import Option
from harness.schema.rejection import Change, Relaxation

OF: tuple[tuple[str, Kind, str], ...] = PLACE[:2]
HOW: tuple[tuple[str, Kind, str], ...] = (
    ("standing", "text", "chosen, runner_up or feasible."),
    ("evidence", "text", "measured, imported, projected or claimed."),
    ("validity", "text", "valid or noisy."),
)
UNIT_COSTS: tuple[tuple[str, Kind, str], ...] = (
    *PLACE,
    *HOW,
    ("kind", "text", "api, cloud, on_premises or edge; empty: not told."),
    *spread_columns("usd_per_million_tokens", "Cost of a million tokens of prompts and answers."),
    *spread_columns("usd_per_million_input_tokens", "Cost of a million tokens of prompts."),
    *spread_columns("usd_per_million_cached_input_tokens", "Of prompts that a cache held."),
    *spread_columns("usd_per_million_output_tokens", "Cost of a million tokens of answers."),
    ("prefill_share", "number", "Share of a fleet's cost that the prompts bear."),
    ("basis", "text", "How the cost divides, or why it does not."),
    *spread_columns("usd_per_1000_requests", "Cost of a thousand requests."),
    *spread_columns("usd_per_task", "Cost of a task of several calls."),
    ("price_age_days", "count", "Age of the price on the brief's day."),
    ("price_age_limit_days", "count", "How old it may be."),
    ("price_age_state", "text", "current, stale or younger_than_the_brief."),
)
TCO: tuple[tuple[str, Kind, str], ...] = (
    *PLACE,
    *HOW,
    ("months", "count", "The horizon."),
    *spread_columns("usd", "Total cost of ownership, as worth on the first day."),
    ("purchases_usd", "number", "Purchases less the old units' proceeds."),
    ("running_usd", "number", "Running cost."),
    ("integration_usd", "number", "Taking up new stacks."),
    ("left_usd", "number", "What is left at the end, and is taken off."),
    ("basis", "text", "How it is discounted."),
)
BILL: tuple[tuple[str, Kind, str], ...] = (
    *PLACE,
    *HOW,
    ("month", "count", "The month, from 1."),
    ("requests", "number", "Requests in the month."),
    ("units", "count", "Units that run; 0: paid as used."),
    *spread_columns("usd", "Running cost of the month, undiscounted, without purchases."),
    ("once_usd", "number", "Bought or taken up at its start; empty: nothing."),
)
BREAK_EVENS: tuple[tuple[str, Kind, str], ...] = (
    *OF,
    ("first_kind", "text", "The kind that asks for less to be owned."),
    ("second_kind", "text", "The kind that it is compared with."),
    ("first_target", "text", "The best option of the first kind."),
    ("second_target", "text", "The best option of the second kind."),
    ("order", "count", "1 for the lowest crossing; empty: there is none."),
    ("requests_per_month", "number", "The volume at which both cost the same."),
    ("utilisation", "number", "How busy the units of the second are there, a share."),
    ("cheaper_above", "text", "The target that is cheaper above it."),
    *spread_columns("first_requests_per_month", "The first crossing over the draws."),
    *spread_columns("last_requests_per_month", "The last crossing over the draws."),
    *spread_columns("last_utilisation", "Utilisation at the last crossing over the draws."),
    ("drawn", "number", "Share of the draws that have a crossing."),
    ("always", "text", "No crossing: what costs less wherever the two differ; empty: none does."),
    ("span_low", "number", "The lowest volume looked at, requests a month."),
    ("span_high", "number", "The highest."),
    ("rule_of_thumb", "text", "What is said without computing."),
    ("text", "text", "It in words."),
)
PARETO: tuple[tuple[str, Kind, str], ...] = (
    *PLACE,
    *HOW,
    ("axis", "text", "cost, latency, energy or lead_time."),
    ("unit", "text", "Unit of the figure; less is better."),
    *spread_columns("figure", "The figure."),
    ("basis", "text", "What it is measured by."),
    ("reason", "text", "Why the figure is empty."),
    ("on_front", "flag", "Whether no other option dominates the target."),
    ("dominated_by", "text", "The options that do."),
)
LEVERS: tuple[tuple[str, Kind, str], ...] = (
    *OF,
    ("lever", "text", "The kind of change."),
    ("what", "text", "What is changed."),
    ("today_usd_per_year", "number", "Yearly cost of the choice."),
    ("usd_per_year", "number", "Yearly cost with the lever."),
    ("change", "number", "Their ratio - 1."),
    ("target", "text", "The target that the cost is of."),
    ("units", "count", "Its units."),
    ("evidence", "text", "measured or projected; empty: there is no figure."),
    ("formula", "text", "How it is computed."),
    ("assumptions", "text", "What is assumed."),
    ("quality", "text", "What is known of the quality."),
    ("needs", "text", "What has to be done or shown first."),
    ("records", "text", "The records that it rests on."),
    ("reason", "text", "Why there is no figure."),
)
RELAXATIONS: tuple[tuple[str, Kind, str], ...] = (
    *PLACE,
    ("scope", "text", "rule: for that rule alone; target: lets it in; answer: gives a choice."),
    ("rule", "text", "The rule, or several."),
    ("fields", "text", "The fields to change, of the brief, the workload or the target."),
    ("present", "text", "Their values now."),
    ("needed", "text", "The values that they need."),
    ("exact", "flag", "Whether nothing else is needed; else it must be measured first."),
    ("share", "number", "The largest change over the present value."),
    ("usd_per_year", "number", "What the target then costs."),
    ("text", "text", "It in words."),
)
TASKS: tuple[tuple[str, Kind, str], ...] = (
    *PLACE,
    *HOW,
    ("calls_per_task", "count", "Calls of the model in a task."),
    ("order", "text", "sequential or parallel."),
    ("figure", "text", "mean, or the percentile as in p95."),
    ("latency_s", "number", "Latency of a task; calculated from that of calls."),
    ("latency_s_high", "number", "Its 95 % upper bound."),
    ("needed", "count", "Independent calls that the percentile needs."),
    ("n_eff", "number", "Independent calls that were measured."),
    ("slo_state", "text", "Whether the promise on tasks is met; empty: none was asked for."),
    ("reason", "text", "Why the latency is empty."),
    ("basis", "text", "How it is calculated."),
)
BURSTS: tuple[tuple[str, Kind, str], ...] = (
    *OF,
    ("target", "text", "The choice."),
    ("factor", "number", "The burst's rate over that of the peak."),
    ("duration_s", "number", "How long it lasts."),
    ("requests_per_s", "number", "The rate in it."),
    ("carried_requests_per_s", "number", "What the fleet serves at the SLO."),
    ("units", "count", "Units of the choice."),
    ("units_needed", "count", "Units that would keep the SLO throughout."),
    ("units_needed_low_throughput", "count", "The same at the throughput's lower bound."),
    ("kept", "flag", "Whether the SLO is kept throughout."),
    ("queued", "number", "Requests in the queue at the end."),
    ("longest_wait_s", "number", "Wait of the last of them."),
    ("timed_out", "number", "Requests given up; empty: there is no deadline."),
    ("drained_s", "number", "Until the queue is gone after the burst; empty: never."),
    ("text", "text", "It in words; by formula, not measured."),
)


def outlook_tables(views: Sequence[WorkloadView]) -> tuple[Table, ...]:
    """Return the tables; one whose part the decision does not have is empty."""
    options = [(v.decision, row, row.option) for v in views for row in v.rows if row.option]
    decisions = [view.decision for view in views]
    return (
        table("unit_costs", UNIT_COSTS, [_unit_costs(*each) for each in options]),
        table("tco", TCO, [row for each in options for row in _tco(*each)]),
        table("bill", BILL, [row for each in options for row in _bill(*each)]),
        table("break_evens", BREAK_EVENS, [row for d in decisions for row in _break_evens(d)]),
        table("pareto", PARETO, [row for view in views for row in _pareto(view)]),
        table("levers", LEVERS, [row for each in decisions for row in _levers(each)]),
        table("relaxations", RELAXATIONS, [r for view in views for r in _relaxations(view)]),
        table("tasks", TASKS, [row for each in options for row in _tasks(*each)]),
        table("bursts", BURSTS, [row for each in decisions for row in _burst(each)]),
    )


def _of(decision: WorkloadDecision) -> dict[str, Cell]:
    return {"workload": decision.workload, "workload_title": decision.title}


def _place(decision: WorkloadDecision, row: Row) -> dict[str, Cell]:
    return {**_of(decision), "target": row.outcome.target, "target_title": row.title}


def _head(decision: WorkloadDecision, row: Row, option: Option) -> dict[str, Cell]:
    return {
        **_place(decision, row),
        "standing": row.standing,
        "evidence": option.evidence,
        "validity": option.verdict,
    }


def _unit_costs(decision: WorkloadDecision, row: Row, option: Option) -> dict[str, Cell]:
    tokens, age = option.token_costs, option.price_age
    return {
        **_head(decision, row, option),
        "kind": option.kind,
        **spread("usd_per_million_tokens", None if tokens is None else tokens.blended),
        **spread("usd_per_million_input_tokens", None if tokens is None else tokens.input),
        **spread(
            "usd_per_million_cached_input_tokens", None if tokens is None else tokens.cached_input
        ),
        **spread("usd_per_million_output_tokens", None if tokens is None else tokens.output),
        "prefill_share": None if tokens is None else tokens.prefill_share,
        "basis": None if tokens is None else tokens.basis,
        **spread("usd_per_1000_requests", option.cost_per_1000_requests_usd),
        **spread("usd_per_task", option.cost_per_task_usd),
        "price_age_days": None if age is None else age.days,
        "price_age_limit_days": None if age is None else age.limit_days,
        "price_age_state": None if age is None else age.state,
    }


def _tco(decision: WorkloadDecision, row: Row, option: Option) -> Iterator[dict[str, Cell]]:
    found = option.tco
    if found is not None:
        yield {
            **_head(decision, row, option),
            "months": found.months,
            **spread("usd", found.usd),
            "purchases_usd": found.purchases_usd,
            "running_usd": found.running_usd,
            "integration_usd": found.integration_usd,
            "left_usd": found.left_usd,
            "basis": found.basis,
        }


def _bill(decision: WorkloadDecision, row: Row, option: Option) -> Iterator[dict[str, Cell]]:
    for month in option.bill:
        yield {
            **_head(decision, row, option),
            "month": month.month,
            "requests": month.requests,
            "units": month.units,
            **spread("usd", month.usd),
            "once_usd": month.once_usd,
        }


def _break_evens(decision: WorkloadDecision) -> Iterator[dict[str, Cell]]:
    for pair in decision.break_evens:
        for order, crossing in enumerate(pair.crossings or (None,), start=1):
            yield {
                **_of(decision),
                "first_kind": pair.kinds[0],
                "second_kind": pair.kinds[1],
                "first_target": pair.targets[0],
                "second_target": pair.targets[1],
                "order": None if crossing is None else order,
                "requests_per_month": None if crossing is None else crossing.requests_per_month,
                "utilisation": None if crossing is None else crossing.utilisation,
                "cheaper_above": None if crossing is None else crossing.cheaper_above,
                **spread("first_requests_per_month", pair.first),
                **spread("last_requests_per_month", pair.last),
                **spread("last_utilisation", pair.utilisation),
                "drawn": pair.drawn,
                "always": pair.always,
                "span_low": pair.span[0],
                "span_high": pair.span[1],
                "rule_of_thumb": pair.rule_of_thumb,
                "text": pair.text,
            }


def _pareto(view: WorkloadView) -> Iterator[dict[str, Cell]]:
    rows = {row.outcome.target: row for row in view.rows}
    for point in view.decision.pareto:
        row = rows.get(point.target)
        if row is None or row.option is None:
            continue
        for axis in point.axes:
            yield {
                **_head(view.decision, row, row.option),
                "axis": axis.name,
                "unit": axis.unit,
                **spread("figure", axis.figure),
                "basis": axis.basis,
                "reason": axis.reason,
                "on_front": point.on_front,
                "dominated_by": joined(point.dominated_by),
            }


def _levers(decision: WorkloadDecision) -> Iterator[dict[str, Cell]]:
    for lever in decision.levers:
        yield {
            **_of(decision),
            "lever": lever.kind,
            "what": lever.what,
            "today_usd_per_year": lever.today_usd_per_year,
            "usd_per_year": lever.usd_per_year,
            "change": lever.change,
            "target": lever.target,
            "units": lever.units,
            "evidence": lever.evidence,
            "formula": lever.formula,
            "assumptions": joined(lever.assumptions),
            "quality": joined(lever.quality),
            "needs": joined(lever.needs),
            "records": joined(lever.records),
            "reason": lever.reason,
        }


def _relaxations(view: WorkloadView) -> Iterator[dict[str, Cell]]:
    titles = {row.outcome.target: row for row in view.rows}
    for row in view.rows:
        for rejection in row.outcome.rejections:
            if rejection.relaxation is not None:
                yield _relaxation(view.decision, row, "rule", rejection.relaxation)
        if row.outcome.nearest is not None:
            yield _relaxation(view.decision, row, "target", row.outcome.nearest)
    for each in view.decision.relaxations:
        if each.of in titles:
            yield _relaxation(view.decision, titles[each.of], "answer", each)


def _relaxation(
    decision: WorkloadDecision, row: Row, scope: str, found: Relaxation
) -> dict[str, Cell]:
    return {
        **_place(decision, row),
        "scope": scope,
        "rule": found.rule,
        "fields": "; ".join(change.field for change in found.changes),
        "present": "; ".join(_value(change, "present") for change in found.changes),
        "needed": "; ".join(_value(change, "needed") for change in found.changes),
        "exact": found.exact,
        "share": found.share,
        "usd_per_year": found.usd_per_year,
        "text": found.text,
    }


def _value(change: Change, side: str) -> str:
    """Return a value of any kind as text, which reads back to the same; a list with commas."""
    value = change.present if side == "present" else change.needed
    if value is None:
        return "none"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _tasks(decision: WorkloadDecision, row: Row, option: Option) -> Iterator[dict[str, Cell]]:
    task = option.task
    if task is None:
        return
    head = {
        **_head(decision, row, option),
        "calls_per_task": task.calls_per_task,
        "order": task.order,
    }
    tail: dict[str, Cell] = {"n_eff": task.n_eff, "slo_state": task.state}
    yield {
        **head,
        "figure": "mean",
        "latency_s": task.mean_s,
        "latency_s_high": None,
        "needed": None,
        **tail,
        "reason": None,
        "basis": task.basis,
    }
    for each in task.quantiles:
        yield {
            **head,
            "figure": f"p{each.percentile:g}",
            "latency_s": each.value_s,
            "latency_s_high": each.high_s,
            "needed": each.needed,
            **tail,
            "reason": each.reason,
            "basis": task.basis,
        }


def _burst(decision: WorkloadDecision) -> Iterator[dict[str, Cell]]:
    found = decision.burst
    if found is not None:
        yield {
            **_of(decision),
            "target": None if decision.choice is None else decision.choice.target,
            "factor": found.factor,
            "duration_s": found.duration_s,
            "requests_per_s": found.rate,
            "carried_requests_per_s": found.carried,
            "units": found.units,
            "units_needed": found.units_needed,
            "units_needed_low_throughput": found.units_needed_low_throughput,
            "kept": found.kept,
            "queued": found.queued,
            "longest_wait_s": found.longest_wait_s,
            "timed_out": found.timed_out,
            "drained_s": found.drained_s,
            "text": found.text,
        }
