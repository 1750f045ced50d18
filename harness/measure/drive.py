"""Drives a session through a scenario: who is asked, when, and what is written down.

Closed loops wait for answers; open ones keep to their arrival times, and latency counts from those
whether or not the session was free. Which method serves which scenario: docs/scenarios.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import (
    EmbedRequest,
    Request,
    Session,
    SpeechRequest,
    TextRequest,
)
from harness.errors import MeasurementError
from harness.measure.clock import Clock
from harness.measure.closed_loop import ClosedLoop
from harness.measure.open_loop import Offer, OpenLoop
from harness.measure.patience import Patience
from harness.measure.query import TimedQuery
from harness.measure.samples import Samples
from harness.measure.workers import Shared, work_at_once
from harness.traffic import Spikes, burst_arrivals, input_order, poisson_arrivals

MOST_SAMPLES = 500_000
Chosen = tuple[list[int], list[int], list[Request]]
"""Of one query the inputs' places, their input tokens, and the requests."""
LEAD_NS = 1_000_000
"""An open loop's start lies this far ahead, so that the first request can be in time."""


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
    """Return the number of input tokens: prompt tokens or words of text, else none."""
    if isinstance(request, EmbedRequest):
        return request.words
    return len(request.prompt) if isinstance(request, TextRequest) else 0


def check_batch(session: Session) -> None:
    """Raise MeasurementError if a query of the session could hold no request."""
    if session.max_batch < 1:
        raise MeasurementError(f"the session's max_batch is {session.max_batch}, not 1 or more")


class Driver:
    """Sends the workload's inputs to a session, always in whole seeded permutations.

    `max_delay_s`: how long an open loop holds a request back to fill a batch. `deadline_s`: a
    request not sent within it of its scheduled time is not sent, and one not answered within it has
    timed out; both stay in the samples. `drain_s`: after so long without an answer it is lost.
    """

    def __init__(
        self,
        session: Session,
        inputs: Sequence[Request],
        clock: Clock,
        seed: int,
        *,
        max_delay_s: float = 0.0,
        deadline_s: float | None = None,
        drain_s: float | None = None,
    ) -> None:
        check_batch(session)
        self._session = session
        self._inputs = inputs
        self._tokens_in = [tokens_in(request) for request in inputs]
        self._clock = clock
        self._seed = seed
        self._patience = Patience.of(max_delay_s, deadline_s, drain_s)

    def _order(self, count: int) -> list[int]:
        return [int(i) for i in input_order(len(self._inputs), count, self._seed)]

    def closed(self, stop: StopRule, *, point: int = 0, batch: int = 1, sent: int = 0) -> Samples:
        """Keep one query of `batch` requests in flight until `stop`; each is due when issued.

        Here and below, `sent` is how many requests earlier stages of the window have sent: the
        inputs and the arrivals go on from there.
        """
        return self._closed(stop, point, batch, self._endless(batch, sent))

    def _closed(self, stop: StopRule, point: int, batch: int, source: Iterator[Chosen]) -> Samples:
        """Keep one query of `batch` requests, the next of `source`, in flight until `stop`."""
        now, submit = self._clock.now_ns, self._session.submit
        deadline_ns = self._patience.deadline_ns
        start = now()
        least_ns = start + int(stop.least_s * 1e9)
        samples = Samples(point, start)
        ended = 0
        for chosen, tokens, requests in source:
            query = TimedQuery(requests, None, self._clock)
            query.issued_ns = now()
            try:
                submit(query)
            except Exception as error:  # a session must not raise; it is the query's failure
                query.fail(error)
            if not query.complete:
                self._await(query, query.issued_ns)
            samples.add(query, chosen, tokens, deadline_ns)
            ended += batch
            at = now()
            if (at >= least_ns or ended >= MOST_SAMPLES) and stop.over((at - start) / 1e9, ended):
                break
        return samples.close(now())

    def multi_stream(
        self, stop: StopRule, *, samples: int = 8, point: int = 0, sent: int = 0
    ) -> Samples:
        """Keep one query of `samples` requests in flight until `stop`, which counts queries.

        What does not fit into one of the session's batches goes in several, as many at once as the
        session takes. All are due when the first is issued; the rows of a query lie one after the
        other, so that `Samples.by_query(samples)` gives the latency per query.
        """
        clock = self._clock
        session_batch, most = self._session.max_batch, self._session.max_concurrency
        parts = -(-samples // session_batch)
        width = min(parts, most or 1)
        start = clock.now_ns()
        kept = Samples(point, start)
        ended = 0

        def send(query: TimedQuery) -> None:
            query.issue(self._session)
            if most is not None and not query.complete:
                self._await(query, query.issued_ns)

        with ThreadPoolExecutor(width) as pool:
            run: Callable[..., object] = map if width == 1 else pool.map
            for chosen, tokens, requests in self._endless(samples, sent):
                cuts = range(0, samples, session_batch)
                queries = [TimedQuery(requests[i : i + session_batch], None, clock) for i in cuts]
                due = clock.now_ns()
                list(run(send, queries))  # type: ignore[call-overload]
                for at, query in zip(cuts, queries, strict=True):
                    if not query.complete and not query.expired:
                        self._await(query, due)
                    size = len(query.requests)
                    query.scheduled_ns = [due] * size
                    part = slice(at, at + size)
                    kept.add(query, chosen[part], tokens[part], self._patience.deadline_ns)
                ended += 1
                elapsed_s = (clock.now_ns() - start) / 1e9
                if stop.over(elapsed_s, ended) or len(kept.rows) >= MOST_SAMPLES:
                    return kept.close(clock.now_ns())
        raise AssertionError("the inputs never end")

    def closed_loop(
        self, concurrency: int, stop: StopRule, *, point: int = 0, sent: int = 0
    ) -> Samples:
        """Let `concurrency` users send until `stop`: each the next request when its last has ended.

        Latency counts from then, so it holds the wait for the other users. Those who wait form
        batches as far as the session takes them.
        """
        clock = self._clock
        start = clock.now_ns()

        def over(ended: int) -> bool:
            return stop.over((clock.now_ns() - start) / 1e9, ended)

        order = self._order_from(sent)
        loop = ClosedLoop(self._session, clock, self._inputs, order, self._patience, over)
        loop.run(concurrency, start)
        samples = Samples(point, start)
        loop.write(samples, self._tokens_in)
        return samples.close(clock.now_ns())

    def offline(self, stop: StopRule, *, point: int = 0, sent: int = 0) -> Samples:
        """Send the largest batches the session takes, as many at once as it takes, until `stop`."""
        batch = self._session.max_batch
        if self._session.max_concurrency == 1:
            return self.closed(stop, point=point, batch=batch, sent=sent)
        return self._spread(stop, point, batch, sent)

    def open(self, rate: float, stop: StopRule, *, point: int = 0, sent: int = 0) -> Samples:
        """Offer requests as a Poisson process of `rate` per second until `stop`, then drain.

        The window closes at a scheduled time, never because an answer came: with n the smallest
        count that `stop` wants, arrivals end at the later of `least_s` and the n-th arrival. What
        was due within the window but could not be issued within twice its length is `unserved`.
        """
        # Surely beyond the arrivals before: twice their time alone is not, where they are few.
        horizon_s = stop.most_s + (2 * sent + 20) / rate if sent else stop.most_s
        arrivals = _after(poisson_arrivals(rate, horizon_s, self._point_seed(point)), sent)
        wanted = max(int(np.searchsorted(arrivals, stop.least_s)), stop.count)
        within = min(wanted, int(np.searchsorted(arrivals, stop.most_s)))
        arrivals = arrivals[: max(1, within)]
        order = self._order(sent + arrivals.size)[sent:]
        return self.offer(arrivals, point=point, window_s=stop.least_s, order=order)

    def burst(
        self,
        rate: float,
        stop: StopRule,
        *,
        shape: float = 0.25,
        spikes: Spikes | None = None,
        point: int = 0,
        sent: int = 0,
    ) -> Samples:
        """Offer requests in bursts at a mean of `rate` per second until `stop`, as `open` does.

        With `spikes` the window holds whole periods of them; MeasurementError if `most_s` is
        shorter than one. A later stage (`sent`) has arrivals of its own, from a steady state.
        """
        seed = self._point_seed(point) + sent
        times_s = burst_arrivals(rate, stop.most_s, seed, shape=shape, spikes=spikes)
        reached_s = float(times_s[min(max(1, stop.count), times_s.size) - 1])
        end_s = max(stop.least_s, reached_s)
        if spikes is not None:
            whole_s = spikes.every_s * math.floor(stop.most_s / spikes.every_s)
            if not whole_s:
                raise MeasurementError(
                    f"a window of at most {stop.most_s:g} s holds no whole period of "
                    f"{spikes.every_s:g} s from spike to spike",
                    hint="choose a longer profile, or a smaller 'spike_every_s'",
                )
            end_s = min(spikes.periods(end_s), whole_s)
        times_s = times_s[times_s <= end_s]
        order = self._order(sent + times_s.size)[sent:]
        return self.offer(times_s, point=point, window_s=end_s, order=order)

    def replay(self, times_s: NDArray[np.float64], stop: StopRule, *, point: int = 0) -> Samples:
        """Offer input i at `times_s[i]`, up to `most_s`; the driver's inputs are the trace's.

        Nothing else of `stop` counts: a trace is cut by time only.
        """
        if len(self._inputs) < times_s.size:
            raise MeasurementError(f"{times_s.size} arrivals, but {len(self._inputs)} inputs")
        within = times_s[times_s < stop.most_s]
        return self.offer(within, point=point, order=range(within.size))

    def offer(
        self,
        arrivals_s: NDArray[np.float64],
        *,
        point: int = 0,
        window_s: float = 0.0,
        order: Sequence[int] | None = None,
    ) -> Samples:
        """Offer requests at `arrivals_s` (seconds from the start, rising), then drain.

        Request i is input `order[i]`; without `order`, seeded permutations. None is issued later
        than twice the window, which is `window_s` or the last arrival, whichever is later.
        MeasurementError if there is no arrival.
        """
        arrivals_s = arrivals_s[:MOST_SAMPLES]
        if not arrivals_s.size:
            raise MeasurementError("no request is due within the window")
        order = self._order(arrivals_s.size) if order is None else order
        start = self._clock.now_ns() + LEAD_NS
        offer = Offer(
            requests=[self._inputs[i] for i in order],
            due_ns=[start + int(t * 1e9) for t in arrivals_s],
            give_up_ns=start + int(2 * max(float(arrivals_s[-1]), window_s) * 1e9),
        )
        loop = OpenLoop(self._session, self._clock, offer, self._patience)
        loop.run()
        samples = Samples(point, start)
        loop.write(samples, order, self._tokens_in)
        return samples

    def _point_seed(self, point: int) -> int:
        return self._seed + 7919 * (point + 1)

    def _order_from(self, sent: int) -> list[int]:
        """Return every input once, beginning where the `sent` requests before left off."""
        order = self._order(len(self._inputs))
        at = sent % len(order)
        return order[at:] + order[:at]

    def _endless(self, size: int, sent: int) -> Iterator[Chosen]:
        """Yield `size` inputs at a time for ever: their indices, input tokens, and requests."""
        tokens, inputs = self._tokens_in, self._inputs
        order = self._order_from(sent)
        if size == 1:
            # Made once: a query of a fast target costs little more than these lists.
            yield from itertools.cycle([([i], [tokens[i]], [inputs[i]]) for i in order])
        sources = itertools.cycle(order)
        while True:
            chosen = list(itertools.islice(sources, size))
            yield chosen, [tokens[i] for i in chosen], [inputs[i] for i in chosen]

    def _await(self, query: TimedQuery, due_ns: int) -> None:
        """Wait for an answer; MeasurementError if it is lost."""
        bounded = self._session.max_concurrency is not None
        if not self._patience.settle(query, due_ns, self._clock, bounded=bounded):
            raise self._patience.lost()

    def _spread(self, stop: StopRule, point: int, batch: int, sent: int) -> Samples:
        """Run `closed` from several threads at once and merge the rows in order of issue.

        The threads share one series of inputs: one for each would have all of them ask for the
        same input at the same time, and a short window for the first few only.
        """
        width = self._session.max_concurrency or 2 * len(self._inputs)
        width = min(width, 64)
        start = self._clock.now_ns()
        share = StopRule(stop.least_s, stop.most_s, math.ceil(stop.count / width))
        parts: list[Samples] = []
        source = Shared(self._endless(batch, sent))

        def work() -> None:
            parts.append(self._closed(share, point, batch, source))

        work_at_once(work, width)
        merged = Samples(point, start)
        for part in parts:
            shift = part.start_ns - start
            merged.rows.extend(
                (row[0], row[1], *(t + shift if t >= 0 else t for t in row[2:6]), *row[6:])
                for row in part.rows
            )
            merged.errors.extend(part.errors)
            merged.complaints.extend(part.complaints)
            merged.prompts.extend((due + shift, all_, kept) for due, all_, kept in part.prompts)
            if part.over_ns:
                merged.over_ns = max(merged.over_ns, part.over_ns + shift)
        merged.rows.sort(key=lambda row: row[3])
        return merged


def _after(times_s: NDArray[np.float64], sent: int) -> NDArray[np.float64]:
    """Return the times after the first `sent`, counted from the last of those."""
    return times_s[sent:] - times_s[sent - 1] if sent else times_s


def audio_seconds(requests: Sequence[Request]) -> list[float]:
    """Return the length of each input's audio in seconds; 0 where there is none."""
    return [r.audio_s if isinstance(r, SpeechRequest) else 0.0 for r in requests]


def tokens_asked(requests: Sequence[Request]) -> list[int]:
    """Return the number of output tokens that each input asks for; 0 where it asks for none."""
    return [r.max_new_tokens if isinstance(r, TextRequest | SpeechRequest) else 0 for r in requests]
