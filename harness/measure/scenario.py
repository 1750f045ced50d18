"""Measures the operating points of a cell's scenario, one after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from harness import statistics
from harness.adapters.base import Request, Session
from harness.measure.clock import Clock
from harness.measure.drive import Driver, StopRule, audio_seconds, tokens_asked
from harness.measure.energy import Energy
from harness.measure.job import Job
from harness.measure.profile import PROFILES
from harness.measure.samples import Samples
from harness.measure.search import CapacitySearch
from harness.measure.summary import Window, summarise
from harness.models.trace import read_trace, trace_requests
from harness.schema.record import Point
from harness.schema.workload import Burst, ClosedLoop, MultiStream, Server, Trace
from harness.traffic import Spikes


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

    @property
    def limit_s(self) -> float:
        """How long the measurement may take before the cell counts as hung."""
        return self._profile.measure_limit_s(self._profile.points(self._scenario))

    def driver(self, inputs: Sequence[Request]) -> Driver:
        """Return a driver that sends `inputs` as the job's workload and target declare."""
        return Driver(
            self._session,
            inputs,
            self._clock,
            self._job.cell.seed,
            max_delay_s=self._job.target.runtime.max_delay_s,
            deadline_s=self._job.workload.deadline_s,
        )

    def run(self) -> list[Measured]:
        """Return the operating points by rising load; exactly one where there is no load to set."""
        scenario, profile = self._scenario, self._profile
        if isinstance(scenario, Server | Burst):
            return self._by_load(scenario)
        if isinstance(scenario, Trace):
            return [self._replay(scenario)]
        driver = self.driver(self._inputs)
        stop = StopRule(profile.least_s, profile.most_s, self._wanted())
        drive = partial(driver.closed, stop)
        size = 1
        if isinstance(scenario, MultiStream):
            size = scenario.samples
            drive = partial(driver.multi_stream, stop, samples=size)
        elif isinstance(scenario, ClosedLoop):
            drive = partial(driver.closed_loop, scenario.concurrency, stop)
        elif scenario.kind == "offline":
            batches = 4 * self._session.max_batch
            stop = StopRule(profile.least_s, profile.most_s, batches)
            drive = partial(driver.offline, stop)
        return [self._point(drive, self._inputs, query_size=size)]

    def _by_load(self, scenario: Server | Burst) -> list[Measured]:
        """Return the points by rising load, and say which one stands for the cell."""
        measured = sorted(self._loads(scenario), key=lambda each: each.point.load or 0.0)
        for position, each in enumerate(measured):
            each.samples.point = position
        headline = find_headline([each.point for each in measured])
        self._note(
            "no load was within the SLO"
            if headline is None
            else f"{_in_words(measured[headline].point)} at load "
            f"{measured[headline].point.load:.2g} of {len(measured)} measured"
        )
        return measured

    def _loads(self, scenario: Server | Burst) -> Iterator[Measured]:
        """Yield the points in the order of measuring: the declared loads, or those of a search."""
        profile = self._profile
        driver = self.driver(self._inputs)
        rate = self._back_to_back_rate()
        self._note(f"back to back: {rate:.3g} requests/s")
        stop = StopRule(profile.least_s, profile.server_most_s, self._wanted())
        search = CapacitySearch(profile.resolution, profile.points(scenario))
        declared = iter(scenario.load)
        began = time.monotonic()
        number = 0

        def next_load() -> float | None:
            if scenario.load:
                return next(declared, None)
            over = number and time.monotonic() - began > profile.search_s
            return None if over else search.next_load()

        while (load := next_load()) is not None:
            drive = partial(driver.open, rate * load, stop, point=number)
            if isinstance(scenario, Burst):
                drive = partial(
                    driver.burst,
                    rate * load,
                    stop,
                    shape=scenario.shape,
                    spikes=_spikes(scenario),
                    point=number,
                )
            one = self._point(drive, self._inputs, load=load, rate=rate * load)
            search.record(load, one.point.slo_state)
            number += 1
            yield one

    def _replay(self, scenario: Trace) -> Measured:
        """Replay the trace's arrivals within the profile's window, requests of its lengths."""
        most_s = self._profile.server_most_s
        trace = read_trace(self._job.data / scenario.file).window(scenario.speed, most_s)
        inputs = trace_requests(trace, self._job.workload)
        drive = partial(self.driver(inputs).replay, trace.times_s, StopRule(0.0, most_s, 1))
        return self._point(drive, inputs, rate=len(inputs) / max(float(trace.times_s[-1]), 1e-9))

    def _point(
        self,
        drive: Callable[[], Samples],
        inputs: Sequence[Request],
        *,
        load: float | None = None,
        rate: float | None = None,
        query_size: int = 1,
    ) -> Measured:
        self._energy.begin()
        samples = drive()
        readings = self._energy.end()
        audio_s = audio_seconds(inputs)
        window = Window(
            samples, audio_s, tokens_asked(inputs), self._job.target.runtime.max_delay_s
        )
        queries = Window(samples.by_query(query_size), audio_s) if query_size > 1 else None
        point = summarise(
            window,
            task=self._job.workload.task,
            scenario=self._scenario.kind,
            slo=self._job.workload.slo,
            energy=readings,
            load=load,
            requested_rate=rate,
            queries=queries,
        )
        self._note(_in_words(point))
        return Measured(samples, window, point)

    def _wanted(self) -> int:
        """Return how many requests the SLO's percentiles need, with the profile's surplus."""
        return max(
            math.ceil(self._profile.surplus * statistics.minimum_samples(limit.percentile / 100))
            for limit in self._job.workload.slo
        )

    def _back_to_back_rate(self) -> float:
        """Return the requests per second that the session serves when never idle, batch 1."""
        profile = self._profile
        driver = Driver(self._session, self._inputs, self._clock, self._job.cell.seed)
        part = driver.closed(StopRule(profile.least_s / 2, profile.most_s, 4))
        return float(len(part.rows) / (part.columns()["ended_ns"].max() / 1e9))


def find_headline(points: Sequence[Point]) -> int | None:
    """Return the point that stands for the cell, of `points` by rising load.

    A single point without a load stands for itself. Otherwise: the highest load that met the SLO
    below every load that missed it; without one, the highest unproven below those; without that,
    none.
    """
    if len(points) == 1 and points[0].load is None:
        return 0
    missed = next((i for i, p in enumerate(points) if p.slo_state == "missed"), len(points))
    for state in ("met", "unproven"):
        indices = [i for i, point in enumerate(points[:missed]) if point.slo_state == state]
        if indices:
            return indices[-1]
    return None


def _spikes(scenario: Burst) -> Spikes | None:
    if not (scenario.spike_factor and scenario.spike_s and scenario.spike_every_s):
        return None
    return Spikes(scenario.spike_factor, scenario.spike_s, scenario.spike_every_s)


def _in_words(point: Point) -> str:
    rate = point.metrics["throughput_requests_per_s"].value
    text = f"{rate:.4g} requests/s" if rate is not None else "no throughput"
    median = point.metrics.get("latency_s.p50")
    if median is not None and median.value is not None:
        text += f", median {median.value * 1e3:.4g} ms"
    return text if point.slo_state == "not_applicable" else f"{text}, SLO {point.slo_state}"
