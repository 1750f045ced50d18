"""Why there is no plan: which limits, each alone or together, would have to give, and how far."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.mapper.portfolio.check import Row, rows
from harness.mapper.portfolio.highs import fleet_from, solve
from harness.mapper.portfolio.problem import Fleet, Limits, Problem
from harness.mapper.portfolio.program import program_of
from harness.schema.portfolio import LimitName

NODES = 5_000
TIME_LIMIT_S = 10.0
BISECTIONS = 8


@dataclass(frozen=True, slots=True)
class Relaxation:
    """Limits that, loosened as far as `broken` says, let a checked fleet in.

    `broken` are the rows of the problem as asked that the fleet does not keep. `least`: the search
    was complete, so that no smaller step would do.
    """

    limits: tuple[LimitName, ...]
    broken: tuple[Row, ...]
    least: bool


def stated(problem: Problem) -> tuple[LimitName, ...]:
    """Return the limits that the problem has."""
    limits = problem.limits
    serving = problem.serves.sum(axis=1)
    has: dict[LimitName, bool] = {
        "budget": limits.budget_usd is not None,
        "yearly_budget": limits.budget_usd_per_year is not None,
        "power": limits.power_kw is not None,
        "stacks": limits.stacks_max is not None,
        "vendor_share": limits.vendor_share_max is not None,
        "second_source": bool(limits.second_source),
        "targets": limits.targets_per_workload_max < int(serving.max(initial=0)),
        "stock": any(unit.stock is not None for unit in problem.units),
    }
    return tuple(name for name, present in has.items() if present)


def relaxations(problem: Problem) -> tuple[Relaxation, ...]:
    """Return each limit that alone would let a plan in, with the least that does.

    If none does, the one set that exceeds the limits least in all, each in its own size. Empty if
    no limit is to blame: then a workload has no target.
    """
    names = stated(problem)
    found = [each for each in (_loosened(problem, (name,)) for name in names) if each is not None]
    if found:
        return tuple(found)
    together = _loosened(problem, names) if len(names) > 1 else None
    return () if together is None else (together,)


def _loosened(problem: Problem, names: tuple[LimitName, ...]) -> Relaxation | None:
    if names == ("vendor_share",):
        return _least_vendor_share(problem)
    program = program_of(problem, loosened=names)
    solved = solve(program, time_limit_s=TIME_LIMIT_S, gap=0.0, nodes=NODES)
    if solved.columns is None:
        return None
    fleet = fleet_from(_without(problem, names), program, solved.columns)
    return None if fleet is None else _judged(problem, fleet, names, solved.proved)


def _least_vendor_share(problem: Problem) -> Relaxation | None:
    """Return the smallest vendor share with a plan, to 1/256 of the way to none being needed."""
    low = problem.limits.vendor_share_max
    assert low is not None
    high, best = 1.0, _at_share(problem, 1.0)
    if best is None:
        return None
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        fleet = _at_share(problem, middle)
        if fleet is None:
            low = middle
        else:
            high, best = middle, fleet
    return _judged(problem, best, ("vendor_share",), proved=False)


def _at_share(problem: Problem, share: float) -> Fleet | None:
    asked = replace(problem, limits=replace(problem.limits, vendor_share_max=share))
    program = program_of(asked)
    solved = solve(program, time_limit_s=TIME_LIMIT_S, gap=0.5, nodes=NODES)
    return None if solved.columns is None else fleet_from(asked, program, solved.columns)


def _judged(
    problem: Problem, fleet: Fleet, names: tuple[LimitName, ...], proved: bool
) -> Relaxation | None:
    """Return the relaxation that `fleet` stands for; None if it breaks more than `names`."""
    broken = tuple(row for row in rows(problem, fleet) if not row.kept)
    blamed = {row.kind for row in broken}
    if not broken or not blamed <= set(names):
        return None
    return Relaxation(tuple(n for n in names if n in blamed), broken, proved)


def _without(problem: Problem, names: tuple[LimitName, ...]) -> Problem:
    """Return the problem without the limits in `names`."""
    old = problem.limits
    limits = Limits(
        budget_usd=None if "budget" in names else old.budget_usd,
        budget_usd_per_year=None if "yearly_budget" in names else old.budget_usd_per_year,
        power_kw=None if "power" in names else old.power_kw,
        stacks_max=None if "stacks" in names else old.stacks_max,
        vendor_share_max=None if "vendor_share" in names else old.vendor_share_max,
        second_source=() if "second_source" in names else old.second_source,
        targets_per_workload_max=len(problem.units)
        if "targets" in names
        else old.targets_per_workload_max,
        share_least=old.share_least,
    )
    units = problem.units
    if "stock" in names:
        units = tuple(replace(unit, stock=None) for unit in units)
    return replace(problem, units=units, limits=limits)
