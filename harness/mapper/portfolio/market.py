"""From the feasible options of all workloads to the numbers of one shared fleet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import economics
from harness.mapper.candidate import Candidate
from harness.mapper.capacity import planned_peak_factor
from harness.mapper.portfolio.problem import (
    FloatArray,
    Limits,
    Problem,
    Unit,
    make_problem,
)
from harness.mapper.terms import stack_of
from harness.schema.brief import Brief
from harness.schema.decision import WorkloadDecision
from harness.schema.demand import Demand
from harness.schema.portfolio import Portfolio
from harness.schema.target import Target

HOURS_OF_WEEK = 168


@dataclass(frozen=True, slots=True)
class Offered:
    """A workload's own answer, and its options as candidates."""

    decision: WorkloadDecision
    candidates: tuple[Candidate, ...]

    def eligible(self) -> dict[str, Candidate]:
        """Return the candidates that keep the SLO as well as the workload's own choice does."""
        choice = self.decision.choice
        if choice is None:
            return {}
        state = choice.slo_state
        same = {o.target for o in self.decision.options if o.slo_state == state}
        return {c.target: c for c in self.candidates if c.target in same}


@dataclass(frozen=True, slots=True)
class Market:
    """The problem, with the workloads no target can serve and the targets that cannot be judged."""

    problem: Problem | None
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]


def market_of(
    brief: Brief,
    portfolio: Portfolio,
    offered: Sequence[Offered],
    targets: Mapping[str, Target],
) -> Market:
    """Return the problem of one fleet for all of `offered`; None: no workload can be served."""
    warnings: list[str] = []
    rows: list[tuple[Offered, dict[str, Candidate]]] = []
    unknown: set[str] = set()
    for each in offered:
        mine = each.eligible()
        if portfolio.power_kw is not None:
            dark = {n for n, c in mine.items() if not c.rented and c.power is None}
            unknown |= dark
            mine = {n: c for n, c in mine.items() if n not in dark}
        rows.append((each, mine))
    warnings += [
        f"{name} is not in the shared fleet: its power is not known, and there is a limit on it"
        for name in sorted(unknown)
    ]
    served = [(each, mine) for each, mine in rows if mine]
    left_out = tuple(each.decision.workload for each, mine in rows if not mine)
    names = sorted({name for _, mine in served for name in mine})
    if not served:
        return Market(None, left_out, tuple(warnings))
    spare = brief.constraints.spare_units if portfolio.spare is None else portfolio.spare
    stock = {each.target: each.units for each in portfolio.stock}
    pue = brief.economics.pue.value
    units = []
    idle_w: dict[str, float] = {}
    for name in names:
        found = [mine[name] for _, mine in served if name in mine]
        idle_w[name] = min(min(c.watts) for c in found)
        units.append(_unit(targets[name], found, spare, stock.get(name), pue, idle_w[name]))
    shape = (len(served), len(units))
    load, use = np.full(shape, np.nan), np.zeros(shape)
    for i, (each, mine) in enumerate(served):
        replicas = {o.target: o.replicas for o in each.decision.options}
        for j, unit in enumerate(units):
            candidate = mine.get(unit.target)
            if candidate is not None:
                mean = each.decision.mean_rate or 0.0
                load[i, j] = _load(each.decision.peak_rate, candidate, brief) / unit.size
                use[i, j] = _use(candidate, mean, replicas[unit.target], idle_w[unit.target])
    staff = brief.economics.staff_usd_per_year / len(brief.workloads)
    problem = make_problem(
        tuple(each.decision.workload for each, _ in served),
        tuple(units),
        load,
        share_usd=use,
        hours=hour_classes([each.decision.demand for each, _ in served]),
        stack_usd=_integration(units, served),
        fixed_usd=staff * len(served),
        limits=_limits(portfolio, {each.decision.workload for each, _ in served}),
    )
    return Market(problem, left_out, tuple(warnings))


def hour_classes(demands: Sequence[Demand]) -> FloatArray:
    """Return the load of each hour over that of the workload's busiest (classes x workloads).

    ((1 - b) w_h / mean(w) + b) / ((1 - b) peak + b) with the weights w of the hourly profile and
    the share b that may wait. A workload without a profile may peak in any hour: 1 in all. Hours
    are taken to be of one clock.
    """
    profiles = [demand.hourly_profile for demand in demands]
    count = max((len(p) for p in profiles if p is not None), default=1)
    found = np.ones((count, len(demands)))
    for i, (demand, profile) in enumerate(zip(demands, profiles, strict=True)):
        if profile is None:
            continue
        weights = np.tile(np.array(profile, dtype=np.float64), count // len(profile))
        waits = demand.batchable_share
        rates = (1 - waits) * weights / weights.mean() + waits
        found[:, i] = np.minimum(1.0, rates / planned_peak_factor(demand))
    return found


def _unit(
    target: Target,
    found: Sequence[Candidate],
    spare: int,
    stock: int | None,
    pue: float,
    idle_w: float,
) -> Unit:
    """Return the lot of `target` that is bought, priced for what it costs at its idle power.

    Where the workloads differ (the colocation follows their power) the dearest counts.
    """
    price = target.price
    assert price is not None
    first = found[0]
    size = max(c.sites for c in found) * first.sold_in_units
    own = max(c.priced_usd + c.colocation_usd for c in found) + first.usd_per_watt * idle_w
    drawn = [w for c in found if c.power is not None for w in (*c.watts, c.power.high or 0.0)]
    return Unit(
        target=target.name,
        stack=f"{stack_of(target)} on {first.vendor}",
        vendor=first.vendor,
        site=f"{target.site.tier} {target.site.region}",
        usd_per_year=0.0 if first.metered else size * own,
        capex_usd=size * (price.purchase_usd or 0.0),
        power_kw=size * max(drawn, default=0.0) / 1000 * pue,
        spare=0.0 if first.metered else spare * first.failure_domain_units / first.sold_in_units,
        stock=None if stock is None else stock // size,
        size=size,
        metered=first.metered,
    )


def _load(peak: float, candidate: Candidate, brief: Brief) -> float:
    """Return the units that would carry the whole workload in its busiest hour; 0 of an API."""
    if candidate.metered:
        return 0.0
    work = peak * candidate.per_request
    return work / (candidate.throughput.value * brief.economics.utilisation_max)


def _use(candidate: Candidate, mean: float, replicas: int, idle_w: float) -> float:
    """Return what a year of the whole workload costs beside the units at their idle power, in USD.

    Exact where the power is a line through the loads, and for the workload's own fleet.
    """
    paid = mean * economics.SECONDS_PER_YEAR * candidate.usd_per_request
    if candidate.power is None or not replicas:
        return paid
    watts = float(np.interp(mean / replicas, candidate.rates, candidate.watts))
    return paid + replicas * candidate.usd_per_watt * max(0.0, watts - idle_w)


def _integration(
    units: Sequence[Unit], served: Sequence[tuple[Offered, Mapping[str, Candidate]]]
) -> dict[str, float]:
    """Return what a year of taking up each stack costs, once for all workloads."""
    found: dict[str, float] = {}
    for unit in units:
        usd = [mine[unit.target].fixed_usd for _, mine in served if unit.target in mine]
        found[unit.stack] = max([found.get(unit.stack, 0.0), *usd])
    return found


def _limits(portfolio: Portfolio, served: set[str]) -> Limits:
    return Limits(
        budget_usd=portfolio.budget_usd,
        budget_usd_per_year=portfolio.budget_usd_per_year,
        power_kw=portfolio.power_kw,
        stacks_max=portfolio.stacks_max,
        vendor_share_max=portfolio.vendor_share_max,
        second_source=tuple(w for w in portfolio.second_source if w in served),
        targets_per_workload_max=portfolio.targets_per_workload_max,
        share_least=portfolio.share_least,
    )


def own_fleets_usd(problem: Problem, offered: Sequence[Offered]) -> float:
    """Return what the workloads of `problem` cost a year, each on the fleet of its own choice."""
    return math.fsum(
        each.decision.choice.cost_per_year_usd
        for each in offered
        if each.decision.choice is not None and each.decision.workload in problem.workloads
    )
