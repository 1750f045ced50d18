"""A target that does not keep up is not called good because the window was short."""

import pytest

from harness.measure.overload import overload, served_rate
from harness.measure.samples import FAILED, OK, Samples


def queue_of(gap_s, service_s, count=100, failed=0):
    """Return the columns of `count` regular arrivals at a single server."""
    samples = Samples(0, 0)
    free = 0.0
    for number in range(count):
        due = number * gap_s
        free = max(free, due) + service_s
        stamps = (round(t * 1e9) for t in (due, due, free, free))
        status = FAILED if number < failed else OK
        samples.rows.append((0, 0, *stamps, 0, 0, 1, status))
    return samples.columns()


def test_an_overloaded_target_shows_the_rate_at_which_it_works():
    assert served_rate(queue_of(0.01, 0.02)) == pytest.approx(50, rel=0.02)


def test_one_that_keeps_up_shows_the_rate_that_was_offered():
    assert served_rate(queue_of(0.04, 0.02)) == pytest.approx(25, rel=0.02)


def test_what_failed_was_not_served():
    assert served_rate(queue_of(0.04, 0.02, failed=50)) == pytest.approx(12.5, rel=0.02)
    assert served_rate(queue_of(0.04, 0.02, failed=100)) is None


def test_a_rate_beyond_the_most_is_told_with_both():
    assert overload(102.0, 100.0) is None
    assert "110 requests/s are more than the 100 requests/s" in overload(110.0, 100.0)
