"""What else was going on: the machine's facts by allow-list, and what changed during a window."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from harness import hardware
from harness.schema.record import EnvironmentField

PACKAGES = ("numpy", "onnxruntime", "torch", "openvino", "onnx", "nvidia-ml-py")
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTHONHASHSEED")


def capture() -> dict[str, EnvironmentField]:
    """Return the facts that a reader needs to judge or repeat the run.

    An allow-list: hardware, kernel, versions and the settings that change performance. Never the
    whole environment, which holds secrets.
    """
    fields = {
        name: EnvironmentField(
            value=fact.value,
            unavailable=None if fact.value is not None else fact.reason or "not known",
        )
        for name, fact in hardware.detect().items()
    }
    fields["python"] = EnvironmentField(value=platform.python_version())
    for name in PACKAGES:
        try:
            fields[f"package_{name}"] = EnvironmentField(value=metadata.version(name))
        except metadata.PackageNotFoundError:
            fields[f"package_{name}"] = EnvironmentField(value=None, unavailable="not installed")
    for name in SETTINGS:
        value = os.environ.get(name)
        fields[name.lower()] = EnvironmentField(
            value=value, unavailable="not set" if value is None else None
        )
    load = os.getloadavg()
    fields["load_average_1_min"] = EnvironmentField(value=round(load[0], 2))
    return fields


@dataclass(frozen=True, slots=True)
class Activity:
    """Running totals of the machine and of this process, in seconds of one core's time."""

    at_s: float
    own_cpu_s: float
    busy_cpu_s: float
    steal_s: float
    total_cpu_s: float
    pressure_s: float | None


def activity(proc: Path = Path("/proc")) -> Activity:
    """Read the totals. The pressure is PSI's cpu "some": time in which a task waited for a core."""
    own = psutil.Process().cpu_times()
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
    return Activity(
        at_s=time.perf_counter(),
        own_cpu_s=own.user + own.system,
        busy_cpu_s=total - idle - steal,
        steal_s=steal,
        total_cpu_s=total,
        pressure_s=_pressure(proc / "pressure" / "cpu"),
    )


def _pressure(path: Path) -> float | None:
    try:
        line = path.read_text().splitlines()[0]
        return int(line.rsplit("total=", 1)[1]) / 1e6
    except (OSError, IndexError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What others did during a window.

    `foreign_cores`: mean number of cores that other processes kept busy. `steal_share`: share of
    the machine's time that its host took away. `own_cores`: what this process used.
    `pressure_share`: share of the time in which some task waited for a core.
    """

    foreign_cores: float
    steal_share: float
    own_cores: float
    pressure_share: float | None


def disturbance(before: Activity, after: Activity) -> Disturbance:
    """Return what happened between two readings."""
    elapsed = max(after.at_s - before.at_s, 1e-9)
    own = after.own_cpu_s - before.own_cpu_s
    busy = after.busy_cpu_s - before.busy_cpu_s
    total = max(after.total_cpu_s - before.total_cpu_s, 1e-9)
    pressure = None
    if before.pressure_s is not None and after.pressure_s is not None:
        pressure = min(1.0, (after.pressure_s - before.pressure_s) / elapsed)
    return Disturbance(
        foreign_cores=max(0.0, (busy - own) / elapsed),
        steal_share=max(0.0, (after.steal_s - before.steal_s) / total),
        own_cores=own / elapsed,
        pressure_share=pressure,
    )
