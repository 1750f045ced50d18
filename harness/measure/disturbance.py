"""What else went on in a window: other processes, the host, the clocks, the harness itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.measure.activity import Activity
from harness.measure.gpu import IDLE, POWER_CAP, SLOWED, Gpu, GpuState
from harness.measure.throttle import clock_change, held_back_share, throttle_events, throttled_s

NO_GPU = "the target does not compute on an NVIDIA GPU"
COMPUTES = 0.05
"""The share of the time that a thread runs which takes part in the computing."""
OWN_THREAD = "the session computes in the thread that issues"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What went on during a window.

    `foreign_cores`: mean number of cores that other processes kept busy. `steal_share`: share of
    the machine's time that its host took away. `own_cores`: what this process and its children
    used. `pressure_share`: share of the time in which some task waited for a core. `cores`: those
    of the machine; `allowed_cores`: those that this process may use. `harness_cores`: what the
    harness itself used of one core. `threads`: those that the target computes with on this
    machine.
    `waited_share`: of the threads that computed, if these are two or more, the largest share of the
    time in which one waited for a core.
    `clock_step_s`: by how much the wall clock was set. `suspended_s`: how long the machine slept.
    `throttle_events`, `throttled_share`: how often and for what share of the time the processor or
    GPU was slowed down. `quota_share`: share of the periods in which a control group's limit
    stopped this process. `gpu_slowed`: why GPUs were, at either end. `clock_change`: the largest
    relative change of a clock rate from end to end. `foreign_processes`: on the target's GPUs.

    None where it could not be read or there is none to read; `unknown` says which and why.
    """

    foreign_cores: float
    steal_share: float
    own_cores: float
    pressure_share: float | None
    cores: float = 1.0
    allowed_cores: float = math.inf
    harness_cores: float | None = None
    threads: int | None = None
    waited_share: float | None = None
    clock_step_s: float = 0.0
    suspended_s: float = 0.0
    throttle_events: int | None = None
    throttled_share: float | None = None
    quota_share: float | None = None
    clock_change: float | None = None
    gpu_slowed: tuple[str, ...] = ()
    gpu_power_capped: bool | None = None
    gpu_temperature_c: float | None = None
    foreign_processes: int | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def free_cores(self) -> float:
        """The cores that were idle on average and that this process could have used."""
        idle = self.cores - self.own_cores - self.foreign_cores
        return min(idle, self.allowed_cores - self.own_cores)

    @property
    def usable_cores(self) -> float | None:
        """The cores that the target's threads could have used; None if its threads are unknown."""
        if self.threads is None:
            return None
        return min(float(self.threads), self.cores, self.allowed_cores)

    @property
    def cpu_share(self) -> float | None:
        """CPU time over usable cores x wall time: 1 if every thread computed all the time."""
        return None if self.usable_cores is None else self.own_cores / self.usable_cores

    @property
    def taken_share(self) -> float | None:
        """The share of the target's usable cores that it lacked because others had them."""
        if self.usable_cores is None:
            return None
        free = max(0.0, self.free_cores - self.steal_share * self.cores)
        return max(0.0, self.usable_cores - self.own_cores - free) / self.usable_cores

    def summary(self) -> dict[str, object]:
        """Return every figure by name for the record: a number, or in words why there is none."""
        figures: dict[str, float | bool | str | None] = {
            "foreign_cores": self.foreign_cores,
            "own_cores": self.own_cores,
            "machine_cores": self.cores,
            "harness_cores": self.harness_cores,
            "threads": self.threads,
            "cpu_share": self.cpu_share,
            "waited_share": self.waited_share,
            "steal_share": self.steal_share,
            "pressure_share": self.pressure_share,
            "clock_step_s": self.clock_step_s,
            "suspended_s": self.suspended_s,
            "throttle_events": self.throttle_events,
            "throttled_share": self.throttled_share,
            "quota_share": self.quota_share,
            "clock_change": self.clock_change,
            "gpu_slowed": ", ".join(self.gpu_slowed) or None,
            "gpu_power_capped": self.gpu_power_capped,
            "gpu_temperature_c": self.gpu_temperature_c,
            "foreign_processes": self.foreign_processes,
        }
        told: dict[str, object] = {}
        for name, value in figures.items():
            if value is not None:
                told[name] = round(value, 4) if isinstance(value, float) else value
            elif name in self.unknown:
                told[name] = self.unknown[name]
        return told


def disturbance(
    before: Activity, after: Activity, elsewhere: bool = False, threads: int | None = None
) -> Disturbance:
    """Return what happened between two readings.

    `elsewhere`: the session computes in other threads than those that issue, so that what the
    harness itself used can be told. `threads`: those of a target that computes on this processor.
    """
    elapsed = max(after.at_s - before.at_s, 1e-9)
    own = after.own_cpu_s - before.own_cpu_s
    busy = after.busy_cpu_s - before.busy_cpu_s
    total = max(after.total_cpu_s - before.total_cpu_s, 1e-9)
    unknown: dict[str, str] = {}
    pressure = None
    if before.pressure_s is not None and after.pressure_s is not None:
        pressure = min(1.0, (after.pressure_s - before.pressure_s) / elapsed)
    else:
        unknown["pressure_share"] = "unavailable: the kernel tells no pressure stall information"
    if not elsewhere:
        unknown["harness_cores"] = f"not applicable: {OWN_THREAD}"
    if threads is None:
        unknown["cpu_share"] = "not applicable: the target does not compute on this processor"
    events = throttle_events(before.speed, after.speed)
    if events is None:
        reason = after.speed.reason or "no counter"
        unknown["throttle_events"] = f"unavailable: {reason}"
    gpu = _gpu(before.gpu, after.gpu, elapsed, unknown)
    throttled = throttled_s(before.speed, after.speed)
    shares = [] if throttled is None else [throttled / elapsed]
    shares += [] if gpu.throttled_share is None else [gpu.throttled_share]
    if not shares:
        unknown["throttled_share"] = "unavailable: nothing counts the time"
    quota_share = held_back_share(before.periods, after.periods)
    if quota_share is None:
        unknown["quota_share"] = "not applicable: no control group limits the CPU time"
    change = clock_change(before.speed.mhz, after.speed.mhz)
    changes = [each for each in (change, gpu.clock_change) if each is not None]
    if not changes:
        unknown["clock_change"] = "unavailable: the kernel tells no current clock rate"
    return Disturbance(
        foreign_cores=max(0.0, (busy - own) / elapsed),
        steal_share=max(0.0, (after.steal_s - before.steal_s) / total),
        own_cores=own / elapsed,
        pressure_share=pressure,
        cores=total / elapsed,
        allowed_cores=after.allowed_cores,
        harness_cores=_harness_s(before, after) / elapsed if elsewhere else None,
        threads=threads,
        waited_share=_waited_share(before, after, elapsed) if threads is not None else None,
        # The readings are microseconds apart; what is left of that is no step.
        clock_step_s=round(after.clocks.wall_less_monotonic - before.clocks.wall_less_monotonic, 4),
        suspended_s=max(0.0, after.clocks.asleep - before.clocks.asleep),
        throttle_events=events,
        throttled_share=min(1.0, max(shares)) if shares else None,
        quota_share=quota_share,
        clock_change=max(changes, key=abs, default=None),
        gpu_slowed=gpu.slowed,
        gpu_power_capped=gpu.power_capped,
        gpu_temperature_c=gpu.temperature_c,
        foreign_processes=gpu.foreign,
        unknown=unknown,
    )


def _waited_share(before: Activity, after: Activity, elapsed_s: float) -> float | None:
    """Return the largest share of the time that a computing thread waited for a core.

    None where fewer than two threads computed, which wait for each other.
    """
    shares = []
    for thread, (ran, waited) in after.scheduled_s.items():
        ran_before, waited_before = before.scheduled_s.get(thread, (0.0, 0.0))
        if ran - ran_before > COMPUTES * elapsed_s:
            shares.append((waited - waited_before) / elapsed_s)
    return max(shares) if len(shares) > 1 else None


def _harness_s(before: Activity, after: Activity) -> float:
    """Return the CPU time of this process less that of the session's threads.

    Those are the threads alive at the end: the harness's own have ended with the window.
    """
    session = sum(
        spent - before.threads_cpu_s.get(thread, 0.0)
        for thread, spent in after.threads_cpu_s.items()
    )
    return max(0.0, after.process_cpu_s - before.process_cpu_s - session)


@dataclass(frozen=True, slots=True)
class _GpuChange:
    throttled_share: float | None = None
    clock_change: float | None = None
    slowed: tuple[str, ...] = ()
    power_capped: bool | None = None
    temperature_c: float | None = None
    foreign: int | None = None


def _gpu(
    before: GpuState | None, after: GpuState | None, elapsed_s: float, unknown: dict[str, str]
) -> _GpuChange:
    """Return what happened to the target's GPUs; adds to `unknown` what cannot be told."""
    if before is None or after is None:
        for name in ("gpu_slowed", "foreign_processes"):
            unknown[name] = f"not applicable: {NO_GPU}"
        return _GpuChange()
    foreign = None
    if before.foreign is None or after.foreign is None:
        reason = after.reason or before.reason or "the driver does not tell"
        unknown["foreign_processes"] = f"unavailable: {reason}"
    else:
        foreign = len(before.foreign | after.foreign)
    first = {gpu.uuid: gpu for gpu in before.gpus}
    pairs = [(first[gpu.uuid], gpu) for gpu in after.gpus if gpu.uuid in first]
    events = [(g.index, g.events) for pair in pairs for g in pair if g.events is not None]
    if not events:
        unknown["gpu_slowed"] = f"unavailable: {after.reason or 'the driver does not tell'}"
    changes = [c for a, b in pairs if (c := _sm_change(a, b)) is not None]
    shares = [
        max(0.0, b.thermal_s - a.thermal_s) / elapsed_s
        for a, b in pairs
        if a.thermal_s is not None and b.thermal_s is not None
    ]
    return _GpuChange(
        throttled_share=max(shares, default=None),
        clock_change=max(changes, key=abs, default=None),
        slowed=tuple(
            dict.fromkeys(
                f"GPU {index}: {text}"
                for index, bits in events
                for bit, text in SLOWED.items()
                if bits & bit
            )
        ),
        power_capped=any(bits & POWER_CAP for _, bits in events) if events else None,
        temperature_c=max(
            (g.temperature_c for g in after.gpus if g.temperature_c is not None), default=None
        ),
        foreign=foreign,
    )


def _sm_change(before: Gpu, after: Gpu) -> float | None:
    """Return the change of the clock rate; None if the GPU idled at an end and had slowed down."""
    if any(gpu.events is None or gpu.events & IDLE for gpu in (before, after)):
        return None
    return clock_change(before.sm_mhz, after.sm_mhz)
