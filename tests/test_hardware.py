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


def put(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def test_siblings_are_one_physical_core(tmp_path):
    for cpu, siblings in {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}.items():
        place = f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        put(tmp_path, place, siblings)
    assert hardware.physical_cores({0, 1, 2, 3}, tmp_path).value == 2
    assert hardware.physical_cores({0, 2}, tmp_path).value == 1
    assert "No such file" in hardware.physical_cores({9}, tmp_path).reason


def test_the_control_groups_quota(tmp_path):
    put(tmp_path, "sys/fs/cgroup/cpu.max", "150000 100000")
    assert hardware.cpu_quota(tmp_path).value == 1.5
    put(tmp_path, "sys/fs/cgroup/cpu.max", "max 100000")
    none = hardware.cpu_quota(tmp_path)
    assert none.value is None
    assert not none.applicable


def test_the_tightest_of_nested_control_groups_counts(tmp_path):
    put(tmp_path, "proc/self/cgroup", "0::/pods/one")
    put(tmp_path, "sys/fs/cgroup/pods/cpu.max", "200000 100000")
    put(tmp_path, "sys/fs/cgroup/pods/one/cpu.max", "400000 100000")
    found = hardware.cpu_quota(tmp_path)
    assert found.value == 2.0
    assert found.source.endswith("pods/cpu.max")


def test_the_first_version_of_control_groups(tmp_path):
    put(tmp_path, "proc/self/cgroup", "4:memory:/m\n1:cpu,cpuacct:/c\n0::/")
    put(tmp_path, "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "50000")
    put(tmp_path, "sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000")
    put(tmp_path, "sys/fs/cgroup/memory/m/memory.limit_in_bytes", "1000000")
    facts = detect(tmp_path)
    assert facts["cpu_quota_cores"].value == 0.5
    assert facts["memory_gb"].value == 0.001
    put(tmp_path, "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "-1")
    assert hardware.cpu_quota(tmp_path).value is None


@pytest.mark.parametrize(("flags", "applicable"), [("fpu hypervisor", True), ("fpu", False)])
def test_no_governor_is_unknown_to_a_guest_and_nothing_to_bare_metal(tmp_path, flags, applicable):
    put(tmp_path, "proc/cpuinfo", f"flags : {flags}")
    governor = detect(tmp_path)["cpu_governor"]
    assert governor.value is None
    assert governor.applicable is applicable
    cpu = min(os.sched_getaffinity(0))
    place = f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"
    put(tmp_path, place, "performance")
    assert detect(tmp_path)["cpu_governor"].value == "performance"


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
        nvmlDeviceGetEccMode=lambda handle: [1, 1],
        nvmlDeviceGetPersistenceMode=lambda handle: 0,
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
    assert facts["gpu0_ecc"].value == "on"
    assert facts["gpu0_persistence_mode"].value == "off"
    assert facts["gpu0_power_limit_w"] == Detected(None, reason="NVML: Not Supported")


def test_no_driver_is_nothing_to_read_and_a_broken_one_cannot_be_read(monkeypatch, tmp_path):
    def fail():
        raise NvmlError("Shared Library Not Found")

    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlInit=fail))
    reason = "NVML: Shared Library Not Found"
    assert dict(hardware._gpus(tmp_path)) == {
        "gpu_count": Detected(None, reason=reason, applicable=False)
    }
    put(tmp_path, "proc/driver/nvidia/version", "570.1")
    assert dict(hardware._gpus(tmp_path)) == {"gpu_count": Detected(None, reason=reason)}
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py is missing" in dict(hardware._gpus(tmp_path))["gpu_count"].reason
