"""The answer of a comparison as data: what differs, how sure that is, what was not compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.bootstrap import Interval
from harness.difference import Difference

Outcome = Literal["better", "worse", "equivalent", "inconclusive", "indicative"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of one cell: both sides' geometric means, their difference and its verdict.

    `load` is the share of each side's own back-to-back rate at which they were compared; None where
    there is only one point or the figure is that of the headline. `resolution` is the relative
    distance of the loads between which a throughput at the SLO was found, 0 for other metrics;
    `at_least` says that the side with more kept the SLO at its highest load. `p_adjusted` accounts
    for the resolution and for all comparisons made together. `lacks` says what a firmer answer
    needs. `within` is the ratio of new to base from the samples, with the 95 % interval of the
    noise within these runs: no evidence of a difference, as other runs may differ by more. None
    where there are no samples, or where the figure is not one of single requests or tasks:
    `without_within` says why.
    """

    metric: str
    unit: str
    better: Literal["lower", "higher"]
    load: float | None
    base: float
    new: float
    difference: Difference
    resolution: float
    at_least: bool
    p_equivalent: float | None
    p_adjusted: float | None
    outcome: Outcome
    lacks: str | None
    within: Interval | None = None
    without_within: str | None = None

    def is_regression(self, threshold: float) -> bool:
        """Whether the new side is worse, and by more than `threshold`."""
        return self.outcome == "worse" and abs(self.difference.mean_log) > math.log1p(threshold)


@dataclass(frozen=True, slots=True)
class Missing:
    """A metric that could not be compared, and why."""

    metric: str
    reason: str


@dataclass(frozen=True, slots=True)
class ComparedCell:
    """One workload and scenario on both sides.

    `lost`: what the base can do and the new side cannot. `notes`: what a reader must know, such as
    noisy runs or a machine that changed.
    """

    workload: str
    scenario: str
    base_target: str
    new_target: str
    base_runs: int
    new_runs: int
    paired: bool
    metrics: tuple[Compared, ...]
    missing: tuple[Missing, ...]
    lost: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A cell that was not compared because the figures would not mean the same."""

    workload: str
    scenario: str
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer to "how does `new` differ from `base`?"."""

    base: str
    new: str
    threshold: float
    cells: tuple[ComparedCell, ...]
    refused: tuple[Refused, ...]
    only_in_base: tuple[str, ...]
    only_in_new: tuple[str, ...]

    @property
    def only_one_side(self) -> tuple[str, ...]:
        """What one side alone has, in words."""
        return (
            *(f"{place} only in {self.base}" for place in self.only_in_base),
            *(f"{place} only in {self.new}" for place in self.only_in_new),
        )

    @property
    def regressions(self) -> tuple[str, ...]:
        """What got worse beyond the threshold, or is lost, in words; empty if nothing did."""
        found = [f"{place}: the new side has no run of it" for place in self.only_in_base]
        for cell in self.cells:
            place = f"{cell.workload}/{cell.scenario}"
            found += [f"{place}: {text}" for text in cell.lost]
            found += [
                f"{place}: {each.metric} is worse"
                for each in cell.metrics
                if each.is_regression(self.threshold)
            ]
        return tuple(found)
