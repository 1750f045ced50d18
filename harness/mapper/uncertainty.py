"""How sure a choice is: each option's cost over the same draws, P(best) and expected regret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness import units
from harness.mapper.candidate import Candidate, Cases, FloatArray, yearly_costs
from harness.mapper.draws import Future
from harness.schema.confidence import Confidence, Odds
from harness.schema.option import Option

ROBUST_P_BEST = 0.9
ROBUST_REGRET = 0.03
"""A choice is robust from this P(best) on, or up to this expected regret."""

SAME = 1e-9
"""Relative difference of two costs that is arithmetic."""


@dataclass(frozen=True, slots=True)
class Contest:
    """The candidates for one workload and everything that their cost follows from."""

    candidates: tuple[Candidate, ...]
    future: Future
    utilisation_max: float
    spare: int
    staff_usd_per_year: float

    def among(self, targets: Sequence[str]) -> Contest:
        """Return the contest of `targets` alone, in that order; their draws stay the same."""
        by_name = {c.target: c for c in self.candidates}
        return replace(self, candidates=tuple(by_name[name] for name in targets))

    def cases(self) -> Cases:
        """Return what may happen, as drawn."""
        return self.future.cases(self.candidates)

    def costs(self, cases: Cases, utilisation_max: float | None = None) -> FloatArray:
        """Return the yearly cost of each candidate in each of `cases`, in USD (m, d)."""
        share = self.utilisation_max if utilisation_max is None else utilisation_max
        return yearly_costs(self.candidates, cases, share, self.spare, self.staff_usd_per_year)

    def odds(self) -> tuple[Odds, ...]:
        """Return how each candidate does against the others, least expected regret first."""
        if not self.candidates:
            return ()
        return odds_of([c.target for c in self.candidates], self.costs(self.cases()))


def odds_of(targets: Sequence[str], costs: FloatArray) -> tuple[Odds, ...]:
    """Return the odds of `targets` whose costs are the rows of `costs` (m, d), least regret first.

    Expected regret is the mean of cost - min over the draws. Its order is that of the mean cost.
    """
    least = costs.min(axis=0)
    best = costs <= least * (1 + SAME)
    above = np.where(best, 0.0, costs - least)
    base = float(least.mean())
    found = [
        Odds(
            target=name,
            p_best=float(best[row].mean()),
            expected_usd_per_year=float(costs[row].mean()),
            regret_usd_per_year=float(above[row].mean()),
            regret_share=float(above[row].mean()) / base,
            regret_high_share=float(np.quantile(above[row], 0.95)) / base,
        )
        for row, name in enumerate(targets)
    ]
    return tuple(sorted(found, key=lambda odds: (odds.regret_share, odds.target)))


def regrets(odds: Sequence[Odds]) -> Mapping[str, float]:
    """Return the regret share by target, equal where it differs by arithmetic only."""
    return {each.target: float(f"{each.regret_share:.9f}") for each in odds}


def confidence(
    choice: Option, complete: bool, odds: Sequence[Odds], future: Future
) -> Confidence | None:
    """Return how sure `choice` is; None if `odds` compare it with no other option.

    `complete` says that no cost of the choice is missing.
    """
    if len(odds) < 2:
        return None
    own = next(each for each in odds if each.target == choice.target)
    open_ends = []
    if not complete:
        open_ends.append("a part of its cost is not known")
    if choice.slo_state != "met":
        open_ends.append("its SLO is not proven")
    likely, cheap = own.p_best >= ROBUST_P_BEST, own.regret_share <= ROBUST_REGRET
    figures = (
        f"in {units.percent(own.p_best)} of {units.count(future.spread.draws)} draws no other "
        f"option is cheaper; expected regret {units.percent(own.regret_share)} of the least cost"
    )
    robust = (likely or cheap) and not open_ends
    if robust:
        text = f"robust{'' if likely else ', since a wrong choice would cost little'}: {figures}"
    elif open_ends:
        text = f"not robust: {' and '.join(open_ends)}; {figures}"
    else:
        limits = f"{units.percent(ROBUST_P_BEST)} or {units.percent(ROBUST_REGRET)} are needed"
        text = f"not robust: {figures}; {limits}"
    return Confidence(
        p_best=own.p_best,
        regret_usd_per_year=own.regret_usd_per_year,
        regret_share=own.regret_share,
        regret_high_share=own.regret_high_share,
        robust=robust,
        reason=text,
        draws=future.spread.draws,
        seed=future.spread.seed,
        odds=tuple(odds),
    )


def volume_text(requests: float) -> str:
    """Return a number of requests that is not known to the last one: four digits of it."""
    return units.count(float(f"{requests:.4g}"))
