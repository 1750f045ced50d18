"""The mixed-integer program of a shared fleet, as sparse rows for HiGHS (docs/portfolio.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.mapper.portfolio.problem import FloatArray, Problem
from harness.schema.portfolio import LimitName

Entry = tuple[int, float]
"""A column and its value."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """min cost x subject to lower <= rows x <= upper, least <= x <= most, some x whole.

    The columns are, in this order, shares and open pairs (for each of `pairs`), units bought and
    targets open (each target), stacks open, then the slack of loosened limits. `cost` is in `scale`
    USD. `tags` says which limit a row is of.
    """

    pairs: tuple[tuple[int, int], ...]
    targets: int
    cost: FloatArray
    scale: float
    rows: Any
    lower: FloatArray
    upper: FloatArray
    least: FloatArray
    most: FloatArray
    whole: FloatArray
    tags: tuple[LimitName | None, ...]

    def units_at(self, column: int = 0) -> int:
        """Return the column of the units bought of target `column`."""
        return 2 * len(self.pairs) + column

    def open_at(self, column: int = 0) -> int:
        """Return the column that says whether target `column` is open."""
        return self.units_at(self.targets) + column


def program_of(problem: Problem, *, loosened: Sequence[LimitName] = ()) -> Program:
    """Return the program of `problem`.

    With `loosened`, those limits may be exceeded, and the objective is by how much in all, each in
    its limit, instead of the cost.
    """
    rows = _Rows(problem, frozenset(loosened))
    rows.pairs_and_shares()
    rows.targets_and_stacks()
    rows.money()
    rows.power_stacks_and_vendors()
    return rows.assembled()


class _Rows:
    """Collects the rows of a problem, and the slack of what is loosened."""

    def __init__(self, problem: Problem, loosened: frozenset[LimitName]) -> None:
        self.problem, self.loosened = problem, loosened
        serves = problem.serves
        self.pairs = tuple((int(i), int(j)) for i, j in zip(*np.nonzero(serves), strict=True))
        self.of_workload: list[list[int]] = [[] for _ in problem.workloads]
        self.of_target: list[list[int]] = [[] for _ in problem.units]
        for p, (i, j) in enumerate(self.pairs):
            self.of_workload[i].append(p)
            self.of_target[j].append(p)
        self.y0 = len(self.pairs)
        self.n0 = 2 * self.y0
        self.o0 = self.n0 + len(problem.units)
        z0 = self.o0 + len(problem.units)
        self.stack_at = {stack: z0 + s for s, stack in enumerate(problem.stacks)}
        self.width = z0 + len(self.stack_at)
        self.vendors = sorted({unit.vendor for unit in problem.units})
        usd = [unit.usd_per_year for unit in problem.units]
        use = np.where(serves, problem.share_usd, 0.0)
        self.scale = float(np.mean(usd)) or float(use.mean()) or 1.0
        self.usd = self._usd(usd)
        self.slack: list[tuple[float, float, bool]] = []  # weight, most, whole
        self.row: list[int] = []
        self.column: list[int] = []
        self.value: list[float] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.tags: list[LimitName | None] = []

    def _usd(self, unit_usd: Sequence[float]) -> FloatArray:
        """Return what each column costs in USD a year."""
        found = np.zeros(self.width)
        for p, (i, j) in enumerate(self.pairs):
            found[p] = self.problem.share_usd[i, j]
            found[self.y0 + p] = self.problem.pair_usd[i, j]
        found[self.n0 : self.o0] = unit_usd
        for stack, column in self.stack_at.items():
            found[column] = self.problem.stack_usd.get(stack, 0.0)
        return found

    def add(
        self,
        entries: Iterable[Entry],
        *,
        low: float = -np.inf,
        high: float = np.inf,
        tag: LimitName | None = None,
    ) -> None:
        """Add the row low <= sum of value x column <= high."""
        number = len(self.lower)
        for column, value in entries:
            if value:
                self.row.append(number)
                self.column.append(column)
                self.value.append(value)
        self.lower.append(low)
        self.upper.append(high)
        self.tags.append(tag)

    def _loose(
        self, limit: LimitName, weight: float, *, whole: bool = False, most: float = np.inf
    ) -> list[Entry]:
        """Return the entry of a new slack, if `limit` is loosened; else nothing."""
        if limit not in self.loosened:
            return []
        self.slack.append((weight, most, whole))
        return [(self.width + len(self.slack) - 1, -1.0)]

    def pairs_and_shares(self) -> None:
        """Add that workloads run in full, on few targets, none too little, second sources."""
        limits = self.problem.limits
        for p, (_, j) in enumerate(self.pairs):
            y = self.y0 + p
            self.add([(p, 1.0), (y, -1.0)], high=0.0)
            self.add([(p, 1.0), (y, -limits.share_least)], low=0.0)
            self.add([(y, 1.0), (self.o0 + j, -1.0)], high=0.0)
        most = limits.targets_per_workload_max
        more = self._loose("targets", 1.0 / most, whole=True)
        for i, mine in enumerate(self.of_workload):
            self.add([(p, 1.0) for p in mine], low=1.0, high=1.0)
            opened = [(self.y0 + p, 1.0) for p in mine]
            self.add([*opened, *more], high=float(most), tag="targets")
            if self.problem.workloads[i] in limits.second_source:
                self._second_source(mine)

    def _second_source(self, mine: Sequence[int]) -> None:
        """Add, for each vendor, a pair with another one."""
        missing = [(e, 1.0) for e, _ in self._loose("second_source", 1.0, most=1.0, whole=True)]
        for vendor in self.vendors:
            others = [p for p in mine if self.problem.units[self.pairs[p][1]].vendor != vendor]
            opened = [(self.y0 + p, 1.0) for p in others]
            self.add([*opened, *missing], low=1.0, tag="second_source")

    def targets_and_stacks(self) -> None:
        """Add units for load and spare, within the stock, of open targets of open stacks."""
        problem = self.problem
        stocked = "stock" not in self.loosened
        shared = problem.limits.vendor_share_max is not None
        for j, unit in enumerate(problem.units):
            n, o, mine = self.n0 + j, self.o0 + j, self.of_target[j]
            load = {p: float(problem.load[self.pairs[p][0], j]) for p in mine}
            for hours in problem.hours:
                busy = [(p, float(hours[self.pairs[p][0]]) * load[p]) for p in mine]
                self.add([*busy, (o, float(unit.spare)), (n, -1.0)], high=0.0)
            self.add([(n, 1.0), (o, -float(unit.fewest))], low=0.0)
            self.add([(o, 1.0), (self.stack_at[unit.stack], -1.0)], high=0.0)
            most = float(problem.most_units(j, in_stock=stocked))
            self.add([(n, 1.0), (o, -most)], high=0.0, tag="stock")
            if unit.stock is not None and "stock" in self.loosened:
                more = self._loose("stock", 1.0 / max(1, unit.stock), whole=True)
                self.add([(n, 1.0), *more], high=float(unit.stock), tag="stock")
            if shared:
                peaks = [(p, -load[p]) for p in mine]
                self.add([(n, 1.0), *peaks, (o, -float(unit.spare + 1))], high=0.0)
                self.add([(o, 1.0), *((self.y0 + p, -1.0) for p in mine)], high=0.0)

    def money(self) -> None:
        """Add the budgets, each in its own size."""
        limits, units = self.problem.limits, self.problem.units
        if limits.budget_usd is not None:
            size = limits.budget_usd or 1.0
            spent = [(self.n0 + j, unit.capex_usd / size) for j, unit in enumerate(units)]
            more = self._loose("budget", 1.0)
            self.add([*spent, *more], high=limits.budget_usd / size, tag="budget")
        if limits.budget_usd_per_year is not None:
            size = limits.budget_usd_per_year or 1.0
            spent = [(int(c), float(self.usd[c]) / size) for c in np.flatnonzero(self.usd)]
            more = self._loose("yearly_budget", 1.0)
            left = limits.budget_usd_per_year - self.problem.fixed_usd
            self.add([*spent, *more], high=left / size, tag="yearly_budget")

    def power_stacks_and_vendors(self) -> None:
        """Limit the power of each site, the stacks, and each vendor's share of the cost."""
        limits, units = self.problem.limits, self.problem.units
        if limits.power_kw is not None:
            size = limits.power_kw or 1.0
            more = self._loose("power", 1.0)
            for site in sorted({unit.site for unit in units}):
                here = [(self.n0 + j, u) for j, u in enumerate(units) if u.site == site]
                drawn = [(column, unit.power_kw / size) for column, unit in here]
                self.add([*drawn, *more], high=limits.power_kw / size, tag="power")
        if limits.stacks_max is not None:
            opened = [(column, 1.0) for column in self.stack_at.values()]
            more = self._loose("stacks", 1.0 / limits.stacks_max, whole=True)
            self.add([*opened, *more], high=float(limits.stacks_max), tag="stacks")
        if limits.vendor_share_max is not None:
            more = self._loose("vendor_share", 1.0)
            for vendor in self.vendors:
                self.add([*self._above_share(vendor), *more], high=0.0, tag="vendor_share")

    def _above_share(self, vendor: str) -> list[Entry]:
        """Return what `vendor` gets less its share of what all get, in `scale` USD."""
        share, units = self.problem.limits.vendor_share_max, self.problem.units
        assert share is not None
        weight = [((unit.vendor == vendor) - share) / self.scale for unit in units]
        return [
            *((self.n0 + j, weight[j] * unit.usd_per_year) for j, unit in enumerate(units)),
            *((p, weight[j] * float(self.usd[p])) for p, (_, j) in enumerate(self.pairs)),
        ]

    def assembled(self) -> Program:
        """Return the program of the rows."""
        from scipy.sparse import csr_array

        width = self.width + len(self.slack)
        cost, most, whole = np.zeros(width), np.ones(width), np.ones(width)
        if self.loosened:
            cost[self.width :] = [weight for weight, _, _ in self.slack]
        else:
            cost[: self.width] = self.usd / self.scale
        most[self.n0 : self.o0] = np.inf
        most[self.width :] = [bound for _, bound, _ in self.slack]
        whole[: self.y0] = 0
        whole[self.width :] = [float(each) for _, _, each in self.slack]
        entries = (self.value, (self.row, self.column))
        return Program(
            pairs=self.pairs,
            targets=len(self.problem.units),
            cost=cost,
            scale=self.scale,
            rows=csr_array(entries, shape=(len(self.lower), width), dtype=float),
            lower=np.array(self.lower),
            upper=np.array(self.upper),
            least=np.zeros(width),
            most=most,
            whole=whole,
            tags=tuple(self.tags),
        )
