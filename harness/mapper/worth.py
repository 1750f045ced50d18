"""What to find out next: what knowing one input exactly would save, before a choice is signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from harness import units
from harness.mapper.candidate import FloatArray
from harness.mapper.uncertainty import Contest
from harness.schema.confidence import Odds, Worth

NODES = 20
"""Equally likely values at which an input is taken as known."""

VALUES = tuple(NormalDist().inv_cdf((node + 0.5) / NODES) for node in range(NODES))
"""Those values, in standard deviations."""

CONTENDERS = 8
"""How many options, by their regret, are looked at."""

LEAST = 1e-4
"""Share of the expected cost below which knowing more is worth nothing that could be shown."""

LISTED = 5


def worth_knowing(contest: Contest, odds: Sequence[Odds]) -> tuple[Worth, ...]:
    """Return what each throughput and each price is worth to know, the most valuable first.

    The expected value of perfect information on one input x (EVPPI): min_j E[c_j] less the mean
    over x of min_j E[c_j | x], c_j being the yearly cost of option j. The other inputs keep their
    draws at every value of x. 0 where no value of x changes the choice; those are left out.
    """
    if len(odds) < 2:
        return ()
    few = contest.among([each.target for each in odds[:CONTENDERS]])
    cases = few.cases()
    costs = few.costs(cases).mean(axis=1)
    found = []
    for row, candidate in enumerate(few.candidates):
        usd, share = _saved(_at_throughputs(few, costs, row))
        if share >= LEAST:
            found.append(
                Worth(
                    input="throughput",
                    of=candidate.target,
                    usd_per_year=usd,
                    share=share,
                    text=f"the throughput of {candidate.target}: worth at most {units.usd(usd)} a "
                    f"year -> harness run -w {few.future.workload} -t {candidate.target} "
                    "--profile rigorous",
                )
            )
    free = few.costs(replace(cases, price=np.zeros_like(cases.price))).mean(axis=1)
    stated = few.costs(replace(cases, price=np.ones_like(cases.price))).mean(axis=1)
    for source in dict.fromkeys(c.price_source for c in few.candidates):
        usd, share = _saved(_at_prices(few, costs, (free, stated), source))
        if share >= LEAST:
            names = ", ".join(c.target for c in few.candidates if c.price_source == source)
            found.append(
                Worth(
                    input="price",
                    of=source,
                    usd_per_year=usd,
                    share=share,
                    text=f"the price of {names}: worth at most {units.usd(usd)} a year -> ask for "
                    "a binding quote",
                )
            )
    found.sort(key=lambda worth: (-worth.usd_per_year, worth.input, worth.of))
    return tuple(found[:LISTED])


def _at_throughputs(contest: Contest, costs: FloatArray, row: int) -> FloatArray:
    """Return the mean costs (nodes, m) with the throughput of the candidate `row` known."""
    target = contest.candidates[row].target
    alone = contest.among([target])
    found = np.tile(costs, (NODES, 1))
    for node, z in enumerate(VALUES):
        fixed = {**alone.future.fixed, f"throughput of {target}": z}
        cases = replace(alone.future, fixed=fixed).cases(alone.candidates)
        found[node, row] = alone.costs(cases).mean()
    return found


def _at_prices(
    contest: Contest, costs: FloatArray, lines: tuple[FloatArray, FloatArray], source: str
) -> FloatArray:
    """Return the mean costs (nodes, m) with the prices of `source` known.

    `lines` are the mean costs at no price and at the stated price: between them they are linear.
    """
    free, stated = lines
    rows = [row for row, c in enumerate(contest.candidates) if c.price_source == source]
    found = np.tile(costs, (NODES, 1))
    if f"price of {source}" in contest.future.fixed:
        return found
    factors = np.exp(contest.future.spread.price * np.array(VALUES))
    found[:, rows] = free[rows] + factors[:, None] * (stated - free)[rows]
    return found


def _saved(costs: FloatArray) -> tuple[float, float]:
    """Return what knowing an input saves, in USD a year and as a share, from `costs` (nodes, m)."""
    blind = float(costs.mean(axis=0).min())
    seen = float(costs.min(axis=1).mean())
    return blind - seen, 1 - seen / blind
