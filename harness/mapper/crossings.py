"""Two options over the volume: every crossing of their cost staircases, and how sure each is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from harness.mapper.candidate import Cases, FloatArray, units_in
from harness.mapper.draws import planned
from harness.mapper.uncertainty import SAME, Contest
from harness.schema.base import Interval
from harness.schema.break_even import Crossing

WIDEST = 100.0
"""Volumes are looked at from a hundredth of the asked one up to a hundred times it."""

GRID = 1000
"""Volumes that are looked at between the two ends, beside every step of the two fleets."""

MOST_STEPS = 2000
"""Steps of a fleet that are looked at one by one; larger fleets grow almost smoothly."""

BEFORE, AFTER = 1 - 1e-7, 1 + 1e-7
"""Factors on a volume to just before a step there, and to just after it."""

BISECTIONS = 40
DRAWN = 200
"""Draws in which the crossings are looked for again."""

LISTED = 20


@dataclass(frozen=True, slots=True)
class Crossings:
    """Where two options cost the same, over the volumes `span` (requests a month).

    The fields are those of `KindBreakEven`; `listed` are at most 20 of the `found`, `end` the last.
    `tied`: at some of the volumes looked at both cost the same.
    """

    span: tuple[float, float]
    listed: tuple[Crossing, ...]
    end: Crossing | None
    found: int
    first: Interval | None
    last: Interval | None
    utilisation: Interval | None
    drawn: float
    always: str | None
    tied: bool


@dataclass(frozen=True, slots=True)
class _Drawn:
    """By draw with a crossing: factors of its first and last, utilisation there; their share."""

    first: FloatArray
    last: FloatArray
    utilisation: FloatArray
    share: float


def crossings(pair: Contest) -> Crossings:
    """Return where the two candidates of `pair` cost the same; the second has units."""
    volume = pair.future.demand.requests_per_month
    factors = _factors(pair)
    signs = _signs(pair, factors)
    roots = _crossings(pair, factors, signs)
    drawn = _drawn(pair)
    listed = tuple(_crossing(pair, factor) for factor in roots[:LISTED])
    end, always = None, None
    first = last = utilisation = None
    if roots:
        end = listed[-1] if len(roots) <= LISTED else _crossing(pair, roots[-1])
        first = _interval(volume * roots[0], drawn.first, volume)
        last = _interval(volume * roots[-1], drawn.last, volume)
        utilisation = _interval(end.utilisation, drawn.utilisation)
    elif signs.any():  # without a crossing all that differ differ the same way
        always = pair.candidates[int(signs.max() > 0)].target
    return Crossings(
        span=(volume / WIDEST, volume * WIDEST),
        listed=listed,
        end=end,
        found=len(roots),
        first=first,
        last=last,
        utilisation=utilisation,
        drawn=drawn.share,
        always=always,
        tied=not signs.all(),
    )


def _lead(pair: Contest, factors: FloatArray) -> FloatArray:
    """Return what the first costs above the second as planned, USD a year, by volume factor."""
    cases = planned(pair.candidates, pair.future.demand, factors)
    costs = pair.costs(cases)
    lead: FloatArray = costs[0] - costs[1]
    return lead


def _factors(pair: Contest) -> FloatArray:
    """Return the factors on the volume to look at: a grid, and just before and after each step."""
    found = [np.geomspace(1 / WIDEST, WIDEST, GRID)]
    for inside in steps(pair):
        found += [inside * BEFORE, inside * AFTER]
    return np.unique(np.concatenate(found))


def steps(contest: Contest) -> list[FloatArray]:
    """Return, by candidate, the volume factors at which its planned fleet may need another unit."""
    found = []
    cases = planned(contest.candidates, contest.future.demand, np.array([1.0]))
    for row, candidate in enumerate(contest.candidates):
        carried = cases.throughput[row, 0] * contest.utilisation_max * candidate.sites
        count = 0 if candidate.metered else MOST_STEPS
        every = np.arange(1, count + 1) * carried / (cases.peak[0] * candidate.per_request)
        found.append(every[(every > 1 / WIDEST) & (every < WIDEST)])
    return found


def _crossings(pair: Contest, factors: FloatArray, signs: FloatArray) -> list[float]:
    """Return the factors at which the other one becomes cheaper, each closed in on by bisection."""
    known = np.flatnonzero(signs)
    roots = []
    for left, right in pairwise(known.tolist()):
        if signs[left] == signs[right]:
            continue
        low, high = float(factors[left]), float(factors[right])
        for _ in range(BISECTIONS):
            middle = (low * high) ** 0.5
            turned = _signs(pair, np.array([middle]))[0] == signs[right]
            low, high = (low, middle) if turned else (middle, high)
        roots.append(high)
    return roots


def _signs(pair: Contest, factors: FloatArray) -> FloatArray:
    """Return the order of the two as planned, by volume factor: see `_order`."""
    return _order(pair.costs(planned(pair.candidates, pair.future.demand, factors)))


def _order(costs: FloatArray) -> FloatArray:
    """Return 1 where the first costs more, -1 where the second does, 0 where they cost the same."""
    lead = costs[0] - costs[1]
    signs: FloatArray = np.where(np.abs(lead) <= SAME * costs.min(axis=0), 0.0, np.sign(lead))
    return signs


def _drawn(pair: Contest) -> _Drawn:
    """Return the first and the last crossing of each draw that has one, and their share.

    The volume is what is looked for, so its own spread takes no part.
    """
    future = replace(pair.future, fixed={**pair.future.fixed, "volume": 0.0})
    cases = future.cases(pair.candidates)
    count = min(DRAWN, len(cases.mean))
    grid = np.geomspace(1 / WIDEST, WIDEST, GRID)
    each = len(grid)
    wide = Cases(
        mean=np.outer(cases.mean[:count], grid).ravel(),
        peak=np.outer(cases.peak[:count], grid).ravel(),
        electricity=np.repeat(cases.electricity[:count], each),
        price=np.repeat(cases.price[:, :count], each, axis=1),
        power=np.repeat(cases.power[:, :count], each, axis=1),
        throughput=np.repeat(cases.throughput[:, :count], each, axis=1),
    )
    costs = pair.costs(wide)
    fleet = units_in(pair.candidates, wide, pair.utilisation_max, pair.spare)[1]
    used = wide.mean * pair.candidates[1].per_request / (fleet * wide.throughput[1])
    firsts, lasts, utilisations = [], [], []
    for signs, usage in zip(
        _order(costs).reshape(count, each), used.reshape(count, each), strict=True
    ):
        known = np.flatnonzero(signs)
        dearer = signs[known] > 0
        turns = known[1:][dearer[1:] != dearer[:-1]]
        if len(turns):
            firsts.append(grid[turns[0]])
            lasts.append(grid[turns[-1]])
            utilisations.append(usage[turns[-1]])
    return _Drawn(np.array(firsts), np.array(lasts), np.array(utilisations), len(firsts) / count)


def _interval(value: float, drawn: FloatArray, factor: float = 1.0) -> Interval | None:
    """Return `value` with the 95 % interval of the draws times `factor`; None without any."""
    if not len(drawn):
        return None
    low, high = (factor * float(end) for end in np.quantile(drawn, (0.025, 0.975)))
    return Interval(value=value, low=min(low, value), high=max(high, value))


def _crossing(pair: Contest, factor: float) -> Crossing:
    above = np.array([factor * (1 + 1e-6)])
    cheaper = int(_lead(pair, above)[0] > 0)
    return Crossing(
        requests_per_month=pair.future.demand.requests_per_month * factor,
        utilisation=_utilisation(pair, factor),
        cheaper_above=pair.candidates[cheaper].target,
    )


def _utilisation(pair: Contest, factor: float) -> float:
    """Return the mean rate over the throughput at the SLO of the second's fleet."""
    cases = planned(pair.candidates, pair.future.demand, np.array([factor]))
    fleet = units_in(pair.candidates, cases, pair.utilisation_max, pair.spare)[1, 0]
    bought = pair.candidates[1]
    return float(cases.mean[0] * bought.per_request / (fleet * bought.throughput.value))
