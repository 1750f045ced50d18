"""What would change the answer: the value of each input at which another target takes over.

All figures are expected yearly costs over the draws, the ones that the choice is made by, so that
a step of one fleet does not look like a turning point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from harness import units
from harness.mapper.candidate import Cases, FloatArray
from harness.mapper.feasibility import limit_text
from harness.mapper.uncertainty import SAME, Contest, volume_text
from harness.schema.confidence import Flip
from harness.schema.decision import TargetOutcome
from harness.schema.option import Option

MOST_CHANGE = 10.0
"""Prices and volumes are looked at up to ten times more and ten times less."""

CHALLENGERS = 3
"""How many options are shown with the price that would make them the answer."""

STEP = 1.05
"""Ratio of neighbouring values that are looked at before the turning point is closed in on."""

BISECTIONS = 30
CostsAt = Callable[[Contest, Cases, float], FloatArray]
"""The costs of a contest in cases with one input at a value (m, d)."""

SCOUTS = 128
"""Draws with which the far values are looked at first, to see who could win there at all."""


def flips(
    contest: Contest,
    choice: Option,
    options: Sequence[Option],
    outcomes: Sequence[TargetOutcome],
) -> tuple[Flip, ...]:
    """Return what would change the answer `choice`, the smallest change of each kind first.

    `contest` has the candidates that are compared with the choice, `options` all feasible ones.
    """
    found: list[Flip] = []
    if len(contest.candidates) > 1:
        found += _prices(contest, choice.target)
        found += _volumes(contest, choice.target)
        found += _utilisations(contest, choice.target)
    return (*found, *_slo(choice, options, outcomes))


def _prices(contest: Contest, choice: str) -> list[Flip]:
    """Return the own price from which on the choice loses, and the prices that would beat it.

    The expected cost is linear in a price: a + f b, with b the cost of the lines that follow it.
    """
    cases = contest.cases()
    costs = contest.costs(cases).mean(axis=1)
    free = contest.costs(replace(cases, price=np.zeros_like(cases.price))).mean(axis=1)
    own = [c.target for c in contest.candidates].index(choice)
    rest = [row for row in range(len(costs)) if row != own]
    rival = min(rest, key=lambda row: (costs[row], row))
    found = []
    factor = (costs[rival] - free[own]) / (costs[own] - free[own])
    if 1 <= factor <= MOST_CHANGE:
        winner = contest.candidates[rival].target
        found.append(_price_flip(contest, own, float(factor), winner, "above"))
    rivals = []
    for row in rest:
        factor = (costs[own] - free[row]) / (costs[row] - free[row])
        if 1 / MOST_CHANGE <= factor <= 1:
            rivals.append((-float(factor), row))
    for negative, row in sorted(rivals)[:CHALLENGERS]:
        winner = contest.candidates[row].target
        found.append(_price_flip(contest, row, -negative, winner, "below"))
    return found


def _price_flip(contest: Contest, row: int, factor: float, winner: str, side: str) -> Flip:
    candidate = contest.candidates[row]
    present, value = candidate.stated_usd, candidate.stated_usd * factor
    each = " an hour" if candidate.rented else " a unit"
    if candidate.metered:
        each = " per 1,000 requests"
    return Flip(
        input="price",
        of=candidate.target,
        unit=candidate.price_unit,
        present=present,
        value=value,
        change=factor - 1,
        winner=winner,
        text=f"price of {candidate.target} {side} {units.usd(value)}{each} "
        f"({_from(factor, units.usd(present))}): {winner}",
    )


def _from(factor: float, present: str) -> str:
    """Return how far a flip is from what it is now; at the present value it is a tie."""
    return "a tie now" if math.isclose(factor, 1.0) else f"{_change(factor)} from {present}"


def _volumes(contest: Contest, choice: str) -> list[Flip]:
    """Return the nearest lower and higher volume at which another candidate wins."""
    present = contest.future.demand.requests_per_month

    def costs_at(asked: Contest, cases: Cases, factor: float) -> FloatArray:
        return asked.costs(replace(cases, mean=cases.mean * factor, peak=cases.peak * factor))

    found = []
    for ends in (1 / MOST_CHANGE, MOST_CHANGE):
        turn = _turn(contest, choice, _path(1.0, ends), costs_at)
        if turn is None:
            continue
        factor, winner = turn
        side = "above" if factor > 1 else "below"
        found.append(
            Flip(
                input="volume",
                unit="requests/month",
                present=present,
                value=present * factor,
                change=factor - 1,
                winner=winner,
                text=f"volume {side} {volume_text(present * factor)} requests a month "
                f"({_change(factor)}): {winner}",
            )
        )
    return found


def _utilisations(contest: Contest, choice: str) -> list[Flip]:
    """Return the nearest lower and higher share of the throughput to plan with that turns it."""
    present = contest.utilisation_max

    def costs_at(asked: Contest, cases: Cases, share: float) -> FloatArray:
        return asked.costs(cases, share)

    found = []
    for end in (0.1, 1.0):
        turn = _turn(contest, choice, _path(present, end), costs_at)
        if turn is None:
            continue
        value, winner = turn
        side = "above" if value > present else "below"
        found.append(
            Flip(
                input="utilisation",
                unit="share",
                present=present,
                value=value,
                change=value / present - 1,
                winner=winner,
                text=f"planned utilisation {side} {units.percent(value)} (now "
                f"{units.percent(present)}): {winner}",
            )
        )
    return found


def _turn(
    contest: Contest,
    choice: str,
    path: Sequence[float],
    costs_at: CostsAt,
) -> tuple[float, str] | None:
    """Return the first value on `path` (from the present one) at which another candidate wins.

    A scan with a few draws says who may win anywhere; only those and the choice are followed. Then
    bisection between the last value at which the choice wins and the first at which it does not.
    """
    names = [c.target for c in contest.candidates]
    scouts = _first(contest.cases(), SCOUTS)
    likely = {names[int(costs_at(contest, scouts, v).mean(axis=1).argmin())] for v in path}
    followed = sorted(likely | {choice})
    if len(followed) == 1:
        return None
    few = contest.among(followed)
    cases = few.cases()

    def winner(value: float) -> str:
        costs = costs_at(few, cases, value).mean(axis=1)
        own = followed.index(choice)
        least = int(costs.argmin())
        return choice if costs[own] <= costs[least] * (1 + SAME) else followed[least]

    inside = path[0]
    for outside in path[1:]:
        if winner(outside) != choice:
            break
        inside = outside
    else:
        return None
    for _ in range(BISECTIONS):
        middle = math.sqrt(inside * outside)
        inside, outside = (middle, outside) if winner(middle) == choice else (inside, middle)
    return outside, winner(outside)


def _path(start: float, end: float) -> list[float]:
    """Return values from `start` to `end`, neighbours a factor of `STEP` apart."""
    steps = max(1, math.ceil(abs(math.log(end / start)) / math.log(STEP)))
    return [start * (end / start) ** (step / steps) for step in range(steps + 1)]


def _slo(
    choice: Option, options: Sequence[Option], outcomes: Sequence[TargetOutcome]
) -> list[Flip]:
    """Return the limit below which the choice leaves, and above which the next target enters.

    Leaving: at the load that it was measured at, the choice proves no limit below its upper bound.
    Entering: a target that nothing but the SLO speaks against, at the bound that it reached.
    """
    found = []
    bounds = [(check.high_s or 0.0) / check.limit.limit_s for check in choice.slo]
    tight = max(range(len(bounds)), key=bounds.__getitem__) if bounds else None
    if tight is not None and choice.slo_state == "met" and bounds[tight] > 0:
        check = choice.slo[tight]
        assert check.high_s is not None
        heir = next(
            (
                o.target
                for o in options
                if o.target != choice.target
                and o.slo_state == "met"
                and len(o.slo) > tight
                and (o.slo[tight].high_s or math.inf) < check.high_s
            ),
            None,
        )
        found.append(
            Flip(
                input="slo",
                of=choice.target,
                unit="s",
                present=check.limit.limit_s,
                value=check.high_s,
                change=bounds[tight] - 1,
                winner=heir,
                text=f"limit of {limit_text(check.limit)} below {units.seconds(check.high_s)}: "
                f"{choice.target} does not prove it at its load; "
                + (f"{heir} does" if heir else "no other option does"),
            )
        )
    out = [
        (rule.number / rule.limit, outcome.target, rule)
        for outcome in outcomes
        if not outcome.feasible and len(outcome.rejections) == 1
        for rule in outcome.rejections
        if rule.rule == "slo" and rule.number and rule.limit and rule.unit == "s"
    ]
    if out:
        ratio, name, rule = min(out, key=lambda each: each[:2])
        assert rule.number is not None
        assert rule.limit is not None
        found.append(
            Flip(
                input="slo",
                of=name,
                unit="s",
                present=rule.limit,
                value=rule.number,
                change=ratio - 1,
                winner=None,
                text=f"a limit of {units.seconds(rule.number)} instead of "
                f"{units.seconds(rule.limit)} would let {name} in; whether it wins then is not "
                "known until it is measured against that limit",
            )
        )
    return found


def _first(cases: Cases, draws: int) -> Cases:
    return replace(
        cases,
        mean=cases.mean[:draws],
        peak=cases.peak[:draws],
        electricity=cases.electricity[:draws],
        price=cases.price[:, :draws],
        power=cases.power[:, :draws],
        throughput=cases.throughput[:, :draws],
    )


def _change(factor: float) -> str:
    sign = "+" if factor >= 1 else "-"
    return f"{sign}{units.percent(abs(factor - 1))}"
