"""How fast the processor ran, and whether it was slowed down: the kernel's counters and clocks."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.hardware import control_groups, cpu_folder, read


@dataclass(frozen=True, slots=True)
class ProcessorSpeed:
    """Running totals of thermal throttling since boot, and the clock rate of the fastest core.

    `events` and `throttled_ms` are by counter; both empty, or `mhz` None, where the machine has no
    such file: `reason` says so.
    """

    events: Mapping[str, int] = field(default_factory=dict)
    throttled_ms: Mapping[str, int] = field(default_factory=dict)
    mhz: float | None = None
    reason: str | None = None


def processor_speed(cpus: Collection[int], root: Path = Path("/")) -> ProcessorSpeed:
    """Read the counters and clocks of the logical CPUs `cpus`.

    The clock is that of the fastest: cores that idle are clocked down by design.
    """
    events, throttled_ms, rates = {}, {}, []
    reason = None
    for cpu in sorted(cpus):
        folder = cpu_folder(cpu, root)
        for part in ("core", "package"):
            name = f"cpu{cpu}/{part}"
            count = read(folder / f"thermal_throttle/{part}_throttle_count")
            spent = read(folder / f"thermal_throttle/{part}_throttle_total_time_ms")
            reason = reason or count.reason
            if str(count.value or "").isdigit():
                events[name] = int(str(count.value))
            if str(spent.value or "").isdigit():
                throttled_ms[name] = int(str(spent.value))
        rate = read(folder / "cpufreq/scaling_cur_freq")
        if str(rate.value or "").isdigit():
            rates.append(int(str(rate.value)) / 1000)
    return ProcessorSpeed(events, throttled_ms, max(rates, default=None), reason)


def throttle_events(before: ProcessorSpeed, after: ProcessorSpeed) -> int | None:
    """Return how often the processor throttled; None where nothing counts it.

    Every CPU of a package shows the package's counter, so the largest rise stands for all of them.
    """
    names = before.events.keys() & after.events.keys()
    if not names:
        return None
    rises = {name: max(0, after.events[name] - before.events[name]) for name in names}
    package = max((n for name, n in rises.items() if name.endswith("package")), default=0)
    return package + sum(n for name, n in rises.items() if name.endswith("core"))


def throttled_s(before: ProcessorSpeed, after: ProcessorSpeed) -> float | None:
    """Return for how long the worst core was throttled; None where nothing counts it."""
    names = before.throttled_ms.keys() & after.throttled_ms.keys()
    if not names:
        return None
    return max(0, *(after.throttled_ms[name] - before.throttled_ms[name] for name in names)) / 1000


def clock_change(before_mhz: float | None, after_mhz: float | None) -> float | None:
    """Return the relative change of a clock rate, after / before - 1; None if one is unknown."""
    if not before_mhz or not after_mhz:
        return None
    return after_mhz / before_mhz - 1


@dataclass(frozen=True, slots=True)
class Periods:
    """The periods that a control group limits, and in how many of them it stopped the group."""

    all: int
    stopped: int


def quota_periods(root: Path = Path("/")) -> dict[str, Periods]:
    """Return the running totals of every control group of this process that counts them."""
    found = {}
    for folder in control_groups("cpu", root):
        text = str(read(folder / "cpu.stat").value or "")
        counts = dict(re.findall(r"(?m)^(nr_periods|nr_throttled) (\d+)$", text))
        if len(counts) == 2:
            found[str(folder)] = Periods(int(counts["nr_periods"]), int(counts["nr_throttled"]))
    return found


def held_back_share(before: Mapping[str, Periods], after: Mapping[str, Periods]) -> float | None:
    """Return the share of the periods in which the tightest limit stopped this process.

    None where no limit was in force meanwhile.
    """
    shares = [
        (now.stopped - before[name].stopped) / (now.all - before[name].all)
        for name, now in after.items()
        if name in before and now.all > before[name].all
    ]
    return max(shares, default=None)
