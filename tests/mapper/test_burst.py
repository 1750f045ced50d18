"""A burst against a fleet: by hand, and against a queue simulated second by second."""

import pytest

from harness.mapper import decide
from harness.mapper.burst import burst_of
from harness.mapper.capacity import Load, work_of
from harness.schema.base import Interval
from harness.schema.demand import StatedBurst
from tests.factories import (
    make_brief,
    make_fraud_workload,
    make_point,
    make_record,
    make_stored,
    make_target,
)

WORKLOAD = make_fraud_workload(slo=[{"metric": "latency", "percentile": 90, "limit_s": 0.5}])


def decided(rate=100.0, **demand):
    target = make_target()
    broke = make_point(WORKLOAD, rate=rate * 1.05, load=0.9, latency_s=9.0)
    points = (make_point(WORKLOAD, rate=rate, load=0.8), broke)
    record = make_record(WORKLOAD, target, points=points, headline=0)
    brief = make_brief(workloads=[{"workload": "fraud", "demand": demand}])
    return decide(brief, [WORKLOAD], [target], [make_stored(record)]).workloads[0]


def outcome(units, peak, factor, duration_s, deadline_s=None):
    """Return the burst of a fleet of `units` that serve 100 requests/s each."""
    option = decided().choice.model_copy(
        update={"replicas": units, "throughput": Interval(value=100.0, low=80.0)}
    )
    load = Load(requests=1.0, mean=peak, peak=peak, horizon_peak=peak)
    stated = StatedBurst(factor=factor, duration_s=duration_s)
    return burst_of(stated, option, load, work_of(WORKLOAD), deadline_s)


def test_ten_times_the_rate_by_hand():
    found = outcome(3, peak=200.0, factor=10, duration_s=60)

    assert (found.rate, found.carried) == (2000.0, 300.0)
    assert (found.units_needed, found.units_needed_low_throughput) == (20, 25)
    assert not found.kept
    assert found.queued == 1700 * 60
    assert found.longest_wait_s == pytest.approx(340)
    assert found.drained_s == pytest.approx(1020)
    assert found.timed_out is None
    assert "20 would keep the SLO" in found.text


def test_a_deadline_caps_the_queue():
    found = outcome(3, peak=200.0, factor=10, duration_s=60, deadline_s=5.0)

    assert found.queued == 300 * 5
    assert found.longest_wait_s == 5.0
    assert found.timed_out == 1700 * 60 - 1500
    assert found.drained_s == 15.0


def test_a_fleet_that_is_large_enough_carries_the_burst():
    found = outcome(20, peak=200.0, factor=10, duration_s=60)

    assert found.kept
    assert (found.queued, found.longest_wait_s, found.drained_s) == (0.0, 0.0, 0.0)
    assert "within the SLO" in found.text


def test_a_queue_that_nothing_is_left_to_drain_stays():
    assert outcome(2, peak=200.0, factor=2, duration_s=10).drained_s is None


@pytest.mark.parametrize("deadline_s", [None, 4.0])
def test_the_fluid_queue_is_what_small_steps_give(deadline_s):
    found = outcome(3, peak=120.0, factor=5, duration_s=30, deadline_s=deadline_s)
    step, queue, longest, lost, time = 0.001, 0.0, 0.0, 0.0, 0.0
    while time < 30 or queue > 0:
        queue = max(0.0, queue + ((600.0 if time < 30 else 120.0) - 300.0) * step)
        if deadline_s is not None and queue > 300 * deadline_s:
            lost += queue - 300 * deadline_s
            queue = 300 * deadline_s
        longest = max(longest, queue / 300)
        time += step

    assert found.longest_wait_s == pytest.approx(longest, rel=1e-3)
    assert found.drained_s == pytest.approx(time - 30, rel=1e-2)
    assert (found.timed_out or 0.0) == pytest.approx(lost, rel=1e-2, abs=1)


def test_a_stated_burst_is_told_of_the_choice_and_only_then():
    assert decided().burst is None
    answer = decided(requests_per_month=5e8, burst={"duration_s": 60})

    assert answer.burst.factor == 10
    assert answer.burst.rate == pytest.approx(10 * answer.peak_rate)
    assert answer.burst.units == answer.choice.replicas


def test_a_burst_of_tasks_says_that_their_calls_are_taken_as_independent():
    burst, agent = {"duration_s": 60}, {"calls_per_task": 4, "order": "parallel"}
    alone = decided(requests_per_month=5e8, burst=burst)
    tasks = decided(requests_per_month=5e8, burst=burst, agent=agent)

    assert "independent" not in alone.burst.text
    assert tasks.burst.text.endswith(
        "its requests are taken as independent, although they come as tasks of 4 parallel calls"
    )
