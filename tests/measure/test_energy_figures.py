"""Joules of a window to figures: what each is, between which bounds, and what has none."""

import math

import pytest

from harness.measure.energy_figures import Work, energy_metrics, work_of
from harness.schema.record import EnergyReading
from harness.statistics import proportion
from tests.factories import make_metric, make_point, make_workload


def reading(joules=100.0, duration_s=10.0, boundary="package", **changes):
    tree = {
        "meter": "rapl",
        "joules": joules,
        "duration_s": duration_s,
        "boundary": boundary,
        "provenance": "counter",
        "uncertainty": 0.1,
    }
    return EnergyReading(**{**tree, **changes})


def test_power_and_joules_by_boundary():
    work = Work(traffic_s=10.0, requests=50, output_tokens=400.0)

    found = energy_metrics([reading(), reading(300.0, boundary="wall")], work)

    assert {name: metric.value for name, metric in found.items()} == {
        "power_w@package": 10.0,
        "energy_j_per_request@package": 2.0,
        "energy_j_per_output_token@package": 0.25,
        "power_w@wall": 30.0,
        "energy_j_per_request@wall": 6.0,
        "energy_j_per_output_token@wall": 0.75,
    }
    power = found["power_w@package"]
    assert (power.unit, power.low, power.high) == ("W", pytest.approx(9.0), pytest.approx(11.0))


def test_time_without_traffic_lowers_the_joules_and_raises_the_power_that_can_be():
    found = energy_metrics([reading()], Work(traffic_s=8.0, requests=50))

    joules, power = found["energy_j_per_request@package"], found["power_w@package"]
    assert joules.value == 2.0
    assert joules.low == pytest.approx(2.0 * 0.8 * 0.9)
    assert joules.high == pytest.approx(2.0 * 1.1)
    assert power.value == 10.0
    assert power.low == pytest.approx(10.0 * 0.9)
    assert power.high == pytest.approx(10.0 / 0.8 * 1.1)


def test_traffic_longer_than_the_metered_time_raises_nothing():
    found = energy_metrics([reading()], Work(traffic_s=12.0, requests=50))

    assert found["energy_j_per_request@package"].low == pytest.approx(1.8)


def test_joules_per_good_request_carry_the_interval_of_their_share():
    share = proportion(40, 50, better="higher")

    found = energy_metrics([reading()], Work(10.0, 50, attainment=share))

    good = found["energy_j_per_good_request@package"]
    assert (good.unit, good.value, good.n) == ("J/good request", 2.5, 40)
    assert good.high == pytest.approx(2.5 * (1 + math.hypot(0.1, 0.8 / share.low - 1)))
    assert good.low == pytest.approx(2.5 * (1 - math.hypot(0.1, 1 - 0.8 / share.high)))


def test_no_good_request_is_no_figure_with_a_reason():
    work = Work(10.0, 50, attainment=proportion(0, 50, better="higher"))

    good = energy_metrics([reading()], work)["energy_j_per_good_request@package"]

    assert good.value is None
    assert good.reason == "no request met every limit of the SLO"


def test_requests_that_all_failed_leave_the_power_only():
    found = energy_metrics([reading()], Work(10.0, 0))

    assert list(found) == ["power_w@package"]


def test_no_joules_no_figures():
    none = reading(None, boundary=None, provenance=None, uncertainty=None, reason="none here")

    assert energy_metrics([none, reading(duration_s=0.0)], Work(10.0, 50)) == {}


def test_of_two_meters_of_a_boundary_the_first_counts():
    found = energy_metrics([reading(), reading(900.0, meter="hwmon")], Work(10.0, 50))

    assert found["power_w@package"].method == "rapl, counter"


def test_flags_are_told_with_the_figure():
    found = energy_metrics([reading(flags=("cross_check_failed",))], Work(10.0, 50))

    assert found["power_w@package"].method == "rapl, counter (flags: cross check failed)"


def test_a_stored_point_gives_the_same_work_back():
    point = make_point(make_workload(), rate=10.0)
    share = make_metric(0.9, unit="share", better="higher")
    point = point.model_copy(update={"metrics": {**point.metrics, "slo_attainment": share}})

    work = work_of(point)

    assert (work.traffic_s, work.requests) == (10.0, 100)
    assert work.output_tokens == pytest.approx(800.0)
    assert (work.attainment.value, work.attainment.n) == (0.9, 100)
    cut = work_of(point.model_copy(update={"warm_up_requests": 50}))
    assert (cut.traffic_s, cut.requests) == (15.0, 150)
    assert (cut.output_tokens, cut.attainment) == (0.0, None)
