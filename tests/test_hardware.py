import os
import sys
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from harness import hardware
from harness.hardware import Detected, detect


def test_every_fact_has_a_value_with_its_source_or_a_reason():
    facts = detect()
    assert {"cpu_model", "logical_cores", "memory_gb", "gpu_count", "kernel"} <= set(facts)
    for name, fact in facts.items():
        if fact.value is None:
            assert fact.reason, name
        else:
            assert fact.source, name
            assert fact.value != "", name
            assert fact.reason is None


def test_cores_are_those_that_the_process_may_use():
    whole = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(whole)})
        facts = detect()
    finally:
        os.sched_setaffinity(0, whole)
    assert facts["logical_cores"].value == 1
    assert facts["physical_cores"].value in (1, None)
    assert detect()["logical_cores"].value == len(whole)


def test_memory_is_in_decimal_gigabytes():
    value = detect()["memory_gb"].value
    assert 0 < value <= psutil.virtual_memory().total / 1e9


def test_siblings_are_one_physical_core(monkeypatch):
    lists = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}
    monkeypatch.setattr(
        hardware,
        "_file",
        lambda path: Detected(lists[int(path.parts[5].removeprefix("cpu"))], str(path)),
    )
    assert hardware.physical_cores({0, 1, 2, 3}).value == 2
    assert hardware.physical_cores({0, 2}).value == 1


@pytest.mark.parametrize(("text", "value"), [("150000 100000", 1.5), ("max 100000", None)])
def test_the_control_groups_quota(monkeypatch, text, value):
    monkeypatch.setattr(hardware, "_file", lambda path: Detected(text, str(path)))
    assert hardware._cpu_quota().value == value


class NvmlError(Exception):
    pass


def nvml(**functions):
    """Return a module that stands in for pynvml with one GPU."""

    def refuse(handle):
        raise NvmlError("Not Supported")

    module = ModuleType("pynvml")
    module.__dict__.update(
        NVMLError=NvmlError,
        NVML_CLOCK_SM=1,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlSystemGetDriverVersion=lambda: b"570.1",
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: "Test GPU",
        nvmlDeviceGetUUID=lambda handle: "GPU-1",
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=80_000_000_000),
        nvmlDeviceGetEnforcedPowerLimit=refuse,
        nvmlDeviceGetMaxClockInfo=lambda handle, clock: 1980,
    )
    module.__dict__.update(functions)
    return module


def test_a_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    facts = dict(hardware._gpus())
    assert facts["gpu_count"] == Detected(1, "NVML")
    assert facts["gpu_driver"].value == "570.1"
    assert facts["gpu0_name"].value == "Test GPU"
    assert facts["gpu0_memory_gb"].value == 80.0
    assert facts["gpu0_max_sm_clock_mhz"].value == 1980.0
    assert facts["gpu0_power_limit_w"] == Detected(None, reason="NVML: Not Supported")


def test_no_driver(monkeypatch):
    def fail():
        raise NvmlError("Shared Library Not Found")

    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlInit=fail))
    reason = "NVML: Shared Library Not Found"
    assert dict(hardware._gpus()) == {"gpu_count": Detected(None, reason=reason)}
