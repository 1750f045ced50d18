"""The closed loop of several users: each sends the next request when the last one has ended."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence

from harness.adapters.base import Request, Session
from harness.measure.clock import Clock
from harness.measure.patience import DRAIN_S, Patience
from harness.measure.query import TimedQuery
from harness.measure.samples import TIMED_OUT, Samples
from harness.measure.workers import work_at_once


class ClosedLoop:
    """Users who wait for a session, first come first served, in batches where it takes them.

    `over(ended)` says whether the window closes; then users send nothing more, and what they have
    sent is still served. A user whose request was not sent by its deadline sends the next one then.
    """

    def __init__(
        self,
        session: Session,
        clock: Clock,
        inputs: Sequence[Request],
        order: Sequence[int],
        patience: Patience,
        over: Callable[[int], bool],
    ) -> None:
        self._session = session
        self._clock = clock
        self._inputs = inputs
        self._sources = itertools.cycle(order)
        self._patience = patience
        self._over = over
        self._waiting: list[int] = []
        """Since when each waiting user waits: a heap of due times."""
        self._flying = 0
        self._ended = 0
        self._closed = False
        self._changed = threading.Condition()
        self._answered: list[tuple[TimedQuery, list[int]]] = []
        self._timed_out: list[tuple[int, int]] = []

    def run(self, users: int, start_ns: int) -> None:
        """Let `users` users send until the window closes; MeasurementError if an answer is lost."""
        self._waiting = [start_ns] * users
        work_at_once(self._guarded, min(users, self._session.max_concurrency or users))
        self._answered.sort(key=lambda pair: pair[0].issued_ns)

    def write(self, samples: Samples, tokens_in: Sequence[int]) -> None:
        """Append a row for every request; `tokens_in` is by input."""
        for query, chosen in self._answered:
            samples.add(query, chosen, [tokens_in[i] for i in chosen], self._patience.deadline_ns)
        for due_ns, source in self._timed_out:
            samples.add_unserved(due_ns, source, tokens_in[source], TIMED_OUT)

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException:  # the other users end too
            with self._changed:
                self._closed = True
                self._waiting.clear()
                self._changed.notify_all()
            raise

    def _work(self) -> None:
        while (formed := self._form()) is not None:
            query, chosen, due_ns = formed
            query.issued_ns = self._clock.now_ns()
            try:
                self._session.submit(query)
            except Exception as error:  # a session must not raise; it is the query's failure
                query.fail(error)
            bounded = self._session.max_concurrency is not None
            if not query.complete and not self._patience.settle(
                query, due_ns, self._clock, bounded=bounded
            ):
                raise self._patience.lost()
            with self._changed:
                self._flying -= 1
                self._ended += len(chosen)
                self._answered.append((query, chosen))
                self._closed = self._closed or self._over(self._ended)
                if not self._closed:
                    now = self._clock.now_ns()
                    for ended in query.ended_ns:
                        heapq.heappush(self._waiting, ended or now)
                self._changed.notify_all()

    def _form(self) -> tuple[TimedQuery, list[int], int] | None:
        """Return a query of those who wait, its inputs, when its last was due; None at the end."""
        with self._changed:
            while True:
                self._give_up_late()
                if self._waiting:
                    break
                if self._closed or not self._flying:
                    return None
                self._changed.wait(DRAIN_S)
            count = min(self._session.max_batch, len(self._waiting))
            due_ns = [heapq.heappop(self._waiting) for _ in range(count)]
            chosen = list(itertools.islice(self._sources, count))
            self._flying += 1
        requests = [self._inputs[i] for i in chosen]
        return TimedQuery(requests, due_ns, self._clock), chosen, due_ns[-1]

    def _give_up_late(self) -> None:
        """Count the requests that were not sent by their deadline; their users send the next."""
        deadline_ns = self._patience.deadline_ns
        if deadline_ns is None:
            return
        now = self._clock.now_ns()
        while self._waiting and now - self._waiting[0] > deadline_ns:
            due_ns = heapq.heappop(self._waiting)
            self._timed_out.append((due_ns, next(self._sources)))
            self._ended += 1
            self._closed = self._closed or self._over(self._ended)
            if not self._closed:
                heapq.heappush(self._waiting, due_ns + deadline_ns)
