"""The shared fleet of a decision as text: what to buy, who runs where, and what the limits do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import units
from harness.cli.output import table

if TYPE_CHECKING:
    from harness.schema.portfolio import FleetLimit, PortfolioPlan


def portfolio_text(plan: PortfolioPlan) -> list[str]:
    """Return the lines of `plan`: the verdict, the units, the shares, the limits, the bound."""
    from harness.report.fleet import LEAST_USD
    from harness.report.words import vendor

    lines = ["one fleet for all workloads", f"  {plan.reason}"]
    if plan.left_out:
        lines.append(f"  not in it, for want of a target: {', '.join(plan.left_out)}")
    if plan.usd_per_year is None:
        if plan.relaxations:
            lines += ["", "  what would make a plan possible, each by itself"]
            lines += [
                f"  - {each.text}{'' if each.least else ' (or less)'}" for each in plan.relaxations
            ]
        return [*lines, *_warnings(plan)]
    rows = [
        [
            unit.target,
            vendor(unit.vendor),
            units.count(unit.bought) if unit.bought else "by use",
            units.count(unit.spare),
            units.number(unit.load),
            f"{units.usd(unit.usd_per_year)} a year",
            units.usd(unit.capex_usd),
        ]
        for unit in plan.units
    ]
    header = ["buy", "vendor", "units", "spare", "carry", "units cost", "purchases"]
    lines += ["", *_indented(table(rows, header=header))]
    rows = [
        [each.workload, each.target, units.percent(each.share), units.number(each.load)]
        for each in plan.shares
    ]
    lines += ["", *_indented(table(rows, header=["workload", "runs on", "share", "units' worth"]))]
    lines += ["", f"  cost: {_cost(plan)}"]
    if plan.saving_usd_per_year is not None and plan.own_fleets_usd_per_year is not None:
        saved = plan.saving_usd_per_year
        own = units.usd(plan.own_fleets_usd_per_year)
        turn = f"{units.usd(abs(saved))} a year {'less' if saved > 0 else 'more'} than {own}"
        if abs(saved) < LEAST_USD:
            turn = f"the same as {own} a year"
        lines.append(f"  {turn} for each workload on a fleet of its own")
    lines += [f"  {_limit(limit)}" for limit in plan.limits]
    lines.append(f"  how good: {_gap(plan)}")
    return [*lines, *_warnings(plan)]


def _cost(plan: PortfolioPlan) -> str:
    from harness.report.fleet import yearly

    parts = [
        ("units", plan.units_usd_per_year),
        ("use", plan.use_usd_per_year),
        ("integration", plan.integration_usd_per_year),
        ("staff", plan.staff_usd_per_year),
    ]
    told = [f"{name} {units.usd(usd)}" for name, usd in parts if usd]
    return f"{yearly(plan)} ({', '.join(told)})"


def _limit(limit: FleetLimit) -> str:
    shown = {
        "budget": units.usd,
        "yearly_budget": units.usd,
        "vendor_share": units.percent,
    }.get(limit.limit, units.number)
    verdict = "binds" if limit.binds else "has room"
    return f"limit on {limit.text}: {shown(limit.number)} of {shown(limit.most)}, {verdict}"


def _gap(plan: PortfolioPlan) -> str:
    bound = f"{units.percent(plan.lp_gap_share)} above the bound of the linear relaxation"
    if plan.state == "optimal":
        text = f"proved to be the cheapest; {bound}"
    else:
        text = f"at most {units.percent(plan.gap_share)} above the cheapest possible; {bound}"
    greedy = ""
    if plan.greedy_usd_per_year is not None:
        greedy = f"; the plan without a solver costs {units.usd(plan.greedy_usd_per_year)}"
    return f"{text}; {units.count(plan.checks)} promises checked apart from the solver{greedy}"


def _warnings(plan: PortfolioPlan) -> list[str]:
    return [f"  warning: {text}" for text in plan.warnings]


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]
