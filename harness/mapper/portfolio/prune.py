"""Which targets of a large market are worth solving for, by the linear relaxation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from harness.mapper.portfolio.highs import Relaxed
from harness.mapper.portfolio.problem import Fleet, Problem
from harness.mapper.portfolio.program import Program

KEPT_PER_STACK = 2.0
"""How many targets stay for each stack that may be opened."""


def ranked(problem: Problem, program: Program, relaxed: Relaxed) -> list[int]:
    """Return the targets by how far the relaxation opens them, then by what it buys of them."""
    opened = relaxed.columns[program.open_at() : program.open_at() + program.targets]
    bought = relaxed.columns[program.units_at() : program.units_at() + program.targets]
    usd = [unit.usd_per_year for unit in problem.units]
    return sorted(
        range(program.targets),
        key=lambda j: (
            -round(float(opened[j]), 6),
            -round(float(bought[j]) * usd[j], 3),
            usd[j],
            j,
        ),
    )


def kept_targets(problem: Problem, order: list[int], factor: float = KEPT_PER_STACK) -> list[int]:
    """Return the first of `order`, `factor` for each stack allowed, and whatever serves the rest.

    Without a limit on stacks, `factor` for each workload.
    """
    allowed = problem.limits.stacks_max or len(problem.workloads)
    number = max(6, math.ceil(factor * allowed))
    kept = order[:number]
    serves = problem.serves
    for i in range(len(problem.workloads)):
        if not serves[i, kept].any():
            kept.append(next(j for j in order if serves[i, j]))
    return kept


def narrowed(problem: Problem, kept: list[int]) -> Problem:
    """Return the problem with the targets in `kept` only."""
    return replace(
        problem,
        units=tuple(problem.units[j] for j in kept),
        load=problem.load[:, kept],
        share_usd=problem.share_usd[:, kept],
        pair_usd=problem.pair_usd[:, kept],
    )


def widened(problem: Problem, kept: list[int], fleet: Fleet) -> Fleet:
    """Return a fleet of the narrowed problem as one of the whole."""
    shares = np.zeros(problem.load.shape)
    units = np.zeros(len(problem.units), dtype=np.int64)
    shares[:, kept] = fleet.shares
    units[kept] = fleet.units
    return Fleet(shares, units)
