"""Renting against buying over the volume: every crossing of the two staircases, and how sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from harness import units
from harness.mapper.candidate import Candidate, Cases, FloatArray, units_in
from harness.mapper.draws import planned
from harness.mapper.uncertainty import SAME, Contest, volume_text
from harness.schema.decision import BreakEven, Crossing, Interval, Odds

WIDEST = 100.0
"""Volumes are looked at from a hundredth of the asked one up to a hundred times it."""

GRID = 1000
"""Volumes that are looked at between the two ends, beside every step of the two fleets."""

MOST_STEPS = 2000
"""Steps of a fleet that are looked at one by one; larger fleets grow almost smoothly."""

BISECTIONS = 40
DRAWN = 200
"""Draws in which the crossings are looked for again."""

LISTED = 20

RULE_OF_THUMB = (0.6, 0.7)
"""Utilisation above which buying is said to pay (I. Ivchenko, doi 10.5281/zenodo.18678386)."""


def break_even(contest: Contest, odds: Sequence[Odds]) -> BreakEven | None:
    """Return where renting and buying cost the same; None without an option of each kind.

    The option of each kind is the one with the least expected regret. A purchase whose energy is
    not known cannot be compared: None.
    """
    kinds: dict[bool, Candidate] = {}
    by_name = {c.target: c for c in contest.candidates}
    for each in odds:
        candidate = by_name[each.target]
        if candidate.complete:
            kinds.setdefault(candidate.rented, candidate)
    if len(kinds) < 2:
        return None
    names = (kinds[True].target, kinds[False].target)
    pair = contest.among(names)
    volume = contest.future.demand.requests_per_month
    factors = _factors(pair)
    roots = _crossings(pair, factors)
    first, last, drawn = _drawn(pair)
    span = (volume / WIDEST, volume * WIDEST)
    crossings = tuple(_crossing(pair, factor) for factor in roots[:LISTED])
    always = None
    if not roots:
        always = names[int(_lead(pair, np.array([1.0]))[0] > 0)]
    found = BreakEven(
        rented=names[0],
        purchased=names[1],
        span=span,
        crossings=crossings,
        found=len(roots),
        first=None if first is None or not roots else _interval(volume, roots[0], first),
        last=None if last is None or not roots else _interval(volume, roots[-1], last),
        drawn=drawn,
        always=always,
        text="to be said",
    )
    return found.model_copy(update={"text": _text(pair, found, roots)})


def _lead(pair: Contest, factors: FloatArray) -> FloatArray:
    """Return rent less purchase in USD a year at the planned figures, by factor on the volume."""
    cases = planned(pair.candidates, pair.future.demand, factors)
    costs = pair.costs(cases)
    lead: FloatArray = costs[0] - costs[1]
    return lead


def _factors(pair: Contest) -> FloatArray:
    """Return the factors on the volume to look at: a grid, and just before and after each step."""
    found = [np.geomspace(1 / WIDEST, WIDEST, GRID)]
    cases = planned(pair.candidates, pair.future.demand, np.array([1.0]))
    for row, candidate in enumerate(pair.candidates):
        carried = cases.throughput[row, 0] * pair.utilisation_max
        steps = np.arange(1, MOST_STEPS + 1) * carried / (cases.peak[0] * candidate.per_request)
        inside = steps[(steps > 1 / WIDEST) & (steps < WIDEST)]
        found += [inside * (1 - 1e-7), inside * (1 + 1e-7)]
    return np.unique(np.concatenate(found))


def _crossings(pair: Contest, factors: FloatArray) -> list[float]:
    """Return the factors at which the other one becomes cheaper, each closed in on by bisection."""
    signs = _signs(pair, factors)
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
    """Return 1 where renting costs more, -1 where buying does, 0 where they cost the same."""
    costs = pair.costs(planned(pair.candidates, pair.future.demand, factors))
    lead = costs[0] - costs[1]
    signs: FloatArray = np.where(np.abs(lead) <= SAME * costs.min(axis=0), 0.0, np.sign(lead))
    return signs


def _drawn(pair: Contest) -> tuple[FloatArray | None, FloatArray | None, float]:
    """Return the first and the last crossing of each draw that has one, and their share.

    The volume is what is looked for, so its own spread takes no part.
    """
    future = replace(pair.future, fixed={**pair.future.fixed, "volume": 0.0})
    cases = future.cases(pair.candidates)
    count = min(DRAWN, len(cases.mean))
    grid = np.geomspace(1 / WIDEST, WIDEST, GRID)
    each = len(grid)
    costs = pair.costs(
        Cases(
            mean=np.outer(cases.mean[:count], grid).ravel(),
            peak=np.outer(cases.peak[:count], grid).ravel(),
            electricity=np.repeat(cases.electricity[:count], each),
            price=np.repeat(cases.price[:, :count], each, axis=1),
            power=np.repeat(cases.power[:, :count], each, axis=1),
            throughput=np.repeat(cases.throughput[:, :count], each, axis=1),
        )
    )
    firsts, lasts = [], []
    for lead in (costs[0] - costs[1]).reshape(count, each):
        known = np.flatnonzero(lead)
        dearer = lead[known] > 0
        turns = grid[known[1:]][dearer[1:] != dearer[:-1]]
        if len(turns):
            firsts.append(turns[0])
            lasts.append(turns[-1])
    if not firsts:
        return None, None, 0.0
    return np.array(firsts), np.array(lasts), len(firsts) / count


def _interval(volume: float, root: float, drawn: FloatArray) -> Interval:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(
        value=volume * root,
        low=volume * min(float(low), root),
        high=volume * max(float(high), root),
    )


def _crossing(pair: Contest, factor: float) -> Crossing:
    above = np.array([factor * (1 + 1e-6)])
    cheaper = int(_lead(pair, above)[0] > 0)
    return Crossing(
        requests_per_month=pair.future.demand.requests_per_month * factor,
        utilisation=_utilisation(pair, factor),
        cheaper_above=pair.candidates[cheaper].target,
    )


def _utilisation(pair: Contest, factor: float) -> float:
    """Return the mean rate over the throughput at the SLO of the purchased fleet."""
    cases = planned(pair.candidates, pair.future.demand, np.array([factor]))
    fleet = units_in(pair.candidates, cases, pair.utilisation_max, pair.spare)[1, 0]
    bought = pair.candidates[1]
    return float(cases.mean[0] * bought.per_request / (fleet * bought.throughput.value))


def _text(pair: Contest, found: BreakEven, roots: Sequence[float]) -> str:
    """Return the break-even in words, beside the rule of thumb."""
    thumb = f"{units.percent(RULE_OF_THUMB[0])}-{units.percent(RULE_OF_THUMB[1])}"
    rule = f"the rule of thumb is {thumb} utilisation"
    ends = " and ".join(volume_text(v) for v in found.span)
    if found.always is not None:
        text = (
            f"at the planned figures {found.always} is cheaper at every volume between {ends} "
            f"requests a month, whatever the utilisation; {rule}"
        )
        if found.drawn:
            text += f"; {units.percent(found.drawn)} of the draws have a crossing"
        return text
    last = found.crossings[-1] if found.found <= LISTED else _crossing(pair, roots[-1])
    other = found.rented if last.cheaper_above == found.purchased else found.purchased
    text = (
        f"{last.cheaper_above} costs less than {other} from "
        f"{volume_text(last.requests_per_month)} requests a month on"
    )
    if found.last is not None and found.last.low is not None and found.last.high is not None:
        text += f" ({volume_text(found.last.low)} to {volume_text(found.last.high)})"
    text += f", where the purchased units are used to {units.percent(last.utilisation)}; {rule}"
    if found.found > 1:
        start = volume_text(found.crossings[0].requests_per_month)
        text += f"; from {start} on the order turns {units.count(found.found)} times"
    if found.drawn < 1:
        text += f"; {units.percent(found.drawn)} of the draws have a crossing"
    return text
