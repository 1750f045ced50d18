"""The open loop: requests come when they are due, whether or not the session is free.

One loop serves blocking and asynchronous sessions: as many workers as the session takes queries at
once. One worker at a time forms a query, so that requests are batched as by a single scheduler.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.adapters.base import Request, Session
from harness.measure.clock import Clock
from harness.measure.patience import Patience
from harness.measure.query import TimedQuery
from harness.measure.samples import TIMED_OUT, Samples
from harness.measure.workers import work_at_once


@dataclass(slots=True)
class Offer:
    """What is due when: request `requests[i]` at `due_ns[i]`; none is issued after `give_up_ns`.

    `next` is the first position that is neither sent nor timed out.
    """

    requests: Sequence[Request]
    due_ns: Sequence[int]
    give_up_ns: int
    next: int = 0
    timed_out: list[int] = field(default_factory=list)


class OpenLoop:
    """Sends an offer to a session; `queries` keeps what was sent, with the positions in it."""

    def __init__(self, session: Session, clock: Clock, offer: Offer, patience: Patience) -> None:
        self._session = session
        self._clock = clock
        self._offer = offer
        self._patience = patience
        self._forming = threading.Lock()
        self.queries: list[tuple[TimedQuery, Sequence[int]]] = []

    def run(self) -> None:
        """Send everything, then wait until all is answered or given up."""
        work_at_once(self._work, self._session.max_concurrency or 1)
        self._drain()
        self.queries.sort(key=lambda pair: pair[0].issued_ns)

    def write(self, samples: Samples, inputs: Sequence[int], tokens_in: Sequence[int]) -> None:
        """Append a row for every request; `inputs` says which input each position of the offer is.

        `tokens_in` is by input.
        """
        offer, deadline_ns = self._offer, self._patience.deadline_ns
        for query, positions in self.queries:
            chosen = [inputs[i] for i in positions]
            samples.add(query, chosen, [tokens_in[i] for i in chosen], deadline_ns)
        for i in offer.timed_out:
            samples.add_unserved(offer.due_ns[i], inputs[i], tokens_in[inputs[i]], TIMED_OUT)
        for i in range(offer.next, len(offer.due_ns)):
            samples.add_unserved(offer.due_ns[i], inputs[i], tokens_in[inputs[i]])

    def _work(self) -> None:
        submit, now, answers = self._session.submit, self._clock.now_ns, self.queries
        offer, bounded = self._offer, self._session.max_concurrency is not None
        while True:
            with self._forming:
                formed = self._form()
            if formed is None:
                return
            answers.append(formed)
            query = formed[0]
            query.issued_ns = now()
            try:
                submit(query)
            except Exception as error:  # a session must not raise; it is the query's failure
                query.fail(error)
            if bounded and not query.complete:
                # One that is lost is left to the drain; this worker goes on.
                due_ns = offer.due_ns[formed[1][-1]]
                self._patience.settle(query, due_ns, self._clock, bounded=True)

    def _form(self) -> tuple[TimedQuery, Sequence[int]] | None:
        """Return the next query and its positions, when it is to be sent; None at the end."""
        offer, clock, deadline_ns = self._offer, self._clock, self._patience.deadline_ns
        due_ns = offer.due_ns
        while offer.next < len(due_ns):
            position = offer.next
            due = due_ns[position]
            # Made while there is time: nothing but the clock is between the due time and the send.
            query = TimedQuery((offer.requests[position],), (due,), clock)
            clock.wait_until_ns(due)
            now = clock.now_ns()
            if now >= offer.give_up_ns:
                return None
            offer.next = position + 1
            if deadline_ns is not None and now - due > deadline_ns:
                offer.timed_out.append(position)
                continue
            if self._session.max_batch > 1:
                positions = self._fill(position, now)
                if len(positions) > 1:
                    requests = [offer.requests[i] for i in positions]
                    return TimedQuery(requests, [due_ns[i] for i in positions], clock), positions
            return query, (position,)
        return None

    def _fill(self, first: int, now: int) -> list[int]:
        """Return the positions of a query that begins with `first`: what is due, up to a batch.

        Waits for more until the batch is full or the first request has waited `delay_ns`. It does
        not look ahead: where nothing comes, the whole time passes, as it would in a server.
        """
        offer, limit, deadline_ns = self._offer, self._session.max_batch, self._patience.deadline_ns
        due_ns = offer.due_ns
        until = due_ns[first] + self._patience.delay_ns
        taken = [first]
        while True:
            while len(taken) < limit and offer.next < len(due_ns) and due_ns[offer.next] <= now:
                late = deadline_ns is not None and now - due_ns[offer.next] > deadline_ns
                (offer.timed_out if late else taken).append(offer.next)
                offer.next += 1
            if len(taken) == limit or now >= until:
                return taken
            more = due_ns[offer.next] if offer.next < len(due_ns) else until
            self._clock.wait_until_ns(min(more, until))
            now = self._clock.now_ns()

    def _drain(self) -> None:
        until = time.monotonic() + self._patience.drain_s
        for query, positions in self.queries:
            if query.complete or query.expired:
                continue
            due_ns = self._offer.due_ns[positions[-1]]
            left_s = self._patience.left_s(due_ns, self._clock.now_ns())
            if not query.wait(min(left_s, until - time.monotonic())):
                query.expire(self._patience.expiry())
