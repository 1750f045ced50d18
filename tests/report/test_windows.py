"""What a window supports, in words."""

import pytest

from harness.report import windows
from harness.schema.record import Ending
from tests.factories import make_metric, make_point, make_record, make_workload

WORKLOAD = make_workload()


def record(capacity, headline=0, **point):
    points = (make_point(WORKLOAD, rate=5.0, load=0.4, **point),)
    return make_record(WORKLOAD, points=points, headline=headline, capacity=capacity)


def rate(value, **changes):
    made = make_metric(value, unit="requests/s", better="higher")
    return made.model_copy(update=changes)


def test_the_capacity_stands_beside_what_was_proven():
    assert windows.capacity(record(rate(6.0))) == (
        "estimated capacity 6.00 requests/s (5.70–6.30); proven 5.00 requests/s"
    )
    assert windows.capacity(record(rate(6.0, widened=0.12))).startswith(
        "estimated capacity 6.00 requests/s (5.70–6.30) ↔ 12 %; proven"
    )
    assert windows.capacity(record(None)) == ""


def test_a_load_that_was_not_proven_is_not_called_so():
    unproven = record(rate(6.0), slo_state="unproven")
    assert windows.capacity(unproven).endswith("; kept but not proven 5.00 requests/s")
    assert windows.capacity(record(rate(6.0), headline=None)).endswith(
        "; no load is proven to keep the SLO"
    )


def test_a_capacity_below_the_proven_rate_is_said_to_disagree():
    assert "the two disagree" in windows.capacity(record(rate(4.0)))
    assert "disagree" not in windows.capacity(record(rate(4.9)))  # within the interval
    assert "disagree" not in windows.capacity(record(rate(5.0)))
    assert "disagree" not in windows.capacity(record(rate(4.0), slo_state="unproven"))


def test_a_capacity_without_a_figure_gives_the_reason():
    assert windows.capacity(record(rate(None))) == (
        "capacity not estimated: not supported by n; proven 5.00 requests/s"
    )


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("precise", "10.0 s, precise"),
        ("count", "10.0 s, all requests sent"),
        ("time_box", "10.0 s, time box"),
        ("trace_end", "10.0 s, end of the trace"),
    ],
)
def test_a_window_says_why_it_ended(why, words):
    assert windows.window(make_point(WORKLOAD, ending=Ending(why=why))) == words


def test_an_old_point_says_how_long_it_was():
    assert windows.window(make_point(WORKLOAD)) == "10.0 s"


def test_a_window_says_that_the_target_did_not_keep_up():
    point = make_point(WORKLOAD).model_copy(update={"overload": "the queue grows"})
    assert windows.window(point) == "10.0 s; the queue grows"


def test_what_is_absent_leaves_no_mark():
    assert windows.certified(None) == windows.certified(make_metric(1.0)) == ""
    assert windows.widened(make_metric(1.0)) == ""
    assert windows.widening(record(None)) == ""
    assert windows.left_running(record(None)) == ()
    assert windows.asked(make_point(WORKLOAD, requests=1200)) == "1,200"
