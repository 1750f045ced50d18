"""The meters of a target: who reads, who may not cost the cell, when the model speaks."""

import time

import pytest

from harness import plugins
from harness.errors import SpecError
from harness.measure.energy import Energy, meter_names
from harness.meters.base import Mark, MeterInfo, Unmeasurable, reading
from tests.factories import make_target

TDP = {"value": 100.0, "source": "data sheet", "date": "2026-11-01"}


def target(kind="cpu", device="cpu", vendor="Acme", **hardware):
    tree = {"chip": "Chip", "vendor": vendor, "kind": kind, **hardware}
    return make_target(hardware=tree, runtime={"adapter": "fake", "device": device})


class Known:
    """A meter of 50 W over its windows, or one that breaks at `breaks`."""

    def __init__(self, name, boundary="package", breaks=None, period_s=0.001, order=None):
        self.info = MeterInfo(name, boundary, (f"{name}:0",), "test", period_s, 0.05, "declared")
        self.breaks = breaks
        self.order = [] if order is None else order

    def _reach(self, step):
        self.order.append(f"{self.info.name}.{step}")
        if self.breaks == step:
            raise RuntimeError(f"no {step}")

    def probe(self):
        self._reach("probe")
        return self.info

    def begin(self):
        self._reach("begin")
        return Mark(time.perf_counter_ns())

    def end(self, mark):
        self._reach("end")
        seconds = (time.perf_counter_ns() - mark.at_ns) / 1e9
        return reading(self.info, 50 * seconds, seconds, {})

    def close(self):
        self._reach("close")


class Absent(Known):
    def probe(self):
        return Unmeasurable(f"no {self.info.name} here", "buy one")


@pytest.fixture
def install(monkeypatch):
    """Return a function that puts meters in the place of the registered ones."""

    def put(**meters):
        def find(name):
            if name not in meters:
                raise SpecError(f"unknown meter '{name}'", hint="install it")
            return meters[name]

        monkeypatch.setattr(plugins, "meter", find)

    return put


def readings(energy):
    energy.begin()
    found = energy.end()
    energy.close()
    return {one.meter: one for one in found}


def test_each_device_has_its_meters():
    assert meter_names(target()) == ("rapl", "hwmon")
    assert meter_names(target("gpu", "cuda", "NVIDIA")) == ("nvml", "rapl")
    assert meter_names(target("gpu", "cuda", "AMD")) == ("amd", "rapl")
    assert meter_names(target("gpu", "other", "Advanced Micro Devices")) == ("amd", "rapl")
    assert meter_names(target("gpu", "cuda", "Camden")) == ("nvml", "rapl")
    assert meter_names(target("npu", "remote")) == ()


def test_boundaries_stand_side_by_side_and_are_never_added(install):
    install(nvml=Known("nvml", "chip"), rapl=Known("rapl"))
    found = readings(Energy(target("gpu", "cuda", "NVIDIA", tdp_w=TDP)))
    assert {name: one.boundary for name, one in found.items()} == {
        "nvml": "chip",
        "rapl": "package",
    }


def test_the_model_speaks_only_where_nothing_was_metered(install):
    install(rapl=Known("rapl"), hwmon=Absent("hwmon"))
    assert "model" not in readings(Energy(target(tdp_w=TDP)))
    install(rapl=Absent("rapl"), hwmon=Known("hwmon", "module"))
    assert "model" not in readings(Energy(target(tdp_w=TDP)))
    install(rapl=Absent("rapl"), hwmon=Absent("hwmon"))
    assert readings(Energy(target(tdp_w=TDP)))["model"].provenance == "modelled"
    install(nvml=Absent("nvml"), rapl=Known("rapl"))
    found = readings(Energy(target("gpu", "cuda", "NVIDIA", tdp_w=TDP)))
    assert (found["rapl"].provenance, found["model"].boundary) == ("counter", "chip")


def test_a_meter_that_loses_its_joules_leaves_room_for_the_model(install):
    install(rapl=Known("rapl", breaks="end"), hwmon=Absent("hwmon"))
    found = readings(Energy(target(tdp_w=TDP)))
    assert found["rapl"].joules is None
    assert found["model"].joules > 0


def test_without_a_meter_and_a_tdp_every_reading_has_a_reason_and_a_remedy(install):
    install(rapl=Absent("rapl"))
    found = readings(Energy(target()))
    assert list(found) == ["rapl", "hwmon", "model"]
    assert all(one.joules is None and one.reason and one.remedy for one in found.values())
    assert found["hwmon"].remedy == "install it"
    assert "tdp_w" in found["model"].remedy


def test_a_remote_device_points_to_the_wall(install):
    install()
    found = readings(Energy(target("npu", "remote")))
    assert "harness import power" in found["none"].remedy


@pytest.mark.parametrize("step", ["probe", "begin", "end", "close"])
def test_a_meter_that_raises_costs_its_joules_and_not_the_cell(install, step):
    install(rapl=Known("rapl", breaks=step), hwmon=Known("hwmon", "module"))
    found = readings(Energy(target()))
    assert found["hwmon"].joules > 0
    if step == "close":
        assert found["rapl"].joules > 0
    else:
        assert found["rapl"].joules is None
        assert f"RuntimeError: no {step}" in found["rapl"].reason


def test_what_is_no_reading_is_not_taken_for_one(install):
    class Odd(Known):
        def end(self, mark):
            return 12.0

    class Silent(Known):
        def probe(self):
            return None

    install(rapl=Odd("rapl"), hwmon=Silent("hwmon"))
    found = readings(Energy(target()))
    assert "returned float" in found["rapl"].reason
    assert "returned NoneType" in found["hwmon"].reason


def test_a_meter_that_waits_is_outside_the_windows_of_the_others(install):
    order = []
    install(
        rapl=Known("rapl", period_s=0.001, order=order),
        nvml=Known("nvml", "chip", period_s=0.1, order=order),
    )
    found = readings(Energy(target("gpu", "cuda", "NVIDIA")))
    assert list(found) == ["nvml", "rapl"]
    windows = [step for step in order if step.endswith(("begin", "end"))]
    assert windows == ["nvml.begin", "rapl.begin", "rapl.end", "nvml.end"]


def test_a_device_of_others_is_read_by_what_others_register(install, monkeypatch):
    registered = [plugins.Plugin(n, "acme", "acme:Meter", plugins.METERS) for n in ("rapl", "acme")]
    monkeypatch.setattr(plugins, "meters", lambda: registered)
    install(acme=Known("acme", "chip"))
    found = readings(Energy(target("npu", "other")))
    assert list(found) == ["acme"]
    assert found["acme"].joules > 0
