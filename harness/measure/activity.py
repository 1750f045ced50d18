"""What the machine and this process have done so far: read at both ends of a window.

Nothing is read between, so that watching disturbs nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness.hardware import cpu_quota, thread_times
from harness.measure.gpu import GpuState
from harness.measure.settings import allowed_cpus
from harness.measure.throttle import Periods, ProcessorSpeed, processor_speed, quota_periods


@dataclass(frozen=True, slots=True)
class Clocks:
    """The system's clocks at one moment, in seconds.

    `wall_less_monotonic` changes only when the wall clock is set: the gradual corrections of a time
    service move both. `asleep` is the time the machine has been suspended since boot.
    """

    wall_less_monotonic: float
    asleep: float


def clocks(readings: int = 5) -> Clocks:
    """Read the clocks against each other, and keep the reading that took the shortest time."""
    best: tuple[int, int, int] | None = None
    for _ in range(readings):
        start = time.perf_counter_ns()
        wall = time.time_ns()
        # Without such a clock (it is Linux's) a suspend shows in the wall clock alone.
        booted = time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
        monotonic = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        took = time.perf_counter_ns() - start
        if best is None or took < best[0]:
            best = (took, wall - start, booted - monotonic)
    assert best is not None
    return Clocks(best[1] / 1e9, best[2] / 1e9)


@dataclass(frozen=True, slots=True)
class Activity:
    """Running totals of the machine and of this process, in seconds of one core's time.

    `own_cpu_s` holds the process and its children, `process_cpu_s` the process alone, and
    `threads_cpu_s` each thread of it but the main one, by number. `scheduled_s` has for each
    thread, the main one too, how long it ran and how long it waited for a core while it could have
    run; empty where the system does not tell. `allowed_cores`: how many cores
    its affinity and its control groups let it use.
    """

    at_s: float
    own_cpu_s: float
    busy_cpu_s: float
    steal_s: float
    total_cpu_s: float
    pressure_s: float | None
    process_cpu_s: float = 0.0
    threads_cpu_s: Mapping[int, float] = field(default_factory=dict)
    scheduled_s: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    clocks: Clocks = field(default_factory=lambda: Clocks(0.0, 0.0))
    speed: ProcessorSpeed = field(default_factory=ProcessorSpeed)
    periods: Mapping[str, Periods] = field(default_factory=dict)
    gpu: GpuState | None = None
    allowed_cores: float = math.inf


def activity(root: Path = Path("/"), gpu: GpuState | None = None) -> Activity:
    """Read the totals. The pressure is PSI's cpu "some": time in which a task waited for a core."""
    times = psutil.cpu_times()
    steal = getattr(times, "steal", 0.0)
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Guest time is part of user time already.
    total = (
        times.user
        + times.system
        + idle
        + getattr(times, "nice", 0.0)
        + getattr(times, "irq", 0.0)
        + getattr(times, "softirq", 0.0)
        + steal
    )
    process = psutil.Process()
    main = os.getpid()
    cpus = allowed_cpus()
    quota = cpu_quota(root).value
    return Activity(
        at_s=time.perf_counter(),
        own_cpu_s=_family_cpu_s(process),
        busy_cpu_s=total - idle - steal,
        steal_s=steal,
        total_cpu_s=total,
        pressure_s=_pressure(root / "proc/pressure/cpu"),
        process_cpu_s=time.process_time(),
        threads_cpu_s={
            each.id: each.user_time + each.system_time
            for each in process.threads()
            if each.id != main
        },
        scheduled_s=scheduled_s(),
        clocks=clocks(),
        speed=processor_speed(cpus, root),
        periods=quota_periods(root),
        gpu=gpu,
        allowed_cores=len(cpus) if quota is None else min(len(cpus), float(quota)),
    )


def scheduled_s() -> dict[int, tuple[float, float]]:
    """Return `thread_times` of each thread of this process; empty where the system tells none."""
    try:
        threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    except OSError:
        return {}
    times = {thread: thread_times(thread) for thread in threads}
    return {thread: found for thread, found in times.items() if found is not None}


def _family_cpu_s(process: psutil.Process) -> float:
    """Return the CPU time of `process`, of its children, and of those that have ended."""
    spent = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended just now
            times = each.cpu_times()
            spent += times.user + times.system
            spent += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return spent


def _pressure(path: Path) -> float | None:
    try:
        line = path.read_text(encoding="utf-8").splitlines()[0]
        return int(line.rsplit("total=", 1)[1]) / 1e6
    except (OSError, IndexError, ValueError):
        return None
