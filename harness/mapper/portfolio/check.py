"""Re-checks a fleet row by row from the problem alone, without the matrices that found it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.mapper.portfolio.problem import TOLERANCE, Fleet, Problem, yearly_usd

RowKind = Literal[
    "share",
    "pair",
    "load",
    "stock",
    "stacks",
    "budget",
    "yearly_budget",
    "power",
    "vendor_share",
    "second_source",
    "targets",
    "idle",
]


@dataclass(frozen=True, slots=True)
class Row:
    """One promise of the fleet: `number` must be at most `limit` (for `least`: at least)."""

    kind: RowKind
    what: str
    number: float
    limit: float
    least: bool = False

    @property
    def kept(self) -> bool:
        """Whether the promise is kept, to within what is arithmetic."""
        room = self.number - self.limit if self.least else self.limit - self.number
        return room >= -TOLERANCE * max(1.0, abs(self.limit))

    @property
    def room(self) -> float:
        """What is left up to the limit, as a share of it; 0 when it binds."""
        gap = self.number - self.limit if self.least else self.limit - self.number
        return gap / abs(self.limit) if self.limit else gap


def rows(problem: Problem, fleet: Fleet) -> list[Row]:
    """Return every promise of `problem` with what `fleet` makes of it."""
    limits = problem.limits
    found: list[Row] = []
    shares: list[dict[int, float]] = []
    for i, workload in enumerate(problem.workloads):
        mine = {
            j: float(fleet.shares[i, j])
            for j in range(len(problem.units))
            if fleet.shares[i, j] != 0
        }
        shares.append(mine)
        total = math.fsum(mine.values())
        found += [
            Row("share", f"{workload} is served in full", total, 1.0, least=True),
            Row("share", f"{workload} is served once", total, 1.0),
            Row(
                "targets",
                f"targets of {workload}",
                len(mine),
                limits.targets_per_workload_max,
            ),
        ]
        for j, share in mine.items():
            name = f"{workload} on {problem.units[j].target}"
            able = not math.isnan(float(problem.load[i, j]))
            found += [
                Row("pair", f"{name} is possible", float(able), 1.0, least=True),
                Row("pair", f"the share of {name}", share, limits.share_least, least=True),
            ]
        if workload in limits.second_source:
            vendors = {problem.units[j].vendor for j in mine}
            found.append(Row("second_source", f"vendors of {workload}", len(vendors), 2, True))
    found += _loads(problem, fleet, shares)
    found += _limits(problem, fleet)
    return found


def _loads(problem: Problem, fleet: Fleet, shares: list[dict[int, float]]) -> list[Row]:
    found = []
    for j, unit in enumerate(problem.units):
        bought = int(fleet.units[j])
        users = [i for i, mine in enumerate(shares) if j in mine]
        for hours in problem.hours:
            load = math.fsum(
                float(hours[i]) * float(problem.load[i, j]) * shares[i][j] for i in users
            )
            need = load + unit.spare if users else 0.0
            found.append(Row("load", f"units of {unit.target} for load and spare", need, bought))
        if users:
            found.append(Row("load", f"units of {unit.target}", bought, unit.fewest, least=True))
        if unit.stock is not None:
            found.append(Row("stock", f"units of {unit.target} in stock", bought, unit.stock))
        if problem.limits.vendor_share_max is not None:
            peaks = math.fsum(float(problem.load[i, j]) * shares[i][j] for i in users)
            most = peaks + unit.spare + 1 if users else 0.0
            found.append(Row("idle", f"units of {unit.target} that carry nothing", bought, most))
    return found


def _limits(problem: Problem, fleet: Fleet) -> list[Row]:
    limits = problem.limits
    found = []
    bought = [(unit, int(n)) for unit, n in zip(problem.units, fleet.units, strict=True) if n]
    if limits.budget_usd is not None:
        spent = math.fsum(unit.capex_usd * n for unit, n in bought)
        found.append(Row("budget", "purchases in USD", spent, limits.budget_usd))
    if limits.budget_usd_per_year is not None:
        yearly = yearly_usd(problem, fleet)
        found.append(Row("yearly_budget", "USD a year", yearly, limits.budget_usd_per_year))
    if limits.power_kw is not None:
        for site in sorted({unit.site for unit in problem.units}):
            drawn = math.fsum(unit.power_kw * n for unit, n in bought if unit.site == site)
            found.append(Row("power", f"kW at {site}", drawn, limits.power_kw))
    if limits.stacks_max is not None:
        stacks = len({unit.stack for unit, _ in bought})
        found.append(Row("stacks", "stacks", stacks, limits.stacks_max))
    if limits.vendor_share_max is not None:
        spent_on: dict[str, float] = {}
        for j, unit in enumerate(problem.units):
            use = math.fsum(
                float(problem.share_usd[i, j] * fleet.shares[i, j])
                for i in range(len(problem.workloads))
                if fleet.shares[i, j]
            )
            own = unit.usd_per_year * int(fleet.units[j]) + use
            spent_on[unit.vendor] = spent_on.get(unit.vendor, 0.0) + own
        spend = math.fsum(spent_on.values())
        for vendor, theirs in sorted(spent_on.items()):
            share = theirs / spend if spend else 0.0
            found.append(Row("vendor_share", f"share of {vendor}", share, limits.vendor_share_max))
    return found


def broken(problem: Problem, fleet: Fleet) -> list[Row]:
    """Return the promises that `fleet` does not keep; empty: it is a plan."""
    return [row for row in rows(problem, fleet) if not row.kept]
