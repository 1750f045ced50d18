"""Measures the harness itself on this machine: what a query costs, how late it is issued, and why.

`calibrate` takes about 15 s and keeps one core busy. The definitions are in docs/calibrate.md.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from harness import __version__, statistics
from harness.adapters.base import Output, Query, RowRequest
from harness.files import write_whole
from harness.measure.activity import activity
from harness.measure.clock import Clock, RealClock
from harness.measure.disturbance import disturbance
from harness.measure.drive import Driver, StopRule
from harness.measure.environment import capture
from harness.measure.garbage import no_garbage_collection
from harness.measure.samples import OK, UNSERVED
from harness.schema.calibration import Calibration, Pauses, SchedulingLag, Spread
from harness.schema.record import Digest, EnvironmentField, Ulid

RATES = (1_000.0, 5_000.0, 20_000.0)
ASKED_SLEEP_S = 0.001
PAUSE_S = 100e-6
STALE_DAYS = 30
"""Kernels, firmware and neighbours change: an older calibration is said to be doubtful."""
INPUTS = [RowRequest(np.zeros(1, dtype=np.float32)) for _ in range(64)]
OUTPUT = Output(score=0.0)

Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a calibration takes: seconds of each window, and how often each is repeated."""

    sleeps: int = 500
    lag_s: float = 1.5
    rounds: int = 5
    round_s: float = 0.3
    pause_s: float = 3.0


class NullSession:
    """Answers every query at once, from within `submit`: what is left is the harness's own time."""

    max_batch = 1
    max_concurrency: int | None = 1

    def describe(self) -> Mapping[str, object]:
        """Return that nothing runs here."""
        return {"runtime": "null", "simulated": True}

    def answer(self, request: RowRequest) -> Output:
        """Return the one output there is."""
        return OUTPUT

    def submit(self, query: Query) -> None:
        """Answer `query`."""
        query.done(0, OUTPUT)

    def close(self) -> None:
        """Release nothing."""


def calibrate(
    ulid: Ulid,
    *,
    clock: Clock | None = None,
    sleep: Callable[[float], object] = time.sleep,
    effort: Effort | None = None,
) -> Calibration:
    """Return the calibration `ulid` of this machine, taken now."""
    clock, effort = clock or RealClock(), effort or Effort()
    session = NullSession()
    started, before = datetime.now(UTC), activity()
    with no_garbage_collection():
        step_s, cost_s = timer(clock, 10_000)
        sleeping = sleep_lag(clock, sleep, effort.sleeps)
        lags = tuple(scheduling_lag(session, clock, rate, effort.lag_s) for rate in RATES)
        own = overhead(session, clock, effort.rounds, effort.round_s)
        standstill = pauses(clock, effort.pause_s)
    others = disturbance(before, activity())
    return Calibration(
        schema=1,
        id=ulid,
        started_at=started,
        ended_at=datetime.now(UTC),
        host=host_digest(),
        environment=capture(),
        timer_step_s=step_s,
        timer_cost_s=cost_s,
        sleep_lag=sleeping,
        scheduling_lag=lags,
        bare_s=own.bare_s,
        in_band_s=own.in_band_s,
        out_of_band_s=own.out_of_band_s,
        sustained_rate=own.sustained_rate,
        pauses=standstill,
        foreign_cores=others.foreign_cores,
        steal_share=min(1.0, others.steal_share),
        harness_version=__version__,
    )


def spread(times_s: Times) -> Spread:
    """Return the order statistics of at least one time, by the ranks of `statistics.percentile`."""
    ordered = np.sort(times_s)
    n = ordered.size
    supported = n >= statistics.minimum_samples(0.99)
    return Spread(
        n=n,
        p50_s=float(ordered[n // 2]),
        p99_s=float(ordered[min(int(n * 0.99), n - 1)]) if supported else None,
        most_s=float(ordered[-1]),
    )


def timer(clock: Clock, calls: int) -> tuple[float, float]:
    """Return the smallest step seen between two readings, and the median cost of a reading, in s.

    The step is an upper bound of the clock's resolution: it cannot be less than the cost.
    """
    now = clock.now_ns
    steps = np.diff(np.array([now() for _ in range(calls)], dtype=np.int64))
    return float(steps[steps > 0].min()) / 1e9, float(np.median(steps)) / 1e9


def sleep_lag(clock: Clock, sleep: Callable[[float], object], count: int) -> Spread:
    """Return how much longer than asked `sleep` takes, over `count` sleeps of 1 ms."""
    spent = np.empty(count)
    for index in range(count):
        start = clock.now_ns()
        sleep(ASKED_SLEEP_S)
        spent[index] = (clock.now_ns() - start) / 1e9
    return spread(np.maximum(spent - ASKED_SLEEP_S, 0.0))


def scheduling_lag(
    session: NullSession, clock: Clock, rate: float, duration_s: float
) -> SchedulingLag:
    """Return how late the driver issues Poisson arrivals: issued - scheduled.

    The session takes no time, so that every wait is the harness's or the machine's.
    """
    stop = StopRule(duration_s, duration_s, 1)
    columns = Driver(session, INPUTS, clock, seed=0).open(rate, stop).columns()
    served = columns["status"] == OK
    lag_ns = (columns["issued_ns"] - columns["scheduled_ns"])[served]
    return SchedulingLag(
        rate=rate,
        lag=spread(np.maximum(lag_ns, 0) / 1e9),
        unserved=int((columns["status"] == UNSERVED).sum()),
    )


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the driver adds to a query: medians over rounds, in seconds; rate in queries/s."""

    bare_s: float
    latency_s: float
    in_band_s: float
    out_of_band_s: float
    sustained_rate: float


def overhead(session: NullSession, clock: Clock, rounds: int, round_s: float) -> Overhead:
    """Return what the driver adds to a query over a bare loop, from alternating rounds of the two.

    in_band_s: the median latency that the harness records, less the bare loop's median time.
    out_of_band_s: the median time from one issue to the next, less the median latency.
    """
    driver = Driver(session, INPUTS, clock, seed=0)
    bare, latency, apart, rates = [], [], [], []
    for _ in range(rounds):
        columns = driver.closed(StopRule(round_s, round_s, 1)).columns()
        count = columns["ended_ns"].size
        latency.append(float(np.median(columns["ended_ns"] - columns["issued_ns"])) / 1e9)
        apart.append(float(np.median(np.diff(columns["issued_ns"]))) / 1e9 if count > 1 else 0.0)
        rates.append(count / (float(columns["ended_ns"].max()) / 1e9))
        bare.append(float(np.median(bare_loop(session, clock, count))))
    return Overhead(
        bare_s=float(np.median(bare)),
        latency_s=float(np.median(latency)),
        in_band_s=float(np.median(np.subtract(latency, bare))),
        out_of_band_s=max(0.0, float(np.median(np.subtract(apart, latency)))),
        sustained_rate=float(np.median(rates)),
    )


def bare_loop(session: NullSession, clock: Clock, count: int) -> Times:
    """Return the seconds that each of `count` answers takes in the plainest timed loop."""
    now, answer, request = clock.now_ns, session.answer, INPUTS[0]
    spent = np.empty(count)
    for index in range(count):
        start = now()
        answer(request)
        spent[index] = now() - start
    return spent / 1e9


def pauses(clock: Clock, duration_s: float) -> Pauses:
    """Read the clock for `duration_s` seconds and return how the loop was interrupted."""
    now, above_ns = clock.now_ns, int(PAUSE_S * 1e9)
    start = last = now()
    end = start + int(duration_s * 1e9)
    count = paused_ns = longest_ns = 0
    while last < end:
        at = now()
        step = at - last
        last = at
        if step > longest_ns:
            longest_ns = step
        if step > above_ns:
            count += 1
            paused_ns += step
    return Pauses(
        observed_s=(last - start) / 1e9,
        longest_s=longest_ns / 1e9,
        above_s=PAUSE_S,
        count=count,
        paused_s=paused_ns / 1e9,
    )


def host_digest() -> Digest:
    """Return the sha256 (hex) of this machine's name: tells machines apart without naming them."""
    return hashlib.sha256(platform.node().encode()).hexdigest()


def save(calibration: Calibration, results: Path) -> Path:
    """Write `calibration` to its place under `results`, whole or not at all; return the file.

    Raises StoreError if the disk refuses.
    """
    path = results / "calibration" / f"{calibration.id}.json"
    hint = "free some disk space or name another folder with --results"
    write_whole(path, calibration.model_dump_json(indent=1) + "\n", hint=hint)
    return path


def standing(
    calibration: Calibration | None,
    environment: Mapping[str, EnvironmentField],
    now: datetime,
) -> EnvironmentField:
    """Return whether `calibration` still holds for a record taken `now` in `environment`.

    The value is "current", or what makes it doubtful: its age, or another version of what it
    measured. Unavailable without a calibration of this machine.
    """
    if calibration is None:
        return EnvironmentField(
            value=None, unavailable="this machine has none; run `harness calibrate`"
        )
    doubts = []
    if (age_days := (now - calibration.ended_at).days) > STALE_DAYS:
        doubts.append(f"{age_days} days old")
    if calibration.harness_version != __version__:
        doubts.append(f"taken by version {calibration.harness_version} of the harness")
    for name in ("kernel", "python"):
        then, here = calibration.environment.get(name), environment.get(name)
        if then and here and then.value != here.value:
            doubts.append(f"taken under {name} {then.value}")
    if not doubts:
        return EnvironmentField(value="current")
    return EnvironmentField(value=f"doubtful: {', '.join(doubts)}; run `harness calibrate` again")


def latest(
    results: Path, environment: Mapping[str, EnvironmentField] | None = None
) -> Calibration | None:
    """Return the newest readable calibration under `results` that was taken on this machine.

    The machine is known by its name and by the processor in `environment` (None: read now). A file
    that cannot be read is passed over.
    """
    facts = environment
    host = host_digest()
    for path in sorted((results / "calibration").glob("*.json"), reverse=True):
        try:
            found = Calibration.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue
        if facts is None:
            facts = capture()
        if found.id == path.stem and found.same_machine(host, facts):
            return found
    return None
