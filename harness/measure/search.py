"""Finds the highest rate within the SLO: which rate to measure next, given what was measured.

Stepwise from half the back-to-back rate, up or down until the answer changes. From then on a line
through what all points say, the logarithm of the share of misses over that of the load, tells
which load a further window would just prove. Pure; the cell measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

FIRST = 0.5
STEPS_UP = (0.75, 0.9, 1.05)
GROWTH = 1.5
SHRINK = 0.5
LEAST = 0.01
SLOPE, SLOPE_SPREAD = 15.0, 8.0
"""Before anything is measured: the share of misses grows about with the 15th power of the load, as
in a queue at three quarters of its capacity whose limit is ten service times."""
WORTH = 0.2
"""Of how many independent requests a correlated one is worth, where no miss has told it yet."""
MARGIN = 1.96 + 0.84
"""Standard errors below the limit at which a window proves it in four of five cases."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How one limit did at a point: `missed` of `requests`, which are worth `worth` independent
    ones, where a share of `allowed` may miss.
    """

    requests: int
    missed: int
    worth: float
    allowed: float

    @property
    def excess(self) -> float:
        """ln(share of misses / allowed share), with half a miss added (Haldane, Anscombe)."""
        return math.log((self._misses + 0.5) / (self._independent + 1) / self.allowed)

    @property
    def variance(self) -> float:
        """The variance of `excess`: 1 / independent misses."""
        return 1 / (self._misses + 0.5)

    @property
    def _independent(self) -> float:
        return self.worth if self.missed else WORTH * self.requests

    @property
    def _misses(self) -> float:
        return self.missed / self.requests * self._independent if self.requests else 0.0


@dataclass(slots=True)
class CapacitySearch:
    """The search over load, the rate as a share of the back-to-back rate.

    It ends when a load that met the SLO is within `resolution` (relative) of the highest one that
    can be proven, by what all points say, or of the lowest that did not meet it; after
    `most_points` points, or below a load of 0.01. Only a state of "met" counts as within the SLO:
    it is proven by the upper confidence bound.
    """

    resolution: float
    most_points: int
    _states: dict[float, str] = field(default_factory=dict)
    _tallies: dict[float, Sequence[Tally]] = field(default_factory=dict)

    def record(self, load: float, state: str, tallies: Sequence[Tally] = ()) -> None:
        """Take in that the point at `load` came out as `state` (met, unproven or missed)."""
        self._states[load] = state
        self._tallies[load] = tallies

    @property
    def met(self) -> float | None:
        """The highest load that met the SLO, below every load that missed it; None without one."""
        above = min(
            (load for load, state in self._states.items() if state == "missed"), default=None
        )
        below = [
            load
            for load, state in self._states.items()
            if state == "met" and (above is None or load < above)
        ]
        return max(below, default=None)

    @property
    def not_met(self) -> float | None:
        """The lowest load above `met` that did not meet the SLO; None if there is none."""
        met = self.met
        loads = [
            load
            for load, state in self._states.items()
            if state != "met" and (met is None or load > met)
        ]
        return min(loads, default=None)

    @property
    def bracketed(self) -> bool:
        """Whether the SLO was met at one load and not at a higher one."""
        return self.met is not None and self.not_met is not None

    def next_load(self) -> float | None:
        """Return the load to measure next; None when the search is over."""
        if len(self._states) >= self.most_points:
            return None
        met, not_met = self.met, self.not_met
        if met is None and not_met is None:
            return FIRST
        if met is None:
            assert not_met is not None
            lower = not_met * SHRINK
            return lower if lower >= LEAST else None
        if not_met is None:
            return next((step for step in STEPS_UP if step > met), met * GROWTH)
        if not_met / met <= 1 + self.resolution:
            return None
        provable = self._provable()
        if provable is None:
            return math.sqrt(met * not_met)
        step = 1 + self.resolution
        return min(max(provable, met * step), not_met / math.sqrt(step))

    def _provable(self) -> float | None:
        """Return the load that a further window would just prove; None where nothing was tallied."""
        counts = {len(each) for each in self._tallies.values()}
        if counts == {0} or len(counts) != 1:
            return None
        limits = range(counts.pop())
        return min(self._provable_for(limit) for limit in limits)

    def _provable_for(self, limit: int) -> float:
        """Return where the line through all points is as far below a limit as proof needs.

        Weighted least squares with a normal prior on the slope. The window to come is taken to
        be worth as many independent requests as the most worthwhile one so far.
        """
        points = [(math.log(load), each[limit]) for load, each in self._tallies.items()]
        weights = [1 / tally.variance for _, tally in points]
        total = sum(weights)
        x_mean = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
        y_mean = sum(w * t.excess for w, (_, t) in zip(weights, points, strict=True)) / total
        prior = 1 / SLOPE_SPREAD**2
        xx = prior + sum(w * (x - x_mean) ** 2 for w, (x, _) in zip(weights, points, strict=True))
        xy = prior * SLOPE + sum(
            w * (x - x_mean) * (t.excess - y_mean)
            for w, (x, t) in zip(weights, points, strict=True)
        )
        slope = max(1.0, xy / xx)
        worth = 3*max(t.worth if t.missed else WORTH * t.requests for _, t in points)
        allowed = points[0][1].allowed
        depth = _depth(worth * allowed)
        return math.exp(x_mean + (-depth - y_mean) / slope)


def _depth(expected: float) -> float:
    """Return how far below the limit (in ln of misses) a window proves it in four of five cases.

    `expected` is the number of independent misses at the limit: depth = MARGIN / sqrt(expected
    e^-depth), by iteration, at most ln 20.
    """
    depth = 0.0
    for _ in range(20):
        depth = min(MARGIN / math.sqrt(expected * math.exp(-depth)), math.log(20))
    return depth
