"""How sure a choice is, which inputs would turn it, and what it is worth to know them better."""

from __future__ import annotations

from typing import Literal

from harness.schema.base import Name, Share, Spec, Text


class Odds(Spec):
    """How an option does over all draws: is no other cheaper, and what does it cost more than it.

    `p_best` is the share of the draws in which no other option costs less; options that cost the
    same both count. The regret is the mean of what it costs above the cheapest of its draw;
    `regret_share` that over the mean cost of the cheapest, `regret_high_share` its 95 % value.
    """

    target: Name
    p_best: Share
    expected_usd_per_year: float
    regret_usd_per_year: float
    regret_share: float
    regret_high_share: float


class Confidence(Spec):
    """How sure the choice is against the options that keep the SLO as well as it does.

    The figures are those of the choice; `odds` has all options compared, least regret first. The
    choice is `robust` when P(best) >= 0.9 or the regret is at most 3 %, and nothing of its cost or
    its SLO is open; `reason` says which.
    """

    p_best: Share
    regret_usd_per_year: float
    regret_share: float
    regret_high_share: float
    robust: bool
    reason: Text
    draws: int
    seed: int
    odds: tuple[Odds, ...]


class Flip(Spec):
    """The value of one input at which the answer changes, all others staying what they are.

    `of` is the target whose price it is. `change` is value / present - 1. `winner` is the answer
    then; None where that is not known.
    """

    input: Literal["price", "volume", "utilisation", "slo"]
    of: Name | None = None
    unit: Text
    present: float
    value: float
    change: float
    winner: Name | None
    text: Text


class Swing(Spec):
    """What one input does to the lead: the runner-up's expected cost less that of the choice.

    In USD a year, with the input at its 5 % value `low` and at its 95 % value `high`. `turns`: at
    one of them the runner-up is cheaper.
    """

    input: Text
    low: float
    high: float
    unit: Text
    usd_per_year_at_low: float
    usd_per_year_at_high: float
    turns: bool


class Worth(Spec):
    """What knowing one input exactly would save on average, in USD a year and of the least cost.

    An upper bound on what a measurement of it, or a binding quote, is worth. `of` is the target
    whose throughput it is, or the source of the price.
    """

    input: Literal["throughput", "price"]
    of: Text
    usd_per_year: float
    share: float
    text: Text
