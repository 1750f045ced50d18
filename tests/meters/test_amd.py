"""The AMD meter over a stand-in that follows the documentation of `amdsmi`.

No AMD GPU was at hand: keys, units and "N/A" are those of AMD SMI's Python reference, the faults
those of its issues.
"""

import sys
from collections.abc import Callable

import pytest

from harness.meters.amd import AmdMeter
from harness.meters.base import MeterInfo, Unmeasurable
from tests.measure.virtual import VirtualClock

RESOLUTION_UJ = 15.259


class AmdSmiException(Exception):
    pass


class Amdsmi:
    """GPUs that draw `watts` from the start of the virtual clock on."""

    AmdSmiException = AmdSmiException

    def __init__(self, clock: VirtualClock, *watts: float) -> None:
        self.clock = clock
        self.watts = list(watts)
        self.reported: list[object] = list(watts)
        self.key = "energy_accumulator"
        self.tick_s = 0.001
        self.factor = 1.0
        self.lost = False
        self.running = 0
        self.offset_j = 0.0

    def amdsmi_init(self) -> None:
        self._answer()
        self.running += 1

    def amdsmi_shut_down(self) -> None:
        self.running -= 1

    def amdsmi_get_processor_handles(self) -> list[int]:
        return list(range(len(self.watts)))

    def amdsmi_get_gpu_device_uuid(self, handle: int) -> str:
        return f"uuid-{handle}"

    def amdsmi_get_energy_count(self, handle: int) -> dict[str, object]:
        self._answer()
        ticks = self.clock.at_ns // round(self.tick_s * 1e9) if self.tick_s else 0
        joules = self.watts[handle] * ticks * self.tick_s * self.factor + self.offset_j
        return {
            self.key: round(joules * 1e6 / RESOLUTION_UJ),
            "counter_resolution": RESOLUTION_UJ,
            "timestamp": self.clock.at_ns,
        }

    def amdsmi_get_power_info(self, handle: int) -> dict[str, object]:
        self._answer()
        return {
            "current_socket_power": self.reported[handle],
            "average_socket_power": "N/A",
            "gfx_voltage": "N/A",
        }

    def _answer(self) -> None:
        if self.lost:
            raise AmdSmiException("AMDSMI_STATUS_NO_DATA")


class Bench:
    def __init__(self, *watts: float, environment: dict[str, str] | None = None) -> None:
        self.clock = VirtualClock()
        self.driver = Amdsmi(self.clock, *watts)
        self.meter = AmdMeter(
            library=self.driver,
            now_ns=self.clock.now_ns,
            wait=self.clock.spend,
            environment=environment or {},
            background=False,
        )

    def window(self, seconds: float, change: Callable[[], None] = lambda: None):
        mark = self.meter.begin()
        change()
        for _ in range(round(seconds)):
            self.clock.spend(1.0)
            self.meter.sampler.sample()
        return self.meter.end(mark)


def test_without_the_package_there_is_a_reason_and_a_command() -> None:
    if "amdsmi" in sys.modules:
        pytest.skip("amdsmi is installed here")
    found = AmdMeter().probe()
    if isinstance(found, MeterInfo):
        pytest.skip("this machine has an AMD GPU")
    assert "amdsmi" in found.reason
    assert found.remedy


@pytest.mark.parametrize("key", ["energy_accumulator", "power"])
def test_accumulator_times_resolution_is_summed_over_the_gpus(key: str) -> None:
    bench = Bench(300.0, 200.0)
    bench.driver.key = key
    info = bench.meter.probe()
    assert isinstance(info, MeterInfo)
    assert (info.boundary, info.provenance) == ("chip", "counter")
    assert info.covers == ("gpu:uuid-0", "gpu:uuid-1")
    reading = bench.window(20)
    assert reading.joules == pytest.approx(500 * 20, rel=1e-4)
    assert reading.flags == ()
    assert reading.cross_check.ratio == pytest.approx(1.0, rel=1e-3)
    assert bench.meter.watts() == 500
    bench.meter.close()
    assert bench.driver.running == 0


def test_the_update_period_is_measured() -> None:
    bench = Bench(300.0)
    bench.driver.tick_s = 0.02
    assert bench.meter.probe().update_period_s == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(("tick_s", "factor"), [(0.0, 1.0), (0.001, 1e-3), (0.001, 15.0)])
def test_a_counter_that_stands_still_or_counts_wrong_is_not_used(
    tick_s: float, factor: float
) -> None:
    bench = Bench(300.0)
    bench.driver.tick_s, bench.driver.factor = tick_s, factor
    info = bench.meter.probe()
    assert isinstance(info, MeterInfo)
    assert info.provenance == "sampled"
    reading = bench.window(20)
    assert reading.joules == pytest.approx(300 * 20)
    assert set(reading.parts) == {"sensor", "statistical", "edge"}


@pytest.mark.parametrize("silent", [0, "N/A", 4_294_967_295])
def test_the_second_die_of_a_card_is_in_the_first_ones_joules(silent: object) -> None:
    bench = Bench(400.0, 0.0, 380.0, 0.0)
    bench.driver.reported[1] = bench.driver.reported[3] = silent
    info = bench.meter.probe()
    assert isinstance(info, MeterInfo)
    assert info.covers == ("gpu:uuid-0", "gpu:uuid-1", "gpu:uuid-2", "gpu:uuid-3")
    reading = bench.window(10)
    assert reading.joules == pytest.approx(780 * 10, rel=1e-3)
    assert reading.flags == ("partial_coverage",)


def test_a_second_die_alone_is_not_measured_and_a_first_die_alone_is_shared() -> None:
    second = Bench(400.0, 0.0, environment={"ROCR_VISIBLE_DEVICES": "1"})
    found = second.meter.probe()
    assert isinstance(found, Unmeasurable)
    assert "second die" in found.reason
    first = Bench(400.0, 0.0, environment={"HIP_VISIBLE_DEVICES": "0"})
    assert first.meter.probe().covers == ("gpu:uuid-0",)
    assert first.window(10).flags == ("shared_device",)


def test_a_silent_gpu_that_is_no_second_die_is_in_nobodys_joules() -> None:
    bench = Bench(0.0, 300.0)
    assert bench.meter.probe().covers == ("gpu:uuid-1",)
    assert bench.window(10).flags == ("partial_coverage",)


def test_only_the_visible_gpus_count() -> None:
    chosen = {"ROCR_VISIBLE_DEVICES": "2,1", "HIP_VISIBLE_DEVICES": "0"}
    bench = Bench(100.0, 200.0, 300.0, 400.0, environment=chosen)
    assert bench.meter.probe().covers == ("gpu:uuid-2",)
    assert bench.window(10).joules == pytest.approx(3000, rel=1e-3)
    for listed in ("GPU-12ab", "-1", "7"):
        unclear = Bench(100.0, environment={"ROCR_VISIBLE_DEVICES": listed})
        found = unclear.meter.probe()
        assert isinstance(found, Unmeasurable)
        assert f"ROCR_VISIBLE_DEVICES={listed}" in found.reason


def test_a_counter_far_from_the_integral_is_flagged() -> None:
    bench = Bench(300.0)
    bench.meter.probe()

    def shift() -> None:
        bench.driver.reported[0] = 390.0

    reading = bench.window(20, shift)
    assert reading.flags == ("cross_check_failed",)
    assert reading.cross_check.ratio < 0.9
    assert reading.joules == pytest.approx(6000, rel=1e-3)


@pytest.mark.parametrize(
    ("fault", "reason", "flags"),
    [
        ("lost", "unreadable", ()),
        ("back", "reset", ("counter_reset",)),
        ("jump", "reset", ("counter_reset",)),
        ("still", "stood still", ()),
    ],
)
def test_a_counter_that_fails_within_a_window_gives_no_joules(
    fault: str, reason: str, flags: tuple[str, ...]
) -> None:
    bench = Bench(300.0)
    bench.meter.probe()

    def break_it() -> None:
        if fault == "lost":
            bench.driver.lost = True
        elif fault == "still":
            bench.driver.watts[0] = 0.0
            bench.driver.offset_j = held
        else:
            bench.driver.offset_j = -9e3 if fault == "back" else 9e6

    ticks = bench.driver.amdsmi_get_energy_count(0)["energy_accumulator"]
    held = ticks * RESOLUTION_UJ / 1e6
    reading = bench.window(10, break_it)
    assert reading.joules is None
    assert reason in (reading.reason or "")
    assert reading.flags == flags


def test_a_driver_that_does_not_start_and_one_without_gpus_are_reasons() -> None:
    lost = Bench(300.0)
    lost.driver.lost = True
    found = lost.meter.probe()
    assert isinstance(found, Unmeasurable)
    assert "AMDSMI_STATUS_NO_DATA" in found.reason
    none = Bench()
    found = none.meter.probe()
    assert isinstance(found, Unmeasurable)
    assert "no GPU" in found.reason
    assert none.driver.running == 0


def test_an_old_release_that_lacks_a_function_is_a_reason() -> None:
    class Old(Amdsmi):
        amdsmi_get_power_info = None

    clock = VirtualClock()
    found = AmdMeter(library=Old(clock, 300.0), now_ns=clock.now_ns).probe()
    assert isinstance(found, Unmeasurable)
