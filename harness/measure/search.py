"""Finds the highest rate within the SLO: which rate to measure next, given what was measured.

Stepwise from half the back-to-back rate, up or down until the answer changes, then bisection
between the highest rate that kept the SLO and the lowest that did not. The way goes by the
percentiles themselves; what is proven is judged afterwards, by their bounds, and the capacity by
all points together. Pure; the cell measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

FIRST = 0.5
STEPS_UP = (0.75, 0.9, 1.1)
GROWTH = 1.5
SHRINK = 0.5
LEAST = 0.01


@dataclass(slots=True)
class CapacitySearch:
    """The search over load, the rate as a share of the back-to-back rate.

    It ends when the highest load that kept the SLO and the lowest that did not are within
    `resolution` of each other (relative), after `most_points` points, or below a load of 0.01.
    """

    resolution: float
    most_points: int
    _kept: dict[float, bool] = field(default_factory=dict)

    def record(self, load: float, kept: bool) -> None:
        """Take in whether the point at `load` kept the SLO."""
        self._kept[load] = kept

    @property
    def kept(self) -> float | None:
        """The highest load that kept the SLO, below every load that did not; None without one."""
        broken = self.broken
        below = [load for load, kept in self._kept.items() if kept]
        return max((load for load in below if broken is None or load < broken), default=None)

    @property
    def broken(self) -> float | None:
        """The lowest load that did not keep the SLO; None if every point did."""
        return min((load for load, kept in self._kept.items() if not kept), default=None)

    @property
    def lowest(self) -> float | None:
        """The lowest load measured; None before the first."""
        return min(self._kept, default=None)

    def next_load(self) -> float | None:
        """Return the load to measure next; None when the search is over."""
        if len(self._kept) >= self.most_points:
            return None
        kept, broken = self.kept, self.broken
        if kept is None and broken is None:
            return FIRST
        if kept is None:
            assert broken is not None
            lower = broken * SHRINK
            return lower if lower >= LEAST else None
        if broken is None:
            return next((step for step in STEPS_UP if step > kept), kept * GROWTH)
        if broken / kept <= 1 + self.resolution:
            return None
        return math.sqrt(kept * broken)
