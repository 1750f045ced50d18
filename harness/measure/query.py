"""The query that the harness hands to a session: takes the time stamps, keeps what came back."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from harness.adapters.base import Output, Request
from harness.errors import AdapterError
from harness.measure.clock import Clock


class TimedQuery:
    """A batch of requests with one row of time stamps (nanoseconds, 0: not yet) per request.

    `scheduled_ns` is when each request was due (None: when it was issued, as in a closed loop),
    `issued_ns` when the query was handed over.
    Time is read first thing in each call, so that nothing of ours is inside the latency.
    """

    __slots__ = (
        "_clock",
        "_lock",
        "_open",
        "_waiter",
        "complaints",
        "ended_ns",
        "errors",
        "first_ns",
        "issued_ns",
        "outputs",
        "requests",
        "scheduled_ns",
        "token_counts",
    )

    def __init__(
        self, requests: Sequence[Request], scheduled_ns: Sequence[int] | None, clock: Clock
    ) -> None:
        count = len(requests)
        self.requests = requests
        self.scheduled_ns = scheduled_ns
        self.issued_ns = 0
        self.first_ns = [0] * count
        self.ended_ns = [0] * count
        self.token_counts = [0] * count
        self.outputs: list[Output | None] = [None] * count
        self.errors: list[Exception | None] = [None] * count
        self.complaints: list[str] = []
        self._clock = clock
        self._open = count
        self._lock = threading.Lock()
        self._waiter = threading.Event()

    def tokens(self, index: int, count: int) -> None:
        """Stamp the first token of request `index`, and count what arrived."""
        now = self._clock.now_ns()
        if self.ended_ns[index]:
            self.complaints.append("tokens after the end of a request")
            return
        if not self.first_ns[index]:
            self.first_ns[index] = now
        self.token_counts[index] += count

    def done(self, index: int, output: Output) -> None:
        """Stamp the end of request `index`."""
        now = self._clock.now_ns()
        self._end(index, now, output, None)

    def fail(self, error: Exception, index: int | None = None) -> None:
        """Stamp the failure of request `index`, or of all that are open."""
        now = self._clock.now_ns()
        for each in range(len(self.requests)) if index is None else (index,):
            if index is not None or not self.ended_ns[each]:
                self._end(each, now, None, error)

    def _end(self, index: int, now: int, output: Output | None, error: Exception | None) -> None:
        with self._lock:
            if self.ended_ns[index]:
                self.complaints.append("a request was completed twice")
                return
            self.ended_ns[index] = now
            self.outputs[index] = output
            self.errors[index] = error
            self._open -= 1
            if self._open == 0:
                self._waiter.set()

    @property
    def complete(self) -> bool:
        """Whether every request has ended."""
        return self._open == 0

    def wait(self, timeout_s: float) -> bool:
        """Wait until every request has ended; return whether it has."""
        return self._open == 0 or self._waiter.wait(timeout_s)

    def expect_outputs(self) -> list[Output]:
        """Return the outputs; raise AdapterError if a request failed or has none."""
        for error in self.errors:
            if error is not None:
                raise AdapterError(f"a request failed: {type(error).__name__}: {error}") from error
        outputs = [output for output in self.outputs if output is not None]
        if len(outputs) != len(self.requests):
            raise AdapterError("a query came back without all of its outputs")
        return outputs
