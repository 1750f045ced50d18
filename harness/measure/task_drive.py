"""Drives a session through chains of calls, as `harness.measure.drive` does with single ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.adapters.base import Request, Session
from harness.errors import MeasurementError
from harness.measure.chains import Chained, Chains
from harness.measure.clock import Clock
from harness.measure.drive import LEAD_NS, MOST_SAMPLES, StopRule, check_batch, tokens_in
from harness.measure.job import Job
from harness.measure.patience import Patience
from harness.measure.samples import Samples
from harness.measure.tasks import NEVER_NS, TaskLoop
from harness.traffic import poisson_arrivals


def task_driver(
    job: Job, session: Session, inputs: Sequence[Request], clock: Clock
) -> TaskDriver | None:
    """Return what sends the job's inputs in chains; None if each of its requests is alone."""
    chained = Chained.of(job.workload)
    if chained is None:
        return None
    return TaskDriver(
        session,
        inputs,
        clock,
        chained,
        job.cell.seed,
        max_delay_s=job.target.runtime.max_delay_s,
        deadline_s=job.workload.deadline_s,
        drain_s=job.longest_wait_s,
    )


class TaskDriver:
    """Sends the workload's inputs in chains; `count` of a stop rule and rates are of calls.

    `max_delay_s`, `deadline_s` and `drain_s` are of each call, as of `Driver`. `sent` is 0 in the
    first stage of a point; a later one goes on with the chains and the arrivals where the last one
    ended.
    """

    def __init__(
        self,
        session: Session,
        inputs: Sequence[Request],
        clock: Clock,
        chained: Chained,
        seed: int,
        *,
        max_delay_s: float = 0.0,
        deadline_s: float | None = None,
        drain_s: float | None = None,
    ) -> None:
        check_batch(session)
        self._session = session
        self._inputs = inputs
        self._clock = clock
        self._chained = chained
        self._seed = seed
        self._chains = Chains(inputs, chained, seed)
        self._patience = Patience.of(max_delay_s, deadline_s, drain_s)
        self._begun = 0

    def closed_loop(self, users: int, stop: StopRule, *, point: int = 0, sent: int = 0) -> Samples:
        """Let `users` users run one chain after the other until `stop`.

        Tasks that were begun are ended. Turns that would be due after the window are not sent.
        """
        clock = self._clock
        start = clock.now_ns()

        def over(ended: int) -> bool:
            return stop.over((clock.now_ns() - start) / 1e9, ended)

        # Nobody waits for a batch to fill while all users wait for answers.
        patience = replace(self._patience, delay_ns=0)
        loop = TaskLoop(
            self._session,
            clock,
            self._inputs,
            self._chains,
            patience,
            first=self._first(sent),
            over=over,
            cut=self._chained.agent is None,
        )
        samples = self._run(loop, [start] * users, Samples(point, start))
        return samples.close(clock.now_ns())

    def open(self, rate: float, stop: StopRule, *, point: int = 0, sent: int = 0) -> Samples:
        """Begin chains as a Poisson process of altogether `rate` calls a second, then drain.

        The window closes at an arrival, as of `Driver.open`. A call that could not be issued within
        twice its length is unserved; one that would be due later is left out, and its task fails.
        """
        first, calls = self._first(sent), self._chains.calls
        rate /= calls
        # Surely beyond the chains that have begun.
        horizon_s = stop.most_s + (2 * first + 20) / rate if first else stop.most_s
        times_s = poisson_arrivals(rate, horizon_s, self._seed + 7919 * (point + 1))
        if first:
            times_s = times_s[first:] - times_s[first - 1]
        wanted = max(int(np.searchsorted(times_s, stop.least_s)), math.ceil(stop.count / calls))
        within = min(wanted, int(np.searchsorted(times_s, stop.most_s)))
        most = max(1, int(MOST_SAMPLES / calls))
        times_s = times_s[: min(max(1, within), most)]
        if not times_s.size:
            raise MeasurementError("no task is due within the window")
        start = self._clock.now_ns() + LEAD_NS
        window_s = max(float(times_s[-1]), stop.least_s)
        loop = TaskLoop(
            self._session,
            self._clock,
            self._inputs,
            self._chains,
            self._patience,
            first=first,
            give_up_ns=min(NEVER_NS, start + int(2 * window_s * 1e9)),
        )
        arrivals = [start + int(time_s * 1e9) for time_s in times_s]
        return self._run(loop, arrivals, Samples(point, start))

    def _run(self, loop: TaskLoop, arrivals: Sequence[int], samples: Samples) -> Samples:
        loop.run(arrivals)
        loop.write(samples, tokens_in)
        self._begun = loop.begun
        return samples

    def _first(self, sent: int) -> int:
        """Return the number of the first chain of a stage."""
        return self._begun if sent else 0
