import numpy as np
import pytest

from harness.report.over_time import DRAWN_SLICES, Window, extremes, over_time, steps
from harness.report.over_time import _levels as levels
from tests.factories import make_point, make_record, make_workload

S = 1_000_000_000


def columns(due_s, sent_s, ended_s, status=None, point=0):
    """Return rows; a time of None never came."""

    def stamps(times):
        return np.array([-1 if t is None else round(t * S) for t in times], dtype=np.int64)

    count = len(due_s)
    return {
        "point": np.full(count, point),
        "scheduled_ns": stamps(due_s),
        "issued_ns": stamps(sent_s),
        "ended_ns": stamps(ended_s),
        "status": np.zeros(count, dtype=np.int64) if status is None else np.array(status),
    }


def charts(window, scenario="server", warm_up=0):
    workload = make_workload(slo=[{"metric": "latency", "percentile": 90, "limit_s": 0.5}])
    point = make_point(workload, warm_up_requests=warm_up)
    record = make_record(workload, scenario=scenario, points=(point,))
    return over_time("point", record, point, window, workload.slo)


def test_the_slowest_and_the_fastest_of_each_part_are_kept():
    draw = np.random.default_rng(1)
    parts = np.sort(draw.integers(0, 50, 10_000))
    values = draw.exponential(1.0, 10_000)
    kept = extremes(parts, values)
    assert kept.size <= 2 * 50
    for part in range(50):
        own = values[parts == part]
        assert {own.min(), own.max()} <= set(values[kept].tolist())


def test_one_slow_request_among_a_hundred_thousand_is_drawn():
    count = 100_000
    due = np.linspace(0, 100, count, endpoint=False)
    ended = due + 0.001
    ended[54_321] += 7.0
    found = Window.of(columns(due, due, ended), 0)
    latency = charts(found)[0]
    dots = next(layer.path for layer in latency.plot.layers if layer.kind == "dots")
    assert dots.count("M") <= 2 * DRAWN_SLICES
    assert "7.00 s" in latency.plot.description
    assert [row[-1] for row in latency.rows].count("7.00 s") == 1
    assert sum(int(row[1].replace(",", "")) for row in latency.rows) == count


def test_what_is_in_flight_is_counted_exactly():
    at, count = steps(np.array([0.0, 1.0, 1.0, 3.0]), np.array([1.0, 2.0, 4.0]))
    assert at.tolist() == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert count.tolist() == [0.0, 1.0, 2.0, 1.0, 2.0, 1.0]


def test_the_mean_over_time_is_that_of_the_steps():
    window = Window.of(columns([0, 1, 2], [0, 1, 2], [4, 2, 3]), 0)
    changes = steps(window.sent_s, window.ended_s)
    mean, least, most = levels(window, changes, 4)
    assert mean == pytest.approx([1, 2, 2, 1])
    assert (least.tolist(), most.tolist()) == ([1, 2, 2, 1], [1, 2, 2, 1])
    (mean,), _, (most,) = levels(window, changes, 1)
    assert (mean, most) == pytest.approx((6 / 4, 2))


@pytest.mark.parametrize("seed", range(5))
def test_a_level_s_integral_is_the_time_that_requests_spent(seed):
    draw = np.random.default_rng(seed)
    sent = draw.uniform(0, 10, 500)
    ended = sent + draw.exponential(0.3, 500)
    window = Window.of(columns(sent, sent, ended), 0)
    mean, least, most = levels(window, steps(window.sent_s, window.ended_s), 37)
    spent = mean.sum() * window.length_s / 37
    assert spent == pytest.approx((window.ended_s - window.sent_s).sum())
    assert (least <= mean + 1e-9).all()
    assert (mean <= most + 1e-9).all()


def test_requests_that_never_came_back_stay_in_flight_and_unsent_ones_waiting():
    window = Window.of(columns([0, 0, 1], [0, None, 1], [None, None, 2], [3, 2, 0]), 0)
    queue = charts(window)[1]
    assert queue.rows[-1][2] == "2"
    assert queue.rows[-1][4] == "1"
    latency = charts(window)[0]
    assert sum(int(row[2]) for row in latency.rows) == 2
    assert any(layer.kind == "fault" for layer in latency.plot.layers)


def test_lag_is_from_due_to_sent():
    window = Window.of(columns([0, 1, 2, 3], [0, 1.5, 2, None], [1, 2, 3, None], [0, 0, 0, 2]), 0)
    lag = charts(window)[2]
    assert {row[-1] for row in lag.rows} >= {"500 ms", "none"}
    assert sum(int(row[2]) for row in lag.rows) == 1
    assert [each.heading for each in charts(window, "single_stream")] == [
        "Requests over time",
        "Queue and requests in flight",
    ]


def test_the_end_of_the_warm_up_is_marked():
    window = Window.of(columns([0, 1, 2], [0, 1, 2], [1, 2, 3]), 0)
    kinds = [layer.kind for layer in charts(window, "single_stream", 1)[0].plot.layers]
    assert "edge" in kinds
    kinds = [layer.kind for layer in charts(window, "single_stream", 0)[0].plot.layers]
    assert "edge" not in kinds


def test_a_window_of_another_point_is_not_mixed_in():
    both = columns([0, 1], [0, 1], [1, 2])
    both["point"] = np.array([0, 1])
    assert Window.of(both, 1).due_s.tolist() == [1.0]
    assert Window.of(both, 2) is None


def test_nothing_answered_is_told_and_not_drawn():
    never = [None, None, None]
    window = Window.of(columns([0, 1, 2], never, never, [2, 2, 2]), 0)
    latency, queue, lag = charts(window)
    assert latency.plot is None
    assert latency.note == "No request was answered."
    assert queue.rows[-1][4] == "2"
    assert lag.plot is None
