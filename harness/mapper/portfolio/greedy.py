"""A plan without a solver: open few targets, one for each workload, and swap while it pays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.mapper.portfolio.check import broken
from harness.mapper.portfolio.problem import Fleet, FloatArray, Problem, fleet_of

PASSES = 12
"""Rounds of moves and swaps at most; each stops early when nothing improves."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a USD of purchases and a kW cost beside their price, from the linear relaxation.

    Zero where the limit does not bind. `kw` is by site.
    """

    capex: float = 0.0
    kw: tuple[tuple[str, float], ...] = ()

    def of(self, problem: Problem) -> FloatArray:
        """Return what a unit of each target costs a year with the scarce limits priced in."""
        kw = dict(self.kw)
        return np.array(
            [
                u.usd_per_year + self.capex * u.capex_usd + kw.get(u.site, 0.0) * u.power_kw
                for u in problem.units
            ]
        )


class _Search:
    """Assignments of each workload to one target (second sources to two), judged by one figure."""

    def __init__(self, problem: Problem, prices: Prices) -> None:
        self.problem = problem
        self.serves = problem.serves
        self.load = np.where(self.serves, problem.load, 0.0)
        self.unit_usd = np.array([u.usd_per_year for u in problem.units])
        self.capex = np.array([u.capex_usd for u in problem.units])
        self.kw = np.array([u.power_kw for u in problem.units])
        self.spare = np.array([u.spare for u in problem.units])
        self.fewest = np.array([u.fewest for u in problem.units])
        self.use = np.where(self.serves, problem.share_usd, 0.0)
        self.stock = np.array([math.inf if u.stock is None else u.stock for u in problem.units])
        self.stack_names = problem.stacks
        self.stack = np.array([self.stack_names.index(u.stack) for u in problem.units])
        self.stack_usd = np.array([problem.stack_usd.get(s, 0.0) for s in self.stack_names])
        vendors = sorted({u.vendor for u in problem.units})
        self.vendor = np.array([vendors.index(u.vendor) for u in problem.units])
        sites = sorted({u.site for u in problem.units})
        self.site = np.array([sites.index(u.site) for u in problem.units])
        self.sites, self.vendors = len(sites), len(vendors)
        self.second = [w in problem.limits.second_source for w in problem.workloads]
        price = self.load * prices.of(problem)[None, :] + problem.share_usd + problem.pair_usd
        self.price = np.where(self.serves, price, math.inf)
        self.scale = float(np.mean(self.unit_usd)) or float(self.use.mean()) or 1.0

    def assign(self, targets: Iterable[int]) -> FloatArray | None:
        """Return shares with each workload where it is cheapest among `targets`; None: nowhere."""
        mask = np.zeros(len(self.unit_usd), dtype=bool)
        mask[list(targets)] = True
        price = np.where(mask[None, :], self.price, math.inf)
        best = price.argmin(axis=1)
        if not np.isfinite(price[np.arange(len(best)), best]).all():
            return None
        shares = np.zeros(price.shape)
        shares[np.arange(len(best)), best] = 1.0
        for i, needed in enumerate(self.second):
            if needed:
                other = np.where(self.vendor == self.vendor[best[i]], math.inf, price[i])
                j = int(other.argmin())
                if not np.isfinite(other[j]):
                    return None
                shares[i, j] = self.problem.limits.share_least
                shares[i, best[i]] -= shares[i, j]
        return shares

    def merit(self, shares: FloatArray) -> float:
        """Return the cost of the smallest fleet in units' prices, plus much for each excess."""
        used = (shares > 0).any(axis=0)
        load = (self.problem.hours @ (self.load * shares)).max(axis=0)
        units = np.where(
            used, np.maximum(self.fewest, np.ceil(load + self.spare - 1e-6 * (1 + load))), 0
        )
        opened = np.unique(self.stack[used])
        problem, limits = self.problem, self.problem.limits
        cost = float(
            units @ self.unit_usd
            + self.stack_usd[opened].sum()
            + (self.use * shares).sum()
            + problem.pair_usd[shares > 0].sum()
        )
        over = float(np.maximum(units - self.stock, 0).sum())
        if limits.budget_usd is not None:
            over += _excess(float(units @ self.capex), limits.budget_usd)
        if limits.budget_usd_per_year is not None:
            over += _excess(cost + problem.fixed_usd, limits.budget_usd_per_year)
        if limits.power_kw is not None:
            drawn = np.bincount(self.site, weights=units * self.kw, minlength=self.sites)
            over += sum(_excess(float(each), limits.power_kw) for each in drawn)
        if limits.stacks_max is not None:
            over += max(0, len(opened) - limits.stacks_max)
        if limits.vendor_share_max is not None and cost:
            paid = units * self.unit_usd + (self.use * shares).sum(axis=0)
            spend = np.bincount(self.vendor, weights=paid, minlength=self.vendors)
            total = float(spend.sum()) or 1.0
            over += sum(max(0.0, float(s) / total - limits.vendor_share_max) for s in spend)
        return cost / self.scale + (1e3 + 1e2 * cost / self.scale) * over

    def moved(self, shares: FloatArray) -> FloatArray:
        """Return `shares` after moving single workloads between open targets while it pays."""
        best = self.merit(shares)
        for _ in range(PASSES):
            before = best
            opened = np.flatnonzero((shares > 0).any(axis=0))
            for i, needed in enumerate(self.second):
                if needed:
                    continue
                for j in opened:
                    if not self.serves[i, j] or shares[i, j] > 0:
                        continue
                    kept = shares[i].copy()
                    shares[i] = 0.0
                    shares[i, j] = 1.0
                    tried = self.merit(shares)
                    if tried < best - 1e-9:
                        best = tried
                    else:
                        shares[i] = kept
            if best >= before - 1e-9:
                break
        return shares

    def swapped(self, opened: list[int], candidates: Sequence[int]) -> list[int]:
        """Return the open targets after dropping, adding or exchanging one while it pays."""
        best = self._value(opened)
        for _ in range(PASSES):
            found: tuple[float, list[int]] | None = None
            others = [j for j in candidates if j not in opened]
            trials = [[j for j in opened if j != k] for k in opened]
            trials += [[*opened, j] for j in others]
            trials += [[*(j for j in opened if j != k), other] for k in opened for other in others]
            for trial in trials:
                value = self._value(trial)
                if value < best - 1e-9 and (found is None or value < found[0]):
                    found = value, trial
            if found is None:
                break
            best, opened = found
        return opened

    def _value(self, targets: Iterable[int]) -> float:
        shares = self.assign(targets)
        return math.inf if shares is None else self.merit(shares)


def _excess(number: float, limit: float) -> float:
    return max(0.0, number - limit * (1 + 1e-9)) / (limit or 1.0)


def greedy(
    problem: Problem, order: Sequence[int], prices: Prices | None = None
) -> tuple[Fleet | None, list[int]]:
    """Return a plan, or None, and the targets it ends on.

    `order` names the targets, the most promising first; those that serve the most workloads not
    yet served are taken from it until all are, then exchanged while the cost falls. A second start
    takes the first ones of `order` beside them; the better end counts.
    """
    search = _Search(problem, prices or Prices())
    first = list(order[: problem.limits.stacks_max or len(problem.workloads)])
    best: tuple[float, FloatArray] | None = None
    for start in (_cover(search, order), _cover(search, order, first)):
        shares = search.assign(search.swapped(start, order))
        if shares is None:
            continue
        shares = search.moved(shares)
        merit = search.merit(shares)
        if best is None or merit < best[0]:
            best = merit, shares
    if best is None:
        return None, []
    shares = best[1]
    fleet = fleet_of(problem, shares)
    used = [int(j) for j in np.flatnonzero((shares > 0).any(axis=0))]
    return (None if broken(problem, fleet) else fleet), used


def _cover(search: _Search, order: Sequence[int], first: Sequence[int] = ()) -> list[int]:
    """Return `first`, and targets of `order` until each workload has its one (or two vendors)."""
    opened = list(first)
    left = [j for j in order if j not in opened]
    while left:
        missing = _unserved(search, opened)
        if not missing:
            break
        gains = [sum(bool(search.serves[i, j]) for i in missing) for j in left]
        opened.append(left.pop(int(np.argmax(gains))))
    return opened


def _unserved(search: _Search, opened: list[int]) -> list[int]:
    missing = []
    for i, needed in enumerate(search.second):
        vendors = {int(search.vendor[j]) for j in opened if search.serves[i, j]}
        if len(vendors) < (2 if needed else 1):
            missing.append(i)
    return missing
