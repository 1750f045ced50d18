"""Drives a session through a scenario: who is asked, when, and what is written down.

One loop serves blocking and asynchronous sessions: as many workers as the session takes queries at
once, each waiting for the time a request is due. Open-loop latency counts from that time, whether
or not the session was free.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.adapters.base import (
    Request,
    Session,
    SpeechRequest,
    TextRequest,
)
from harness.errors import MeasurementError
from harness.measure.clock import Clock
from harness.measure.query import TimedQuery
from harness.measure.samples import Samples
from harness.traffic import input_order, poisson_arrivals

MOST_SAMPLES = 500_000
DRAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class StopRule:
    """A window lasts `least_s`, then until `count` requests have ended, and at most `most_s`."""

    least_s: float
    most_s: float
    count: int

    def over(self, elapsed_s: float, ended: int) -> bool:
        """Whether the window closes after `elapsed_s` with `ended` requests."""
        if elapsed_s >= self.most_s or ended >= MOST_SAMPLES:
            return True
        return elapsed_s >= self.least_s and ended >= self.count


def tokens_in(request: Request) -> int:
    """Return the number of input tokens: prompt tokens for text, none for rows and sound."""
    return len(request.prompt) if isinstance(request, TextRequest) else 0


class Driver:
    """Sends the workload's inputs to a session, always in whole seeded permutations."""

    def __init__(
        self, session: Session, inputs: Sequence[Request], clock: Clock, seed: int
    ) -> None:
        if session.max_batch < 1:
            raise MeasurementError(f"the session's max_batch is {session.max_batch}, not 1 or more")
        self._session = session
        self._inputs = inputs
        self._tokens_in = [tokens_in(request) for request in inputs]
        self._clock = clock
        self._seed = seed

    def _order(self, count: int) -> list[int]:
        return [int(i) for i in input_order(len(self._inputs), count, self._seed)]

    def _submit(self, query: TimedQuery) -> None:
        query.issued_ns = self._clock.now_ns()
        try:
            self._session.submit(query)
        except (
            Exception
        ) as error:  # a session must not raise; what it raises is the query's failure
            query.fail(error)

    def closed(self, stop: StopRule, *, point: int = 0, batch: int = 1) -> Samples:
        """Keep one query of `batch` requests in flight until `stop`; each is due when issued."""
        clock = self._clock
        order = self._order(max(len(self._inputs), batch))
        start = clock.now_ns()
        samples = Samples(point, start)
        position = ended = 0
        while True:
            chosen = [order[(position + i) % len(order)] for i in range(batch)]
            position += batch
            requests = [self._inputs[i] for i in chosen]
            query = TimedQuery(requests, None, clock)
            self._submit(query)
            if not query.wait(DRAIN_S):
                raise MeasurementError(f"a query was not answered within {DRAIN_S:.0f} s")
            samples.add(query, chosen, [self._tokens_in[i] for i in chosen])
            ended += batch
            if stop.over((clock.now_ns() - start) / 1e9, ended):
                return samples

    def offline(self, stop: StopRule, *, point: int = 0) -> Samples:
        """Send the largest batches the session takes, as many at once as it takes, until `stop`."""
        batch = self._session.max_batch
        if self._session.max_concurrency == 1:
            return self.closed(stop, point=point, batch=batch)
        return self._spread(stop, point, batch)

    def _spread(self, stop: StopRule, point: int, batch: int) -> Samples:
        """Run `closed` from several threads at once and merge the rows in order of issue."""
        width = self._session.max_concurrency or 2 * len(self._inputs)
        width = min(width, 64)
        start = self._clock.now_ns()
        share = StopRule(stop.least_s, stop.most_s, math.ceil(stop.count / width))
        parts: list[Samples | BaseException] = []

        def work() -> None:
            try:
                parts.append(self.closed(share, point=point, batch=batch))
            except BaseException as error:  # re-raised below, in the thread that waits
                parts.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(width)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        merged = Samples(point, start)
        for part in parts:
            if isinstance(part, BaseException):
                raise part
            shift = part.start_ns - start
            merged.rows.extend(
                (row[0], row[1], *(t + shift if t >= 0 else t for t in row[2:6]), *row[6:])
                for row in part.rows
            )
            merged.errors.extend(part.errors)
            merged.complaints.extend(part.complaints)
        merged.rows.sort(key=lambda row: row[3])
        return merged

    def open(self, rate: float, stop: StopRule, *, point: int = 0) -> Samples:
        """Offer requests as a Poisson process of `rate` per second until `stop`, then drain.

        The window closes at a scheduled time, never because an answer came: with n the smallest
        count that `stop` wants, arrivals end at the later of `least_s` and the n-th arrival. What
        was due within the window but could not be issued within twice its length is `unserved`.
        """
        arrivals = poisson_arrivals(rate, stop.most_s, self._seed + 7919 * (point + 1))
        wanted = max(int(np.searchsorted(arrivals, stop.least_s)), stop.count)
        arrivals = arrivals[: min(wanted, MOST_SAMPLES)]
        order = self._order(arrivals.size)
        clock = self._clock
        start = clock.now_ns() + 1_000_000
        due_ns = [start + int(t * 1e9) for t in arrivals]
        give_up_ns = start + int(2 * max(float(arrivals[-1]), stop.least_s) * 1e9)
        samples = Samples(point, start)
        queries: list[tuple[TimedQuery, list[int]]] = []
        lock = threading.Lock()
        state = {"next": 0}
        limit = self._session.max_batch

        def take() -> list[int]:
            """Return the positions of the next query: the next request, and others due by now."""
            with lock:
                first = state["next"]
                if first >= len(due_ns):
                    return []
                state["next"] = first + 1
            clock.wait_until_ns(due_ns[first])
            taken = [first]
            if limit > 1:
                now = clock.now_ns()
                with lock:
                    while len(taken) < limit and state["next"] < len(due_ns):
                        position = state["next"]
                        if due_ns[position] > now:
                            break
                        taken.append(position)
                        state["next"] = position + 1
            return taken

        def work() -> None:
            while clock.now_ns() < give_up_ns and (taken := take()):
                chosen = [order[i] for i in taken]
                query = TimedQuery(
                    [self._inputs[i] for i in chosen], [due_ns[i] for i in taken], clock
                )
                queries.append((query, chosen))
                self._submit(query)
                if self._session.max_concurrency is not None:
                    query.wait(DRAIN_S)

        workers = self._session.max_concurrency or 1
        if workers == 1:
            work()
        else:
            threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        until = time.monotonic() + DRAIN_S
        for query, _ in queries:
            if not query.wait(max(0.0, until - time.monotonic())):
                query.fail(TimeoutError(f"not answered within {DRAIN_S:.0f} s of the window's end"))
        queries.sort(key=lambda pair: pair[0].issued_ns)
        for query, chosen in queries:
            samples.add(query, chosen, [self._tokens_in[i] for i in chosen])
        for position in range(state["next"], len(due_ns)):
            source = order[position]
            samples.add_unserved(due_ns[position], source, self._tokens_in[source])
        return samples


def audio_seconds(requests: Sequence[Request]) -> list[float]:
    """Return the length of each input's audio in seconds; 0 where there is none."""
    return [r.audio_s if isinstance(r, SpeechRequest) else 0.0 for r in requests]


def tokens_asked(requests: Sequence[Request]) -> list[int]:
    """Return the number of output tokens that each input asks for; 0 where it asks for none."""
    return [r.max_new_tokens if isinstance(r, TextRequest | SpeechRequest) else 0 for r in requests]
