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
from pathlib import Path, PurePosixPath

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


NO_HYPERVISOR = "none seen"
GPU_DRIVERS = ("dev/nvidiactl", "proc/driver/nvidia/version", "dev/dxg")
"""Where an NVIDIA driver shows, the last under the Windows Subsystem for Linux."""


@dataclass(frozen=True, slots=True)
class Detected:
    """A fact of this machine: a `value` with its `source`, or no value and the `reason`.

    `applicable` is False where there is nothing to read (a limit that nobody set, a GPU where there
    is none), rather than something that cannot be read.
    """

    value: str | int | float | None
    source: str | None = None
    reason: str | None = None
    applicable: bool = True


def detect(root: Path = Path("/")) -> dict[str, Detected]:
    """Return the facts by name; memory in GB (10^9 bytes), clock rates in MHz, never raises.

    cpu_model, cpu_architecture, cpu_instruction_sets, cpu_governor, cpu_max_mhz; logical_cores and
    physical_cores: those this process may run on; cpu_quota_cores: the least limit of the control
    groups that it is in; memory_gb: of the machine or of its control groups, whichever is less;
    operating_system, kernel, hypervisor; gpu_count, gpu_driver, and gpu0_name, gpu0_memory_gb, ...
    The kernel's files are looked for under `root`.
    """
    available = os.sched_getaffinity(0)
    hypervisor = _hypervisor(root)
    guest = hypervisor.value not in (None, NO_HYPERVISOR)
    frequency = cpu_folder(min(available), root) / "cpufreq"
    return {
        "cpu_model": cpu_model(root),
        "cpu_architecture": Detected(platform.machine(), "uname"),
        "cpu_instruction_sets": _instruction_sets(root),
        "logical_cores": Detected(len(available), "sched_getaffinity"),
        "physical_cores": physical_cores(available, root),
        "cpu_quota_cores": cpu_quota(root),
        "cpu_governor": _scaling(read(frequency / "scaling_governor"), guest),
        "cpu_max_mhz": _scaling(_mhz(frequency / "cpuinfo_max_freq"), guest),
        "memory_gb": _memory(root),
        "operating_system": _operating_system(),
        "kernel": Detected(platform.release(), "uname"),
        "hypervisor": hypervisor,
        **dict(_gpus(root)),
    }


def physical_cores(available: set[int], root: Path = Path("/")) -> Detected:
    """Return how many physical cores the logical CPUs `available` belong to."""
    siblings = set()
    for cpu in sorted(available):
        place = read(cpu_folder(cpu, root) / "topology/thread_siblings_list")
        if place.value is None:
            return Detected(None, reason=place.reason)
        siblings.add(place.value)
    return Detected(len(siblings), "/sys/devices/system/cpu/*/topology/thread_siblings_list")


def cpu_folder(cpu: int, root: Path = Path("/")) -> Path:
    """Return where the kernel describes the logical CPU `cpu`."""
    return root / f"sys/devices/system/cpu/cpu{cpu}"


def read(path: Path) -> Detected:
    """Return the text of a file of the kernel, without the space around it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip(" \t\n\0")
    except OSError as error:
        return Detected(None, reason=f"{path}: {error.strerror or error}")
    return Detected(text, str(path)) if text else Detected(None, reason=f"{path}: empty")


def _cpuinfo(root: Path, *keys: str) -> Detected:
    """Return the first processor's value of the first of `keys` that /proc/cpuinfo has."""
    found = read(root / "proc/cpuinfo")
    if found.value is None:
        return found
    lines = [line.partition(":") for line in str(found.value).splitlines()]
    for key in keys:
        for name, _, value in lines:
            if name.strip() == key and value.strip():
                return Detected(value.strip(), "/proc/cpuinfo")
    return Detected(None, reason=f"/proc/cpuinfo has no {keys[0]!r}")


def thread_times(thread: int | None) -> tuple[float, float] | None:
    """Return how long a thread of this process ran, and waited for a core to run on, in seconds.

    By the kernel's scheduler (`schedstat`, Documentation/scheduler/sched-stats.rst of Linux): its
    first two numbers, in ns. None where the system does not tell, or the thread has ended.
    """
    try:
        text = Path(f"/proc/self/task/{thread}/schedstat").read_text(encoding="ascii")
        ran, waited, *_ = text.split()
        return int(ran) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):
        return None


def cpu_model(root: Path = Path("/")) -> Detected:
    """Return the name that the CPU gives itself, in which its vendor stands."""
    found = _cpuinfo(root, "model name", "Model", "Hardware")
    return found if found.value is not None else read(root / "proc/device-tree/model")


def _instruction_sets(root: Path) -> Detected:
    found = _cpuinfo(root, "flags", "Features")
    if found.value is None:
        return found
    flags = set(str(found.value).split())
    return Detected(" ".join(name for name in INSTRUCTION_SETS if name in flags), found.source)


def _hypervisor(root: Path) -> Detected:
    found = _cpuinfo(root, "flags", "Features")
    if found.value is None:
        return found
    if "hypervisor" not in str(found.value).split():
        return Detected(NO_HYPERVISOR, "/proc/cpuinfo")
    product = read(root / "sys/class/dmi/id/sys_vendor")
    return product if product.value else Detected("yes, unnamed", "/proc/cpuinfo")


def _mhz(path: Path) -> Detected:
    found = read(path)
    if found.value is None or not str(found.value).isdigit():
        return Detected(None, reason=found.reason or f"{found.source}: not a number")
    return Detected(int(found.value) / 1000, found.source)


def _scaling(found: Detected, guest: bool) -> Detected:
    """Return what a file of cpufreq says; without the file, whether there is anything to say.

    The host of a virtual machine sets its clocks, and the guest cannot see how. Elsewhere no file
    means that no driver sets them.
    """
    if found.value is not None:
        return found
    if guest:
        return Detected(None, reason="the host of this virtual machine sets the clocks")
    return Detected(None, reason="no driver of the kernel sets the clocks", applicable=False)


def control_groups(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """Yield the folders of the control groups that limit this process, innermost first.

    In version 2 of the interface they hold every controller, in version 1 only `controller`.
    """
    base = root / "sys/fs/cgroup"
    for line in str(read(root / "proc/self/cgroup").value or "0::/").splitlines():
        number, _, rest = line.partition(":")
        names, _, place = rest.partition(":")
        if number == "0":
            top = base
        elif controller in names.split(","):
            top = base / controller
        else:
            continue
        # In a container the path may be the host's, of which only the top is mounted.
        group = PurePosixPath("/" + place.strip("/"))
        for each in (group, *group.parents):
            yield top / str(each).lstrip("/")


def cpu_quota(root: Path = Path("/")) -> Detected:
    """Return the cores that the tightest control group allows."""
    quotas: list[tuple[float, str]] = []
    for folder in control_groups("cpu", root):
        new, old = read(folder / "cpu.max"), read(folder / "cpu.cfs_quota_us")
        period = read(folder / "cpu.cfs_period_us")
        text = str(new.value or f"{old.value} {period.value}")
        if match := re.fullmatch(r"([1-9]\d*) ([1-9]\d*)", text):
            quotas.append((int(match[1]) / int(match[2]), new.source or old.source or ""))
    if not quotas:
        return Detected(None, reason="no control group limits the CPU time", applicable=False)
    return Detected(*min(quotas))


def _memory(root: Path) -> Detected:
    limits: list[tuple[int, str]] = [(psutil.virtual_memory().total, "/proc/meminfo")]
    for folder in control_groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = read(folder / name)
            if str(limit.value or "").isdigit():
                limits.append((int(str(limit.value)), str(limit.source)))
    least, source = min(limits, key=lambda each: each[0])
    return Detected(least / BYTES_PER_GB, source)


def _operating_system() -> Detected:
    try:
        return Detected(platform.freedesktop_os_release()["PRETTY_NAME"], "os-release")
    except (OSError, KeyError) as error:
        return Detected(None, reason=f"os-release: {error}")


def _gpus(root: Path = Path("/")) -> Iterator[tuple[str, Detected]]:
    """Yield what NVML tells of each NVIDIA GPU; without a driver, the reason."""
    driven = any((root / path).exists() for path in GPU_DRIVERS)
    try:
        import pynvml
    except ImportError as error:
        reason = f"nvidia-ml-py is missing: {error}" if driven else "no NVIDIA driver is loaded"
        yield "gpu_count", Detected(None, reason=reason, applicable=driven)
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield "gpu_count", Detected(None, reason=f"NVML: {error}", applicable=driven)
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
        "ecc": lambda: ("off", "on")[int(pynvml.nvmlDeviceGetEccMode(handle)[0])],
        "persistence_mode": lambda: ("off", "on")[int(pynvml.nvmlDeviceGetPersistenceMode(handle))],
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
