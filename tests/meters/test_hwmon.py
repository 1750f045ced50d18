"""The hwmon meter over trees of real files as Jetson, Grace and servers show them."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from harness.meters.base import MeterInfo, Unmeasurable
from harness.meters.hwmon import HwmonMeter
from tests.measure.virtual import VirtualClock


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")
    return folder


def jetson(root: Path) -> Path:
    write(root / "hwmon0", name="cpu_thermal", temp1_input=40_000)
    return write(
        root / "hwmon1",
        name="ina3221",
        in1_label="VDD_IN",
        in1_input=5_000,
        curr1_input=2_000,
        in2_label="VDD_CPU_GPU_CV",
        in2_input=5_000,
        curr2_input=1_000,
        in3_label="VDD_SOC",
        in3_input=5_000,
        curr3_input=500,
        in7_label="sum of shunt voltages",
        in7_input=12,
    )


def grace(root: Path, *labels: str, watts: float = 100.0) -> None:
    for number, label in enumerate(labels):
        write(root / f"hwmon{number}", name="power_meter")
        write(
            root / f"hwmon{number}" / "device",
            power1_average=round(watts * 1e6),
            power1_average_interval=50,
            power1_oem_info=label,
        )


class Window:
    def __init__(self, root: Path, **arguments) -> None:
        self.clock = VirtualClock()
        self.meter = HwmonMeter(root, now_ns=self.clock.now_ns, background=False, **arguments)
        self.info = self.meter.probe()
        assert isinstance(self.info, MeterInfo), self.info
        self.mark = self.meter.begin()

    def sample(self, seconds: float = 0.1) -> None:
        self.clock.spend(seconds)
        self.meter.sampler.sample()

    def end(self, seconds: float = 0.1):
        self.clock.spend(seconds)
        return self.meter.end(self.mark)


def test_the_module_rail_counts_and_its_parts_are_not_added(tmp_path: Path) -> None:
    jetson(tmp_path)
    window = Window(tmp_path)
    assert window.info.boundary == "module"
    assert window.info.covers == ("cpu:0", "module:0")
    for _ in range(100):
        window.sample()
    reading = window.end()
    assert reading.joules == pytest.approx(10.0 * 10.1)
    assert reading.provenance == "sampled"
    assert set(reading.parts) == {"sensor", "statistical", "edge"}
    assert reading.flags == ()


def test_three_rails_make_an_agx_orin_and_the_fourth_is_inside_them(tmp_path: Path) -> None:
    rails = {"VDD_GPU_SOC": 1_000, "VDD_CPU_CV": 500, "VIN_SYS_5V0": 700}
    files: dict[str, object] = {"name": "ina3221"}
    for number, (label, milliamperes) in enumerate(rails.items(), start=1):
        files |= {f"in{number}_label": label, f"in{number}_input": 5_000}
        files |= {f"curr{number}_input": milliamperes}
    write(tmp_path / "hwmon0", **files)
    inside = {"in2_label": "VDDQ_VDD2_1V8AO", "in2_input": 5_000, "curr2_input": 300}
    write(tmp_path / "hwmon1", name="ina3221", **inside)
    assert Window(tmp_path).meter.watts() == pytest.approx(11.0)
    (tmp_path / "hwmon0" / "in3_label").unlink()
    found = HwmonMeter(tmp_path).probe()
    assert isinstance(found, Unmeasurable)
    assert "VDD_CPU_CV" in found.reason


def test_grace_hopper_counts_its_module_only(tmp_path: Path) -> None:
    grace(
        tmp_path,
        "Grace Power Socket 0",
        "CPU Power Socket 0",
        "SysIO Power Socket 0",
        "Module Power Socket 0",
    )
    window = Window(tmp_path)
    assert (window.info.boundary, window.info.covers) == ("module", ("cpu:0", "module:0"))
    assert window.info.update_period_s == 0.05
    assert window.meter.watts() == pytest.approx(100)


def test_two_grace_sockets_are_summed(tmp_path: Path) -> None:
    grace(tmp_path, "Grace Power Socket 0", "CPU Power Socket 0", "Grace Power Socket 1")
    window = Window(tmp_path)
    assert (window.info.boundary, window.info.covers) == ("package", ("cpu:0", "cpu:1"))
    assert window.meter.watts() == pytest.approx(200)


def test_a_power_meter_without_a_label_is_the_nodes(tmp_path: Path) -> None:
    grace(tmp_path, "")
    assert Window(tmp_path).info.boundary == "node"


def test_parts_of_a_socket_alone_are_not_its_energy(tmp_path: Path) -> None:
    grace(tmp_path, "CPU Power Socket 0", "SysIO Power Socket 0")
    found = HwmonMeter(tmp_path).probe()
    assert isinstance(found, Unmeasurable)
    assert "CPU Power Socket 0" in found.reason


def test_the_average_is_read_where_both_are_there(tmp_path: Path) -> None:
    grace(tmp_path, "Grace Power Socket 0")
    write(tmp_path / "hwmon0" / "device", power1_input=7_000_000)
    assert Window(tmp_path).meter.watts() == pytest.approx(100)


def test_no_tree_and_an_empty_tree_say_what_is_missing(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "none"):
        found = HwmonMeter(root).probe()
        assert isinstance(found, Unmeasurable)
        assert "no hardware monitor" in found.reason
        assert found.remedy


def test_a_negative_sample_is_dropped_and_flagged(tmp_path: Path) -> None:
    rails = jetson(tmp_path)
    window = Window(tmp_path)
    for number in range(20):
        (rails / "curr1_input").write_text("-8\n" if number == 10 else "2000\n")
        window.sample()
    reading = window.end()
    assert reading.joules == pytest.approx(10.0 * 2.1)
    assert reading.flags == ("negative_sample",)


def test_one_negative_rail_of_a_sum_spoils_the_sample(tmp_path: Path) -> None:
    grace(tmp_path, "Grace Power Socket 0", "Grace Power Socket 1")
    window = Window(tmp_path)
    (tmp_path / "hwmon1" / "device" / "power1_average").write_text("-1000000\n")
    assert window.meter.watts() is None


@pytest.mark.parametrize("content", ["", "nonsense\n"])
def test_a_sensor_that_turns_unreadable_gives_a_reason(tmp_path: Path, content: str) -> None:
    rails = jetson(tmp_path)
    window = Window(tmp_path)
    (rails / "in1_input").write_text(content)
    for _ in range(50):
        window.sample()
    reading = window.end()
    assert reading.joules is None
    assert "valid power samples" in (reading.reason or "")


def test_a_hole_in_the_samples_is_flagged(tmp_path: Path) -> None:
    rails = jetson(tmp_path)
    window = Window(tmp_path)
    for number in range(100):
        text = "" if 40 <= number < 60 else "5000\n"
        (rails / "in1_input").write_text(text)
        window.sample()
    reading = window.end()
    assert reading.flags == ("gaps",)
    assert reading.joules == pytest.approx(101)


def test_no_permission_names_the_command_that_gives_it(tmp_path: Path) -> None:
    jetson(tmp_path)

    def read(path: Path) -> str:
        if path.name == "curr1_input":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return path.read_text()

    found = HwmonMeter(tmp_path, read=read).probe()
    assert isinstance(found, Unmeasurable)
    assert f"sudo chmod a+r {tmp_path}/hwmon1/curr1_input" in found.remedy


@pytest.mark.parametrize("microwatts", ["0", "-3000000", "90000000000"])
def test_an_impossible_power_is_no_energy(tmp_path: Path, microwatts: str) -> None:
    grace(tmp_path, "Grace Power Socket 0")
    file = tmp_path / "hwmon0" / "device" / "power1_average"
    file.write_text(microwatts)
    meter = HwmonMeter(tmp_path)
    found = meter.probe()
    if isinstance(found, Unmeasurable):
        assert "reads" in found.reason
        return
    mark = meter.begin()
    reading = meter.end(mark)
    assert reading.joules is None
    assert "0 W" in (reading.reason or "")


def test_a_thread_samples_a_real_window_and_ends_with_it(tmp_path: Path) -> None:
    jetson(tmp_path)
    meter = HwmonMeter(tmp_path)
    assert isinstance(meter.probe(), MeterInfo)
    mark = meter.begin()
    time.sleep(0.7)
    reading = meter.end(mark)
    assert reading.joules == pytest.approx(10 * reading.duration_s)
    assert reading.duration_s >= 0.7
    assert "short_window" in reading.flags
    assert len(meter.sampler.trace.watts) > 2
    assert not any(thread.name == "power-sampler" for thread in threading.enumerate())
    meter.begin()
    meter.close()
    assert not any(thread.name == "power-sampler" for thread in threading.enumerate())
