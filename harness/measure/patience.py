"""How long the harness waits: for a batch to fill, for an answer, for what was lost."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import MeasurementError
from harness.measure.clock import Clock
from harness.measure.query import TimedQuery

DRAIN_S = 60.0
"""After this long without an answer a query is lost."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Nanoseconds to wait to fill a batch, and for a request's answer (None: no deadline).

    Both count from when the request was due, of a batch the first for `delay_ns`.
    """

    delay_ns: int = 0
    deadline_ns: int | None = None

    @classmethod
    def of(cls, delay_s: float, deadline_s: float | None) -> Patience:
        """Return the same of seconds."""
        return cls(int(delay_s * 1e9), None if deadline_s is None else int(deadline_s * 1e9))

    def left_s(self, due_ns: int, now_ns: int) -> float:
        """Return how many seconds to wait at `now_ns` for a request that was due at `due_ns`."""
        if self.deadline_ns is None:
            return DRAIN_S
        return min(DRAIN_S, max(0.0, (due_ns + self.deadline_ns - now_ns) / 1e9))

    def settle(self, query: TimedQuery, due_ns: int, clock: Clock, *, bounded: bool) -> bool:
        """Wait until the session is free of `query`; return False if it is lost.

        A query that is past its deadline expires, but keeps its place in a session whose
        concurrency is `bounded`: nothing takes it back from there.
        """
        if query.wait(self.left_s(due_ns, clock.now_ns())):
            return True
        if self.deadline_ns is None:
            return False
        query.expire(self.expiry())
        return not bounded or query.wait(DRAIN_S)

    def expiry(self) -> TimeoutError:
        """Return the error of a request that was not answered in time."""
        limit_s = DRAIN_S if self.deadline_ns is None else self.deadline_ns / 1e9
        return TimeoutError(f"not answered within {limit_s:g} s")


def lost() -> MeasurementError:
    """Return the error of a closed loop that waits for an answer in vain."""
    return MeasurementError(f"a query was not answered within {DRAIN_S:g} s")
