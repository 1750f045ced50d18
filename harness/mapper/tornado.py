"""How much each uncertain input moves the lead of the choice over the runner-up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from harness.mapper.draws import LEAST_GROWTH, MOST_GROWTH, MOST_SHARE
from harness.mapper.uncertainty import SAME, Contest
from harness.schema.confidence import Swing

Z_5 = 1.644854
"""Standard deviations from the median to the 5 % and to the 95 % value."""


def swings(contest: Contest, choice: str, runner_up: str) -> tuple[Swing, ...]:
    """Return what each uncertain input does to the lead of `choice`, the greatest swing first.

    One input is held at its 5 % and its 95 % value in all draws, the others vary. Inputs that move
    nothing are left out.
    """
    pair = contest.among((choice, runner_up))
    spread, demand = pair.future.spread, pair.future.demand
    found = []

    def lead(name: str, z: float) -> float:
        future = replace(pair.future, fixed={**pair.future.fixed, name: z})
        costs = pair.costs(future.cases(pair.candidates)).mean(axis=1)
        return float(costs[1] - costs[0])

    def add(name: str, words: str, unit: str, value: Callable[[float], float]) -> None:
        low, high = value(-Z_5), value(Z_5)
        if low == high:
            return
        at_low, at_high = lead(name, -Z_5), lead(name, Z_5)
        if abs(at_high - at_low) <= SAME * max(abs(at_low), abs(at_high)):
            return
        found.append(
            Swing(
                input=words,
                low=low,
                high=high,
                unit=unit,
                usd_per_year_at_low=at_low,
                usd_per_year_at_high=at_high,
                turns=min(at_low, at_high) < 0,
            )
        )

    volume, burst = demand.requests_per_month, demand.peak_factor - 1
    add("volume", "volume", "requests/month", lambda z: volume * math.exp(spread.volume * z))
    add("peak_factor", "peak factor", "1", lambda z: 1 + burst * math.exp(spread.peak_factor * z))
    growth = _within(demand.growth_per_year, spread.growth, LEAST_GROWTH, MOST_GROWTH)
    add("growth", "growth a year", "share", growth)
    for name, words, share, sd in (
        ("result_cache_hit", "result cache hits", demand.result_cache_hit, spread.result_cache_hit),
        ("batchable", "batchable share", demand.batchable_share, spread.batchable_share),
    ):
        if share:
            add(name, words, "share", _within(share, sd, 0.0, MOST_SHARE[name]))
    if any(c.power is not None for c in pair.candidates):
        add("electricity", "electricity, x the tariff", "1", _factor(spread.electricity))
    for source in dict.fromkeys(c.price_source for c in pair.candidates):
        names = " and ".join(c.target for c in pair.candidates if c.price_source == source)
        add(f"price of {source}", f"price of {names}, x", "1", _factor(spread.price))
    for candidate in pair.candidates:
        for name, words in (("throughput", "throughput"), ("power", "power")):
            key = f"{name} of {candidate.target}"
            figures = _range(pair, candidate.target, name)
            if figures[0] < figures[1]:
                add(
                    key,
                    f"{words} of {candidate.target}, x",
                    "1",
                    lambda z, ends=figures: ends[0] if z < 0 else ends[1],  # type: ignore[misc]
                )
    return tuple(
        sorted(
            found,
            key=lambda s: (-abs(s.usd_per_year_at_high - s.usd_per_year_at_low), s.input),
        )
    )


def _range(pair: Contest, target: str, name: str) -> tuple[float, float]:
    """Return the factors on a candidate's throughput or power at its 5 % and 95 % value."""
    row = [c.target for c in pair.candidates].index(target)
    ends = []
    for z in (-Z_5, Z_5):
        chip = f"chip {pair.candidates[row].chip}"
        fixed = {f"{name} of {target}": z, chip: 0.0}
        cases = replace(pair.future, fixed=fixed).cases(pair.candidates)
        if name == "power":
            ends.append(float(cases.power[row][0]))
        else:
            base = pair.candidates[row].throughput.value
            ends.append(float(cases.throughput[row][0]) / base)
    return ends[0], ends[1]


def _within(stated: float, spread: float, least: float, most: float) -> Callable[[float], float]:
    """Return the value z standard deviations off, cut as in the draws."""
    return lambda z: min(max(stated + spread * z, least), most)


def _factor(spread: float) -> Callable[[float], float]:
    return lambda z: math.exp(spread * z)
