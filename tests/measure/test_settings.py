import pytest

from harness.measure.environment import capture
from harness.measure.settings import settings, variables
from harness.schema.record import EnvironmentField

FILES = {
    "sys/devices/system/cpu/online": "0-3",
    "sys/devices/system/cpu/isolated": "2-3",
    "sys/devices/system/cpu/smt/control": "on",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "1",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1200000",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3400000",
    "sys/devices/system/cpu/vulnerabilities/l1tf": "Not affected",
    "sys/devices/system/cpu/vulnerabilities/mds": "Mitigation: Clear CPU buffers",
    "sys/devices/system/cpu/vulnerabilities/srbds": "Vulnerable: No microcode",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
    "proc/sys/kernel/numa_balancing": "1",
    "proc/sys/kernel/randomize_va_space": "2",
    "proc/meminfo": "MemTotal:       100 kB\nSwapTotal:      2000000 kB",
    "proc/self/cgroup": "0::/kubepods/burstable/pod7",
}


def put(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")


def test_each_setting_is_read_from_the_kernels_file(tmp_path) -> None:
    put(tmp_path, FILES)
    values = {name: field.value for name, field in settings({0, 1, 3}, tmp_path).items()}
    assert values == {
        "cpu_boost": "off",
        "cpu_current_mhz": 3400.0,
        "cpus_online": "0-3",
        "cpus_allowed": "0-1,3",
        "isolated_cpus": "2-3",
        "smt": "on",
        "transparent_huge_pages": "madvise",
        "numa_balancing": "on",
        "address_randomisation": "full",
        "clock_source": "tsc",
        "cpu_mitigations": "1 flaws mitigated, 1 open",
        "swap_gb": 2.048,
        "container": "kubepods",
    }


def test_nothing_to_read_is_told_from_what_cannot_be_read(tmp_path) -> None:
    put(tmp_path, {"sys/devices/system/cpu/isolated": "", "proc/meminfo": "SwapTotal:   0 kB"})
    found = settings({0}, tmp_path)
    nothing = {name for name, field in found.items() if field.not_applicable}
    assert nothing == {"isolated_cpus", "numa_balancing", "swap_gb"}
    assert found["clock_source"].unavailable is not None
    assert "No such file" in found["clock_source"].unavailable
    assert found["cpu_boost"].unavailable
    assert found["container"].value == "none seen"


@pytest.mark.parametrize("path", ["sys/devices/system/cpu/cpufreq", "sys/devices/system/cpu/cpu0"])
def test_boost_of_other_drivers(tmp_path, path) -> None:
    folder = f"{path}/cpufreq" if path.endswith("cpu0") else path
    put(tmp_path, {f"{folder}/boost": "1"})
    assert settings({0}, tmp_path)["cpu_boost"].value == "on"


def test_a_virtual_machines_nominal_clock(tmp_path) -> None:
    put(tmp_path, {"proc/cpuinfo": "cpu MHz\t\t: 2596.132\ncpu MHz\t\t: 2600.0"})
    assert settings({0}, tmp_path)["cpu_current_mhz"].value == 2600.0


def test_only_the_variables_that_are_named() -> None:
    found = variables(["OMP_NUM_THREADS", "MKL_NUM_THREADS"], {"OMP_NUM_THREADS": "4", "KEY": "s"})
    assert found == {
        "omp_num_threads": EnvironmentField(value="4"),
        "mkl_num_threads": EnvironmentField(value=None, not_applicable="not set"),
    }


def test_every_fact_of_the_environment_has_exactly_one_of_three_values() -> None:
    fields = capture()
    assert {"cpu_model", "cpu_quota_cores", "cpus_allowed", "clock_source", "python"} <= set(fields)
    for name, field in fields.items():
        given = (field.value, field.unavailable, field.not_applicable)
        assert sum(each is not None for each in given) == 1, name


def test_a_machine_without_a_gpu_has_none_to_read(tmp_path) -> None:
    count = capture(tmp_path)["gpu_count"]
    assert count.value is not None or count.not_applicable
