"""Counters of joules that wrap: what two readings and those between them say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.schema.record import EnergyFlag

RESET_SLACK_J = 1.0

Values = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of joules: what it covers, where it wraps, and the power it cannot exceed."""

    name: str
    range_j: float
    most_watts: float


class Failed(Exception):
    """The readings of a window do not say how much energy it took: why, and how to flag it."""

    def __init__(self, reason: str, *flags: EnergyFlag) -> None:
        super().__init__(reason)
        self.flags = flags


@dataclass(frozen=True, slots=True)
class Span:
    """The joules of each counter over a window, and whether a counter wrapped."""

    joules: Values
    wrapped: bool


def span(counters: Sequence[Counter], readings: Iterable[tuple[int, Values]]) -> Span:
    """Return the joules between the first and the last of the timed counter readings.

    Between two readings a counter that fell has wrapped, if energy = after - before + range gives a
    power that its source can reach; else it was reset. Raises Failed for a reset, for a jump that
    no power explains, and where a counter could have wrapped more than once unseen.
    """
    steps = list(readings)
    totals = [0.0] * len(counters)
    wrapped = False
    for (before_ns, before), (after_ns, after) in pairwise(steps):
        duration_s = (after_ns - before_ns) / 1e9
        for index, counter in enumerate(counters):
            most_j = counter.most_watts * duration_s + RESET_SLACK_J
            if most_j >= counter.range_j:
                raise Failed(
                    f"{duration_s:.1f} s passed between two readings of {counter.name}: "
                    "its counter may have wrapped more than once",
                    "gaps",
                )
            delta_j = after[index] - before[index]
            if delta_j < 0:
                delta_j += counter.range_j
                wrapped = True
            if not 0 <= delta_j <= most_j:
                raise Failed(f"the counter of {counter.name} was reset", "counter_reset")
            totals[index] += delta_j
    return Span(tuple(totals), wrapped)


class Guard:
    """Takes a reading every `interval_s` in a thread of its own until it is stopped."""

    def __init__(self, interval_s: float, take: Callable[[], tuple[int, Values]]) -> None:
        self._interval_s = interval_s
        self._take = take
        self._taken: list[tuple[int, Values]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="counter-guard", daemon=True)
        self._thread.start()

    def stop(self) -> list[tuple[int, Values]]:
        """End the thread and return the readings that it took."""
        self._done.set()
        self._thread.join()
        return self._taken

    def _watch(self) -> None:
        while not self._done.wait(self._interval_s):
            try:
                self._taken.append(self._take())
            except (OSError, ValueError):
                continue  # `span` refuses the window if what is left is too far apart
