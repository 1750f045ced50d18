"""What this machine is made of, read from the kernel and the drivers: each fact with its source.

`detect: true` in a target, `harness doctor` and every record's environment use it. A fact that
cannot be read says why; nothing is guessed.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

BYTES_PER_GB = 1e9
INSTRUCTION_SETS = (
    "sse4_2",
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)


@dataclass(frozen=True, slots=True)
class Detected:
    """A fact of this machine: a `value` with its `source`, or no value and the `reason`."""

    value: str | int | float | None
    source: str | None = None
    reason: str | None = None


def detect() -> dict[str, Detected]:
    """Return the facts by name; memory in GB (10^9 bytes), clock rates in MHz, never raises.

    cpu_model, cpu_architecture, cpu_instruction_sets, cpu_governor, cpu_max_mhz; logical_cores and
    physical_cores: those this process may run on; cpu_quota_cores: the control group's limit;
    memory_gb: of the machine or of the control group, whichever is less; operating_system, kernel,
    hypervisor; gpu_count, gpu_driver, and gpu0_name, gpu0_memory_gb, gpu0_power_limit_w, ...
    """
    available = os.sched_getaffinity(0)
    return {
        "cpu_model": _cpu_model(),
        "cpu_architecture": Detected(platform.machine(), "uname"),
        "cpu_instruction_sets": _instruction_sets(),
        "logical_cores": Detected(len(available), "sched_getaffinity"),
        "physical_cores": physical_cores(available),
        "cpu_quota_cores": _cpu_quota(),
        "cpu_governor": _file(_cpu_folder(min(available)) / "cpufreq/scaling_governor"),
        "cpu_max_mhz": _max_mhz(min(available)),
        "memory_gb": _memory(),
        "operating_system": _operating_system(),
        "kernel": Detected(platform.release(), "uname"),
        "hypervisor": _hypervisor(),
        **dict(_gpus()),
    }


def physical_cores(available: set[int]) -> Detected:
    """Return how many physical cores the logical CPUs `available` belong to."""
    siblings = set()
    for cpu in sorted(available):
        place = _file(_cpu_folder(cpu) / "topology/thread_siblings_list")
        if place.value is None:
            return Detected(None, reason=place.reason)
        siblings.add(place.value)
    return Detected(len(siblings), "/sys/devices/system/cpu/*/topology/thread_siblings_list")


def _cpu_folder(cpu: int) -> Path:
    return Path(f"/sys/devices/system/cpu/cpu{cpu}")


def _file(path: Path) -> Detected:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip(" \t\n\0")
    except OSError as error:
        return Detected(None, reason=f"{path}: {error.strerror or error}")
    return Detected(text, str(path)) if text else Detected(None, reason=f"{path}: empty")


def _cpuinfo(*keys: str) -> Detected:
    """Return the first processor's value of the first of `keys` that /proc/cpuinfo has."""
    found = _file(Path("/proc/cpuinfo"))
    if found.value is None:
        return found
    lines = [line.partition(":") for line in str(found.value).splitlines()]
    for key in keys:
        for name, _, value in lines:
            if name.strip() == key and value.strip():
                return Detected(value.strip(), "/proc/cpuinfo")
    return Detected(None, reason=f"/proc/cpuinfo has no {keys[0]!r}")


def _cpu_model() -> Detected:
    found = _cpuinfo("model name", "Model", "Hardware")
    return found if found.value is not None else _file(Path("/proc/device-tree/model"))


def _instruction_sets() -> Detected:
    found = _cpuinfo("flags", "Features")
    if found.value is None:
        return found
    flags = set(str(found.value).split())
    return Detected(" ".join(name for name in INSTRUCTION_SETS if name in flags), found.source)


def _hypervisor() -> Detected:
    found = _cpuinfo("flags", "Features")
    if found.value is None:
        return found
    if "hypervisor" not in str(found.value).split():
        return Detected("none seen", "/proc/cpuinfo")
    product = _file(Path("/sys/class/dmi/id/sys_vendor"))
    return product if product.value else Detected("yes, unnamed", "/proc/cpuinfo")


def _max_mhz(cpu: int) -> Detected:
    found = _file(_cpu_folder(cpu) / "cpufreq/cpuinfo_max_freq")
    if found.value is None or not str(found.value).isdigit():
        return Detected(None, reason=found.reason or f"{found.source}: not a number")
    return Detected(int(found.value) / 1000, found.source)


def _cpu_quota() -> Detected:
    found = _file(Path("/sys/fs/cgroup/cpu.max"))
    if found.value is None:
        return found
    match = re.fullmatch(r"(\d+) (\d+)", str(found.value))
    if match is None:
        return Detected(None, reason="the control group sets no CPU limit")
    return Detected(int(match[1]) / int(match[2]), found.source)


def _memory() -> Detected:
    total = psutil.virtual_memory().total
    limit = _file(Path("/sys/fs/cgroup/memory.max"))
    if str(limit.value or "").isdigit() and int(str(limit.value)) < total:
        return Detected(int(str(limit.value)) / BYTES_PER_GB, limit.source)
    return Detected(total / BYTES_PER_GB, "/proc/meminfo")


def _operating_system() -> Detected:
    try:
        return Detected(platform.freedesktop_os_release()["PRETTY_NAME"], "os-release")
    except (OSError, KeyError) as error:
        return Detected(None, reason=f"os-release: {error}")


def _gpus() -> Iterator[tuple[str, Detected]]:
    """Yield what NVML tells of each NVIDIA GPU; without a driver, the reason."""
    try:
        import pynvml
    except ImportError as error:
        yield "gpu_count", Detected(None, reason=f"nvidia-ml-py is missing: {error}")
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield "gpu_count", Detected(None, reason=f"NVML: {error}")
        return
    try:
        count = int(pynvml.nvmlDeviceGetCount())
        yield "gpu_count", Detected(count, "NVML")
        yield "gpu_driver", Detected(_text(pynvml.nvmlSystemGetDriverVersion()), "NVML")
        for index in range(count):
            yield from _gpu(index)
    except pynvml.NVMLError as error:
        yield "gpu_error", Detected(None, reason=f"NVML: {error}")
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Iterator[tuple[str, Detected]]:
    """Yield the facts of GPU `index`; one that the driver refuses carries the driver's reason."""
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    readings: dict[str, Callable[[], str | float]] = {
        "name": lambda: _text(pynvml.nvmlDeviceGetName(handle)),
        "uuid": lambda: _text(pynvml.nvmlDeviceGetUUID(handle)),
        "memory_gb": lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total / BYTES_PER_GB,
        "power_limit_w": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
        "max_sm_clock_mhz": lambda: float(
            pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)
        ),
    }
    for name, read in readings.items():
        try:
            yield f"gpu{index}_{name}", Detected(read(), "NVML")
        except pynvml.NVMLError as error:
            yield f"gpu{index}_{name}", Detected(None, reason=f"NVML: {error}")


def _text(value: str | bytes) -> str:
    """Return NVML's text; older bindings give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
