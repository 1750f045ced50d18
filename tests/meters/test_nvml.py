"""The NVML meter over the real binding's functions, answered by a stand-in for the driver."""

import pynvml
import pytest

from harness.meters.base import MeterInfo, Unmeasurable
from harness.meters.nvml import NvmlMeter


class Driver:
    def __init__(self, monkeypatch, gpus: dict[str, int]) -> None:
        self.millijoules = dict(gpus)
        self.shut = 0
        names = list(gpus)
        for name, function in {
            "nvmlInit": lambda: None,
            "nvmlShutdown": self._shutdown,
            "nvmlDeviceGetCount": lambda: len(names),
            "nvmlDeviceGetHandleByIndex": lambda index: names[index],
            "nvmlDeviceGetUUID": lambda handle: handle,
            "nvmlDeviceGetTotalEnergyConsumption": self._energy,
        }.items():
            monkeypatch.setattr(pynvml, name, function)

    def _shutdown(self) -> None:
        self.shut += 1

    def _energy(self, handle: str) -> int:
        value = self.millijoules[handle]
        if value < 0:
            raise pynvml.NVMLError_NotSupported()
        return value


def test_no_driver_is_a_reason_not_a_zero() -> None:
    found = NvmlMeter().probe()
    if isinstance(found, MeterInfo):
        pytest.skip("this machine has an NVIDIA GPU")
    assert "NVML" in found.reason
    assert found.remedy


def test_millijoules_become_joules_summed_over_gpus(monkeypatch) -> None:
    driver = Driver(monkeypatch, {"GPU-a": 5_000, "GPU-b": 7_000})
    meter = NvmlMeter()
    info = meter.probe()
    assert isinstance(info, MeterInfo)
    assert info.covers == ("gpu:GPU-a", "gpu:GPU-b")
    mark = meter.begin()
    driver.millijoules = {"GPU-a": 305_000, "GPU-b": 9_000}
    reading = meter.end(mark)
    assert reading.joules == pytest.approx(302.0)
    assert reading.boundary == "chip"
    assert reading.flags == ("short_window",)
    meter.close()
    assert driver.shut == 1


def test_not_supported_is_a_reason(monkeypatch) -> None:
    Driver(monkeypatch, {"GPU-a": -1})
    found = NvmlMeter().probe()
    assert isinstance(found, Unmeasurable)
    assert "Not Supported" in found.reason


def test_a_counter_that_goes_backwards_is_no_energy(monkeypatch) -> None:
    driver = Driver(monkeypatch, {"GPU-a": 5_000})
    meter = NvmlMeter()
    meter.probe()
    mark = meter.begin()
    driver.millijoules["GPU-a"] = 4_000
    reading = meter.end(mark)
    assert reading.joules is None
    assert reading.flags == ("counter_reset",)
    driver.millijoules["GPU-a"] = -1
    assert "unreadable" in (meter.end(mark).reason or "")
