import dataclasses
import math
import os
import subprocess
import sys
import threading
import time

import pytest

from harness.measure.activity import Activity, Clocks, activity, clocks
from harness.measure.disturbance import Disturbance, disturbance
from harness.measure.gpu import GpuState
from harness.measure.throttle import Periods, ProcessorSpeed
from tests.measure.test_gpu import ONE

START = Activity(10.0, 5.0, 100.0, 1.0, 200.0, 3.0)
END = Activity(20.0, 13.0, 111.0, 1.4, 220.0, 8.0)


def between(start=None, end=None, elsewhere=False, threads=None) -> Disturbance:
    return disturbance(
        dataclasses.replace(START, **(start or {})),
        dataclasses.replace(END, **(end or {})),
        elsewhere,
        threads,
    )


def test_what_happened_comes_from_totals() -> None:
    found = between()
    assert found.own_cores == pytest.approx(0.8)
    assert found.foreign_cores == pytest.approx(0.3)
    assert found.steal_share == pytest.approx(0.02)
    assert found.pressure_share == pytest.approx(0.5)
    assert found.cores == pytest.approx(2.0)
    assert found.free_cores == pytest.approx(0.9)


def test_a_limit_on_this_process_leaves_less_free_than_the_machine_has() -> None:
    assert between(end={"allowed_cores": 1.0}).free_cores == pytest.approx(0.2)


def test_a_wall_clock_that_was_set_shows_against_the_monotonic_one() -> None:
    found = between({"clocks": Clocks(100.0, 0.0)}, {"clocks": Clocks(98.5, 7.0)})
    assert found.clock_step_s == pytest.approx(-1.5)
    assert found.suspended_s == pytest.approx(7.0)


def test_the_clocks_of_this_machine_stand_still_against_each_other() -> None:
    before = clocks()
    time.sleep(0.02)
    after = clocks()
    assert after.wall_less_monotonic == pytest.approx(before.wall_less_monotonic, abs=5e-3)
    assert after.asleep == pytest.approx(before.asleep, abs=5e-3)


def test_the_harness_share_is_what_the_session_threads_did_not_use() -> None:
    start = {"process_cpu_s": 5.0, "threads_cpu_s": {7: 1.0}}
    # Thread 7 is the session's, and it started thread 8; a thread of the harness has ended.
    end = {"process_cpu_s": 13.0, "threads_cpu_s": {7: 6.0, 8: 1.0}}
    assert between(start, end, elsewhere=True).harness_cores == pytest.approx(0.2)
    blocking = between(start, end)
    assert blocking.harness_cores is None
    assert blocking.unknown["harness_cores"].startswith("not applicable")


def test_the_threads_of_this_process_are_told_from_the_main_one() -> None:
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        before = activity()
        time.sleep(0.4)
        found = disturbance(before, activity(), elsewhere=True)
    finally:
        stop.set()
        thread.join()
    # This thread slept; the other one is the session's. Ticks of 10 ms are the resolution.
    assert found.harness_cores is not None
    assert found.own_cores > 0.1
    assert found.harness_cores < found.own_cores / 2


def test_the_work_of_a_child_is_the_cells_own() -> None:
    before = activity()
    code = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    after = activity()
    assert after.own_cpu_s - before.own_cpu_s >= 0.4


def test_throttling_and_a_slower_clock_are_told() -> None:
    found = between(
        {"speed": ProcessorSpeed({"cpu0/core": 1}, {"cpu0/core": 0}, 3000.0)},
        {"speed": ProcessorSpeed({"cpu0/core": 4}, {"cpu0/core": 500}, 2400.0)},
    )
    assert found.throttle_events == 3
    assert found.throttled_share == pytest.approx(0.05)
    assert found.clock_change == pytest.approx(-0.2)


def test_a_limits_stops_are_told() -> None:
    found = between({"periods": {"a": Periods(0, 0)}}, {"periods": {"a": Periods(100, 25)}})
    assert found.quota_share == pytest.approx(0.25)


def test_what_cannot_be_read_is_none_with_a_reason() -> None:
    found = between({"pressure_s": None})
    for name in (
        "pressure_share",
        "harness_cores",
        "throttle_events",
        "throttled_share",
        "quota_share",
        "clock_change",
        "foreign_processes",
    ):
        assert getattr(found, name) is None, name
        assert found.unknown[name].split(":")[0] in ("unavailable", "not applicable")
        assert found.summary()[name] == found.unknown[name]


def gpus(*changes, foreign=frozenset()) -> dict:
    return {"gpu": GpuState(tuple(dataclasses.replace(ONE, **c) for c in changes), foreign)}


def test_a_hot_gpu_is_told_by_its_events_its_time_and_its_clock() -> None:
    found = between(
        gpus({"events": 0x00, "thermal_s": 1.0}),
        gpus({"events": 0x20, "thermal_s": 3.0, "sm_mhz": 990.0}),
    )
    assert found.gpu_slowed == ("GPU 0: software thermal slowdown",)
    assert found.throttled_share == pytest.approx(0.2)
    assert found.clock_change == pytest.approx(-0.5)


def test_a_board_at_its_power_limit_is_told_and_not_slowed() -> None:
    found = between(gpus({}), gpus({"events": 0x04}))
    assert found.gpu_power_capped is True
    assert found.gpu_slowed == ()


def test_the_clock_of_an_idle_gpu_tells_nothing() -> None:
    found = between(gpus({}), gpus({"events": 0x01, "sm_mhz": 345.0}))
    assert found.clock_change is None


def test_processes_at_either_end_are_foreign() -> None:
    found = between(gpus({}, foreign=frozenset({5})), gpus({}, foreign=frozenset({6})))
    assert found.foreign_processes == 2
    assert between(gpus({}), gpus({})).foreign_processes == 0


def test_a_cell_without_a_limit_has_all_cores() -> None:
    assert START.allowed_cores == math.inf
    assert math.isfinite(activity().allowed_cores)


def test_the_cpu_share_is_cpu_time_over_threads_and_wall_time() -> None:
    # 8 s of CPU time in 10 s, on two cores of which others used 0.3 and the host 2 %.
    found = disturbance(START, END, threads=1)
    assert found.cpu_share == pytest.approx(0.8)
    assert found.taken_share == 0.0  # a core was to be had
    found = disturbance(START, END, threads=2)
    assert found.cpu_share == pytest.approx(0.4)
    assert found.summary()["cpu_share"] == pytest.approx(0.4)
    # What is missing was idle but for 0.3 and the host's 0.04 cores.
    assert found.taken_share == pytest.approx(0.34 / 2)


def test_threads_beyond_the_cores_are_not_missed() -> None:
    found = disturbance(START, dataclasses.replace(END, allowed_cores=1.0), threads=8)
    assert found.usable_cores == 1.0
    assert found.cpu_share == pytest.approx(0.8)


def test_a_target_elsewhere_has_no_cpu_share() -> None:
    found = between()
    assert found.cpu_share is None
    assert found.taken_share is None
    assert found.summary()["cpu_share"].startswith("not applicable")


def test_threads_that_compute_together_tell_how_long_one_waited() -> None:
    start = {"scheduled_s": {1: (5.0, 1.0), 2: (1.0, 0.0), 3: (0.0, 0.0)}}
    end = {"scheduled_s": {1: (13.0, 1.5), 2: (7.0, 4.0), 3: (0.1, 9.0), 4: (8.0, 0.0)}}
    # The third hardly ran: it takes no part.
    assert between(start, end, threads=2).waited_share == pytest.approx(0.4)
    assert between(start, end).waited_share is None
    alone = {"scheduled_s": {1: (13.0, 4.0), 2: (1.2, 4.0)}}
    assert between(start, alone, threads=2).waited_share is None


def test_this_process_tells_how_its_threads_were_scheduled() -> None:
    before = activity().scheduled_s
    until = time.perf_counter() + 0.05
    while time.perf_counter() < until:
        pass
    after = activity().scheduled_s
    if not after:
        pytest.skip("the system does not tell how threads are scheduled")
    assert after[os.getpid()][0] > before[os.getpid()][0]
