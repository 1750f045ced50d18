"""Sends chains of calls: a call is due when the one before it has ended, or all of a task at once.

Chains begin at their arrivals (open loop), or when a user's last chain has ended (closed loop).
Within a chain the loop is closed: a call counts from when it was due, and what went before a turn
is in its prompt as it was really answered. A chain ends early with a call that failed.
"""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.adapters.base import Output, Request, Session
from harness.measure.chains import EXTRA, Chain, Chains
from harness.measure.clock import Clock
from harness.measure.patience import DRAIN_S, Patience
from harness.measure.query import TimedQuery
from harness.measure.samples import TIMED_OUT, UNSERVED, Samples
from harness.measure.workers import work_at_once
from harness.models.conversation import TurnRequest, continued

NEVER_NS = 1 << 62
AHEAD_NS = 2_000_000
"""A thread that waits for a due time lets others in until so long before it."""
LOOK_S = 0.1
"""How often it is looked whether an answer is lost."""
MOST_WORKERS = 1024
NO_TOKENS = "an answer without its tokens or text: the next turn cannot hold it"


@dataclass(slots=True)
class Running:
    """A chain on its way: its number, the calls that have not ended, and when the last one did."""

    chain: Chain
    number: int
    left: int
    ended_ns: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """Call `turn` of a chain: its input, and what is really sent."""

    running: Running
    turn: int
    request: Request

    @property
    def input(self) -> int:
        """The place of the input that it was made of."""
        return self.running.chain.inputs[self.turn]


class TaskLoop:
    """Runs chains on a session; batches form of what is due, as far as the session takes them.

    `first` is the number of the first chain. `over(ended)` says, of the number of calls that have
    ended, whether a closed loop begins no more chains; those begun are ended, but for turns that
    would be due later where `cut`. An open loop issues nothing from `give_up_ns` on.
    """

    def __init__(
        self,
        session: Session,
        clock: Clock,
        inputs: Sequence[Request],
        chains: Chains,
        patience: Patience,
        *,
        first: int = 0,
        give_up_ns: int = NEVER_NS,
        over: Callable[[int], bool] | None = None,
        cut: bool = False,
    ) -> None:
        self._session = session
        self._clock = clock
        self._inputs = inputs
        self._chains = chains
        self._patience = patience
        self._give_up_ns = self._last_due_ns = give_up_ns
        self._over = over
        self._cut = cut
        self.begun = first
        """The number of the next chain."""
        self._due: list[tuple[int, int, Call]] = []
        self._pushed = 0
        self._flying = 0
        self._ended = 0
        self._closed = False
        self._changed = threading.Condition()
        self._answered: list[tuple[TimedQuery, list[Call]]] = []
        self._unsent: list[tuple[int, Call, int]] = []
        self._complaints: list[str] = []
        self._broken: list[BaseException] = []

    def run(self, arrivals_ns: Sequence[int]) -> None:
        """Begin a chain at each of `arrivals_ns` and run until all have ended.

        MeasurementError if an answer is lost.
        """
        for at_ns in arrivals_ns:
            self._begin(at_ns)
        most = self._session.max_concurrency
        if most is None:
            self._run_unbounded()
        else:
            workers = min(most, len(self._due), MOST_WORKERS)
            work_at_once(lambda: self._guarded(self._work), workers)
        if self._broken:
            raise self._broken[0]
        self._answered.sort(key=lambda pair: pair[0].issued_ns)

    def write(self, samples: Samples, tokens_in: Callable[[Request], int]) -> None:
        """Append a row for every call that was due; `samples` has the columns `EXTRA`."""
        samples.extra = EXTRA
        deadline_ns = self._patience.deadline_ns
        for query, calls in self._answered:
            at = len(samples.rows)
            tokens = [tokens_in(call.request) for call in calls]
            samples.add(query, [call.input for call in calls], tokens, deadline_ns)
            for place, call in enumerate(calls, at):
                samples.rows[place] = (*samples.rows[place], call.running.number, call.turn)
        for due_ns, call, status in self._unsent:
            samples.add_unserved(due_ns, call.input, tokens_in(call.request), status)
            samples.rows[-1] = (*samples.rows[-1], call.running.number, call.turn)
        samples.complaints.extend(self._complaints)

    def _begin(self, at_ns: int) -> None:
        """Make the first call of the next chain due at `at_ns`, or all of its calls."""
        chain = self._chains.chain(self.begun)
        running = Running(chain, self.begun, len(chain.inputs))
        self.begun += 1
        for turn in range(len(chain.inputs) if chain.together else 1):
            self._push(at_ns, Call(running, turn, self._inputs[chain.inputs[turn]]))

    def _push(self, due_ns: int, call: Call) -> None:
        if due_ns >= self._last_due_ns:
            return
        heapq.heappush(self._due, (due_ns, self._pushed, call))
        self._pushed += 1

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # raised again by `run`, in the thread that waits
            with self._changed:
                self._broken.append(error)
                self._due.clear()
                self._changed.notify_all()

    # A session that takes so many queries at once: as many threads, each waits for its own.

    def _work(self) -> None:
        while (formed := self._form()) is not None:
            query, calls, due_ns = formed
            query.issue(self._session)
            if not query.complete and not self._patience.settle(
                query, due_ns, self._clock, bounded=True
            ):
                if self._over is not None:
                    raise self._patience.lost()
                query.expire(self._patience.expiry())
            self._end(query, calls)

    # One without a limit: a thread sends what becomes due, another takes what is answered.

    def _run_unbounded(self) -> None:
        answered: queue.SimpleQueue[tuple[TimedQuery, list[Call]]] = queue.SimpleQueue()
        flying: dict[int, tuple[TimedQuery, list[Call], int]] = {}

        def send(formed: tuple[TimedQuery, list[Call], int]) -> None:
            query, calls, _ = formed
            assert isinstance(query, ToldQuery)
            flying[id(query)] = formed
            query.tell(lambda: answered.put((query, calls)))
            query.issue(self._session)

        def give_up() -> None:
            now = self._clock.now_ns()
            for query, calls, due_ns in list(flying.values()):
                waited_s = (now - query.issued_ns) / 1e9 if query.issued_ns else 0.0
                if self._patience.left_s(due_ns, now) <= 0 or waited_s > self._patience.drain_s:
                    query.expire(self._patience.expiry())
                    answered.put((query, calls))

        def take() -> None:
            while True:
                with self._changed:
                    if self._broken or not (self._due or self._flying):
                        self._changed.notify_all()
                        return
                try:
                    query, calls = answered.get(timeout=LOOK_S)
                except queue.Empty:
                    give_up()
                    continue
                if flying.pop(id(query), None) is None:
                    continue  # given up before
                self._end(query, calls)
                # What follows at once: the other thread may be about to send something later.
                while (formed := self._form(wait=False)) is not None:
                    send(formed)

        def issue() -> None:
            while (formed := self._form()) is not None:
                send(formed)

        taker = threading.Thread(target=self._guarded, args=(take,), daemon=True)
        taker.start()
        self._guarded(issue)
        taker.join()

    def _form(self, *, wait: bool = True) -> tuple[TimedQuery, list[Call], int] | None:
        """Return a query of what is due, its calls, and when its last was due; None at the end.

        Without `wait` also None where nothing is due yet.
        """
        taken = self._take(wait=wait)
        if taken is None:
            return None
        first_ns = taken[0][0]
        if self._session.max_batch > 1:
            self._fill(taken, first_ns + self._patience.delay_ns)
        calls = [call for _, call in taken]
        due_ns = [due for due, _ in taken]
        kind = ToldQuery if self._session.max_concurrency is None else TimedQuery
        return kind([call.request for call in calls], due_ns, self._clock), calls, due_ns[-1]

    def _take(self, *, wait: bool) -> list[tuple[int, Call]] | None:
        """Return what is due next, when it is due."""
        while True:
            with self._changed:
                self._give_up_late()
                now = self._clock.now_ns()
                if not self._due:
                    if not self._flying or not wait or self._broken:
                        return None
                    self._changed.wait(DRAIN_S)
                    continue
                left_ns = self._due[0][0] - now
                if left_ns > 0 and not wait:
                    return None
                if left_ns > AHEAD_NS and self._flying:
                    # What is answered meanwhile may be followed by something that is due earlier.
                    self._changed.wait((left_ns - AHEAD_NS) / 1e9)
                    continue
                due_ns, _, call = heapq.heappop(self._due)
                self._flying += 1
            if left_ns > 0:
                self._clock.wait_until_ns(due_ns)
            return [(due_ns, call)]

    def _fill(self, taken: list[tuple[int, Call]], until_ns: int) -> None:
        """Add to `taken` what is due, up to a batch; waits for more until `until_ns`."""
        limit = self._session.max_batch
        while True:
            with self._changed:
                now = self._clock.now_ns()
                while len(taken) < limit and self._due and self._due[0][0] <= now:
                    due_ns, _, call = heapq.heappop(self._due)
                    taken.append((due_ns, call))
                    self._flying += 1
                more_ns = min(self._due[0][0], until_ns) if self._due else until_ns
            if len(taken) == limit or now >= until_ns:
                return
            self._clock.wait_until_ns(more_ns)

    def _give_up_late(self) -> None:
        """Count the calls that are not sent any more: past their deadline, or past the window."""
        now, deadline_ns = self._clock.now_ns(), self._patience.deadline_ns
        while self._due:
            late = deadline_ns is not None and now - self._due[0][0] > deadline_ns
            if not late and now < self._give_up_ns:
                return
            due_ns, _, call = heapq.heappop(self._due)
            self._leave(due_ns, call, TIMED_OUT if late else UNSERVED)

    def _leave(self, due_ns: int, call: Call, status: int) -> None:
        """Note that `call` was not sent. Its chain has failed, and its user begins the next."""
        self._unsent.append((due_ns, call, status))
        self._call_ended(call, due_ns + (self._patience.deadline_ns or 0), None)

    def _end(self, query: TimedQuery, calls: list[Call]) -> None:
        """Make due what follows the calls of `query`, which are answered or given up."""
        query.read()
        due_ns, deadline_ns = query.scheduled_ns, self._patience.deadline_ns
        assert due_ns is not None
        with self._changed:
            now = self._clock.now_ns()
            self._answered.append((query, calls))
            self._flying -= len(calls)
            for index, call in enumerate(calls):
                ended_ns, output = query.ended_ns[index] or now, query.outputs[index]
                if deadline_ns is not None and ended_ns - due_ns[index] > deadline_ns:
                    output = None
                self._call_ended(call, ended_ns, output)
            self._changed.notify_all()

    def _call_ended(self, call: Call, ended_ns: int, output: Output | None) -> None:
        """Make due what follows `call`: the next of its chain, or of its user the next chain.

        `output` is None of a call that failed.
        """
        running = call.running
        running.left -= 1
        running.ended_ns = max(running.ended_ns, ended_ns)
        self._ended += 1
        if self._over is not None and not self._closed and self._over(self._ended):
            self._close()
        if running.left and running.chain.together:
            return
        if running.left and output is not None:
            self._follow(call, ended_ns, output)
        elif self._over is not None and not self._closed:
            self._begin(running.ended_ns)

    def _follow(self, call: Call, ended_ns: int, output: Output) -> None:
        """Make the call after `call` due; in its prompt is what `output` answered."""
        chain, turn = call.running.chain, call.turn + 1
        request = self._inputs[chain.inputs[turn]]
        if isinstance(request, TurnRequest) and isinstance(call.request, TurnRequest):
            if not output.tokens and output.text is None:
                self._complaints.append(NO_TOKENS)
            request = continued(request, call.request, output)
        self._push(ended_ns + chain.pauses_ns[turn], Call(call.running, turn, request))

    def _close(self) -> None:
        """Begin no more chains; where turns are cut, none is due from now on."""
        self._closed = True
        if self._cut:
            self._last_due_ns = self._clock.now_ns()
            self._due = [each for each in self._due if each[0] < self._last_due_ns]
            heapq.heapify(self._due)


class ToldQuery(TimedQuery):
    """A query that calls back when it is complete, in the thread that completed it."""

    __slots__ = ("_tell",)

    def tell(self, tell: Callable[[], None]) -> None:
        """Let `tell` be called when all requests have ended; before the query is submitted."""
        self._tell = tell

    def _end(self, index: int, now: int, output: Output | None, error: Exception | None) -> None:
        super()._end(index, now, output, error)
        if self.complete:
            self._tell()
