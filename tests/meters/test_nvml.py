"""The NVML meter over the real binding and a driver library compiled here, whose power is known."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from harness.meters import nvml_edges
from harness.meters.base import MeterInfo, Unmeasurable
from harness.meters.nvml import NvmlMeter
from harness.meters.nvml_devices import Gpu, visible
from tests.meters.nvml_fixture import library as fake

FIRST = "gpu:GPU-aaaa0000-0000-4000-8000-000000000000"
SECOND = "gpu:GPU-aaaa1111-0000-4000-8000-000000000001"


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    path = fake.build(tmp_path_factory.mktemp("nvml"))
    if path is None:
        pytest.skip("no C compiler (cc or gcc) to build the fake driver library with")
    return path


@pytest.fixture
def driver(library):
    with fake.bound(library) as found:
        yield found


@pytest.fixture
def start(driver):
    """Return a function that sets the driver up and probes a meter on its virtual time."""
    meters = []

    def begin(environment=None, **settings):
        driver.reset()
        time = fake.VirtualTime(driver)
        driver.configure(**settings)
        meter = NvmlMeter(time.now_ns, time.sleep, time, environment or {})
        meters.append(meter)
        return meter, time, meter.probe()

    yield begin
    for meter in meters:
        meter.close()


def measure(meter, time, seconds, before_s=0.0):
    time.advance(before_s)
    mark = meter.begin()
    time.advance(seconds)
    return mark, meter.end(mark)


# Support


def test_no_driver_is_a_reason_not_a_zero() -> None:
    found = NvmlMeter().probe()
    if isinstance(found, MeterInfo):
        pytest.skip("this machine has an NVIDIA GPU")
    assert "NVML" in found.reason
    assert found.remedy


def test_the_binding_finds_the_library_as_it_finds_a_driver(library):
    code = """if True:
        import threading
        from harness.meters.nvml import NvmlMeter
        meter = NvmlMeter()
        info = meter.probe()
        reading = meter.end(meter.begin())
        meter.close()
        print(info.provenance, info.covers[0], reading.joules / reading.duration_s)
        assert threading.active_count() == 1
    """
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=fake.environment(library, "watts=200 tick_ms=20"),
        capture_output=True,
        text=True,
        check=True,
    )
    provenance, covers, watts = result.stdout.split()
    assert (provenance, covers) == ("counter", FIRST)
    # The window is about one tick of 20 ms, each edge known to some polls of 1 ms.
    assert float(watts) == pytest.approx(200, rel=0.5)


def test_a_working_counter_is_described(start):
    _, _, info = start(tick_ms=80, jitter_ms=1)
    assert info.provenance == "counter"
    assert info.boundary == "chip"
    assert info.covers == (FIRST,)
    assert info.update_period_s == pytest.approx(0.08, abs=0.003)
    assert "declared" in info.sensor_source


def test_a_counter_too_slow_to_time_gets_the_declared_period(start):
    _, _, info = start(tick_ms=300)
    assert info.update_period_s == nvml_edges.UPDATE_PERIOD_S


def test_no_counter_and_no_power_is_a_reason(start):
    _, _, found = start(energy_unsupported=1, power_unsupported=1)
    assert isinstance(found, Unmeasurable)
    assert "Not Supported" in found.reason
    assert found.remedy


def test_a_lost_gpu_is_a_reason(start):
    _, _, found = start(lost_after=0)
    assert isinstance(found, Unmeasurable)
    assert "GPU is lost" in found.reason


def test_the_boundary_is_the_module_where_the_power_is_the_modules(start):
    assert start(module=1)[2].boundary == "module"


# Counting


@pytest.mark.parametrize("window_s", [0.2, 0.5, 2.0])
@pytest.mark.parametrize(
    "profile", [{}, {"period_ms": 37, "duty": 0.3}, {"ramp_ms": 3000}, {"jitter_ms": 10}]
)
def test_edges_on_ticks_make_short_windows_exact(start, driver, window_s, profile):
    meter, time, _ = start(**profile)
    errors = []
    for draw in range(20):
        mark, reading = measure(meter, time, window_s, before_s=0.0371 * draw % 0.1)
        true_j = driver.true_j(mark.at_ns, mark.at_ns + round(reading.duration_s * 1e9))
        errors.append(reading.joules / true_j - 1)
    # Each edge is known within a poll of 1 ms; a square wave may be at its top or bottom there.
    assert np.sqrt(np.mean(np.square(errors))) < 0.003 * max(1, 0.5 / window_s) * 2


def test_the_reading_covers_the_window_and_says_how_much_more(start):
    meter, time, info = start()
    time.advance(0.03)
    mark = meter.begin()
    assert mark.at_ns <= time.ns
    began_ns = time.ns
    time.advance(1.05)
    ended_ns = time.ns
    reading = meter.end(mark)
    over_s = mark.at_ns / 1e9 + reading.duration_s - ended_ns / 1e9
    assert 0 < over_s <= 2 * info.update_period_s
    assert began_ns - mark.at_ns < 2e6
    assert reading.parts["edge"] == pytest.approx(over_s / reading.duration_s)
    assert reading.parts["quantisation"] < 0.002
    assert reading.uncertainty == pytest.approx(np.hypot.reduce(list(reading.parts.values())))
    assert reading.joules == pytest.approx(350 * reading.duration_s, rel=2e-3)


def test_a_wait_ends_after_two_periods(start):
    meter, time, _ = start(stuck_from_ms=2_000)
    mark = meter.begin()
    time.advance(3)
    before_ns = time.ns
    meter.end(mark)
    assert (time.ns - before_ns) / 1e9 < 0.21


def test_gpus_with_ticks_of_their_own_are_summed_over_one_duration(start):
    meter, time, info = start(gpus=2, watts=300, phase_ms=40)
    assert info.covers == (FIRST, SECOND)
    for draw in range(5):
        mark, reading = measure(meter, time, 0.5 + 0.023 * draw)
        assert reading.joules / reading.duration_s == pytest.approx(300 + 150, rel=0.004)
        assert len(mark.edges_ns) == len(mark.counters) == 2
        assert abs(mark.edges_ns[0] - mark.edges_ns[1]) > 30e6
        # One GPU waits for the other: its reading covers that time beside the traffic.
        assert reading.parts["edge"] > 0.04 / reading.duration_s


def test_windows_in_a_row_are_each_their_own(start):
    meter, time, _ = start()
    for seconds in (0.4, 2.0, 11.0):
        reading = measure(meter, time, seconds)[1]
        assert reading.joules / reading.duration_s == pytest.approx(350, rel=0.003)
        assert (reading.cross_check is not None) == (seconds > 10)
        assert ("short_window" in reading.flags) == (seconds < 1)


# What is no energy


def test_a_counter_that_goes_backwards_is_no_energy(start):
    meter, time, _ = start(reset_at_ms=2_000)
    reading = measure(meter, time, 2.5)[1]
    assert reading.joules is None
    assert reading.flags == ("counter_reset",)
    assert "backwards" in reading.reason
    assert measure(meter, time, 0.5)[1].joules is not None


def test_a_reset_between_two_edges_is_no_energy(start):
    meter, time, _ = start(reset_at_ms=2_000)
    time.advance(1.3)
    reading = measure(meter, time, 0.4)[1]  # too short for the look once a second
    assert reading.joules is None
    assert reading.flags == ("counter_reset",)


def test_a_reset_that_the_counter_outgrew_is_still_seen(start):
    # 5,000 J at the start, 0 J after 2 s, and 350 W for 20 s later: above where it began.
    meter, time, _ = start(reset_at_ms=2_000, watts=350)
    reading = measure(meter, time, 20.0)[1]
    assert reading.joules is None
    assert reading.flags == ("counter_reset",)


def test_a_counter_that_stops_in_the_window_is_no_energy(start):
    meter, time, _ = start(stuck_from_ms=2_000)
    reading = measure(meter, time, 3.0)[1]
    assert reading.joules is None
    assert "stood still" in reading.reason
    assert "350 W" in reading.reason
    assert "stood still" in measure(meter, time, 1.0)[1].reason


def test_a_gpu_lost_in_the_window_is_no_energy(start):
    meter, time, _ = start(lost_at_ms=3_000)
    reading = measure(meter, time, 5.0)[1]
    assert reading.joules is None
    assert "GPU is lost" in reading.reason
    assert meter.watts() is None


def test_a_gpu_lost_before_the_window_is_told_at_its_end(start):
    meter, time, _ = start(lost_at_ms=3_000)
    reading = measure(meter, time, 1.0, before_s=5.0)[1]
    assert reading.joules is None
    assert "GPU is lost" in reading.reason


# Sampling


def test_without_a_counter_power_is_sampled_and_says_so(start):
    meter, time, info = start(energy_unsupported=1)
    assert info.provenance == "sampled"
    assert "Not Supported" in info.source
    reading = measure(meter, time, 10.0)[1]
    assert reading.provenance == "sampled"
    assert reading.joules == pytest.approx(350 * reading.duration_s, rel=1e-3)
    assert reading.uncertainty > 0.3
    assert reading.cross_check is None


def test_a_counter_that_never_moves_is_not_used(start):
    meter, time, info = start(stuck_from_ms=0)
    assert info.provenance == "sampled"
    assert "stands still" in info.source
    assert measure(meter, time, 2.0)[1].joules > 0


def test_a_sensor_in_step_with_the_load_is_wrong_within_what_is_said(start, driver):
    # A wave of the sensor's period: the 25 ms before each tick are all low. 30 % duty, 350/250 W.
    profile = {"period_ms": 100, "duty": 0.3, "low_watts": 250}
    meter, time, _ = start(energy_unsupported=1, **profile)
    mark, reading = measure(meter, time, 30.0)
    true_j = driver.true_j(mark.at_ns, mark.at_ns + round(reading.duration_s * 1e9))
    assert abs(reading.joules / true_j - 1) > 0.1
    assert abs(reading.joules - true_j) < reading.uncertainty * reading.joules


def test_no_power_between_the_edges_leaves_no_joules(start):
    meter, time, _ = start(energy_unsupported=1, watts=0)
    reading = measure(meter, time, 2.0)[1]
    assert reading.joules is None
    assert "no power" in reading.reason


def test_samples_are_at_most_ten_a_second(start, monkeypatch):
    meter, time, _ = start(energy_unsupported=1)
    asked = []
    inner = meter._sample
    monkeypatch.setattr(meter, "_sample", lambda: (asked.append(time.ns), inner()))
    measure(meter, time, 10.0)
    assert 100 <= len(asked) <= 102


def test_a_counter_is_read_between_the_edges_at_most_once_a_second(start, monkeypatch):
    meter, time, _ = start()
    asked = []
    inner = meter._guard
    monkeypatch.setattr(meter, "_guard", lambda: (asked.append(time.ns), inner()))
    measure(meter, time, 10.0)
    assert np.diff(asked).min() >= 1e9


# Flags


def test_a_counter_and_a_power_that_disagree_are_flagged(start):
    meter, time, _ = start(counter_gain=0.6)
    reading = measure(meter, time, 12.0)[1]
    assert reading.flags == ("cross_check_failed",)
    assert reading.cross_check.ratio == pytest.approx(0.6, rel=0.01)
    assert reading.cross_check.counter_j == reading.joules


def test_a_small_disagreement_and_a_short_window_are_not_flagged(start):
    meter, time, _ = start(counter_gain=0.93)
    reading = measure(meter, time, 12.0)[1]
    assert reading.flags == ()
    assert reading.cross_check.ratio == pytest.approx(0.93, rel=0.01)
    meter, time, _ = start(counter_gain=0.6)
    reading = measure(meter, time, 8.0)[1]
    assert reading.flags == ()
    assert reading.cross_check is None


def test_a_cross_check_is_of_its_own_window(start):
    meter, time, _ = start(ramp_ms=40_000)
    for _ in range(3):
        reading = measure(meter, time, 11.0)[1]
        assert reading.flags == ()
        assert reading.cross_check.ratio == pytest.approx(1, abs=0.02)


def test_samples_that_scatter_accuse_no_counter(start):
    # Long phases of load: twelve samples of 25 ms do not tell their mean within 10 %.
    meter, time, _ = start(watts=700, low_watts=50, period_ms=2_900)
    ratios = []
    for _ in range(8):
        reading = measure(meter, time, 12.3)[1]
        assert reading.flags == ()
        ratios.append(reading.cross_check.ratio)
    assert max(abs(ratio - 1) for ratio in ratios) > 0.1


def test_without_power_there_is_no_cross_check(start):
    meter, time, info = start(power_unsupported=1)
    assert info.provenance == "counter"
    reading = measure(meter, time, 12.0)[1]
    assert reading.joules == pytest.approx(350 * reading.duration_s, rel=1e-3)
    assert reading.cross_check is None
    assert meter.watts() is None


@pytest.mark.parametrize(
    ("reasons", "flags"),
    [(0x0, ()), (0x1, ()), (0x4, ()), (0x8, ("throttled",)), (0x24, ("throttled",))],
)
def test_held_down_clocks_are_flagged_but_not_the_power_limit(start, reasons, flags):
    meter, time, _ = start(clock_reasons=reasons)
    assert measure(meter, time, 2.0)[1].flags == flags


def test_throttling_inside_the_window_is_flagged(start, driver):
    meter, time, _ = start()
    mark = meter.begin()
    driver.configure(clock_reasons=0x40)
    time.advance(1.5)
    driver.configure(clock_reasons=0)
    reading = meter.end(mark)
    assert reading.flags == ("throttled",)
    assert reading.joules is not None


@pytest.mark.parametrize(
    ("settings", "is_shared"),
    [
        ({"pids": 1, "pid0": os.getpid()}, False),
        ({"pids": 2, "pid0": os.getpid(), "pid1": 1}, True),
        ({"pids": 1, "pid0": 1}, True),
        ({"pids": 1, "pid0": 4_194_399}, False),  # the host's number for this process, perhaps
        ({"pids": 2, "pid0": 4_194_399, "pid1": 4_194_398}, True),
        ({"pids": 2, "pid0": os.getpid(), "pid1": 4_194_398}, True),
    ],
)
def test_other_processes_on_the_gpu_are_flagged(start, settings, is_shared):
    meter, time, _ = start(**settings)
    assert ("shared_device" in measure(meter, time, 2.0)[1].flags) == is_shared


def test_a_child_of_this_process_is_no_stranger(start):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        meter, time, _ = start(pids=1, pid0=child.pid)
        assert measure(meter, time, 2.0)[1].flags == ()
        child.communicate(b"\n")


# Which GPUs


@pytest.mark.parametrize(
    ("text", "covers"),
    [
        (None, (FIRST, SECOND)),
        ("0", (FIRST,)),
        ("1", (SECOND,)),
        ("1,0", (SECOND, FIRST)),
        ("GPU-aaaa1111-0000-4000-8000-000000000001", (SECOND,)),
        ("GPU-aaaa1", (SECOND,)),
        ("gpu-AAAA1,GPU-aaaa0", (SECOND, FIRST)),
        (" 1 ", (SECOND,)),
        ("0,-1,1", (FIRST,)),
        ("0,7,1", (FIRST,)),
        ("0,GPU-aaaa", (FIRST,)),
    ],
)
def test_only_what_cuda_shows_is_metered(start, text, covers):
    environment = {} if text is None else {"CUDA_VISIBLE_DEVICES": text}
    assert start(environment, gpus=2)[2].covers == covers


@pytest.mark.parametrize("text", ["", "-1", "2", "GPU-", "GPU-aaaa", "NoDevFiles"])
def test_no_visible_gpu_is_a_reason(start, text):
    found = start({"CUDA_VISIBLE_DEVICES": text}, gpus=2)[2]
    assert isinstance(found, Unmeasurable)
    assert "shows no GPU" in found.reason


def test_indices_count_in_the_order_of_the_bus_not_of_the_driver(start):
    meter, time, info = start({"CUDA_VISIBLE_DEVICES": "0"}, gpus=2, swap=1)
    assert info.covers == (SECOND,)
    reading = measure(meter, time, 2.0)[1]
    assert reading.joules / reading.duration_s == pytest.approx(175, rel=0.01)


def test_an_index_among_unlike_gpus_needs_cudas_order(start):
    chosen = {"CUDA_VISIBLE_DEVICES": "1"}
    found = start(chosen, gpus=2, mixed=1)[2]
    assert isinstance(found, Unmeasurable)
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in found.remedy
    ordered = {**chosen, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert start(ordered, gpus=2, mixed=1)[2].covers == (SECOND,)
    assert start({"CUDA_VISIBLE_DEVICES": "GPU-aaaa1"}, gpus=2, mixed=1)[2].covers == (SECOND,)


def test_a_repeated_gpu_is_counted_once():
    gpus = [Gpu("GPU-1", "A", (0, 1, 0), None), Gpu("GPU-2", "A", (0, 2, 0), None)]
    assert visible(gpus, {"CUDA_VISIBLE_DEVICES": "0,0"}) == gpus[:1]


def test_partitions_are_refused_and_a_hidden_one_is_no_matter(start):
    found = start(gpus=2, mig_gpu=1)[2]
    assert isinstance(found, Unmeasurable)
    assert SECOND in found.reason
    assert "nvidia-smi -mig 0" in found.remedy
    assert start({"CUDA_VISIBLE_DEVICES": "0"}, gpus=2, mig_gpu=1)[2].covers == (FIRST,)
    named = start({"CUDA_VISIBLE_DEVICES": "MIG-GPU-aaaa1111/1/0"}, gpus=2)[2]
    assert isinstance(named, Unmeasurable)
    assert "partition" in named.reason


# Life


def test_watts_are_shown_while_open_and_no_thread_stays(driver):
    driver.configure(watts=210)
    meter = NvmlMeter(environment={})
    assert isinstance(meter.probe(), MeterInfo)
    before = threading.active_count()
    assert meter.watts() == pytest.approx(210, abs=0.1)
    mark = meter.begin()
    assert threading.active_count() == before + 1
    meter.end(mark)
    assert threading.active_count() == before
    meter.begin()
    meter.close()
    assert threading.active_count() == before
    assert meter.watts() is None


def test_a_window_without_a_probe_is_a_mistake():
    with pytest.raises(RuntimeError, match="probe comes before"):
        NvmlMeter().begin()
