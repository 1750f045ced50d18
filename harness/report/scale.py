"""Where a number stands on an axis: linear from zero, or logarithmic for figures far apart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LOGARITHMIC_FROM = 12.0
"""The ratio of the largest to the smallest figure from which an axis is logarithmic."""

LEFT_PERCENT, RIGHT_PERCENT = 1.0, 98.0
MOST_TICKS = 6


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high`, in the unit of what it shows."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def spanning(cls, values: Iterable[float], *, from_zero: bool = False) -> Scale:
        """Return an axis that holds all `values`; with `from_zero` it is linear, for bars.

        A logarithmic axis is taken only if every value is above 0. ValueError without values.
        """
        known = sorted(values)
        if not known:
            raise ValueError("an axis needs a value")
        smallest, largest = known[0], known[-1]
        if not from_zero and smallest > 0 and largest / smallest >= LOGARITHMIC_FROM:
            return cls(smallest / 1.15, largest * 1.15, True)
        return cls(min(0.0, smallest), largest * 1.05 if largest > 0 else 1.0, False)

    def share(self, value: float) -> float:
        """Return the place of `value`: 0 at `low`, 1 at `high`; what lies outside is cut off."""
        if self.logarithmic:
            value = max(value, self.low)
            place = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, place))

    def percent(self, value: float) -> float:
        """Return the place of `value` in per cent of a drawing's width, with room at both ends."""
        return LEFT_PERCENT + (RIGHT_PERCENT - LEFT_PERCENT) * self.share(value)

    def ticks(self) -> tuple[float, ...]:
        """Return at most 6 round numbers on the axis, rising."""
        return self._logarithmic_ticks() if self.logarithmic else self._linear_ticks()

    def _linear_ticks(self) -> tuple[float, ...]:
        rough = (self.high - self.low) / (MOST_TICKS - 1)
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step)
        return tuple(index * step for index in range(first, last + 1))

    def _logarithmic_ticks(self) -> tuple[float, ...]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            every = [factor * 10.0**decade for decade in decades for factor in factors]
            ticks = [tick for tick in every if self.low <= tick <= self.high]
            if len(ticks) <= MOST_TICKS:
                return tuple(ticks)
        every_nth = -(-len(ticks) // MOST_TICKS)
        return tuple(ticks[::every_nth])


def in_percent(place: float) -> str:
    """Return a place or a length in per cent of a drawing's width, as SVG and CSS write it."""
    return f"{place:.2f}%"
