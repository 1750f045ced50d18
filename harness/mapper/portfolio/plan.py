"""The shared fleet of a brief as a document: solved, checked, and with what the limits cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from harness import units as text
from harness.errors import SpecError
from harness.mapper.choice import unknown_lines
from harness.mapper.portfolio.check import Row, broken, rows
from harness.mapper.portfolio.market import Market, Offered, market_of, own_fleets_usd
from harness.mapper.portfolio.problem import Fleet, Problem, carried, open_units, yearly_usd
from harness.mapper.portfolio.relaxation import Relaxation, relaxations
from harness.mapper.portfolio.solve import Answer, plan_fleet
from harness.schema.brief import Brief
from harness.schema.portfolio import (
    FleetLimit,
    FleetRelaxation,
    FleetShare,
    FleetUnits,
    Portfolio,
    PortfolioPlan,
)
from harness.schema.target import Target

BINDS = 0.03
"""Room up to which a limit is said to bind, as a share of it."""

SHOWN = ("budget", "yearly_budget", "power", "stacks", "vendor_share", "stock")


def shared_fleet(
    brief: Brief,
    portfolio: Portfolio,
    offered: Sequence[Offered],
    targets: Mapping[str, Target],
) -> PortfolioPlan:
    """Return the cheapest fleet that serves all workloads together, or why there is none.

    SpecError if the portfolio names a workload or target that the brief does not have.
    """
    _check_names(brief, portfolio, targets)
    market = market_of(brief, portfolio, offered, targets)
    if market.problem is None:
        return PortfolioPlan(
            state="infeasible",
            reason="no workload has a target that can serve it",
            left_out=market.left_out,
            warnings=market.warnings,
        )
    answer = plan_fleet(market.problem, time_limit_s=portfolio.time_limit_s)
    if answer.fleet is None:
        return _without_plan(market, market.problem, answer)
    return _planned(market, market.problem, answer, answer.fleet, offered, targets)


def _planned(
    market: Market,
    problem: Problem,
    answer: Answer,
    fleet: Fleet,
    offered: Sequence[Offered],
    targets: Mapping[str, Target],
) -> PortfolioPlan:
    assert not broken(problem, fleet), "a plan that breaks a promise must never be shown"
    bought = open_units(fleet)
    usd = yearly_usd(problem, fleet)
    units_usd = math.fsum(problem.units[j].usd_per_year * int(fleet.units[j]) for j in bought)
    stacks = {problem.units[j].stack for j in bought}
    integration = math.fsum(problem.stack_usd.get(stack, 0.0) for stack in stacks)
    own = own_fleets_usd(problem, offered)
    lines = rows(problem, fleet)
    shares = _shares(problem, fleet)
    served = {(share.workload, share.target) for share in shares}
    used = [
        o
        for each in offered
        for o in each.decision.options
        if (each.decision.workload, o.target) in served
    ]
    open_costs = [
        f"{name}: the cost of {missing} is not known and not in the plan"
        for name in dict.fromkeys(o.target for o in used)
        if (missing := unknown_lines(*(o for o in used if o.target == name)))
    ]
    without = unknown_lines(*used)
    return PortfolioPlan(
        state="optimal" if answer.optimal else "feasible",
        reason=_reason(problem, fleet, answer, usd, without),
        usd_per_year=usd,
        units_usd_per_year=units_usd,
        use_usd_per_year=usd - units_usd - integration - problem.fixed_usd,
        integration_usd_per_year=integration,
        staff_usd_per_year=problem.fixed_usd,
        capex_usd=math.fsum(problem.units[j].capex_usd * int(fleet.units[j]) for j in bought),
        units=_units(problem, fleet, targets),
        shares=shares,
        limits=tuple(_limit(row) for row in lines if row.kind in SHOWN),
        bound_usd_per_year=answer.bound_usd_per_year,
        lp_bound_usd_per_year=answer.lp_bound_usd_per_year,
        gap_share=answer.gap,
        lp_gap_share=answer.lp_gap,
        greedy_usd_per_year=answer.greedy_usd_per_year,
        method=answer.method,
        timed_out=answer.timed_out,
        checks=len(lines),
        own_fleets_usd_per_year=own,
        saving_usd_per_year=own - usd,
        left_out=market.left_out,
        warnings=(*market.warnings, *open_costs, *_stopped(answer)),
        without=without,
    )


def _reason(problem: Problem, fleet: Fleet, answer: Answer, usd: float, without: str) -> str:
    bought = [j for j in open_units(fleet) if not problem.units[j].metered]
    number = sum(int(fleet.units[j]) * problem.units[j].size for j in bought)
    metered = len(open_units(fleet)) - len(bought)
    bare = f"{text.counted(number, 'unit')} of {text.counted(len(bought), 'target')}"
    things = [bare] if bought else []
    things += [text.counted(metered, "API")] if metered else []
    how = (
        "no other plan under these limits is cheaper"
        if answer.optimal
        else f"at most {text.percent(answer.gap)} above the cheapest possible"
    )
    return (
        f"one fleet of {' and '.join(things)} serves "
        f"{text.counted(len(problem.workloads), 'workload')} for {text.usd(usd)} a year"
        f"{f' without {without}' if without else ''}; {how}"
    )


def _units(problem: Problem, fleet: Fleet, targets: Mapping[str, Target]) -> tuple[FleetUnits, ...]:
    load = carried(problem, fleet.shares)
    found = []
    for j in open_units(fleet):
        unit, lots = problem.units[j], int(fleet.units[j])
        found.append(
            FleetUnits(
                target=unit.target,
                title=targets[unit.target].title,
                stack=unit.stack,
                vendor=unit.vendor,
                site=unit.site,
                bought=0 if unit.metered else lots * unit.size,
                spare=0 if unit.metered else round(unit.spare * unit.size),
                load=float(load[j]) * unit.size,
                usd_per_year=unit.usd_per_year * lots,
                capex_usd=unit.capex_usd * lots,
                power_kw=unit.power_kw * lots,
            )
        )
    return tuple(found)


def _shares(problem: Problem, fleet: Fleet) -> tuple[FleetShare, ...]:
    found = []
    for i, j in zip(*np.nonzero(fleet.shares), strict=True):
        unit, share = problem.units[int(j)], float(fleet.shares[i, j])
        found.append(
            FleetShare(
                workload=problem.workloads[int(i)],
                target=unit.target,
                share=min(1.0, share),
                load=share * float(problem.load[i, j]) * unit.size,
            )
        )
    return tuple(found)


def _limit(row: Row) -> FleetLimit:
    return FleetLimit(
        limit=row.kind,  # type: ignore[arg-type]
        text=row.what,
        number=row.number,
        most=row.limit,
        room=row.room,
        binds=row.room <= BINDS,
    )


def _stopped(answer: Answer) -> tuple[str, ...]:
    if not answer.timed_out:
        return ()
    return ("the time limit ended the search: another machine may find another plan",)


def _without_plan(market: Market, problem: Problem, answer: Answer) -> PortfolioPlan:
    found = tuple(_relaxation(each) for each in relaxations(problem))
    if answer.infeasible:
        why = "no fleet can keep all limits"
    else:
        why = "no plan was found in the time given, which does not prove that there is none"
    ways = "; or ".join(each.text for each in found)
    return PortfolioPlan(
        state="infeasible" if answer.infeasible else "none_found",
        reason=(f"{why}; a plan needs {ways}" if found else why)[:2000],
        bound_usd_per_year=answer.bound_usd_per_year,
        lp_bound_usd_per_year=answer.lp_bound_usd_per_year,
        timed_out=answer.timed_out,
        relaxations=found,
        left_out=market.left_out,
        warnings=(*market.warnings, *_stopped(answer)),
    )


def _relaxation(relaxation: Relaxation) -> FleetRelaxation:
    needed = tuple(_needed(row) for row in relaxation.broken)
    parts = [_wording(row, need) for row, need in zip(relaxation.broken, needed, strict=True)]
    return FleetRelaxation(
        limits=relaxation.limits,
        text=" and ".join(parts),
        present=tuple(row.limit for row in relaxation.broken),
        needed=needed,
        least=relaxation.least,
    )


def _needed(row: Row) -> float:
    """Return the limit that lets the fleet in, rounded up so that it still does when typed."""
    if row.kind in ("budget", "yearly_budget"):
        return float(math.ceil(row.number))
    if row.kind in ("power", "vendor_share"):
        return math.ceil(row.number * 1000) / 1000
    return row.number


def _wording(row: Row, needed: float) -> str:
    if row.kind == "budget":
        return f"{text.usd(needed)} for purchases instead of {text.usd(row.limit)}"
    if row.kind == "yearly_budget":
        return f"{text.usd(needed)} a year instead of {text.usd(row.limit)}"
    if row.kind == "power":
        return f"{needed:,.3f} {row.what} instead of {text.number(row.limit)}"
    if row.kind == "vendor_share":
        return f"a {row.what} of {needed:.1%} instead of {text.percent(row.limit)}"
    if row.kind == "second_source":
        return f"one vendor to be enough for {row.what.removeprefix('vendors of ')}"
    return f"{text.count(needed)} {row.what} instead of {text.count(row.limit)}"


def _check_names(brief: Brief, portfolio: Portfolio, targets: Mapping[str, Target]) -> None:
    asked = [row.workload for row in brief.workloads]
    for field, names, known in (
        ("second_source", portfolio.second_source, asked),
        ("stock", tuple(each.target for each in portfolio.stock), sorted(targets)),
    ):
        missing = [name for name in names if name not in known]
        if missing:
            raise SpecError(
                f"brief {brief.name}: portfolio.{field} names {', '.join(missing)}, which the "
                "brief does not have",
                hint=f"there are: {', '.join(known) or 'none'}",
            )
