"""Runs a program in HiGHS through scipy, and turns its columns into a fleet."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from harness.mapper.portfolio.check import broken
from harness.mapper.portfolio.problem import Fleet, FloatArray, IntArray, Problem, fleet_of
from harness.mapper.portfolio.program import Program

INFEASIBLE = 2
"""What scipy calls a program without a solution."""

NODES = 20_000
"""Branch-and-bound nodes at most: a limit that, unlike time, gives the same answer anywhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """The linear relaxation: its bound (in `Program.scale`), columns, and prices of its rows."""

    bound: float
    columns: FloatArray
    prices: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """What a solve gave. `columns` is None without a solution, `bound` in `Program.scale`."""

    columns: FloatArray | None
    bound: float
    infeasible: bool
    proved: bool
    timed_out: bool


def relax(program: Program) -> Relaxed | None:
    """Return the linear relaxation, or None if even that has no solution.

    Where the solver gives up, which proves nothing, the bound is -inf.
    """
    from scipy.optimize import linprog

    finite_high, finite_low = np.isfinite(program.upper), np.isfinite(program.lower)
    equal = finite_high & finite_low & (program.upper == program.lower)
    high, low = finite_high & ~equal, finite_low & ~equal
    from scipy.sparse import vstack

    found = linprog(
        program.cost,
        A_ub=vstack([program.rows[high], -program.rows[low]], format="csr"),
        b_ub=np.concatenate([program.upper[high], -program.lower[low]]),
        A_eq=program.rows[equal],
        b_eq=program.upper[equal],
        bounds=np.column_stack([program.least, program.most]),
        method="highs-ds",
    )
    if found.status == INFEASIBLE:
        return None
    if found.status != 0:
        return Relaxed(-np.inf, np.zeros(len(program.cost)), np.zeros(len(program.upper)))
    prices = np.zeros(len(program.upper))
    prices[high] = found.ineqlin.marginals[: int(high.sum())]
    return Relaxed(float(found.fun), np.asarray(found.x), prices)


def solve(
    program: Program, *, time_limit_s: float, gap: float, nodes: int = NODES, cutoff: float = np.inf
) -> Solved:
    """Return the best solution within the limits; `gap` is relative, `cutoff` in the cost."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    rules = [LinearConstraint(program.rows, program.lower, program.upper)]
    if np.isfinite(cutoff):
        rules.append(LinearConstraint(program.cost[None, :], -np.inf, cutoff))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = milp(
            program.cost,
            integrality=program.whole,
            bounds=Bounds(program.least, program.most),
            constraints=rules,
            options={"time_limit": time_limit_s, "mip_rel_gap": gap, "node_limit": nodes},
        )
    bound = found.get("mip_dual_bound")
    return Solved(
        columns=None if found.x is None else np.asarray(found.x),
        bound=-np.inf if bound is None else float(bound),
        infeasible=found.status == 2,
        proved=found.status == 0,
        timed_out=found.status == 1 and "ime limit" in str(found.message),
    )


def fleet_from(problem: Problem, program: Program, columns: FloatArray) -> Fleet | None:
    """Return the fleet in `columns`, its arithmetic cleaned; None if it breaks a promise.

    First the smallest fleet for its shares; if that breaks a limit (a vendor's share may rest on a
    unit that stands idle) or buys more, the units as they were solved.
    """
    number = len(program.pairs)
    shares = np.zeros((len(problem.workloads), program.targets))
    for p, (i, j) in enumerate(program.pairs):
        if columns[number + p] > 0.5:
            shares[i, j] = max(float(columns[p]), 0.0)
    bought: IntArray = np.rint(
        columns[program.units_at() : program.units_at() + program.targets]
    ).astype(np.int64)
    solved = Fleet(_tidy(problem, shares), bought)
    least = fleet_of(problem, solved.shares)
    if (least.units <= bought).all() and not broken(problem, least):
        return least
    exact = _resolved(problem, solved)
    for fleet in (exact, solved, least):
        if fleet is not None and not broken(problem, fleet):
            return fleet
    return None


def _tidy(problem: Problem, shares: FloatArray) -> FloatArray:
    """Return `shares` with dust gone, none below the least, and every row's sum 1."""
    found = np.where(shares > problem.limits.share_least / 2, shares, 0.0)
    found = np.where(found > 0, np.maximum(found, problem.limits.share_least), 0.0)
    for row in found:
        row[int(np.argmax(row))] += 1 - row.sum()
    return found


def _resolved(problem: Problem, fleet: Fleet) -> Fleet | None:
    """Return the same units and pairs with shares that fit exactly, by a linear program."""
    from dataclasses import replace

    from harness.mapper.portfolio.program import program_of

    load = np.where(fleet.shares > 0, problem.load, np.nan)
    part = replace(problem, load=load, limits=replace(problem.limits, vendor_share_max=None))
    program = program_of(part)
    number = len(program.pairs)
    least, most = program.least.copy(), program.most.copy()
    least[number : 2 * number] = 1.0
    at = slice(program.units_at(), program.units_at() + program.targets)
    least[at] = most[at] = fleet.units
    opened = (fleet.shares > 0).any(axis=0)
    place = slice(program.open_at(), program.open_at() + program.targets)
    least[place] = opened
    most[place] = opened
    found = relax(replace(program, least=least, most=most))
    if found is None:
        return None
    shares = np.zeros(fleet.shares.shape)
    for p, (i, j) in enumerate(program.pairs):
        shares[i, j] = found.columns[p]
    return Fleet(_tidy(problem, shares), fleet.units)
