"""NVIDIA GPU energy from the driver's total-energy counter (NVML)."""

from __future__ import annotations

import time

from harness.meters.base import Mark, MeterInfo, Unmeasurable, failed_reading
from harness.schema.record import EnergyReading

# The driver states no accuracy for current chips; 5 % is declared, not measured.
SENSOR_UNCERTAINTY = 0.05
UPDATE_PERIOD_S = 0.1
REMEDY = "install the NVIDIA driver, or run where a GPU is visible"


class NvmlMeter:
    """Sums the energy counters of all visible GPUs; the boundary is the chip with its memory."""

    def __init__(self) -> None:
        self._handles: list[tuple[str, object]] = []

    def probe(self) -> MeterInfo | Unmeasurable:
        """Load the driver's library and read each GPU's counter once."""
        import pynvml

        self._handles = []
        try:
            pynvml.nvmlInit()
            for index in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                uuid = str(pynvml.nvmlDeviceGetUUID(handle))
                pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
                self._handles.append((f"gpu:{uuid}", handle))
        except pynvml.NVMLError as error:
            self._handles = []
            return Unmeasurable(f"NVML: {error}", REMEDY)
        if not self._handles:
            return Unmeasurable("the driver reports no GPU", REMEDY)
        return MeterInfo("nvml", "chip", tuple(name for name, _ in self._handles), "NVML")

    def begin(self) -> Mark:
        """Read the counters."""
        return Mark(time.perf_counter_ns(), self._read())

    def _read(self) -> tuple[float, ...]:
        import pynvml

        return tuple(
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3 for _, handle in self._handles
        )

    def end(self, mark: Mark) -> EnergyReading:
        """Return the joules since `mark`; without joules and with a reason if a read failed."""
        import pynvml

        duration_s = (time.perf_counter_ns() - mark.at_ns) / 1e9
        try:
            now = self._read()
        except pynvml.NVMLError as error:
            return failed_reading(
                "nvml", "chip", duration_s, f"the counter became unreadable: {error}"
            )
        deltas = [after - before for before, after in zip(mark.counters, now, strict=True)]
        if min(deltas) < 0:
            return failed_reading(
                "nvml", "chip", duration_s, "the counter went backwards", "counter_reset"
            )
        quantisation = UPDATE_PERIOD_S / duration_s if duration_s else 1.0
        return EnergyReading(
            meter="nvml",
            joules=sum(deltas),
            duration_s=duration_s,
            boundary="chip",
            covers=tuple(name for name, _ in self._handles),
            provenance="counter",
            uncertainty=(SENSOR_UNCERTAINTY**2 + quantisation**2) ** 0.5,
            parts={"sensor": SENSOR_UNCERTAINTY, "quantisation": quantisation},
            flags=("short_window",) if duration_s < 10 * UPDATE_PERIOD_S else (),
        )

    def close(self) -> None:
        """Release the driver's library."""
        import pynvml

        if self._handles:
            pynvml.nvmlShutdown()
            self._handles = []
