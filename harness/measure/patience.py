"""How long the harness waits: for a batch to fill, for an answer, for what was lost."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import MeasurementError
from harness.measure.clock import Clock
from harness.measure.query import TimedQuery
from harness.schema.target import Target
from harness.schema.workload import Workload

DRAIN_S = 60.0
"""After this long without an answer a query is lost, where nothing declares a longer wait."""
MARGIN_S = 5.0
"""So much later than a server's client gives a request up it has said so."""


def longest_wait_s(workload: Workload, target: Target) -> float:
    """Return after how long without an answer a query is lost.

    Never before the workload's deadline, nor before the client of a served target gives it up:
    that is a failed request of the record, a lost query the end of a closed loop.
    """
    timeout_s = 0.0 if target.server is None else target.server.timeout_s + MARGIN_S
    return max(DRAIN_S, workload.deadline_s or 0.0, timeout_s)


@dataclass(frozen=True, slots=True)
class Patience:
    """Nanoseconds to wait to fill a batch, and for a request's answer (None: no deadline).

    Both count from when the request was due, of a batch the first for `delay_ns`. After `drain_s`
    seconds without an answer a query is lost.
    """

    delay_ns: int = 0
    deadline_ns: int | None = None
    drain_s: float = DRAIN_S

    @classmethod
    def of(cls, delay_s: float, deadline_s: float | None, drain_s: float | None = None) -> Patience:
        """Return the same of seconds; a query is lost no earlier than its deadline."""
        deadline_ns = None if deadline_s is None else int(deadline_s * 1e9)
        drain_s = max(DRAIN_S if drain_s is None else drain_s, deadline_s or 0.0)
        return cls(int(delay_s * 1e9), deadline_ns, drain_s)

    def left_s(self, due_ns: int, now_ns: int) -> float:
        """Return how many seconds to wait at `now_ns` for a request that was due at `due_ns`."""
        if self.deadline_ns is None:
            return self.drain_s
        return max(0.0, (due_ns + self.deadline_ns - now_ns) / 1e9)

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
        return not bounded or query.wait(self.drain_s)

    def expiry(self) -> TimeoutError:
        """Return the error of a request that was not answered in time."""
        limit_s = self.drain_s if self.deadline_ns is None else self.deadline_ns / 1e9
        return TimeoutError(f"not answered within {limit_s:g} s")

    def lost(self) -> MeasurementError:
        """Return the error of a closed loop that waits for an answer in vain."""
        return MeasurementError(
            f"a query was not answered within {self.drain_s:g} s",
            hint="if the target needs longer, say so in the workload's 'deadline_s'",
        )
