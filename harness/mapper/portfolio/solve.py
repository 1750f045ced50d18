"""From a problem to the best plan in the time given, with the bound it is judged by."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from harness.mapper.portfolio.check import broken
from harness.mapper.portfolio.greedy import Prices, greedy
from harness.mapper.portfolio.highs import Relaxed, fleet_from, relax, solve
from harness.mapper.portfolio.problem import Fleet, Problem, yearly_usd
from harness.mapper.portfolio.program import Program, program_of
from harness.mapper.portfolio.prune import kept_targets, narrowed, ranked, widened

WHOLE_PAIRS = 200
"""Pairs up to which the whole program is solved; above, one pruned by its linear relaxation."""

GAP_WHOLE = 0.0
GAP_OPENING = 1e-3
GAP_PRUNED = 1e-3
SPLIT = 1e-4
"""What an open pair counts, in mean units, when the fleet is settled and only splits are left."""
PLAN_NODES = 150
NODES = 400
"""Nodes of the program of what to open: a limit that, unlike time, is the same anywhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was found. Without a `fleet`, `infeasible` says whether that is proved.

    `usd_per_year` is the fleet's; `lp_bound_usd_per_year` that of the full linear relaxation, below
    which no plan can be; `bound_usd_per_year` the best bound proved, at least the former.
    `greedy_usd_per_year` is what the plan without a solver costs (None: it found none).
    """

    fleet: Fleet | None
    usd_per_year: float | None
    lp_bound_usd_per_year: float | None
    bound_usd_per_year: float | None
    greedy_usd_per_year: float | None
    method: str
    optimal: bool
    infeasible: bool
    timed_out: bool

    @property
    def gap(self) -> float | None:
        """How far the plan is above the best bound proved, as a share of it; None: that is 0."""
        return _gap(self.usd_per_year, self.bound_usd_per_year)

    @property
    def lp_gap(self) -> float | None:
        """The same by the bound of the full linear relaxation."""
        return _gap(self.usd_per_year, self.lp_bound_usd_per_year)


def _gap(value: float | None, bound: float | None) -> float | None:
    if value is None or bound is None or bound <= 0:
        return None
    return max(0.0, (value - bound) / bound)


def plan_fleet(problem: Problem, *, time_limit_s: float = 30.0, nodes: int | None = None) -> Answer:
    """Return the cheapest fleet found for `problem` within about `time_limit_s`.

    Deterministic unless the time limit ends a solve (`timed_out`): then the plan is the best so
    far. Every plan has been checked row by row.
    """
    ends = time.monotonic() + 0.9 * time_limit_s
    if not problem.serves.any(axis=1).all():
        return _none(infeasible=True)
    program = program_of(problem)
    relaxed = relax(program)
    if relaxed is None:
        return _none(infeasible=True)
    lp_usd = relaxed.bound * program.scale + problem.fixed_usd
    order = ranked(problem, program, relaxed)
    plan, _ = greedy(problem, order, _prices(problem, program, relaxed))
    if plan is None:
        plan, _ = greedy(problem, order)
    best = _Best(problem, plan, "greedy")
    greedy_usd = best.usd
    timed_out = False
    bound = lp_usd
    optimal = infeasible = False
    if len(program.pairs) <= WHOLE_PAIRS:
        solved = solve(program, time_limit_s=_left(ends), gap=GAP_WHOLE, nodes=nodes or 200_000)
        timed_out = solved.timed_out
        infeasible = solved.infeasible and best.fleet is None
        if solved.columns is not None:
            best.offer(fleet_from(problem, program, solved.columns), "whole program")
        if np.isfinite(solved.bound):
            bound = max(bound, solved.bound * program.scale + problem.fixed_usd)
        optimal = solved.proved and best.fleet is not None
    else:
        timed_out, proved = _pruned(problem, program, order, best, ends, nodes or PLAN_NODES)
        bound = max(bound, proved)
    best.settle(ends)
    if best.usd is not None:
        bound = min(bound, best.usd)
    return Answer(
        fleet=best.fleet,
        usd_per_year=best.usd,
        lp_bound_usd_per_year=lp_usd if best.usd is None else min(lp_usd, best.usd),
        bound_usd_per_year=bound,
        greedy_usd_per_year=greedy_usd,
        method=best.method,
        optimal=optimal,
        infeasible=infeasible,
        timed_out=timed_out,
    )


def _pruned(
    problem: Problem, program: Program, order: list[int], best: _Best, ends: float, nodes: int
) -> tuple[bool, float]:
    """Solve on the targets worth it and offer what is found.

    Three programs: which targets to open, units and pairs taken as continuous; the fleet of those;
    and, if no plan comes of that, the fleet of all that are worth a look. Returns whether time ran
    out, and a bound in USD that holds for the whole problem (-inf: none better than the LP's).
    """
    timed_out = False
    kept = kept_targets(problem, order)
    part = narrowed(problem, kept)
    small = program_of(part)
    opening = solve(_opening(small), time_limit_s=_left(ends) / 3, gap=GAP_OPENING, nodes=NODES)
    timed_out |= opening.timed_out
    tries: list[list[int]] = []
    if opening.columns is not None:
        at = small.open_at()
        tries.append([j for n, j in enumerate(kept) if opening.columns[at + n] > 0.5])
    if best.fleet is not None and best.fleet.units.any():
        found = [int(j) for j in np.flatnonzero(best.fleet.units)]
        tries.append(sorted({*found, *(tries[0] if tries else ())}))
    tries.append(kept)
    for number, targets in enumerate(tries):
        if number and best.method != "greedy" and best.fleet is not None:
            break
        part = narrowed(problem, targets)
        exact = program_of(part)
        share = 1.0 if number == len(tries) - 1 else 0.6
        solved = solve(exact, time_limit_s=_left(ends) * share, gap=GAP_PRUNED, nodes=nodes)
        timed_out |= solved.timed_out
        if solved.columns is not None:
            fleet = fleet_from(part, exact, solved.columns)
            if fleet is not None:
                best.offer(widened(problem, targets, fleet), "pruned program")
    return timed_out, _opening_bound(problem, program, best, ends, _left(ends) / 2)


def _opening_bound(
    problem: Problem, program: Program, best: _Best, ends: float, most_s: float
) -> float:
    """Return a bound from which targets to open alone: it holds, as the rest is relaxed."""
    left = min(_left(ends), most_s)
    if best.usd is None or left < 1:
        return -np.inf
    solved = solve(_opening(program), time_limit_s=left, gap=GAP_OPENING, nodes=NODES)
    return solved.bound * program.scale + problem.fixed_usd


def _opening(program: Program) -> Program:
    """Return the program with shares, pairs and units continuous: only what is open is whole."""
    whole = program.whole.copy()
    whole[: program.open_at()] = 0
    return replace(program, whole=whole)


def _left(ends: float) -> float:
    return max(0.2, ends - time.monotonic())


class _Best:
    """The cheapest fleet offered so far; takes only what keeps every promise."""

    def __init__(self, problem: Problem, fleet: Fleet | None, method: str) -> None:
        self.problem = problem
        self.fleet: Fleet | None = None
        self.usd: float | None = None
        self.method = method
        self.offer(fleet, method)

    def offer(self, fleet: Fleet | None, method: str) -> None:
        """Take `fleet` if it is a plan and cheaper."""
        if fleet is None or broken(self.problem, fleet):
            return
        usd = yearly_usd(self.problem, fleet)
        if self.usd is None or usd < self.usd - 1e-9 * abs(self.usd):
            self.fleet, self.usd, self.method = fleet, usd, method

    def settle(self, ends: float) -> None:
        """Put the workloads on as few targets as the cost allows, then where least is in use.

        Of plans that cost the same, one with needless splits is harder to run, and one whose units
        are all but full has no room. A large problem keeps the targets of the fleet found.
        """
        if self.fleet is None:
            return
        if self.problem.serves.sum() <= WHOLE_PAIRS and self._evened(ends):
            return
        bought = [int(j) for j in np.flatnonzero(self.fleet.units)]
        part = narrowed(self.problem, bought)
        program = program_of(part)
        if len(program.pairs) > WHOLE_PAIRS:
            return
        at = slice(program.units_at(), program.units_at() + program.targets)
        least, most, cost = program.least.copy(), program.most.copy(), program.cost.copy()
        least[at] = most[at] = self.fleet.units[bought]
        cost[len(program.pairs) : 2 * len(program.pairs)] += SPLIT
        solved = solve(
            replace(program, least=least, most=most, cost=cost),
            time_limit_s=_left(ends),
            gap=1e-6,
            nodes=NODES,
        )
        found = None if solved.columns is None else fleet_from(part, program, solved.columns)
        if found is not None:
            self._take(widened(self.problem, bought, found))

    def _evened(self, ends: float) -> bool:
        """Take the plan of the same cost with the fewest pairs, then the least load.

        False where none was found within the limits.
        """
        assert self.usd is not None
        program = program_of(self.problem)
        from scipy.sparse import csr_array, vstack

        most = (self.usd - self.problem.fixed_usd) / program.scale
        pairs = len(program.pairs)
        cost = np.zeros(len(program.cost))
        load = np.array([self.problem.load[pair] for pair in program.pairs])
        cost[:pairs] = load / max(1e-12, 2 * float(load.sum()))
        cost[pairs : 2 * pairs] = 1.0
        capped = replace(
            program,
            cost=cost,
            rows=vstack([program.rows, csr_array(program.cost[None, :])], format="csr"),
            lower=np.append(program.lower, -np.inf),
            upper=np.append(program.upper, most),
            tags=(*program.tags, None),
        )
        solved = solve(capped, time_limit_s=_left(ends), gap=1e-6, nodes=NODES)
        if solved.columns is None or not solved.proved:
            return False
        fleet = fleet_from(self.problem, program, solved.columns)
        return fleet is not None and self._take(fleet)

    def _take(self, fleet: Fleet) -> bool:
        """Take `fleet` if it is a plan that costs no more; returns whether."""
        usd = yearly_usd(self.problem, fleet)
        if self.usd is None or usd > self.usd * (1 + 1e-12) or broken(self.problem, fleet):
            return False
        self.fleet, self.usd = fleet, usd
        return True


def _prices(problem: Problem, program: Program, relaxed: Relaxed) -> Prices:
    """Return what the binding limits are worth in the relaxation, in USD of cost."""
    limits = problem.limits
    capex = 0.0
    sites = sorted({unit.site for unit in problem.units})
    kw = []
    powered = [r for r, tag in enumerate(program.tags) if tag == "power"]
    for r, tag in enumerate(program.tags):
        if tag == "budget" and limits.budget_usd:
            capex = -float(relaxed.prices[r]) * program.scale / limits.budget_usd
    if limits.power_kw:
        for site, r in zip(sites, powered, strict=True):
            kw.append((site, -float(relaxed.prices[r]) * program.scale / limits.power_kw))
    return Prices(capex=capex, kw=tuple(kw))


def _none(*, infeasible: bool) -> Answer:
    return Answer(
        fleet=None,
        usd_per_year=None,
        lp_bound_usd_per_year=None,
        bound_usd_per_year=None,
        greedy_usd_per_year=None,
        method="none",
        optimal=False,
        infeasible=infeasible,
        timed_out=False,
    )
