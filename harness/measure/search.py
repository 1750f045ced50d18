"""Finds the highest rate within the SLO: which rate to measure next, given what was measured.

Stepwise from half the back-to-back rate, up or down until the answer changes, then bisection
between the highest rate that met the SLO and the lowest that did not. Pure; the cell measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

FIRST = 0.5
STEPS_UP = (0.75, 0.9, 1.05)
GROWTH = 1.5
SHRINK = 0.5
LEAST = 0.01


@dataclass(slots=True)
class CapacitySearch:
    """The search over load, the rate as a share of the back-to-back rate.

    It ends when the highest load that met the SLO and the lowest above it that did not are within
    `resolution` of each other (relative), after `most_points` points, or below a load of 0.01. Only
    a state of "met" counts as within the SLO: it is proven by the upper confidence bound.
    """

    resolution: float
    most_points: int
    _states: dict[float, str] = field(default_factory=dict)

    def record(self, load: float, state: str) -> None:
        """Take in that the point at `load` came out as `state` (met, unproven or missed)."""
        self._states[load] = state

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
        return math.sqrt(met * not_met)
