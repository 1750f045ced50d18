"""Which of the driver's GPUs a process uses, and whether they are its alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.meters.base import Unmeasurable

PCI_ORDER = "PCI_BUS_ID"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of the driver: `handle` is the binding's, `bus` sorts GPUs as on the PCI bus."""

    uuid: str
    name: str
    bus: tuple[int, int, int]
    handle: object


def driver_gpus() -> list[Gpu]:
    """Return all GPUs that the driver shows, in the order of the PCI bus. Raises NVMLError."""
    import pynvml

    found = []
    for index in range(int(pynvml.nvmlDeviceGetCount())):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        pci = pynvml.nvmlDeviceGetPciInfo(handle)
        found.append(
            Gpu(
                uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
                name=_text(pynvml.nvmlDeviceGetName(handle)),
                bus=(int(pci.domain), int(pci.bus), int(pci.device)),
                handle=handle,
            )
        )
    return sorted(found, key=lambda gpu: gpu.bus)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def visible(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> list[Gpu] | Unmeasurable:
    """Return those of `gpus` (in PCI order) that CUDA shows a process with this environment.

    The rules of CUDA_VISIBLE_DEVICES (CUDA Programming Guide, "CUDA Environment Variables"): a list
    of indices or of UUIDs, which may be cut short as long as one GPU fits; an entry that names no
    GPU hides itself and all after it. An index counts in CUDA's order, which is the PCI bus's with
    CUDA_DEVICE_ORDER=PCI_BUS_ID and else "fastest first", a guess that is not made here: indices
    among unlike GPUs are refused.
    """
    text = environment.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return list(gpus) or Unmeasurable("the driver shows no GPU", "run where a GPU is visible")
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in text.split(",")):
        if entry.upper().startswith("MIG-"):
            return _partitioned(entry)
        if entry.isdigit():
            ordered = environment.get("CUDA_DEVICE_ORDER") == PCI_ORDER
            if not ordered and len({gpu.name for gpu in gpus}) > 1:
                return Unmeasurable(
                    f"CUDA_VISIBLE_DEVICES={text} counts GPUs of different models in an order that "
                    "only CUDA knows",
                    f"set CUDA_DEVICE_ORDER={PCI_ORDER}, or name the GPUs by UUID",
                )
            fits = list(gpus[int(entry) : int(entry) + 1])
        else:
            fits = [
                gpu
                for gpu in gpus
                if len(entry) > len("GPU-") and gpu.uuid.lower().startswith(entry.lower())
            ]
        if len(fits) != 1 or fits[0] in chosen:
            break
        chosen.append(fits[0])
    return chosen or Unmeasurable(
        f"CUDA_VISIBLE_DEVICES='{text}' shows no GPU", "unset it, or name a GPU by index or UUID"
    )


def _partitioned(what: str) -> Unmeasurable:
    return Unmeasurable(
        f"{what} is a partition (MIG): the driver meters only the whole GPU",
        "turn partitioning off with: sudo nvidia-smi -mig 0; or import a wall meter's log",
    )


def partitioned(gpu: Gpu) -> Unmeasurable | None:
    """Return why a GPU in partitions cannot be metered; None for a whole one."""
    import pynvml

    try:
        current = int(pynvml.nvmlDeviceGetMigMode(gpu.handle)[0])
    except pynvml.NVMLError:  # a GPU without the feature
        return None
    return _partitioned(f"gpu:{gpu.uuid}") if current else None


def shared(gpu: Gpu) -> bool:
    """Return whether processes other than this one and its descendants compute on the GPU.

    Inside a container the driver may name processes by the host's numbers. One number that no
    process here has can then be our own, unless ours is named too; two cannot.
    """
    import psutil
    import pynvml

    try:
        running = pynvml.nvmlDeviceGetComputeRunningProcesses(gpu.handle)
    except pynvml.NVMLError:
        return False
    numbers = {int(process.pid) for process in running}
    this = psutil.Process()
    own = {this.pid, *(child.pid for child in this.children(recursive=True))}
    others = numbers - own
    unknown = {number for number in others if not Path(f"/proc/{number}").exists()}
    if others - unknown:
        return True
    return len(unknown) > (0 if numbers & own else 1)


def current_environment() -> Mapping[str, str]:
    """Return this process's environment."""
    return os.environ
