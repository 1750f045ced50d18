"""Slope, proportionality and levels of power: exact on known curves, covered on random ones."""

import math
from itertools import pairwise

import numpy as np
import pytest

from harness.measure.energy_profile import (
    Draw,
    draw_of,
    energy_profile,
    marginal_of,
    proportionality_of,
)
from harness.measure.idle import drift
from harness.schema.record import EnergyReading
from tests.factories import make_point, make_workload

WORKLOAD = make_workload()


def reading(watts, duration_s=10.0, **changes):
    tree = {
        "meter": "nvml",
        "joules": watts * duration_s,
        "duration_s": duration_s,
        "boundary": "chip",
        "covers": ("gpu:0",),
        "provenance": "counter",
        "uncertainty": math.hypot(0.05, 0.01),
        "parts": {"sensor": 0.05, "quantisation": 0.01},
    }
    return EnergyReading(**{**tree, **changes})


def point(rate, watts, **changes):
    return make_point(WORKLOAD, rate=rate, load=rate / 100, energy=(reading(watts),), **changes)


LINE = [point(rate, 50.0 + rate) for rate in (10.0, 40.0, 80.0)]
WARM = (reading(50.0, 60.0),)


def value(profile, name):
    return profile.metrics[f"{name}@chip"]


def test_a_line_gives_its_slope_and_the_check_agrees():
    profile = energy_profile(LINE, 2, (reading(20.0, 60.0),), WARM)

    assert value(profile, "idle_off_w").value == pytest.approx(20.0)
    assert value(profile, "idle_warm_w").value == pytest.approx(50.0)
    assert value(profile, "loaded_w").value == pytest.approx(130.0)
    assert value(profile, "marginal_j_per_request").value == pytest.approx(1.0)
    assert value(profile, "above_idle_j_per_request").value == pytest.approx(1.0)
    assert value(profile, "dynamic_range").value == pytest.approx(50 / 130)
    assert value(profile, "energy_proportionality").value == pytest.approx(1 - 50 / 130)


@pytest.mark.parametrize(("idle_w", "proportionality"), [(0.001, 1.0), (100.0, 0.0)])
def test_the_ends_of_the_proportionality(idle_w, proportionality):
    points = [point(r, idle_w + (100.0 - idle_w) * r / 80) for r in (20.0, 40.0, 80.0)]

    profile = energy_profile(points, 2, (), (reading(idle_w, 60.0),))

    assert value(profile, "energy_proportionality").value == pytest.approx(
        proportionality, abs=1e-4
    )


def test_loads_beyond_the_slo_belong_to_the_slope_and_not_to_the_proportionality():
    points = [*LINE, point(90.0, 300.0, latency_s=9.0)]

    profile = energy_profile(points, 2, (), WARM)

    assert value(profile, "energy_proportionality").value == pytest.approx(1 - 50 / 130)
    assert value(profile, "marginal_j_per_request").n == 4


def test_two_loads_have_no_slope():
    profile = energy_profile(LINE[:2], 1, (), WARM)

    metric = value(profile, "marginal_j_per_request")
    assert metric.value is None
    assert metric.reason.startswith("metered at 2 loads, the slope needs 3")


def test_loads_that_served_the_same_rate_have_no_slope():
    assert "same rate" in marginal_of([Draw(10.0, w, 0.01, 0.05) for w in (50.0, 51.0, 52.0)])


def test_nothing_between_idle_and_the_highest_rate_is_no_proportionality():
    profile = energy_profile(LINE[:1], 0, (), WARM)

    assert value(profile, "energy_proportionality").value is None
    assert "no load between" in value(profile, "energy_proportionality").reason
    assert value(profile, "dynamic_range").value == pytest.approx(50 / 60)


def test_without_a_warm_level_at_the_boundary_there_is_no_proportionality():
    other = reading(50.0, 60.0, covers=("gpu:1",))

    profile = energy_profile(LINE, 2, (), (other,))

    for name in ("energy_proportionality", "dynamic_range", "above_idle_j_per_request"):
        assert "not metered at this boundary" in value(profile, name).reason
    assert value(profile, "marginal_j_per_request").value == pytest.approx(1.0)


def test_without_a_load_within_the_slo_the_slope_stands_alone():
    profile = energy_profile(LINE, None, (), WARM)

    assert value(profile, "loaded_w").reason == "no load was within the SLO"
    assert value(profile, "energy_proportionality").reason == "no load was within the SLO"
    assert value(profile, "marginal_j_per_request").value == pytest.approx(1.0)


def test_an_unproven_headline_is_said():
    points = [*LINE[:2], point(80.0, 130.0, slo_state="unproven")]

    profile = energy_profile(points, 2, (), WARM)

    assert "SLO is unproven" in value(profile, "energy_proportionality").method


def test_boundaries_have_figures_of_their_own():
    def both(rate):
        wall = reading(2 * (50 + rate), meter="ptd", boundary="wall", covers=("wall:a",))
        one = point(rate, 50 + rate)
        return one.model_copy(update={"energy": (*one.energy, wall)})

    profile = energy_profile([both(rate) for rate in (10.0, 40.0, 80.0)], 2, (), WARM)

    assert value(profile, "marginal_j_per_request").value == pytest.approx(1.0)
    assert profile.metrics["marginal_j_per_request@wall"].value == pytest.approx(2.0)
    assert profile.metrics["energy_proportionality@wall"].value is None


def test_no_joules_no_profile():
    none = reading(
        1.0, joules=None, boundary=None, provenance=None, uncertainty=None, reason="none here"
    )
    points = [LINE[0].model_copy(update={"energy": (none,)})]

    assert energy_profile(points, 0) is None


def test_an_idle_window_that_failed_says_why():
    failed = reading(50.0, joules=None, reason="the counter stood still")

    profile = energy_profile(LINE, 2, (failed,), WARM)

    assert value(profile, "idle_off_w").reason == "the counter stood still"


def test_looks_between_stages_lie_on_the_line_and_cost_certainty():
    # Eight of ten seconds of traffic at 150 W, two of idling at 50 W: a mean of 130 W.
    looked = LINE[0].model_copy(update={"duration_s": 8.0, "requests": 80})

    draw = draw_of(reading(130.0), looked)

    assert (draw.rate, draw.watts) == (8.0, pytest.approx(130.0))
    assert draw.random == pytest.approx(math.hypot(0.01, 0.2))


def test_drift_falls_with_the_length_of_the_window():
    found = [drift(seconds) for seconds in (0.5, 1, 2, 10, 20, 60, 600)]

    assert found == sorted(found, reverse=True)
    assert found[0] == found[1] == pytest.approx(1.96 * 0.09)
    assert found[-1] == pytest.approx(1.96 * 0.019)


def drawn(stream, rates, power, sensor_w):
    """Return what a meter shows of `power`: a gain or an offset of its own, noise at each load."""
    noise = stream.uniform(0.0, 0.03)
    sensor = 0.05
    return [
        Draw(
            rate,
            sensor_w(power(rate)) * (1 + stream.normal(0, noise / 1.96)),
            noise,
            sensor,
        )
        for rate in rates
    ]


def sensor_of(stream, highest_w):
    """Return a sensor that is wrong by a factor, or by as many watts at any power."""
    error = stream.normal(0, 0.05 / 1.96)
    if stream.random() < 0.5:
        return lambda watts: watts * (1 + error)
    return lambda watts: watts + error * highest_w / 4


def test_the_slope_s_interval_holds_the_truth():
    held = 0
    for seed in range(600):
        stream = np.random.default_rng(seed)
        idle, slope = stream.uniform(20, 200), stream.uniform(0.1, 3)
        rates = np.sort(stream.uniform(10, 100, stream.integers(3, 9)))
        sensor = sensor_of(stream, idle + slope * rates[-1])
        found = marginal_of(
            drawn(stream, rates, lambda rate, i=idle, s=slope: i + s * rate, sensor)
        )
        held += found.low <= slope <= found.high

    assert held >= 0.95 * 600


def test_the_proportionality_s_interval_holds_any_rising_power():
    held = 0
    for seed in range(600):
        stream = np.random.default_rng(seed)
        idle, bend = stream.uniform(5, 80), np.exp(stream.uniform(-1, 1))
        rates = np.array([0.0, *np.sort(stream.uniform(5, 95, stream.integers(1, 6))), 100.0])

        def power(rate, idle=idle, bend=bend):
            return idle + (100 - idle) * (rate / 100) ** bend

        found = proportionality_of(drawn(stream, rates, power, sensor_of(stream, 100.0)))
        fine = np.linspace(0, 100, 2001)
        area = sum((power(a) + power(b)) / 2 * (b - a) for a, b in pairwise(fine)) / 100 / 100
        held += found.low <= 2 - 2 * area <= found.high

    assert held >= 0.95 * 600


def test_without_a_sensor_s_error_the_slope_s_interval_is_the_fit_s():
    rates, watts = (10.0, 20.0, 40.0, 80.0), (61.0, 69.0, 91.0, 129.0)
    x, y = np.array(rates), np.array(watts)
    s = 0.01 * y / 1.96
    (slope, _), covariance = np.polyfit(x, y, 1, w=1 / s, cov="unscaled")

    exact = marginal_of([Draw(r, 50 + r, 0.01, 0.0) for r in rates])
    found = marginal_of([Draw(r, w, 0.01, 0.0) for r, w in zip(rates, watts, strict=True)])

    assert found.value == pytest.approx(slope, rel=1e-3)
    residuals = (y - np.polyval(np.polyfit(x, y, 1, w=1 / s), x)) / s
    excess = math.sqrt((residuals**2).sum() / 2)
    assert 4.303 * excess > 1.96
    half = 4.303 * excess * math.sqrt(covariance[0, 0])
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-2)
    # Points that lie on the line by luck are no better known than each of them is.
    assert (exact.high - exact.low) / 2 == pytest.approx(
        1.96 * math.sqrt(covariance[0, 0]), rel=0.02
    )


def test_the_proportionality_s_interval_holds_the_steps_between_the_loads():
    curve = [Draw(rate, watts, 0.0, 0.0) for rate, watts in ((0, 40.0), (25, 70.0), (100, 100.0))]

    found = proportionality_of(curve)

    assert found.value == pytest.approx(2 - 2 * (0.25 * 0.55 + 0.75 * 0.85))
    assert found.low == pytest.approx(2 - 2 * (0.25 * 0.70 + 0.75 * 1.00))
    assert found.high == pytest.approx(2 - 2 * (0.25 * 0.40 + 0.75 * 0.70))


@pytest.mark.parametrize(("wrong", "share"), [(0, 0.05), (1, 0.10), (2, 0.35), (4, 0.90)])
def test_each_power_s_uncertainty_moves_the_area_by_its_share(wrong, share):
    """All powers are alike: each one's share is half its stretch, the highest's all but its own."""
    rates = (0.0, 10.0, 20.0, 80.0, 100.0)
    curve = [Draw(r, 100.0, 0.1 if i == wrong else 0.0, 0.0) for i, r in enumerate(rates)]

    found = proportionality_of(curve)

    assert (found.high - found.low) / 2 == pytest.approx(2 * 0.1 * share)
