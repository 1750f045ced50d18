import pytest

from harness.meters.base import MeterInfo, Unmeasurable
from harness.meters.model import ModelMeter, busy_and_total_s
from tests.factories import make_target

TDP = {"value": 100.0, "source": "data sheet", "date": "2026-11-01"}


def target(kind="cpu", device="cpu", **hardware):
    tree = {"chip": "Chip", "vendor": "Acme", "kind": kind, **hardware}
    return make_target(hardware=tree, runtime={"adapter": "fake", "device": device})


def cpuinfo(folder, flags="fpu sse2"):
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    return path


def window(meter, utilisation=(0.0, 1.0)):
    assert isinstance(meter.probe(), MeterInfo)
    return meter.modelled(10.0, utilisation)


def bounds(reading):
    watts = reading.joules / reading.duration_s
    return watts * (1 - reading.uncertainty), watts * (1 + reading.uncertainty)


def test_without_a_tdp_there_is_no_model_and_no_zero():
    found = ModelMeter(target()).probe()
    assert isinstance(found, Unmeasurable)
    assert "tdp_w" in found.reason
    assert "with its source" in found.remedy
    assert isinstance(ModelMeter(target(tdp_w={**TDP, "value": 0.0})).probe(), Unmeasurable)


def test_the_reading_is_an_interval_marked_modelled():
    reading = window(ModelMeter(target(tdp_w=TDP)), (1.0, 1.0))
    assert reading.provenance == "modelled"
    assert reading.boundary == "package"
    assert reading.parts == {"model": reading.uncertainty}
    assert reading.joules == pytest.approx(10 * (55 + 97) / 2)
    low, high = bounds(reading)
    assert low <= 55
    assert high >= 97


def test_an_unknown_utilisation_reaches_from_idle_to_full_load():
    low, high = bounds(window(ModelMeter(target(tdp_w=TDP))))
    assert low == pytest.approx(10)
    assert high == pytest.approx(97)


def test_an_accelerator_is_a_chip_and_all_its_chips_count():
    reading = window(ModelMeter(target("npu", "other", tdp_w=TDP, count=4)))
    assert reading.boundary == "chip"
    assert reading.covers == ("npu:0", "npu:1", "npu:2", "npu:3")
    low, high = bounds(reading)
    assert low == pytest.approx(40)
    assert high == pytest.approx(400)


def test_the_interval_is_never_narrower_than_such_models_err():
    assert window(ModelMeter(target(tdp_w=TDP)), (0.5, 0.5)).uncertainty >= 0.40
    accelerator = ModelMeter(target("gpu", "cuda", tdp_w=TDP))
    assert window(accelerator, (1.0, 1.0)).uncertainty >= 0.35


def used(folder, times, flags="fpu", **changes):
    """Return the reading of a window between the two readings of the CPU times."""
    values = iter([(0.0, 0.0), *times])
    meter = ModelMeter(
        target(tdp_w=TDP, **changes), lambda: next(values), cpuinfo(folder, flags=flags)
    )
    assert isinstance(meter.probe(), MeterInfo)
    return meter.end(meter.begin())


def test_the_machines_utilisation_narrows_the_interval(tmp_path):
    reading = used(tmp_path, [(10.0, 100.0), (60.0, 150.0)])
    assert reading.joules == pytest.approx(reading.duration_s * (55 + 97) / 2)
    idle = used(tmp_path, [(10.0, 100.0), (10.0, 150.0)])
    assert idle.joules == pytest.approx(idle.duration_s * 20)


def test_times_too_coarse_to_tell_leave_the_utilisation_unknown(tmp_path):
    low, high = bounds(used(tmp_path, [(10.0, 100.0), (10.0, 100.05)]))
    assert (low, high) == (pytest.approx(10), pytest.approx(97))


def test_a_virtual_machine_does_not_see_its_package(tmp_path):
    reading = used(tmp_path, [(10.0, 100.0), (60.0, 150.0)], flags="fpu hypervisor")
    assert reading.flags == ("shared_device",)
    assert bounds(reading) == (pytest.approx(10), pytest.approx(97))


def test_the_cpu_times_of_this_machine_rise():
    busy, total = busy_and_total_s()
    assert 0 < busy <= total
