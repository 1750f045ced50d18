"""The RAPL meter over a tree of real files, some of them driven at a known power."""

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.meters.base import MeterInfo, Unmeasurable
from harness.meters.rapl import RaplMeter

SPAN_UJ = 262_143_328_850


def zone(
    root: Path, name: str, label: str, energy_uj: int, span_uj: int = SPAN_UJ, **limits: int
) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "max_energy_range_uj").write_text(f"{span_uj}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    for limit, value in limits.items():
        (folder / limit).write_text(f"{value}\n")
    return folder / "energy_uj"


OPEN: list[RaplMeter] = []


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPEN:
        OPEN.pop().close()


class Clock:
    """Moves a little with each look, so that polling ends."""

    def __init__(self) -> None:
        self.at_ns = 1_000_000_000

    def now_ns(self) -> int:
        self.at_ns += 50_000
        return self.at_ns

    def spend(self, seconds: float) -> None:
        self.at_ns += round(seconds * 1e9)


class Window:
    """A meter over `root` with a window open; `end` closes it after so many virtual seconds."""

    def __init__(self, root: Path, **arguments) -> None:
        self.clock = Clock()
        self.meter = RaplMeter(root, now_ns=self.clock.now_ns, **arguments)
        self.info = self.meter.probe()
        assert isinstance(self.info, MeterInfo)
        self.mark = self.meter.begin()
        OPEN.append(self.meter)

    def end(self, seconds: float = 1.0):
        self.clock.spend(seconds)
        return self.meter.end(self.mark)


def rising(watts: float, span_uj: int) -> Callable[[Path], str]:
    """Return a reader of files whose counters rise at a known power from now on."""
    began_s = time.perf_counter()

    def read(path: Path) -> str:
        text = path.read_text()
        if path.name != "energy_uj":
            return text
        added_uj = round(watts * (time.perf_counter() - began_s) * 1e6)
        return f"{(int(text) + added_uj) % span_uj}\n"

    return read


def add(root: Path, name: str, joules: float, span_uj: int = SPAN_UJ) -> None:
    path = root / name / "energy_uj"
    path.write_text(f"{(int(path.read_text()) + round(joules * 1e6)) % span_uj}\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:1", "psys", 9_000_000)
    zone(tmp_path, "intel-rapl:2", "package-1", 2_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 500_000)
    zone(tmp_path, "intel-rapl:0:1", "uncore", 500_000)
    zone(tmp_path, "intel-rapl:0:2", "dram", 500_000)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1_000_000)
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def test_packages_are_summed_and_nothing_that_overlaps_them(tree: Path) -> None:
    window = Window(tree)
    for name, joules in {
        "intel-rapl:0": 30,
        "intel-rapl:2": 12,
        "intel-rapl:1": 70,
        "intel-rapl:0:0": 20,
        "intel-rapl:0:1": 3,
        "intel-rapl:0:2": 5,
        "intel-rapl-mmio:0": 30,
    }.items():
        add(tree, name, joules)
    reading = window.end()
    assert reading.joules == pytest.approx(42)
    assert reading.boundary == "package"
    assert reading.covers == ("cpu:0", "cpu:1")
    assert reading.provenance == "counter"
    assert reading.flags == ()


def test_two_zones_of_one_package_are_one_counter(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:1", "package-0", 1_000_000)
    window = Window(tmp_path)
    add(tmp_path, "intel-rapl:0", 10)
    add(tmp_path, "intel-rapl:1", 10)
    assert window.end().joules == pytest.approx(10)


def test_the_dies_of_a_package_are_summed(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0-die-0", 1_000_000)
    zone(tmp_path, "intel-rapl:1", "package-0-die-1", 1_000_000)
    window = Window(tmp_path)
    assert window.info.covers == ("cpu:0-die-0", "cpu:0-die-1")
    add(tmp_path, "intel-rapl:0", 10)
    add(tmp_path, "intel-rapl:1", 7)
    assert window.end().joules == pytest.approx(17)


def test_a_die_listed_within_its_package_is_not_added_to_it(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", "package-0-die-0", 1_000_000)
    assert Window(tmp_path).info.covers == ("cpu:0",)


def test_a_wrap_within_a_short_window_is_not_minus_262_kilojoules(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", SPAN_UJ - 30_000_000)
    meter = RaplMeter(tmp_path, read=rising(100.0, SPAN_UJ))
    assert isinstance(meter.probe(), MeterInfo)
    mark = meter.begin()
    time.sleep(0.6)
    reading = meter.end(mark)
    assert reading.joules == pytest.approx(100 * reading.duration_s, abs=10)
    assert reading.flags == ("wrap_corrected",)


def test_two_wraps_in_a_window_are_seen_by_the_guard(tmp_path: Path) -> None:
    span_uj = 150_000_000
    zone(tmp_path, "intel-rapl:0", "package-0", 140_000_000, span_uj)
    # At 110 W the counter wraps every 1.4 s: no machine is so busy that the guard is that late.
    meter = RaplMeter(tmp_path, read=rising(100.0, span_uj), most_watts=110.0)
    assert isinstance(meter.probe(), MeterInfo)
    mark = meter.begin()
    assert any(thread.name == "counter-guard" for thread in threading.enumerate())
    time.sleep(2.0)
    reading = meter.end(mark)
    assert reading.joules == pytest.approx(100 * reading.duration_s, abs=15)
    assert reading.joules > span_uj / 1e6
    assert reading.flags == ("wrap_corrected",)
    assert not any(thread.name == "counter-guard" for thread in threading.enumerate())


def test_closing_within_a_window_leaves_no_thread(tree: Path) -> None:
    window = Window(tree)
    window.meter.close()
    assert not any(thread.name == "counter-guard" for thread in threading.enumerate())


def test_more_than_one_possible_wrap_between_two_readings_is_no_energy(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    window = Window(tmp_path)
    add(tmp_path, "intel-rapl:0", 60)
    reading = window.end(3600)
    assert reading.joules is None
    assert reading.flags == ("gaps",)
    assert "more than once" in (reading.reason or "")


def test_a_reset_is_no_energy_and_not_257_kilojoules(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000_000)
    window = Window(tmp_path)
    path.write_text("1000000\n")
    reading = window.end()
    assert reading.joules is None
    assert reading.flags == ("counter_reset",)
    assert "reset" in (reading.reason or "")


def test_a_reset_that_could_pass_for_a_wrap_is_told_by_the_power_limit(tmp_path: Path) -> None:
    limits = {"constraint_0_power_limit_uw": 150_000_000, "constraint_1_max_power_uw": 0}
    path = zone(tmp_path, "intel-rapl:0", "package-0", SPAN_UJ - 20_000_000_000, **limits)
    window = Window(tmp_path)
    path.write_text("1000000\n")  # 20 kJ in 20 s: 1 kW from a package that is held to 150 W
    assert window.end(20.0).flags == ("counter_reset",)


def test_a_jump_that_no_power_explains_is_no_energy(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    window = Window(tmp_path)
    path.write_text("200000000000\n")
    assert window.end().flags == ("counter_reset",)


@pytest.mark.parametrize("seconds", [0.002, 5.0])
def test_a_counter_that_does_not_move_is_no_zero(tree: Path, seconds: float) -> None:
    window = Window(tree)
    add(tree, "intel-rapl:0", 0.2)
    reading = window.end(seconds)
    assert reading.joules is None
    assert "cpu:1" in (reading.reason or "")


@pytest.mark.parametrize("content", ["", "nonsense\n", "-5\n", "\x00\n"])
def test_a_counter_that_turns_unreadable_gives_a_reason(tmp_path: Path, content: str) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    window = Window(tmp_path)
    path.write_text(content)
    reading = window.end()
    assert reading.joules is None
    assert "unreadable" in (reading.reason or "")


@pytest.mark.parametrize("when", ["begin", "end"])
def test_a_counter_that_disappears_gives_a_reason(tmp_path: Path, when: str) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    window = Window(tmp_path)
    path.unlink()
    if when == "begin":
        window.mark = window.meter.begin()
        path.write_text("6000000\n")
    reading = window.end()
    assert reading.joules is None
    assert "unreadable" in (reading.reason or "")
    assert window.meter.watts() is None or when == "begin"


def test_no_data_from_the_kernel_gives_a_reason(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    broken = []

    def read(file: Path) -> str:
        if broken and file == path:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), str(file))
        return file.read_text()

    window = Window(tmp_path, read=read)
    broken.append(True)
    reading = window.end()
    assert reading.joules is None
    assert "No data available" in (reading.reason or "")
    found = RaplMeter(tmp_path, read=read).probe()
    assert isinstance(found, Unmeasurable)
    assert "No data available" in found.reason


def test_no_permission_names_the_command_that_gives_it(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)

    def read(file: Path) -> str:
        if file.name == "energy_uj":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return file.read_text()

    found = RaplMeter(tmp_path, read=read).probe()
    assert isinstance(found, Unmeasurable)
    assert "permission" in found.reason
    assert f"sudo chmod a+r {tmp_path}/intel-rapl:*/energy_uj" in found.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_this_user_may_not_read_is_a_permission(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000).chmod(0)
    found = RaplMeter(tmp_path).probe()
    assert isinstance(found, Unmeasurable)
    assert "permission" in found.reason


def test_what_cannot_be_measured_says_why_and_what_to_do(tmp_path: Path) -> None:
    nothing = RaplMeter(tmp_path / "none").probe()
    assert isinstance(nothing, Unmeasurable)
    assert "no powercap" in nothing.reason
    empty = RaplMeter(tmp_path).probe()
    assert isinstance(empty, Unmeasurable)
    assert "no CPU package" in empty.reason
    path = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    path.write_text("nonsense")
    assert isinstance(RaplMeter(tmp_path).probe(), Unmeasurable)
    path.unlink()
    path.mkdir()
    assert isinstance(RaplMeter(tmp_path).probe(), Unmeasurable)
    path.rmdir()
    hidden = RaplMeter(tmp_path).probe()
    assert isinstance(hidden, Unmeasurable)
    assert "containers hide" in hidden.remedy


def test_a_range_of_zero_is_refused(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1, 0)
    found = RaplMeter(tmp_path).probe()
    assert isinstance(found, Unmeasurable)
    assert "not positive" in found.reason


def test_the_update_period_is_measured_at_probe(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    clock = Clock()

    def read(file: Path) -> str:
        return str(clock.at_ns // 4_000_000) if file == path else file.read_text()

    found = RaplMeter(tmp_path, read=read, now_ns=clock.now_ns).probe()
    assert isinstance(found, MeterInfo)
    assert found.update_period_s == pytest.approx(0.004, rel=0.05)


def test_a_still_counter_has_the_documented_update_period(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    assert Window(tmp_path).info.update_period_s == 0.001


def test_the_edges_count_for_the_power_that_the_package_may_reach(tmp_path: Path) -> None:
    limits = {"constraint_0_power_limit_uw": 100_000_000}
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000, **limits)
    window = Window(tmp_path)
    add(tmp_path, "intel-rapl:0", 50)
    reading = window.end(1.0)
    # 0.95 x 1 ms x (200 W / 50 W) / 1 s
    assert reading.parts["quantisation"] == pytest.approx(0.0038, rel=0.01)
    assert reading.uncertainty == pytest.approx((0.05**2 + 0.0038**2) ** 0.5, rel=1e-3)


def test_the_power_now_comes_from_two_readings(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    clock = Clock()

    def wait(seconds: float) -> None:
        clock.spend(seconds)
        add(tmp_path, "intel-rapl:0", 8)

    meter = RaplMeter(tmp_path, now_ns=clock.now_ns, wait=wait)
    assert meter.watts() is None
    meter.probe()
    assert meter.watts() == pytest.approx(80, rel=0.01)
