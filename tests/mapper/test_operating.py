"""Repeats of one measurement as one operating point."""

import pytest

from harness.mapper.operating import operating_point
from harness.schema.record import Verdict
from tests.factories import make_metric, make_point, make_record, make_workload

WORKLOAD = make_workload()
RATE = "throughput_requests_per_s"


def repeats(*points, **changes):
    return [
        make_record(WORKLOAD, number=i + 1, repeat=i, points=(point,), **changes)
        for i, point in enumerate(points)
    ]


def test_repeats_become_the_median_with_the_widest_interval():
    records = repeats(*(make_point(WORKLOAD, rate=rate, width=0.1) for rate in (10, 30, 14)))

    found = operating_point(records, RATE)

    assert found.throughput.value == 14
    assert found.throughput.low == pytest.approx(9)
    assert found.throughput.high == pytest.approx(33)
    assert found.record == records[2]


def test_a_promise_that_one_repeat_breaks_is_not_kept():
    good, slow = make_point(WORKLOAD), make_point(WORKLOAD, latency_s=0.5)

    assert operating_point(repeats(good, slow), RATE) is None
    assert operating_point(repeats(good, good), RATE) is not None


def test_the_worst_state_of_the_repeats_stands():
    met, unproven = make_point(WORKLOAD), make_point(WORKLOAD, latency_s=0.33)
    records = repeats(met, unproven)
    records[1] = records[1].model_copy(update={"verdict": Verdict(state="noisy")})

    found = operating_point(records, RATE)

    assert (found.slo_state, found.verdict) == ("unproven", "noisy")
    assert found.slo[0].state == "unproven"
    assert found.slo[0].high_s == unproven.slo[0].high_s


def test_the_weakest_evidence_of_the_repeats_stands():
    records = repeats(make_point(WORKLOAD), make_point(WORKLOAD))
    records[1] = records[1].model_copy(update={"evidence": "imported"})

    assert operating_point(records, RATE).evidence == "imported"


def test_a_missing_bound_of_one_repeat_is_missing_in_all():
    points = [make_point(WORKLOAD), make_point(WORKLOAD)]
    bare = make_metric(10.0, unit="requests/s", better="higher").model_copy(
        update={"low": None, "high": None}
    )
    points[1] = points[1].model_copy(update={"metrics": {**points[1].metrics, RATE: bare}})

    found = operating_point(repeats(*points), RATE)

    assert (found.throughput.low, found.throughput.high) == (None, None)


@pytest.mark.parametrize("value", [None, 0.0])
def test_a_point_without_throughput_is_no_operating_point(value):
    point = make_point(WORKLOAD)
    metric = make_metric(value, unit="requests/s", better="higher")
    point = point.model_copy(update={"metrics": {**point.metrics, RATE: metric}})

    assert operating_point(repeats(point), RATE) is None


def test_the_capacity_lies_between_the_last_load_kept_and_the_first_one_broken():
    workload = make_workload()
    kept = make_point(workload, rate=10.0, load=0.5)
    broken = make_point(workload, rate=13.0, load=0.65, latency_s=9.0)
    record = make_record(workload, points=(kept, broken), headline=0)
    throughput = operating_point([record], "throughput_requests_per_s").throughput
    assert throughput.value == 10.0
    assert throughput.low == pytest.approx(9.5)
    assert throughput.high == pytest.approx(13.0)


def test_without_a_broken_load_there_is_no_upper_bound():
    workload = make_workload()
    points = tuple(make_point(workload, rate=20 * load, load=load) for load in (0.5, 0.8))
    record = make_record(workload, points=points)
    assert operating_point([record], "throughput_requests_per_s").throughput.high is None


def test_the_series_ends_with_the_operating_point():
    points = tuple(make_point(WORKLOAD, rate=20 * load, load=load) for load in (0.8, 0.3, 0.5, 0.9))
    record = make_record(WORKLOAD, points=points, headline=0)

    (series,) = operating_point([record], RATE).series

    assert [point.load for point in series] == [0.3, 0.5, 0.8]
