"""Tasks that were measured as tasks: their own figures count, not those made of calls."""

import numpy as np
import pytest

from harness.mapper import decide
from harness.mapper.capacity import prompt_tokens
from harness.mapper.task_measured import measured_tasks
from harness.models.inputs import draw_requests
from harness.schema.demand import Agent, Demand
from tests.factories import (
    make_brief,
    make_metric,
    make_point,
    make_record,
    make_stored,
    make_target,
    make_workload,
)

AGENT = {"calls_per_task": 10, "order": "parallel"}


def workload_of(limit_s=5.0, **changes):
    return make_workload(
        scenarios=[{"kind": "server"}],
        agent=AGENT,
        demand={
            "requests_per_month": 1e6,
            "agent": {**AGENT, "slo": {"percentile": 99, "limit_s": limit_s}},
        },
        **changes,
    )


def point_of(workload, p99_s=4.0, errors=0.0, **changes):
    point = make_point(workload, load=0.5, **changes)
    tasks = {
        "task_latency_s.mean": make_metric(2.0).model_copy(update={"n_eff": 150.0}),
        "task_latency_s.p50": make_metric(1.5),
        "task_latency_s.p99": make_metric(p99_s),
        "task_error_rate": make_metric(errors, unit="share"),
    }
    return point.model_copy(update={"metrics": {**point.metrics, **tasks}})


def decided(limit_s, **of_point):
    workload = workload_of(limit_s)
    record = make_record(workload, points=(point_of(workload, **of_point),))
    brief = make_brief("chat")
    return decide(brief, [workload], [make_target()], [make_stored(record)])


def test_what_was_measured_as_tasks_is_told_as_measured():
    task = decided(5.0).workloads[0].choice.task
    assert task.basis.startswith("measured as tasks of 10 calls")
    assert task.mean_s == 2.0
    assert task.quantiles[-1].value_s == 4.0
    assert task.quantiles[-1].high_s == pytest.approx(4.2)
    # Fewer units than calls: what they wait for each other is in what was measured.
    assert task.state == "met"


def test_a_promise_that_measured_tasks_miss_rules_the_target_out():
    answer = decided(3.0).workloads[0]
    assert answer.choice is None
    assert answer.outcomes[0].rejections[0].number == 4.0


def test_a_bound_above_the_limit_proves_nothing():
    assert decided(4.1).workloads[0].choice.task.state == "unproven"


def test_with_failed_tasks_the_latencies_of_the_others_are_not_those_of_tasks():
    workload = workload_of()
    record = make_record(workload)
    agent = workload.demand.agent
    assert measured_tasks(record, [point_of(workload)], agent) is not None
    assert measured_tasks(record, [point_of(workload, errors=0.01)], agent) is None


def test_other_tasks_than_those_of_the_demand_are_not_measured_ones():
    workload = workload_of()
    record = make_record(workload)
    other = Agent(calls_per_task=11, order="parallel")
    assert measured_tasks(record, [point_of(workload)], other) is None


@pytest.mark.parametrize(
    "count",
    [
        {"kind": "fixed", "value": 3},
        {"kind": "uniform", "minimum": 1, "maximum": 5},
        {"kind": "lognormal", "mean": 3, "sigma": 0.7, "minimum": 1, "maximum": 6},
    ],
)
def test_the_mean_prompt_of_turns_is_that_of_what_is_drawn(count):
    inputs = {
        "kind": "prompts",
        "count": 4000,
        "prompt_tokens": {"kind": "uniform", "minimum": 2, "maximum": 6},
        "output_tokens": {"kind": "fixed", "value": 4},
        "shared_prefix": {"tokens": 8},
        "turns": {"count": count},
    }
    workload = make_workload(inputs=inputs, scenarios=[{"kind": "single_stream"}])
    new, cached = prompt_tokens(workload, Demand(requests_per_month=1, prefix_hit=0.25))
    drawn = np.mean([len(request.prompt) for request in draw_requests(workload)])
    assert new + cached == pytest.approx(drawn, rel=0.02)
    assert cached == pytest.approx((new + cached) / 4)
