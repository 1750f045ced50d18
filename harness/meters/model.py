"""The energy that a chip of known thermal design power (TDP) should draw: never a measurement.

P = TDP (c_idle + (c_max - c_idle) u), u the utilisation. The coefficients are known as intervals
only, and so is the answer: the reading is the middle, its uncertainty reaches both ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.meters.base import Mark, MeterInfo, Unmeasurable, failed_reading
from harness.schema.record import EnergyFlag, EnergyReading
from harness.schema.target import Target

TICK_S = 0.01
"""The step of the system's CPU times."""
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Shares of the TDP, lowest and highest, when idle and at full load.

    `least_error` is the relative error at 95 % that such models have shown against meters: the
    interval is never narrower.
    """

    idle: tuple[float, float]
    full: tuple[float, float]
    least_error: float
    source: str

    def interval(self, utilisation: tuple[float, float]) -> tuple[float, float]:
        """Return the lowest and highest share of the TDP at a utilisation within `utilisation`."""
        low, high = (
            idle + (full - idle) * used
            for idle, full, used in zip(self.idle, self.full, utilisation, strict=True)
        )
        return low, high


CPU = Coefficients(
    idle=(0.10, 0.30),
    full=(0.55, 0.97),
    least_error=0.40,
    source="envelope of 86 points of 4 CPUs against RAPL (load profiles of codecarbon b05965e: "
    "idle 8 to 25 % of TDP, full load 51 to 93 %, one point at 97 %); error of TDP models up to "
    "40 % (arXiv 2509.22092)",
)
ACCELERATOR = Coefficients(
    idle=(0.10, 0.30),
    full=(0.60, 1.00),
    least_error=0.35,
    source="loaded nodes draw about 76 % of their rating, TDP models err by 27 to 37 % "
    "(arXiv 2506.14551); the idle shares are those of CPUs, declared",
)


class ModelMeter:
    """The model for the chips of a target whose facts state `tdp_w`.

    The utilisation is this machine's, of all its CPUs, for a CPU that runs here outside a virtual
    machine; else it is unknown and anything from 0 to 1.
    """

    def __init__(
        self,
        target: Target,
        cpu_times: Callable[[], tuple[float, float]] | None = None,
        cpuinfo: Path = CPUINFO,
    ) -> None:
        hardware = target.hardware
        self._tdp_w = hardware.tdp_w.value * hardware.count if hardware.tdp_w else 0.0
        self._target = target
        self._coefficients = CPU if hardware.kind == "cpu" else ACCELERATOR
        self._cpu_times = cpu_times or busy_and_total_s
        self._cpuinfo = cpuinfo
        self._reads_utilisation = False
        self._shared = False

    @property
    def info(self) -> MeterInfo:
        """What the model says of itself."""
        hardware = self._target.hardware
        fact = hardware.tdp_w
        known = f"TDP of {fact.source} ({fact.date.isoformat()})" if fact else "no TDP"
        return MeterInfo(
            name="model",
            boundary="package" if hardware.kind == "cpu" else "chip",
            covers=tuple(f"{hardware.kind}:{index}" for index in range(hardware.count)),
            source=known,
            update_period_s=TICK_S,
            sensor=0.0,
            sensor_source=self._coefficients.source,
            provenance="modelled",
        )

    def probe(self) -> MeterInfo | Unmeasurable:
        """Return what the model covers, or that the target states no TDP."""
        if self._tdp_w <= 0:
            return Unmeasurable(
                "no energy model: the target states no tdp_w",
                "state tdp_w with its source in the target",
            )
        if self._target.hardware.kind == "cpu" and self._target.runtime.device == "cpu":
            try:
                self._cpu_times()
                self._shared = _in_virtual_machine(self._cpuinfo)
            except (OSError, ValueError, RuntimeError):
                return self.info
            self._reads_utilisation = not self._shared
        return self.info

    def begin(self) -> Mark:
        """Read the machine's CPU times, where they tell the utilisation."""
        counters = self._cpu_times() if self._reads_utilisation else ()
        return Mark(time.perf_counter_ns(), counters)

    def end(self, mark: Mark) -> EnergyReading:
        """Return the middle of the interval of the joules since `mark`."""
        duration_s = (time.perf_counter_ns() - mark.at_ns) / 1e9
        now: tuple[float, ...] = self._cpu_times() if mark.counters else ()
        return self.modelled(duration_s, _utilisation(mark.counters, now))

    def modelled(self, duration_s: float, utilisation: tuple[float, float]) -> EnergyReading:
        """Return the reading of a window of `duration_s` at a utilisation within `utilisation`."""
        low, high = (share * self._tdp_w for share in self._coefficients.interval(utilisation))
        if duration_s <= 0:
            return failed_reading(self.info, 0.0, "the window had no length")
        middle = (low + high) / 2
        error = max((high - low) / (high + low), self._coefficients.least_error)
        flags: tuple[EnergyFlag, ...] = ("shared_device",) if self._shared else ()
        return EnergyReading(
            meter=self.info.name,
            joules=middle * duration_s,
            duration_s=duration_s,
            boundary=self.info.boundary,
            covers=self.info.covers,
            provenance="modelled",
            uncertainty=error,
            parts={"model": error},
            flags=flags,
        )

    def watts(self) -> float | None:
        """Return None: a model has nothing to show live."""
        return None

    def close(self) -> None:
        """Hold nothing open."""


def busy_and_total_s() -> tuple[float, float]:
    """Return the CPU seconds that this machine has been busy, and those it could have been."""
    times = psutil.cpu_times()._asdict()
    # The kernel counts a guest's time in the user's time too.
    total = sum(v for name, v in times.items() if not name.startswith("guest"))
    return total - times["idle"] - times.get("iowait", 0.0), total


def _utilisation(before: tuple[float, ...], after: tuple[float, ...]) -> tuple[float, float]:
    """Return the bounds of the utilisation between two readings of the CPU times."""
    if not before or not after:
        return 0.0, 1.0
    busy, total = after[0] - before[0], after[1] - before[1]
    # Below ten ticks of one CPU the times are too coarse to say anything.
    if total < 10 * TICK_S or not 0 <= busy <= total * 1.01:
        return 0.0, 1.0
    used = min(busy / total, 1.0)
    return used, used


def _in_virtual_machine(cpuinfo: Path) -> bool:
    """Return whether the processor says so: its CPUs are then a part of a package."""
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return "hypervisor" in flags.split()
