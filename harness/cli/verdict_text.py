"""The answer to a brief in the first lines: per workload what to take, its cost and how sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import units

if TYPE_CHECKING:
    from harness.schema import Decision
    from harness.schema.decision import WorkloadDecision
    from harness.schema.option import Option

LONGEST = 160
"""Characters of a reason here; the whole of it stands below."""


def verdict_lines(decision: Decision) -> list[str]:
    """Return the question, what all choices cost a year, and two lines for each workload.

    They repeat what stands below in full, in the words of the report's first screen.
    """
    from harness.report.answers import total_of
    from harness.report.fleet import yearly

    asked = decision.brief.as_of.isoformat()
    cost = total_of(decision.workloads)
    plan = decision.portfolio
    if plan is not None and plan.usd_per_year is not None:
        cost += f"; as one shared fleet {yearly(plan)}"
    lines = [
        f"{decision.brief.title} (as of {asked}, {units.counted(len(decision.records), 'record')})",
        f"  {cost}",
    ]
    width = max((len(each.workload) for each in decision.workloads), default=0)
    for each in decision.workloads:
        first, *rest = _answer(each)
        lines.append(f"  {each.workload:<{width}}  {first}")
        lines += [f"  {'':<{width}}  {line}" for line in rest]
    if decision.warnings:
        told = units.counted(len(decision.warnings), "warning")
        lines.append(f"  {told} before you sign: on standard error and in the report")
    return lines


def _answer(answer: WorkloadDecision) -> list[str]:
    from harness.mapper.choice import cost_text
    from harness.report.answers import certainty, yearly
    from harness.report.text import clip

    choice = answer.choice
    if choice is None:
        return [f"none: {clip(answer.reason, LONGEST)}"]
    sure = certainty(answer)
    first = (
        f"{choice.target}: {_bought(choice)}, {yearly(choice)} a year, "
        f"{cost_text(choice.cost_per_unit_usd)} per {choice.cost_unit}, SLO {choice.slo_state}"
    )
    return [first, f"{sure.sign} {sure.text}; {_second(choice, answer.runner_up)}"]


def _second(choice: Option, second: Option | None) -> str:
    """Return the runner-up with its cost, or that it costs the same."""
    from harness.report.answers import yearly

    if second is None:
        return "no other target is feasible"
    same = choice.cost_per_year_usd == second.cost_per_year_usd
    cost = "the same cost" if same else f"{yearly(second)} a year"
    return f"runner-up {second.target}: {_bought(second)}, {cost}, SLO {second.slo_state}"


def _bought(option: Option) -> str:
    return "an API" if option.kind == "api" else units.counted(option.replicas, "unit")
