"""The state of the GPUs that a cell computes on, from NVML: clocks, throttling, other processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import psutil

Told = TypeVar("Told")

IDLE = 0x1
SLOWED = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML's clocks-event reasons that no board should show in a fair measurement (nvml.h,
nvmlClocksEventReason*). The power cap (0x04) is not among them: a board at its limit is at work."""
POWER_CAP = 0x04


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU now. What the driver does not tell is None.

    `events`: the bits of its clocks-event reasons. `thermal_s`: a running total of the time in
    which heat held its clocks down. `processes`: those that compute on it.
    """

    index: int
    uuid: str
    events: int | None
    sm_mhz: float | None
    temperature_c: float | None
    power_limit_w: float | None
    thermal_s: float | None
    processes: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class GpuState:
    """The GPUs that the cell computes on, and the processes on them that are not the cell's.

    `foreign` is None where they cannot be told apart; `reason` says why.
    """

    gpus: tuple[Gpu, ...]
    foreign: frozenset[int] | None
    reason: str | None = None


class GpuWatch:
    """Knows the cell's GPUs by the processes on them. Make it before the session is opened.

    A GPU is the cell's if this process or a child computes on it. In a container the driver may
    tell the numbers that processes have outside; then a process is the cell's if it came to a GPU
    while the session was opened, which is when `opened` is called.
    """

    def __init__(self) -> None:
        self._before = {gpu.uuid: gpu.processes or frozenset() for gpu in _read_or_none()}
        self._came: frozenset[int] = frozenset()

    def opened(self) -> None:
        """Note which processes came to the GPUs while the session was opened."""
        came: set[int] = set()
        for gpu in _read_or_none():
            came |= (gpu.processes or frozenset()) - self._before.get(gpu.uuid, frozenset())
        self._came = frozenset(came)

    def read(self) -> GpuState:
        """Return the state now; never raises."""
        try:
            with _driver():
                gpus = tuple(_gpus())
        except _refusals() as error:
            return GpuState((), None, f"NVML: {error}")
        return belonging(gpus, _own(), self._came)


def belonging(gpus: tuple[Gpu, ...], own: frozenset[int], came: frozenset[int]) -> GpuState:
    """Return those of `gpus` that processes `own` compute on, or else those `came` while opening.

    Without either, all of them, and nothing about other processes.
    """
    for ours in (own, came):
        mine = tuple(gpu for gpu in gpus if (gpu.processes or frozenset()) & ours)
        if mine:
            there = {pid for gpu in mine for pid in gpu.processes or ()}
            return GpuState(mine, frozenset(there - own - came))
    return GpuState(gpus, None, "the driver names no process of this cell on any GPU")


def _own() -> frozenset[int]:
    children = psutil.Process().children(recursive=True)
    return frozenset({os.getpid(), *(child.pid for child in children)})


def _refusals() -> tuple[type[BaseException], ...]:
    try:
        import pynvml
    except ImportError:
        return (ImportError,)
    return (pynvml.NVMLError, ImportError)


def _read_or_none() -> tuple[Gpu, ...]:
    try:
        with _driver():
            return tuple(_gpus())
    except _refusals():
        return ()


@contextmanager
def _driver() -> Iterator[None]:
    import pynvml

    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _gpus() -> Iterator[Gpu]:
    import pynvml

    for index in range(int(pynvml.nvmlDeviceGetCount())):
        yield _gpu(index, pynvml.nvmlDeviceGetHandleByIndex(index))


def _gpu(index: int, handle: object) -> Gpu:
    import pynvml

    def thermal_s() -> float:
        policy = pynvml.NVML_PERF_POLICY_THERMAL
        return float(pynvml.nvmlDeviceGetViolationStatus(handle, policy).violationTime) / 1e9

    def sm_mhz() -> float:
        return float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))

    def temperature_c() -> float:
        return float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))

    def processes() -> frozenset[int]:
        found = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        return frozenset(int(each.pid) for each in found)

    return Gpu(
        index=index,
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        events=_told(lambda: int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))),
        sm_mhz=_told(sm_mhz),
        temperature_c=_told(temperature_c),
        power_limit_w=_told(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        thermal_s=_told(thermal_s),
        processes=_told(processes),
    )


def _told(ask: Callable[[], Told]) -> Told | None:
    """Return the driver's answer; None where it has none."""
    import pynvml

    try:
        return ask()
    except (pynvml.NVMLError, AttributeError):  # an older binding lacks newer functions
        return None
