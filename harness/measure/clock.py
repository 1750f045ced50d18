"""The one clock of a measurement: monotonic nanoseconds. Tests put a virtual one in its place."""

from __future__ import annotations

import time
from typing import Protocol

SPIN_NS = 200_000
"""The last stretch before a scheduled time is spun: a sleep wakes up to this much too late."""


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now_ns(self) -> int:
        """Return monotonic nanoseconds."""

    def wait_until_ns(self, at_ns: int) -> None:
        """Return at `at_ns`, or at once if it has passed."""


class RealClock:
    """`time.perf_counter_ns`, waiting by sleep and then by spinning."""

    now_ns = staticmethod(time.perf_counter_ns)

    def wait_until_ns(self, at_ns: int) -> None:
        """Sleep until shortly before `at_ns`, then spin."""
        while (left := at_ns - time.perf_counter_ns()) > SPIN_NS:
            time.sleep((left - SPIN_NS) / 1e9)
        while time.perf_counter_ns() < at_ns:
            pass
