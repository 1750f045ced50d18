"""The query that the harness hands to a session: takes the time stamps, keeps what came back."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from harness.adapters.base import Output, Request, Session
from harness.adapters.receipt import Receipt
from harness.errors import AdapterError
from harness.measure.clock import Clock

_LOCK = threading.Lock()
"""Guards the ends of all queries: it is held for well under a microsecond, after the time stamp,
and a lock of each query's own would cost its making in every query."""


class TimedQuery:
    """A batch of requests with one row of time stamps (nanoseconds, 0: not yet) per request.

    `scheduled_ns` is when each request was due (None: when it was issued, as in a closed loop),
    `issued_ns` when the query was handed over. Time is read first thing in each call, so that
    nothing of ours is inside the latency; what not every query needs is made when it is needed.
    `first_counts` is how many tokens the first call of `tokens` brought; a receipt leaves it at 0.
    """

    __slots__ = (
        "_now",
        "_open",
        "_receipts",
        "_waiter",
        "complaints",
        "ended_ns",
        "errors",
        "expired",
        "first_counts",
        "first_ns",
        "issued_ns",
        "outputs",
        "prompts",
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
        self.ended_ns = [0] * count
        self.outputs: list[Output | None] = [None] * count
        self.first_ns: list[int] | None = None
        self.first_counts: list[int] = []
        self.token_counts: list[int] | None = None
        self.errors: list[Exception | None] | None = None
        self.complaints: Sequence[str] = ()
        self.prompts: dict[int, tuple[int, int]] | None = None
        self.expired = False
        self._now = clock.now_ns
        self._open = count
        self._receipts: dict[int, Receipt] | None = None
        self._waiter: threading.Lock | None = None

    def issue(self, session: Session) -> None:
        """Hand the query to `session` and stamp when. The hottest loops have this written out."""
        self.issued_ns = self._now()
        try:
            session.submit(self)
        except Exception as error:  # a session must not raise; it is the query's failure
            self.fail(error)

    def tokens(self, index: int, count: int) -> None:
        """Stamp the first token of request `index`, and count what arrived."""
        now = self._now()
        first, counts = self.first_ns, self.token_counts
        if first is None or counts is None:
            first, counts = self._streams()
        if self.ended_ns[index]:
            self._complain("tokens after the end of a request")
            return
        if not first[index]:
            first[index] = now
            self.first_counts[index] = count
        counts[index] += count

    def done(self, index: int, output: Output) -> None:
        """Stamp the end of request `index`."""
        now = self._now()
        self._end(index, now, output, None)

    def fail(self, error: Exception, index: int | None = None) -> None:
        """Stamp the failure of request `index`, or of all that are open."""
        now = self._now()
        for each in range(len(self.requests)) if index is None else (index,):
            if index is not None or not self.ended_ns[each]:
                self._end(each, now, None, error)

    def received(self, index: int, receipt: Receipt) -> None:
        """Take the reply to request `index` as our own client stamped it, to be read later.

        Not part of the adapters' contract: see `harness.adapters.receipt`.
        """
        now = self._now()
        if not self.ended_ns[index] and not self.expired:
            self._receipts = {**(self._receipts or {}), index: receipt}
        self._end(index, min(now, receipt.ended_ns), None, None)

    def read(self) -> None:
        """Read the replies that were received; until then their outputs and tokens are missing.

        A stamp outside of the time from issue to the reply's end is a broken contract.
        """
        receipts, self._receipts = self._receipts, None
        for index, receipt in (receipts or {}).items():
            answer = receipt.read()
            if not self.ended_ns[index]:  # it expired in that very moment
                continue
            ended, first = answer.ended_ns, answer.first_ns
            if not self.issued_ns <= (first or ended) <= ended <= receipt.ended_ns:
                self._complain("time stamps outside of the request")
                continue
            if answer.error is not None:
                self._set_error(index, answer.error)
            else:
                self.outputs[index] = answer.output
                self.ended_ns[index] = ended
                if answer.prompt is not None:
                    self.prompts = {**(self.prompts or {}), index: answer.prompt}
            if first or answer.tokens:
                firsts, counts = self._streams()
                firsts[index], counts[index] = first, answer.tokens

    def expire(self, error: Exception) -> None:
        """Give up on the requests that have not ended: `error` is theirs, they never end.

        What comes for them later is not the adapter's fault; it only makes the query complete.
        """
        with _LOCK:
            if self._open:
                self.expired = True
                for index, ended in enumerate(self.ended_ns):
                    if not ended:
                        self._set_error(index, error)

    def _end(self, index: int, now: int, output: Output | None, error: Exception | None) -> None:
        with _LOCK:
            if self.ended_ns[index]:
                self._complain("a request was completed twice")
                return
            if self.expired:
                self._open = max(0, self._open - 1)
            else:
                self.ended_ns[index] = now
                self.outputs[index] = output
                if error is not None:
                    self._set_error(index, error)
                self._open -= 1
            if self._open == 0 and self._waiter is not None:
                self._waiter.release()
                self._waiter = None

    def _set_error(self, index: int, error: Exception) -> None:
        if self.errors is None:
            self.errors = [None] * len(self.requests)
        self.errors[index] = error

    def _complain(self, text: str) -> None:
        self.complaints = (*self.complaints, text)

    def _streams(self) -> tuple[list[int], list[int]]:
        with _LOCK:
            if self.first_ns is None or self.token_counts is None:
                self.first_counts = [0] * len(self.requests)
                self.token_counts = [0] * len(self.requests)
                self.first_ns = [0] * len(self.requests)
            return self.first_ns, self.token_counts

    @property
    def complete(self) -> bool:
        """Whether every request has ended, or been answered after it had expired."""
        return self._open == 0

    def wait(self, timeout_s: float) -> bool:
        """Wait until the query is complete; return whether it is. One thread may wait."""
        if self._open == 0:
            return True
        with _LOCK:
            if self._open == 0:
                return True
            waiter = self._waiter
            if waiter is None:
                waiter = self._waiter = threading.Lock()
                waiter.acquire()
        waiter.acquire(timeout=max(0.0, timeout_s))
        return self._open == 0

    def expect_outputs(self) -> list[Output]:
        """Return the outputs; raise AdapterError if a request failed or has none."""
        self.read()
        for error in self.errors or ():
            if error is not None:
                raise AdapterError(f"a request failed: {type(error).__name__}: {error}") from error
        outputs = [output for output in self.outputs if output is not None]
        if len(outputs) != len(self.requests):
            raise AdapterError("a query came back without all of its outputs")
        for output in outputs:
            if not isinstance(output, Output):
                raise no_output(output)
        return outputs


def no_output(given: object) -> AdapterError:
    """Return the error of a session that gave something else than an `Output`."""
    return AdapterError(
        f"an output is a {type(given).__name__}, not an Output",
        hint="infer() returns one harness.adapters.base.Output for each request",
    )
