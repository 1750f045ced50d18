from datetime import timedelta

import pytest

from harness.mapper import decide
from harness.report.answers import figure
from harness.report.latency import latency_drawings
from harness.report.view import workload_views
from harness.schema.base import Interval
from tests.factories import START, make_brief, make_point, make_record, make_target, make_workload
from tests.report.answered import answered, pin


def test_rows_follow_the_options_and_every_target_has_one():
    decision, records = answered()
    chat = workload_views(decision, records)[0]
    assert [row.standing for row in chat.rows] == [
        "chosen",
        "runner_up",
        "feasible",
        "excluded",
        "excluded",
    ]
    assert [row.outcome.target for row in chat.rows][:3] == [
        option.target for option in decision.workloads[0].options
    ]


def test_an_option_is_shown_by_its_own_record_at_its_headline():
    decision, records = answered()
    chosen = workload_views(decision, records)[0].rows[0]
    assert chosen.record.id == decision.workloads[0].choice.record
    assert chosen.point is chosen.record.points[chosen.record.headline]
    assert {r.cell.scenario.kind for r in chosen.records} == {"server", "offline"}


def test_an_excluded_target_is_shown_by_the_newest_record_under_real_traffic():
    workload, target = make_workload(), make_target()
    slow = (make_point(workload, latency_s=9.0, load=0.5),)
    kept = {
        "run": "0" * 26,
        "points": slow,
        "headline": None,
    }
    records = [
        make_record(workload, target, number=1, started_at=START, **kept),
        make_record(
            workload, target, number=2, started_at=START + timedelta(hours=1), repeat=1, **kept
        ),
        make_record(
            workload,
            target,
            number=3,
            scenario="offline",
            started_at=START + timedelta(hours=2),
        ),
    ]
    decision = decide(make_brief(), [workload], [target], [pin(r) for r in records])
    row = workload_views(decision, records)[0].rows[0]
    assert row.standing == "excluded"
    assert row.record.id == records[1].id
    assert row.point is records[1].points[0]


def test_the_promised_percentile_is_the_square_and_lies_where_it_was_measured():
    decision, records = answered()
    fraud = latency_drawings(workload_views(decision, records)[2])[0]
    assert fraud.legend == (("circle", "p50"), ("tick", "p95"), ("square", "p99"))
    row = fraud.rows[0]
    assert row.key_figure == "p99 9.60 ms, noisy"
    places = [float(mark.x.rstrip("%")) for mark in row.marks]
    limit = float(fraud.limits[0].x.rstrip("%"))
    zero = float(fraud.ticks[0].x.rstrip("%"))
    assert places == sorted(places)
    assert (places[-1] - zero) / (limit - zero) == pytest.approx(9.6 / 20.0, abs=1e-3)


def test_a_figure_shows_its_interval_unless_it_adds_nothing():
    assert figure(Interval(value=1.5, low=1.25, high=2.0), "USD") == "$1.50 (1.25–2.00)"
    assert figure(Interval(value=1.5, low=1.5, high=1.5), "USD") == "$1.50"
    assert figure(Interval(value=1.5), "USD") == "$1.50"
    assert figure(Interval(value=1.5, low=1.25), "USD") == "$1.50 (1.25 or more)"
