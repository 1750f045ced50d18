"""Power of a unit: the whole machine's, or modelled and said so, or not known and why."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.economics import NoPower, Power
from harness.mapper.power import HOST_SPREAD, UnitLoad, power_of
from harness.schema.target import Hardware
from tests.factories import make_point, make_workload
from tests.mapper.metered import metered, reading

WORKLOAD = make_workload()
CPU = Hardware(chip="CPU", vendor="Acme", kind="cpu")
GPU = Hardware(chip="GPU", vendor="Acme", kind="gpu", count=2)


def fact(value):
    return {"value": value, "source": "data sheet", "date": "2026-01-01"}


def declared(hardware, **facts):
    return Hardware.model_validate(
        {**hardware.model_dump(), **{name: fact(value) for name, value in facts.items()}}
    )


def node(rate, watts, **changes):
    return metered(reading(watts * 10, "node", **changes), rate=rate, load=rate / 100)


def test_the_node_is_paid_for_as_metered():
    found = power_of([[metered(reading(50.0, "package"), reading(90.0, "node"))]], CPU)

    assert found.watts == pytest.approx(9.0)
    assert (found.low, found.high) == (pytest.approx(8.1), pytest.approx(9.9))
    assert not found.modelled
    assert "boundary node" in found.basis


@pytest.mark.parametrize(
    ("hardware", "boundary"), [(GPU, "chip"), (GPU, "module"), (CPU, "package")]
)
def test_the_chips_alone_never_stand_for_the_machine(hardware, boundary):
    found = power_of([[metered(reading(50.0, boundary))]], hardware)

    assert isinstance(found, NoPower)
    assert found.reason.startswith(f"not known: only {boundary} was metered")
    assert "no host_power_w" in found.reason
    assert "host_power_w" in found.remedy


def test_chips_with_a_declared_host_are_a_modelled_machine_with_a_band():
    found = power_of([[metered(reading(3000.0, "chip"))]], declared(GPU, host_power_w=200.0))

    assert found.watts == pytest.approx(500.0)
    assert found.low == pytest.approx(270 + 200 * (1 - HOST_SPREAD))
    assert found.high == pytest.approx(330 + 200 * (1 + HOST_SPREAD))
    assert found.modelled
    assert "modelled: chip metered" in found.basis
    assert "data sheet" in found.basis


def test_a_package_says_nothing_about_a_gpu_even_with_its_host():
    found = power_of([[metered(reading(50.0, "package"))]], declared(GPU, host_power_w=200.0))

    assert isinstance(found, NoPower)


def test_the_tdp_alone_is_no_power_of_a_machine():
    found = power_of([[make_point(WORKLOAD)]], declared(GPU, tdp_w=300.0))

    assert isinstance(found, NoPower)
    assert "no host_power_w" in found.reason
    assert "no powercap tree" in found.reason


def test_the_tdp_with_a_declared_host_is_a_modelled_upper_bound():
    found = power_of([[make_point(WORKLOAD)]], declared(GPU, tdp_w=300.0, host_power_w=200.0))

    assert found.watts == pytest.approx(800.0)
    assert found.modelled
    assert found.low == pytest.approx(200 * (1 - HOST_SPREAD))
    assert "TDP of the 2 chips" in found.basis


@pytest.mark.parametrize("flag", ["partial_coverage", "simulated"])
def test_a_reading_that_is_not_the_whole_pays_for_nothing(flag):
    found = power_of([[metered(reading(90.0, "node", flags=(flag,)))]], CPU)

    assert isinstance(found, NoPower)
    assert flag.replace("_", " ") in found.reason


def test_other_flags_are_told_with_the_power():
    found = power_of([[metered(reading(90.0, "node", flags=("cross_check_failed",)))]], CPU)

    assert "flags: cross check failed" in found.basis


def test_repeats_metered_at_different_boundaries_have_no_power():
    found = power_of([[metered(reading(9.0, "node"))], [metered(reading(9.0, "wall"))]], CPU)

    assert isinstance(found, NoPower)
    assert "different boundaries" in found.reason


def test_between_metered_loads_the_power_is_linear():
    series = [[node(10.0, 100.0), node(20.0, 150.0), node(40.0, 200.0)]]

    found = power_of(series, CPU, UnitLoad(mean=15.0, peak=20.0))

    assert found.watts == pytest.approx(125.0)
    assert found.peak_watts == pytest.approx(200.0)
    assert "3 loads" in found.basis
    assert "upper bound" not in found.basis


def test_below_the_lowest_metered_load_its_power_stands_as_an_upper_bound():
    found = power_of([[node(10.0, 100.0)]], CPU, UnitLoad(mean=2.0, peak=8.0))

    assert found.watts == pytest.approx(100.0)
    assert found.high == pytest.approx(110.0)
    assert found.low == pytest.approx(0.2 * 90.0)
    assert "an upper bound" in found.basis


def test_the_warm_idle_power_is_the_power_at_no_load():
    warm = [[reading(400.0, "node")]]

    found = power_of([[node(10.0, 100.0)]], CPU, UnitLoad(mean=2.0, peak=8.0), warm)

    assert found.watts == pytest.approx(40.0 + 0.2 * 60.0)
    assert found.low == pytest.approx(36.0 + 0.2 * 54.0)
    assert "at one load and idle" in found.basis
    assert "upper bound" not in found.basis
    assert found.peak_watts == pytest.approx(100.0)


@pytest.mark.parametrize(
    "changes", [{"meter": "other"}, {"covers": ("y",)}, {"flags": ("partial_coverage",)}]
)
def test_an_idle_power_of_something_else_is_not_the_unit_s(changes):
    warm = [[reading(400.0, "node", **changes)]]

    found = power_of([[node(10.0, 100.0)]], CPU, UnitLoad(mean=2.0, peak=8.0), warm)

    assert found.watts == pytest.approx(100.0)
    assert "an upper bound" in found.basis


def test_a_chip_s_idle_power_has_the_declared_host_added():
    hardware = declared(GPU, host_power_w=200.0)
    point = metered(reading(3000.0, "chip"), rate=10.0, load=0.5)
    warm = [[reading(1000.0, "chip")]]

    found = power_of([[point]], hardware, UnitLoad(mean=5.0, peak=10.0), warm)

    assert found.watts == pytest.approx(200.0 + 200.0)
    assert found.modelled


@given(
    idle=st.floats(0, 200),
    steps=st.lists(st.floats(0, 200), min_size=3, max_size=3),
    hours=st.lists(st.floats(0, 30), min_size=2, max_size=24),
)
def test_the_bounds_hold_whatever_the_hours_are(idle, steps, hours):
    """Power that rises with the load, linear between the metered loads and down to idle."""
    rates = (10.0, 20.0, 30.0)
    watts = [idle + sum(steps[: i + 1]) for i in range(3)]
    corners = [(0.0, idle), *zip(rates, watts, strict=True)]

    def power(rate):
        for (a, low), (b, high) in pairwise(corners):
            if rate <= b:
                return low + (high - low) * (rate - a) / (b - a)
        return corners[-1][1]

    mean = sum(hours) / len(hours)
    true = sum(power(rate) for rate in hours) / len(hours)
    series = [[node(r, w, uncertainty=0.0) for r, w in zip(rates, watts, strict=True)]]
    found = power_of(series, CPU, UnitLoad(mean=mean, peak=max(hours)))

    assert isinstance(found, Power)
    assert found.low - 1e-6 <= true <= found.high + 1e-6
    assert found.low <= found.watts <= found.high


def test_without_meter_and_declaration_the_reason_is_the_meters():
    found = power_of([[make_point(WORKLOAD)]], CPU)

    assert isinstance(found, NoPower)
    assert "no powercap tree on this machine" in found.reason
    assert "no tdp_w and no host_power_w" in found.reason
    assert found.remedy.startswith("run on bare metal")
