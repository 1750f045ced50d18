import pytest

from harness.measure.throttle import (
    Periods,
    ProcessorSpeed,
    clock_change,
    held_back_share,
    processor_speed,
    quota_periods,
    throttle_events,
    throttled_s,
)


def put(root, cpu, **values):
    folder = root / f"sys/devices/system/cpu/cpu{cpu}"
    (folder / "thermal_throttle").mkdir(parents=True, exist_ok=True)
    (folder / "cpufreq").mkdir(exist_ok=True)
    for name, value in values.items():
        part = "cpufreq" if name == "scaling_cur_freq" else "thermal_throttle"
        (folder / part / name).write_text(f"{value}\n")


def test_events_of_cores_add_and_those_of_a_package_count_once(tmp_path) -> None:
    for cpu in (0, 1):
        put(tmp_path, cpu, core_throttle_count=5, package_throttle_count=7)
    before = processor_speed({0, 1}, tmp_path)
    assert throttle_events(before, before) == 0
    for cpu in (0, 1):
        put(tmp_path, cpu, core_throttle_count=6, package_throttle_count=10)
    assert throttle_events(before, processor_speed({0, 1}, tmp_path)) == 2 + 3


def test_the_time_of_the_worst_core_counts(tmp_path) -> None:
    put(tmp_path, 0, core_throttle_count=0, core_throttle_total_time_ms=100)
    put(tmp_path, 1, core_throttle_count=0, core_throttle_total_time_ms=100)
    before = processor_speed({0, 1}, tmp_path)
    put(tmp_path, 1, core_throttle_total_time_ms=350)
    assert throttled_s(before, processor_speed({0, 1}, tmp_path)) == 0.25


def test_the_fastest_core_tells_the_clock(tmp_path) -> None:
    put(tmp_path, 0, scaling_cur_freq=800000)
    put(tmp_path, 1, scaling_cur_freq=3000000)
    assert processor_speed({0, 1}, tmp_path).mhz == 3000.0
    assert clock_change(3000.0, 2400.0) == pytest.approx(-0.2)
    assert clock_change(None, 2400.0) is None


def test_a_machine_without_counters_says_so(tmp_path) -> None:
    none = processor_speed({0}, tmp_path)
    assert none.mhz is None
    assert none.reason is not None
    assert "core_throttle_count" in none.reason
    assert throttle_events(none, none) is None
    assert throttled_s(none, none) is None


def test_a_counter_that_was_reset_gives_no_events() -> None:
    before, after = ProcessorSpeed({"cpu0/core": 9}), ProcessorSpeed({"cpu0/core": 1})
    assert throttle_events(before, after) == 0


def test_the_share_of_periods_in_which_a_limit_stopped_the_process(tmp_path) -> None:
    stat = tmp_path / "sys/fs/cgroup/cpu.stat"
    stat.parent.mkdir(parents=True)
    stat.write_text("usage_usec 1\nnr_periods 100\nnr_throttled 10\n")
    before = quota_periods(tmp_path)
    assert list(before.values()) == [Periods(100, 10)]
    assert held_back_share(before, before) is None
    stat.write_text("usage_usec 2\nnr_periods 200\nnr_throttled 30\n")
    assert held_back_share(before, quota_periods(tmp_path)) == pytest.approx(0.2)
