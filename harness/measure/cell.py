"""Measures one cell in a process of its own: `python -m harness.measure.cell JOB_FD RESULT_FD`.

The job comes as JSON on one descriptor, events and the result go as JSON lines to another. Whatever
happens here (a crash, a hang, memory gone) costs this cell only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence

from harness import plugins
from harness.adapters.base import Adapter, Output, Request, Session
from harness.adapters.options import bind
from harness.adapters.receipt import StampedSession
from harness.adapters.trust import TrustedSession
from harness.errors import HarnessError, MeasurementError, PrerequisiteError, UnsupportedError
from harness.measure.activity import activity
from harness.measure.client_bound import judge_client
from harness.measure.clock import Clock, RealClock
from harness.measure.contract import closing, description, opened
from harness.measure.disturbance import disturbance
from harness.measure.drive import Driver, StopRule
from harness.measure.energy import Energy
from harness.measure.energy_profile import energy_profile
from harness.measure.environment import capture
from harness.measure.garbage import no_garbage_collection
from harness.measure.gpu import GpuWatch
from harness.measure.headline import find_headline
from harness.measure.idle import IDLE_S, idle_level, idle_limit_s
from harness.measure.job import Job, Reporter, Result, tells_of_lost_memory
from harness.measure.patience import DRAIN_S
from harness.measure.profile import PROFILES, Profile
from harness.measure.query import TimedQuery
from harness.measure.roofline import assess, cpu_threads, measurement
from harness.measure.samples import write_parquet
from harness.measure.scenario import ScenarioRunner
from harness.measure.verdict import judge, judge_roofline
from harness.measure.widen import widen, widen_capacity
from harness.models import quality
from harness.models.build import build_model
from harness.models.hub import placed, told_of_hub
from harness.models.inputs import draw_requests, inputs_hash
from harness.models.model import Architecture, Model
from harness.models.own_folder import resolved
from harness.models.own_inputs import told_of
from harness.models.own_shape import told_of_model
from harness.schema.quality import Quality as QualityGate
from harness.schema.record import EnergyReading, Failure, QualityCheck

ROOFLINE_LIMIT_S = 120.0
CLIENT_LIMIT_S = 120.0


class Phases:
    """Announces the phases of a cell and keeps how long each took."""

    def __init__(self, reporter: Reporter, cap_s: float | None) -> None:
        self._reporter = reporter
        self._cap_s = cap_s
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str, limit_s: float) -> Iterator[None]:
        """Announce phase `name` and time it; the same name may come again."""
        self._reporter.phase(name, limit_s if self._cap_s is None else min(limit_s, self._cap_s))
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent


def measure(job: Job, adapter: Adapter, reporter: Reporter, clock: Clock) -> Result:
    """Measure the cell that `job` names: quality, warm-up, then its scenario; write the samples.

    Raises HarnessError where the cell cannot be measured, and whatever the adapter raises.
    """
    profile = PROFILES[job.cell.profile]
    phases = Phases(reporter, job.limit_s)
    own_model = job.workload.model
    in_folder = placed(job.workload, job.cache)
    # A Hugging Face folder is, from here on, what its config.json declares.
    workload = resolved(in_folder, job.data)
    job = job.model_copy(update={"workload": workload})
    gpus = GpuWatch() if job.target.runtime.device == "cuda" else None
    with phases.phase("build", profile.build_limit_s):
        model = build_model(workload.model, workload.task, cache=job.cache, data=job.data)
        inputs = draw_requests(workload, job.data)
    checks: list[QualityCheck] = []
    with contextlib.closing(Energy(job.target)) as energy:
        # Before anything touches the device: a closed session may leave its runtime's context.
        off = _idle(job, energy, clock, phases)
        for gate in workload.quality:
            architecture = quality.quality_model(gate, workload)
            if architecture is None:
                continue
            checks += _quality_apart(job, gate, architecture, adapter, phases, profile)
        with phases.phase("open", profile.open_limit_s):
            session = opened(adapter, job.target, model)
            if gpus:
                gpus.opened()
        with closing(session) as close_failed:
            with phases.phase("quality", profile.quality_limit_s):
                for gate in workload.quality:
                    if quality.quality_model(gate, workload) is None:
                        checks += _evaluate(job, gate, model, session, clock)
            described = description(session)
            if isinstance(session, StampedSession):
                session.prepare_requests(inputs)
            _warm_up(job, session, inputs, clock, phases)
            # After the warm-up: what a runtime loads or compiles late is loaded now.
            idle = _idle(job, energy, clock, phases)
            if idle:  # clocks have fallen and caches have cooled meanwhile
                _warm_up(job, session, inputs, clock, phases)
            before = activity(gpu=gpus.read() if gpus else None)
            runner = ScenarioRunner(job, session, energy, inputs, clock, reporter.note)
            with phases.phase("measure", runner.limit_s), no_garbage_collection():
                measured = runner.run()
            after = activity(gpu=gpus.read() if gpus else None)
            # What is known only now: how a client kept up, the most memory that was held.
            described |= description(session)
            if isinstance(session, TrustedSession):  # after all else: it keeps the machine busy
                with phases.phase("client", CLIENT_LIMIT_S), no_garbage_collection():
                    measured = runner.calibrate(measured)
    elsewhere = session.max_concurrency is None or bool(described.get("asynchronous"))
    threads = cpu_threads(job.target, described)
    disturbed = disturbance(before, after, elsewhere=elsewhere, threads=threads)
    samples = [each.samples for each in measured]
    points = [each.point for each in measured]
    complaints = [text for part in samples for text in part.complaints]
    headline = find_headline(points)
    verdict = judge(
        [each.window for each in measured],
        points,
        workload.slo,
        headline,
        disturbed,
        complaints,
        simulated=bool(described.get("simulated")),
        least_s=profile.least_s,
        free_length=described.get("answer_length") == "free",
        errors=[part.errors for part in samples],
    )
    # Offline nobody waits for a single reply: only a client without spare time changes the rate.
    limits = () if job.cell.scenario.kind == "offline" else workload.slo
    verdict = judge_client(verdict, described.get("client"), limits, points, headline)
    # With the session closed: the ceilings are of the whole machine.
    with phases.phase("roofline", ROOFLINE_LIMIT_S):
        found = None
        if headline is not None:
            at = points[headline], samples[headline]
            found = measurement(job.cell.scenario, session, *at, inputs, workload.agent)
        drawn = assess(found, model, job.target, described, job.cache)
    verdict = judge_roofline(verdict, drawn)
    wider, verdict = widen(points, verdict, disturbed)
    headline = find_headline(wider)
    with phases.phase("write", 60.0):
        write_parquet(samples, job.folder / "samples.parquet")
    described |= close_failed
    described["disturbance"] = disturbed.summary()
    described["inputs"] = {
        "count": len(inputs),
        "sha256": inputs_hash(inputs),
        **told_of(inputs, workload.inputs.count),
    }
    described |= {**told_of_model(own_model, model), **told_of_hub(own_model, in_folder)}
    # The commonest first: it is the one that is told with the verdict.
    if errors := Counter(text for part in samples for text in part.errors):
        described["errors"] = sorted(errors, key=lambda text: (-errors[text], text))[:20]
    return Result(
        phases_s={name: round(spent, 4) for name, spent in phases.seconds.items()},
        session=described,
        points=wider,
        headline=headline,
        capacity=widen_capacity(runner.capacity, verdict),
        energy=energy_profile(wider, headline, off, idle),
        quality=tuple(checks),
        verdict=verdict,
        environment=capture(),
        roofline=drawn,
    )


def _warm_up(
    job: Job, session: Session, inputs: Sequence[Request], clock: Clock, phases: Phases
) -> None:
    profile = PROFILES[job.cell.profile]
    drain_s = job.longest_wait_s
    with phases.phase("warm-up", profile.warmup_limit_s + drain_s - DRAIN_S):
        rule = StopRule(profile.warmup_s, profile.warmup_limit_s / 2, profile.warmup_queries)
        Driver(session, inputs, clock, job.cell.seed, drain_s=drain_s).closed(rule)


def _idle(job: Job, energy: Energy, clock: Clock, phases: Phases) -> tuple[EnergyReading, ...]:
    """Meter the device while nothing is asked of it; at once empty where no meter works."""
    if not energy.meters:
        return ()
    window_s = IDLE_S[job.cell.profile]
    with phases.phase("idle", idle_limit_s(window_s)):
        return idle_level(energy, clock, window_s)


def _quality_apart(
    job: Job,
    gate: QualityGate,
    architecture: Architecture,
    adapter: Adapter,
    phases: Phases,
    profile: Profile,
) -> list[QualityCheck]:
    """Evaluate a gate that has a small trained model of its own, on the same target."""
    with phases.phase("quality", profile.quality_limit_s):
        model = build_model(architecture, job.workload.task, cache=job.cache, data=job.data)
        session = opened(adapter, job.target, model)
        with closing(session):
            return _evaluate(job, gate, model, session, RealClock())


def _evaluate(
    job: Job, gate: QualityGate, model: Model, session: Session, clock: Clock
) -> list[QualityCheck]:
    def ask(requests: Sequence[Request]) -> list[Output]:
        outputs: list[Output] = []
        for start in range(0, len(requests), session.max_batch):
            query = TimedQuery(requests[start : start + session.max_batch], None, clock)
            session.submit(query)
            if not query.wait(120.0):
                raise MeasurementError("a quality query was not answered within 120 s")
            outputs += query.expect_outputs()
        return outputs

    return quality.evaluate(
        gate,
        workload=job.workload,
        model=model,
        ask=ask,
        data=job.data,
        cache=job.cache,
        precision=job.target.runtime.precision,
    )


def failure_of(error: BaseException) -> Failure:
    """Return how a cell that ended by `error` failed."""
    detail = "".join(traceback.format_exception(error)[-12:])[-4000:]
    text = f"{type(error).__name__}: {error}" if not isinstance(error, HarnessError) else str(error)
    hint = error.hint if isinstance(error, HarnessError) else None
    kind = "exception"
    if isinstance(error, UnsupportedError):
        kind = "unsupported"
    elif isinstance(error, PrerequisiteError):
        kind = "prerequisite"
    elif isinstance(error, MemoryError) or tells_of_lost_memory(text):
        kind = "out_of_memory"
    return Failure(kind=kind, message=text[:2000] or kind, detail=detail, hint=hint)  # type: ignore[arg-type]


def _contain(memory_bytes: int | None) -> None:
    """Die with the parent, leave no core dump, keep to the memory limit."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes is not None:
        # A tighter limit, as of a batch system, stays: it cannot be raised.
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(arguments: Sequence[str]) -> int:
    """Run the job on descriptor `arguments[0]`, report to descriptor `arguments[1]`."""
    job_descriptor, result_descriptor, parent = (int(a) for a in arguments)
    reporter = Reporter(result_descriptor)
    with open(job_descriptor, encoding="utf-8") as stream:  # noqa: PTH123  a descriptor, not a path
        text = stream.read()
    try:
        job = Job.model_validate_json(text)
        _contain(job.memory_bytes)
        if os.getppid() != parent:
            return 1
        bind(job.target)  # before a runtime is loaded: its threads inherit it
        result = measure(job, plugins.adapter(job.target.runtime.adapter), reporter, RealClock())
        reporter.result(result)
    except Exception as error:  # every error of a cell is data of its record
        reporter.failure(failure_of(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
