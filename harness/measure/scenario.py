"""Measures the operating points of a cell's scenario, one after the other."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from harness import early_stopping, statistics, units
from harness.adapters.base import Request, Session
from harness.measure.capacity import Tally, estimate_capacity, told
from harness.measure.chains import Chained
from harness.measure.client_watch import ClientWatch
from harness.measure.clock import Clock, own_core
from harness.measure.drive import Driver, StopRule, audio_seconds, tokens_asked
from harness.measure.energy import Energy
from harness.measure.headline import cell_in_words, find_headline, in_words, kept
from harness.measure.job import Job
from harness.measure.overload import overload, served_rate
from harness.measure.patience import DRAIN_S
from harness.measure.profile import PROFILES
from harness.measure.prompt_cache import with_cached_prompts
from harness.measure.samples import Samples
from harness.measure.saturation import back_to_back
from harness.measure.search import SHRINK, CapacitySearch
from harness.measure.stages import Drive, Precision, run_stages, values_of
from harness.measure.summary import Window, summarise, warm_up_end_ns
from harness.measure.task_drive import task_driver
from harness.measure.task_figures import TASK_LATENCY
from harness.models.trace import read_trace, trace_requests
from harness.schema.record import Ending, Metric, Point
from harness.schema.scenario import Burst, ClosedLoop, MultiStream, Server, Trace
from harness.schema.workload import SloLimit
from harness.traffic import Spikes

MLPERF_OFFLINE = 24_576
"""The least number of samples of MLPerf's offline scenario."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An operating point with the samples that it was computed from."""

    samples: Samples
    window: Window
    point: Point


class ScenarioRunner:
    """Runs the scenario of `job` on `session` and tells `note` what it finds."""

    def __init__(
        self,
        job: Job,
        session: Session,
        energy: Energy,
        inputs: Sequence[Request],
        clock: Clock,
        note: Callable[[str], None],
    ) -> None:
        self._job = job
        self._scenario = job.cell.scenario
        self._profile = PROFILES[job.cell.profile]
        self._session = session
        self._energy = energy
        self._clock = clock
        self._note = note
        self._inputs = inputs
        self._client = ClientWatch(
            session, clock, () if self._scenario.kind == "offline" else job.workload.slo
        )
        self._chained = Chained.of(job.workload)
        self._tasks = task_driver(job, session, inputs, clock)
        self._most: float | None = None
        self.capacity: Metric | None = None
        """After `run`, of a search: the rate at which the SLO is just kept."""

    @property
    def limit_s(self) -> float:
        """How long the measurement may take before the cell counts as hung."""
        points = self._profile.points(self._scenario)
        longer_s = self._job.longest_wait_s - DRAIN_S
        return self._profile.measure_limit_s(points) + (points + 1) * longer_s

    def driver(self, inputs: Sequence[Request]) -> Driver:
        """Return a driver that sends `inputs` as the job's workload and target declare."""
        return Driver(
            self._session,
            inputs,
            self._clock,
            self._job.cell.seed,
            max_delay_s=self._job.target.runtime.max_delay_s,
            deadline_s=self._job.workload.deadline_s,
            drain_s=self._job.longest_wait_s,
        )

    def run(self) -> list[Measured]:
        """Return the operating points by rising load; exactly one where there is no load to set.

        A session that answers in threads of its own leaves the issuing thread free: it gets a core
        of its own, where the machine has one to spare.
        """
        with contextlib.ExitStack() as stack:
            if self._session.max_concurrency is None:
                core = stack.enter_context(own_core(self._threads()))
                self._note(
                    "no core to spare for the driver"
                    if core is None
                    else f"the driver has core {core} to itself"
                )
            return self._measured()

    def calibrate(self, measured: Sequence[Measured]) -> list[Measured]:
        """Return `measured`, each point of a served target with its client calibrated at its load.

        The client must not be asked anything else meanwhile. The capacity is estimated anew,
        without the points at which the client turns out to have been the limit.
        """
        points = self._client.calibrate([(each.samples, each.point) for each in measured])
        done = [replace(each, point=point) for each, point in zip(measured, points, strict=True)]
        headline = find_headline([each.point for each in done])
        if self.capacity is not None:
            self.capacity = None if headline is None else self._capacity(done, headline)
        return done

    def _threads(self) -> int:
        """Return how many threads the session computes with, as its target declares."""
        declared = self._job.target.runtime.options.get("threads")
        return declared if isinstance(declared, int) else 0

    def _measured(self) -> list[Measured]:
        scenario, profile = self._scenario, self._profile
        if isinstance(scenario, Server | Burst):
            return self._by_load(scenario)
        if isinstance(scenario, Trace):
            return [self._replay(scenario)]
        count = self._wanted()
        if scenario.kind == "offline":
            count = MLPERF_OFFLINE if profile.certify else 4 * self._session.max_batch
        stop = StopRule(profile.least_s, profile.most_s, count)
        size = scenario.samples if isinstance(scenario, MultiStream) else 1
        return [self._point(self._closed_drive(), stop, self._inputs, query_size=size)]

    def _closed_drive(self) -> Drive:
        """Return what measures a stage of a scenario without a load."""
        scenario, driver, tasks = self._scenario, self.driver(self._inputs), self._tasks
        if tasks is not None:
            alone = scenario.concurrency if isinstance(scenario, ClosedLoop) else 1
            return lambda stop, sent: tasks.closed_loop(alone, stop, sent=sent)
        if isinstance(scenario, MultiStream):
            size = scenario.samples
            return lambda stop, sent: driver.multi_stream(stop, samples=size, sent=sent)
        if isinstance(scenario, ClosedLoop):
            users = scenario.concurrency
            return lambda stop, sent: driver.closed_loop(users, stop, sent=sent)
        if scenario.kind == "offline":
            return lambda stop, sent: driver.offline(stop, sent=sent)
        return lambda stop, sent: driver.closed(stop, sent=sent)

    def _by_load(self, scenario: Server | Burst) -> list[Measured]:
        """Return the points by rising load, and say which one stands for the cell."""
        measured = sorted(self._loads(scenario), key=lambda each: each.point.load or 0.0)
        for position, each in enumerate(measured):
            each.samples.point = position
        headline = find_headline([each.point for each in measured])
        self._note(cell_in_words([each.point for each in measured], headline))
        if isinstance(scenario, Server) and headline is not None:
            self.capacity = self._capacity(measured, headline)
        return measured

    def _capacity(self, measured: Sequence[Measured], headline: int) -> Metric | None:
        """Return the rate at which the SLO is just kept; None where no load above broke it."""
        above = [m for m in measured[headline + 1 :] if not m.point.client_bound]
        bracketed = any(m.point.slo_state != "met" for m in above)
        served = [m for m in measured if not m.point.client_bound]
        found = estimate_capacity(
            [(m.point.requested_rate or 0.0, self._tallies(m.window)) for m in served]
        )
        if found is None or not bracketed:
            return None
        offered = max(m.point.requested_rate or 0.0 for m in served)
        most = offered if self._most is None else min(offered, self._most)
        return told(found, most, sum(m.point.requests for m in served), len(served))

    def _loads(self, scenario: Server | Burst) -> Iterator[Measured]:
        """Yield the points in the order of measuring: the declared loads, or those of a search."""
        profile = self._profile
        driver = self.driver(self._inputs)
        # Nothing is held back here to fill a batch, and nothing is too late.
        own = Driver(
            self._session,
            self._inputs,
            self._clock,
            self._job.cell.seed,
            drain_s=self._job.longest_wait_s,
        )
        rate, self._most = back_to_back(self._session, own, profile, self._client.most_sent)
        self._client.saturated = self._most is not None
        self._note(f"back to back: {units.rate(rate, 'requests/s')}")
        stop = StopRule(profile.least_s, profile.server_most_s, self._wanted())
        search = CapacitySearch(profile.resolution, profile.points(scenario))
        declared = iter(scenario.load)
        began_ns = self._clock.now_ns()
        number = 0

        def left_s() -> float:
            return profile.search_s - (self._clock.now_ns() - began_ns) / 1e9

        proven = False

        def next_load() -> float | None:
            if scenario.load:
                return next(declared, None)
            found = search.next_load() if not number or left_s() > 0 else None
            if found is None and not proven and search.lowest is not None:
                return self._provable(search.lowest * SHRINK, rate, attempts)
            return found

        attempts: list[float] = []
        while (load := next_load()) is not None:
            one = self._point(
                self._drive_at(driver, scenario, rate * load, number),
                stop,
                self._inputs,
                most_s=profile.server_most_s if scenario.load or attempts else left_s() / 2,
                load=load,
                rate=rate * load,
            )
            one = self._held_against_most(one)
            # A rate that the client did not keep up with is no limit of the server, but there is
            # nothing to learn above it.
            keeps = kept(one.point) and one.point.overload is None
            search.record(load, keeps and not one.point.client_bound)
            proven = proven or (one.point.slo_state == "met" and not one.point.client_bound)
            number += 1
            yield one

    def _held_against_most(self, one: Measured) -> Measured:
        """Return `one`, which misses the SLO if more was due than the target ever served.

        Calls of a task are due when others have ended, so that no queue of them grows.
        """
        served, point = served_rate(one.samples.columns()), one.point
        if self._tasks is not None or self._most is None or served is None or point.client_bound:
            return one
        self._most = max(self._most, min(served, point.requested_rate or 0.0))
        text = overload(point.requested_rate or 0.0, self._most)
        if text is None or not point.slo:
            return one
        return replace(
            one, point=point.model_copy(update={"overload": text, "slo_state": "missed"})
        )

    def _provable(self, load: float, rate: float, attempts: list[float]) -> float | None:
        """Return `load`, once, if a window at it can hold enough requests to prove the SLO.

        Where the search proved no point, one far below the limit may: its requests hardly queue.
        """
        expected = rate * load * self._profile.server_most_s
        if attempts or expected < self._wanted():
            return None
        attempts.append(load)
        return load

    def _tallies(self, window: Window) -> list[Tally]:
        """Return how each limit of the SLO did in `window`."""
        return [
            Tally(
                requests=int(missed.size),
                missed=int(missed.sum()),
                worth=statistics.effective_sample_size(missed),
                allowed=1 - limit.percentile / 100,
            )
            for limit in self._job.workload.slo
            for missed in ((values_of(window, limit) > limit.limit_s).astype(np.float64),)
        ]

    def _drive_at(
        self, driver: Driver, scenario: Server | Burst, rate: float, number: int
    ) -> Drive:
        """Return what measures a stage of point `number` at `rate`."""
        tasks = self._tasks
        if tasks is not None:
            return lambda stop, sent: tasks.open(rate, stop, point=number, sent=sent)
        if isinstance(scenario, Server):
            return lambda stop, sent: driver.open(rate, stop, point=number, sent=sent)
        shape, spikes = scenario.shape, _spikes(scenario)
        return lambda stop, sent: driver.burst(
            rate, stop, shape=shape, spikes=spikes, point=number, sent=sent
        )

    def _replay(self, scenario: Trace) -> Measured:
        """Replay the trace's arrivals within the profile's window, requests of its lengths."""
        most_s = self._profile.server_most_s
        trace = read_trace(self._job.data / scenario.file).window(scenario.speed, most_s)
        inputs = trace_requests(trace, self._job.workload, self._job.data)
        driver = self.driver(inputs)
        return self._point(
            lambda stop, _: driver.replay(trace.times_s, stop),
            StopRule(0.0, most_s, 1),
            inputs,
            rate=len(inputs) / max(float(trace.times_s[-1]), 1e-9),
        )

    def _point(
        self,
        drive: Drive,
        stop: StopRule,
        inputs: Sequence[Request],
        *,
        most_s: float | None = None,
        load: float | None = None,
        rate: float | None = None,
        query_size: int = 1,
    ) -> Measured:
        """Measure one operating point, in stages of altogether at most `most_s`."""
        audio_s, asked = audio_seconds(inputs), tokens_asked(inputs)
        self._client.begin(rate, asked)
        self._energy.begin()
        began_at = datetime.now(UTC)
        samples, ending = self._stages(drive, stop, audio_s, most_s, load is not None, query_size)
        readings = self._energy.end()
        delay_s = self._job.target.runtime.max_delay_s
        slots = self._session.max_concurrency
        window = Window(
            samples,
            audio_s,
            asked,
            delay_s,
            slots=slots,
            chained=self._chained,
            over_ns=samples.over_ns,
        )
        queries = _queries(samples, audio_s, query_size) if query_size > 1 else None
        point = summarise(
            window,
            task=self._job.workload.task,
            scenario=self._scenario.kind,
            slo=self._job.workload.slo,
            energy=readings,
            load=load,
            requested_rate=rate,
            queries=queries,
        ).model_copy(update={"ending": ending, "began_at": began_at})
        point = self._client.end(samples, point)
        self._note(in_words(point))
        steady_ns = warm_up_end_ns(queries or window, self._scenario.kind)
        point = with_cached_prompts(point, self._job.workload, samples.prompts, steady_ns)
        return Measured(samples, window.since(steady_ns), point)

    def _stages(
        self,
        drive: Drive,
        stop: StopRule,
        audio_s: Sequence[float],
        most_s: float | None,
        by_load: bool,
        query_size: int,
    ) -> tuple[Samples, Ending]:
        scenario, profile = self._scenario, self._profile
        if isinstance(scenario, Trace):
            return drive(stop, 0), Ending(why="trace_end")
        spiked = isinstance(scenario, Burst) and _spikes(scenario) is not None
        if spiked or (profile.precision is None and not (profile.certify and by_load)):
            samples = drive(stop, 0)
            enough = len(samples.rows) >= stop.count * query_size
            return samples, Ending(why="count" if enough else "time_box")
        precision = Precision(
            profile.precision or 0.0,
            self._watched(query_size),
            decide=by_load,
            certify=profile.certify,
        )
        return run_stages(
            drive,
            stop,
            precision,
            self._clock,
            most_s=stop.most_s if most_s is None else min(most_s, stop.most_s),
            window_of=lambda samples: self._steady(
                _queries(samples, audio_s, query_size)
                if query_size > 1
                else Window(samples, audio_s, chained=self._chained, over_ns=samples.over_ns)
            ),
        )

    def _watched(self, query_size: int) -> tuple[SloLimit, ...]:
        """Return the limits whose percentiles must be precise; only requests have a TPOT."""
        if self._scenario.kind == "offline":
            return ()
        slo = self._job.workload.slo
        return tuple(each for each in slo if query_size == 1 or each.metric != "tpot")

    def _steady(self, window: Window) -> Window:
        """Return `window` without its warm-up."""
        return window.since(warm_up_end_ns(window, self._scenario.kind))

    def _wanted(self) -> int:
        """Return how many requests the SLO's percentiles need, with the profile's surplus."""
        surplus, calls = self._profile.surplus, self._chained.calls if self._chained else None
        return max(
            (
                early_stopping.minimum_queries(limit.percentile)
                if self._profile.certify
                else math.ceil(surplus * statistics.minimum_samples(limit.percentile / 100))
            )
            * ((calls or 1) if limit.metric == TASK_LATENCY else 1)
            for limit in self._job.workload.slo
        )


def _queries(samples: Samples, audio_s: Sequence[float], size: int) -> Window:
    """Return the window of `samples` by queries of `size` requests."""
    return Window(samples.by_query(size), audio_s, over_ns=samples.over_ns)


def _spikes(scenario: Burst) -> Spikes | None:
    if not (scenario.spike_factor and scenario.spike_s and scenario.spike_every_s):
        return None
    return Spikes(scenario.spike_factor, scenario.spike_s, scenario.spike_every_s)
