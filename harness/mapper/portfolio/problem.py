"""The question of a shared fleet as numbers: workloads, units for sale, loads and limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TOLERANCE = 1e-6
"""Relative excess over a limit, or over a whole number of units, that is arithmetic."""

SHARE_LEAST = 0.05
"""The smallest share of a workload that is worth serving on a target of its own."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A target as what is bought of it: one lot, of `size` sale units.

    `usd_per_year` is what a lot costs whatever it carries, `capex_usd` what is paid for it at once
    (0 when rented), `power_kw` what the facility provides for it, PUE included (0 when rented).
    `spare` lots (a fraction where a lot is more than fails together) stand by once any are bought;
    `stock` is how many can be had (None: any number). A `metered` one (an API) has no units: its
    one lot is the contract.
    """

    target: str
    stack: str
    vendor: str
    site: str
    usd_per_year: float
    capex_usd: float = 0.0
    power_kw: float = 0.0
    spare: float = 0.0
    stock: int | None = None
    size: int = 1
    metered: bool = False

    @property
    def fewest(self) -> int:
        """The lots that are bought at least, if any: what carries something, beside the spare."""
        return math.floor(self.spare + TOLERANCE) + 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What the fleet must keep; None: no limit. `power_kw` is of each site.

    `vendor_share_max` is the largest part of what the units and their use (`share_usd`) cost that
    one vendor may have.
    `second_source` names the workloads that two vendors must serve.
    """

    budget_usd: float | None = None
    budget_usd_per_year: float | None = None
    power_kw: float | None = None
    stacks_max: int | None = None
    vendor_share_max: float | None = None
    second_source: tuple[str, ...] = ()
    targets_per_workload_max: int = 2
    share_least: float = SHARE_LEAST


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One fleet for `workloads`, of `units`.

    `load` (workloads x units) is how many units would carry the whole workload in its busiest hour,
    NaN where the target cannot serve it; `share_usd` and `pair_usd`, of the same shape, are the USD
    a year that follow the share, and those of an open pair. `hours` (classes x workloads) is the
    load of each hour class over that of the workload's busiest hour. `stack_usd` is the yearly cost
    of integrating a stack, `fixed_usd` what is paid whatever is bought.
    """

    workloads: tuple[str, ...]
    units: tuple[Unit, ...]
    load: FloatArray
    share_usd: FloatArray
    pair_usd: FloatArray
    hours: FloatArray
    stack_usd: Mapping[str, float] = field(default_factory=dict)
    fixed_usd: float = 0.0
    limits: Limits = field(default_factory=Limits)

    @property
    def serves(self) -> npt.NDArray[np.bool_]:
        """Which units can serve which workload (workloads x units)."""
        return np.asarray(~np.isnan(self.load))

    @property
    def stacks(self) -> tuple[str, ...]:
        """The stacks of the units, sorted."""
        return tuple(sorted({unit.stack for unit in self.units}))

    def most_units(self, column: int, *, in_stock: bool = True) -> int:
        """Return how many units of a target any plan without idle units buys at most."""
        unit = self.units[column]
        need = math.ceil(float(np.nansum(self.load[:, column])) + unit.spare) + 1
        return min(need, unit.stock) if in_stock and unit.stock is not None else need


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """An answer: `shares` (workloads x units, rows sum to 1) and whole `units` of each target."""

    shares: FloatArray
    units: IntArray


def make_problem(
    workloads: tuple[str, ...],
    units: tuple[Unit, ...],
    load: FloatArray,
    *,
    share_usd: FloatArray | None = None,
    pair_usd: FloatArray | None = None,
    hours: FloatArray | None = None,
    stack_usd: Mapping[str, float] | None = None,
    fixed_usd: float = 0.0,
    limits: Limits | None = None,
) -> Problem:
    """Return the problem with what is left out as zero, and hour classes that bind nothing gone."""
    load = np.asarray(load, dtype=np.float64)
    zeros = np.zeros(load.shape)
    classes = np.ones((1, len(workloads))) if hours is None else np.asarray(hours, dtype=np.float64)
    return Problem(
        workloads=workloads,
        units=units,
        load=load,
        share_usd=zeros if share_usd is None else np.asarray(share_usd, dtype=np.float64),
        pair_usd=zeros if pair_usd is None else np.asarray(pair_usd, dtype=np.float64),
        hours=_binding(classes),
        stack_usd=dict(stack_usd or {}),
        fixed_usd=fixed_usd,
        limits=limits or Limits(),
    )


def _binding(hours: FloatArray) -> FloatArray:
    """Return the hour classes that no other one is at least as busy as, for every workload."""
    kept: list[FloatArray] = []
    for row in hours[np.argsort(-hours.sum(axis=1), kind="stable")]:
        if not any(bool(np.all(row <= other)) for other in kept):
            kept.append(row)
    return np.array(kept)


def open_units(fleet: Fleet) -> list[int]:
    """Return the columns of which the fleet has units."""
    return [int(j) for j in np.flatnonzero(fleet.units > 0)]


def carried(problem: Problem, shares: FloatArray) -> FloatArray:
    """Return the units' worth of load on each target in its busiest hour class."""
    each = np.where(problem.serves, problem.load, 0.0) * shares
    return np.asarray((problem.hours @ each).max(axis=0))


def whole(load: float) -> int:
    """Return `load` rounded up to whole units, what is arithmetic left aside."""
    return math.ceil(load - TOLERANCE * max(1.0, abs(load)))


def fleet_of(problem: Problem, shares: FloatArray) -> Fleet:
    """Return the smallest fleet that carries `shares`, its spare units included."""
    load = carried(problem, shares)
    used = np.asarray((shares > 0).any(axis=0))
    units = [
        max(unit.fewest, whole(float(load[j]) + unit.spare)) if used[j] else 0
        for j, unit in enumerate(problem.units)
    ]
    return Fleet(shares, np.array(units, dtype=np.int64))


def yearly_usd(problem: Problem, fleet: Fleet) -> float:
    """Return what `fleet` costs a year: units, shares, pairs, stacks and the fixed part."""
    bought = open_units(fleet)
    rows, columns = np.nonzero(fleet.shares > 0)
    return math.fsum(
        [
            problem.fixed_usd,
            *(problem.units[j].usd_per_year * int(fleet.units[j]) for j in bought),
            *(problem.stack_usd.get(s, 0.0) for s in {problem.units[j].stack for j in bought}),
            *(
                float(problem.share_usd[i, j] * fleet.shares[i, j] + problem.pair_usd[i, j])
                for i, j in zip(rows, columns, strict=True)
            ),
        ]
    )
