"""Measures the operating points of a cell's scenario, one after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from harness import statistics
from harness.adapters.base import Request, Session
from harness.measure.drive import Driver, StopRule, audio_seconds, tokens_asked
from harness.measure.energy import Energy
from harness.measure.job import Job
from harness.measure.profile import PROFILES
from harness.measure.samples import Samples
from harness.measure.search import CapacitySearch
from harness.measure.summary import Window, summarise
from harness.schema.record import Point
from harness.schema.workload import Server


@dataclass(frozen=True, slots=True)
class Measured:
    """An operating point with the samples that it was computed from."""

    samples: Samples
    window: Window
    point: Point


class ScenarioRunner:
    """Runs the scenario of `job` through `driver` and tells `note` what it finds."""

    def __init__(
        self,
        job: Job,
        session: Session,
        driver: Driver,
        energy: Energy,
        inputs: Sequence[Request],
        note: Callable[[str], None],
    ) -> None:
        self._scenario = job.cell.scenario
        self._workload = job.workload
        self._profile = PROFILES[job.cell.profile]
        self._session = session
        self._driver = driver
        self._energy = energy
        self._audio_s = audio_seconds(inputs)
        self._asked = tokens_asked(inputs)
        self._note = note

    @property
    def limit_s(self) -> float:
        """How long the measurement may take before the cell counts as hung."""
        return self._profile.measure_limit_s(self._most_points)

    @property
    def _most_points(self) -> int:
        if not isinstance(self._scenario, Server):
            return 1
        return len(self._scenario.load) or self._profile.most_points

    def run(self) -> list[Measured]:
        """Return the operating points by rising load; exactly one for a closed scenario."""
        profile = self._profile
        if self._scenario.kind == "single_stream":
            stop = StopRule(profile.least_s, profile.most_s, self._wanted())
            return [self._point(partial(self._driver.closed, stop))]
        if self._scenario.kind == "offline":
            stop = StopRule(profile.least_s, profile.most_s, 4 * self._session.max_batch)
            return [self._point(partial(self._driver.offline, stop))]
        measured = sorted(self._server(self._scenario), key=lambda each: each.point.load or 0.0)
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

    def _server(self, scenario: Server) -> Iterator[Measured]:
        """Yield the points in the order of measuring: the declared loads, or those of a search."""
        profile = self._profile
        rate = self._back_to_back_rate()
        self._note(f"back to back: {rate:.3g} requests/s")
        stop = StopRule(profile.least_s, profile.server_most_s, self._wanted())
        search = CapacitySearch(profile.resolution, self._most_points)
        declared = iter(scenario.load)

        began = time.monotonic()

        def next_load() -> float | None:
            if scenario.load:
                return next(declared, None)
            over = number and time.monotonic() - began > profile.search_s
            return None if over else search.next_load()

        number = 0
        while (load := next_load()) is not None:
            drive = partial(self._driver.open, rate * load, stop, point=number)
            one = self._point(drive, load=load, rate=rate * load)
            search.record(load, one.point.slo_state)
            number += 1
            yield one

    def _point(
        self,
        drive: Callable[[], Samples],
        *,
        load: float | None = None,
        rate: float | None = None,
    ) -> Measured:
        self._energy.begin()
        samples = drive()
        readings = self._energy.end()
        window = Window(samples, self._audio_s, self._asked)
        point = summarise(
            window,
            task=self._workload.task,
            scenario=self._scenario.kind,
            slo=self._workload.slo,
            energy=readings,
            load=load,
            requested_rate=rate,
        )
        self._note(_in_words(point))
        return Measured(samples, window, point)

    def _wanted(self) -> int:
        """Return how many requests the SLO's percentiles need, with the profile's surplus."""
        return max(
            math.ceil(self._profile.surplus * statistics.minimum_samples(limit.percentile / 100))
            for limit in self._workload.slo
        )

    def _back_to_back_rate(self) -> float:
        """Return the requests per second that the session serves when never idle, batch 1."""
        profile = self._profile
        part = self._driver.closed(StopRule(profile.least_s / 2, profile.most_s, 4))
        return float(len(part.rows) / (part.columns()["ended_ns"].max() / 1e9))


def find_headline(points: Sequence[Point]) -> int | None:
    """Return the point that stands for the cell, of `points` by rising load.

    A single point of a closed scenario stands for itself. For `server`: the highest load that met
    the SLO below every load that missed it; without one, the highest unproven below those; without
    that, none.
    """
    if len(points) == 1 and points[0].load is None:
        return 0
    missed = next((i for i, p in enumerate(points) if p.slo_state == "missed"), len(points))
    for state in ("met", "unproven"):
        indices = [i for i, point in enumerate(points[:missed]) if point.slo_state == state]
        if indices:
            return indices[-1]
    return None


def _in_words(point: Point) -> str:
    rate = point.metrics["throughput_requests_per_s"].value
    text = f"{rate:.4g} requests/s" if rate is not None else "no throughput"
    median = point.metrics.get("latency_s.p50")
    if median is not None and median.value is not None:
        text += f", median {median.value * 1e3:.4g} ms"
    return text if point.slo_state == "not_applicable" else f"{text}, SLO {point.slo_state}"
