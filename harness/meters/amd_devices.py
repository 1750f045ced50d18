"""The GPUs of AMD SMI's Python package: which may be used, what they draw and have used.

Keys and units: AMD SMI documentation, `amdsmi_get_energy_count` and `amdsmi_get_power_info`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

# No chip with its memory draws as much; a 32-bit "not supported" (4,294,967,295) is far above.
MOST_WATTS_PER_GPU = 3_000.0
VISIBLE = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


class Library(Protocol):
    """What is used of `amdsmi`. Every function may raise its AmdSmiException."""

    AmdSmiException: type[Exception]

    def amdsmi_init(self) -> None:
        """Start the library."""

    def amdsmi_shut_down(self) -> None:
        """End it."""

    def amdsmi_get_processor_handles(self) -> Sequence[object]:
        """Return the GPUs; each die of a two-die card is one."""

    def amdsmi_get_gpu_device_uuid(self, handle: object) -> str:
        """Return the GPU's UUID."""

    def amdsmi_get_energy_count(self, handle: object) -> Mapping[str, object]:
        """Return the accumulator, its resolution in microjoules and its time stamp."""

    def amdsmi_get_power_info(self, handle: object) -> Mapping[str, object]:
        """Return powers in watts; "N/A" where the chip has none of a kind."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, its place in the driver's list, and whether it reports its power itself."""

    name: str
    handle: object
    index: int
    reports: bool


def listed(library: Library) -> tuple[Gpu, ...]:
    """Return all GPUs in the driver's order."""
    return tuple(
        Gpu(
            f"gpu:{library.amdsmi_get_gpu_device_uuid(handle)}",
            handle,
            index,
            watts_of(library, handle) is not None,
        )
        for index, handle in enumerate(library.amdsmi_get_processor_handles())
    )


def visible(gpus: tuple[Gpu, ...], environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use. ValueError if that cannot be told."""
    for variable in VISIBLE:
        chosen = environment.get(variable)
        if chosen is None:
            continue
        try:
            # A negative place: -1 means "no GPU" to ROCm and "the last" to Python.
            places = [int(index) for index in chosen.split(",") if index.strip()]
            if min(places, default=0) < 0:
                raise ValueError
            gpus = tuple(gpus[place] for place in places)
        except (ValueError, IndexError):
            raise ValueError(
                f"{variable}={chosen} does not list indices of the {len(gpus)} GPUs here"
            ) from None
    return gpus


def watts_of(library: Library, handle: object) -> float | None:
    """Return a GPU's power; None where it has none or reports 0 W, as a second die does."""
    info = library.amdsmi_get_power_info(handle)
    for key in ("socket_power", "current_socket_power", "average_socket_power"):
        watts = number(info.get(key))
        if watts is not None and 0 < watts <= MOST_WATTS_PER_GPU:
            return watts
    return None


def joules_of(library: Library, gpu: Gpu) -> float:
    """Return a GPU's accumulator times its resolution. ValueError for what is no number."""
    count = library.amdsmi_get_energy_count(gpu.handle)
    ticks = number(count.get("energy_accumulator", count.get("power")))
    resolution_uj = number(count.get("counter_resolution"))
    if ticks is None or not resolution_uj:
        raise ValueError(f"the energy counter of {gpu.name} reads {dict(count)}")
    return ticks * resolution_uj / 1e6


def number(value: object) -> float | None:
    """Return a value of the library as a number; None for "N/A" and the like."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
