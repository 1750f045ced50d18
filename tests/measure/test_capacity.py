"""The capacity from all points of an operating curve, against queues whose truth is known."""

import math

import numpy as np
import pytest

from harness.measure.capacity import Capacity, Tally, estimate_capacity, told


def tally(share: float, *, requests: int = 10_000, worth: float = 1.0) -> Tally:
    return Tally(requests, round(share * requests), worth * requests, 0.01)


def on_the_line(rate: float, *, capacity: float = 100.0, slope: float = 12.0) -> Tally:
    return tally(0.01 * (rate / capacity) ** slope, requests=1_000_000)


def test_points_on_a_line_give_the_rate_where_it_crosses_the_limit():
    found = estimate_capacity([(rate, [on_the_line(rate)]) for rate in (80, 95, 120)])
    assert found is not None
    assert found.rate == pytest.approx(100, rel=0.01)
    assert found.low < found.rate < found.high


def test_the_limit_that_is_reached_first_counts():
    points = [
        (rate, [on_the_line(rate, capacity=100), on_the_line(rate, capacity=90)])
        for rate in (80, 95, 120)
    ]
    assert estimate_capacity(points).rate == pytest.approx(90, rel=0.01)


def test_correlated_requests_widen_the_interval():
    def width(worth: float) -> float:
        points = [(80, [tally(0.001, worth=worth)]), (110, [tally(0.03, worth=worth)])]
        found = estimate_capacity(points)
        return math.log(found.high / found.low)

    assert width(0.05) > 1.5 * width(1.0)


@pytest.mark.parametrize(
    "points", [[], [(50, [tally(0.02)])], [(50, [tally(0)]), (60, [tally(0)])]]
)
def test_without_two_points_or_a_miss_there_is_no_estimate(points):
    assert estimate_capacity(points) is None


def test_an_overloaded_point_far_off_the_line_does_not_bend_it():
    near = [(rate, [on_the_line(rate)]) for rate in (80, 95, 110)]
    collapsed = (200, [tally(0.99)])
    assert estimate_capacity([*near, collapsed]).rate == pytest.approx(100, rel=0.03)


def test_the_interval_holds_the_truth_of_independent_misses():
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        points = []
        for rate in (70.0, 85.0, 95.0, 115.0):
            missed = rng.binomial(2000, min(1.0, 0.01 * (rate / 100) ** 18))
            points.append((rate, [Tally(2000, int(missed), 2000.0, 0.01)]))
        found = estimate_capacity(points)
        held += found is not None and found.low <= 100 <= found.high
    assert held >= 370


def test_an_estimate_within_what_was_served_is_told_as_it_is():
    found = told(Capacity(90.0, 85.0, 95.0), 120.0, 500, 3)
    assert (found.value, found.low, found.high, found.n) == (90.0, 85.0, 95.0, 500)


def test_no_estimate_is_above_the_highest_rate_that_was_served():
    found = told(Capacity(140.0, 110.0, 170.0), 100.0, 500, 3)
    assert found.value == found.high == 100.0
    assert found.low == pytest.approx(97.0)
    assert "at most 100 requests/s" in found.method


def test_an_estimate_that_leaves_everything_open_is_none():
    found = told(Capacity(26_721.0, 6e-43, 1e50), 16_000.0, 236_120, 5)
    assert found.value is found.low is found.high is None
    assert found.reason == "too few requests missed a limit to tell at which rate it is reached"


def test_a_point_without_a_request_that_the_limit_is_about_tells_nothing():
    points = [(1.5, [Tally(100, 3, 100.0, 0.05)]), (2.0, [Tally(100, 8, 100.0, 0.05)])]
    silent = [(1.0, [Tally(0, 0, 0.0, 0.05)])]
    assert estimate_capacity([*silent, *points]) == estimate_capacity(points)
    assert estimate_capacity([*silent, *silent]) is None
