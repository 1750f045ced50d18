"""Tasks of several calls: what a sample supports, and what a promise on them decides."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from harness.mapper import decide
from harness.mapper.agentic import task_figures, task_quantile
from harness.mapper.relax import relaxed
from harness.mapper.task_latency import calls_of, tasks_of
from harness.schema.demand import Agent
from harness.schema.record import Histogram
from harness.statistics import histogram, minimum_samples
from tests.factories import (
    make_brief,
    make_point,
    make_record,
    make_stored,
    make_target,
    make_workload,
)
from tests.mapper.calls import SIGMA, WORKLOAD, calls, lognormal


def test_what_the_sample_is_too_small_for_is_refused():
    agent = Agent(calls_per_task=10, order="sequential")
    needed = minimum_samples(0.99 ** (1 / 10))
    few, enough = (calls(lognormal(count=n)) for n in (needed - 1, needed))

    refused = task_quantile(few, tasks_of(few, agent), agent, 99)
    assert refused.value_s is None
    assert f"{needed - 1:,} independent calls, {needed:,} needed" in refused.reason
    assert task_quantile(enough, tasks_of(enough, agent), agent, 99).value_s is not None


def test_a_failed_call_leaves_its_task_undone():
    point = make_point(WORKLOAD, latency=histogram(np.ones(9_900)), failed=100)
    agent = Agent(calls_per_task=10, order="sequential")
    read = calls_of(point)

    tasks = tasks_of(read, agent)
    assert tasks.below[-1] == pytest.approx(0.99**10)
    found = task_quantile(read, tasks, agent, 99)
    assert found.failed
    assert found.value_s is None
    assert task_quantile(read, tasks, agent, 50).value_s == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("order", ["sequential", "parallel"])
def test_the_upper_bound_of_a_task_holds_as_often_as_it_says(order):
    generator = np.random.default_rng(11)
    agent, size = Agent(calls_per_task=5, order=order), 2000
    sums = generator.lognormal(0, SIGMA, (200_000, 5)).sum(axis=1)
    truth = math.exp(SIGMA * NormalDist().inv_cdf(0.99 ** (1 / 5)))
    if order == "sequential":
        truth = float(np.quantile(sums, 0.99))
    held = 0
    for _ in range(60):
        read = calls(generator.lognormal(0, SIGMA, size))
        held += task_quantile(read, tasks_of(read, agent), agent, 99).high_s >= truth

    assert held >= 55  # 97.5 % of 60 is 58.5


# ---- the promise on tasks, in a decision


def decided(limit_s, *, values=None, order="sequential", calls_per_task=10, **changes):
    latency = histogram(np.asarray(lognormal(count=8000) if values is None else values))
    target = make_target()
    point = make_point(WORKLOAD, rate=50.0, load=0.8, latency=latency)
    slo = None if limit_s is None else {"percentile": 99, "limit_s": limit_s}
    agent = {"calls_per_task": calls_per_task, "order": order, "slo": slo}
    brief = make_brief(workloads=[{"workload": "chat", "demand": {"agent": agent, **changes}}])
    record = make_record(WORKLOAD, target, points=(point,))
    return decide(brief, [WORKLOAD], [target], [make_stored(record)])


def test_a_promise_on_tasks_that_is_kept_is_met():
    answer = decided(30.0).workloads[0]

    task = answer.choice.task
    assert task.state == "met"
    assert [q.percentile for q in task.quantiles] == [50, 99]
    assert task.quantiles[1].value_s == pytest.approx(10 * math.exp(0.18) * 1.6, rel=0.02)
    assert answer.choice.slo_state == "met"


def test_a_promise_on_tasks_that_is_missed_rules_a_target_out():
    answer = decided(15.0).workloads[0]

    assert answer.choice is None
    rule = answer.outcomes[0].rejections[0]
    assert rule.rule == "slo"
    assert "p99 of tasks of 10 calls one after another is 19" in rule.text
    assert rule.limit == 15.0
    assert rule.margin == pytest.approx((15 - rule.number) / 15)


def test_a_promise_on_tasks_that_is_not_proven_leaves_the_slo_unproven():
    answer = decided(30.0, values=lognormal(count=500)).workloads[0]

    assert answer.choice.slo_state == "unproven"
    assert "does not prove its promise on tasks" in answer.reason
    assert "500 independent calls" in answer.reason


def test_a_small_sample_can_still_show_that_a_promise_is_missed():
    answer = decided(5.0, values=lognormal(count=500)).workloads[0]

    assert answer.choice is None
    assert "surely fewer than promised" in answer.outcomes[0].rejections[0].text


def test_parallel_tasks_hold_each_call_to_a_higher_percentile():
    answer = decided(10.0, order="parallel").workloads[0]

    task = answer.choice.task
    assert task.per_call_percentile == pytest.approx(100 * 0.99**0.1)
    assert "wait for each other" in task.basis


def test_parallel_calls_that_share_a_unit_prove_no_promise():
    few = decided(10.0, order="parallel").workloads[0]
    enough = decided(10.0, order="parallel", requests_per_month=2e9).workloads[0]

    assert few.choice.replicas < 10 <= enough.choice.replicas
    assert few.choice.slo_state == few.choice.task.state == "unproven"
    assert "fewer units than a task has calls" in few.reason
    assert enough.choice.slo_state == enough.choice.task.state == "met"


def test_a_task_costs_what_its_calls_do():
    decision = decided(None, requests_per_month=1e6)
    choice = decision.workloads[0].choice

    assert choice.cost_per_task_usd.value == pytest.approx(choice.cost_per_year_usd / (12e6 / 10))
    assert any("independent of each other" in a.value for a in decision.assumptions)


def test_tasks_a_month_are_requests_by_their_calls():
    answer = decided(None, tasks_per_month=50_000, calls_per_task=20).workloads[0]

    assert answer.demand.requests_per_month == 1e6
    assert answer.choice.cost_per_task_usd.value == pytest.approx(
        answer.choice.cost_per_year_usd / (12 * 50_000)
    )


def test_repeats_count_with_their_worst_state():
    agent = Agent(calls_per_task=2, order="sequential", slo={"percentile": 90, "limit_s": 3.0})
    good, bad = (
        make_point(WORKLOAD, latency=Histogram(counts=((bucket, 5000),))) for bucket in (0, 60)
    )
    assert task_figures([good], agent).state == "met"
    assert task_figures([good, bad], agent).state == "missed"


# ---- what would let a target in that misses a promise on tasks


def test_a_missed_promise_on_tasks_says_which_promise_is_kept_and_that_one_lets_it_in():
    answer = decided(15.0).workloads[0]
    change = answer.outcomes[0].nearest

    ((field, present, needed),) = [(c.field, c.present, c.needed) for c in change.changes]
    assert (field, present) == ("demand.agent.slo.limit_s", 15.0)
    assert needed == answer.outcomes[0].rejections[0].number
    assert change.exact
    assert change.text.startswith("promise 19.")
    assert " for p99 of tasks (demand.agent.slo.limit_s: 15.0 -> 19." in change.text
    # The figure that is told is kept too: rounded up, never down.
    told = float(change.text.split()[1])
    assert needed <= told <= needed + 0.1
    again = decided(needed).workloads[0]
    assert again.choice.task.state == "unproven"
    assert decided(needed * 0.999).workloads[0].choice is None


@pytest.mark.parametrize("in_brief", [True, False])
def test_the_change_is_made_in_the_brief_wherever_the_agent_is_declared(in_brief):
    agent = {"calls_per_task": 10, "order": "sequential", "slo": {"percentile": 99, "limit_s": 15}}
    volume = {"requests_per_month": 1e6}
    workload = WORKLOAD if in_brief else make_workload(demand={**volume, "agent": agent})
    asked = {"demand": {"agent": agent}} if in_brief else {}
    brief = make_brief(workloads=[{"workload": "chat", **asked}])
    point = make_point(workload, load=0.8, latency=histogram(np.asarray(lognormal(count=8000))))
    records = [make_stored(make_record(workload, make_target(), points=(point,)))]
    given = [workload], [make_target()], records
    (change,) = decide(brief, *given).workloads[0].relaxations
    again = decide(relaxed(brief, "chat", change, workload.demand.agent), *given).workloads[0]

    assert again.choice.task.slo.limit_s == change.changes[0].needed
    if not in_brief:
        with pytest.raises(ValueError, match="has no 'agent'"):
            relaxed(brief, "chat", change)


def test_a_promise_must_be_kept_by_the_worst_repeat():
    target = make_target()
    agent = {"calls_per_task": 2, "order": "sequential", "slo": {"percentile": 90, "limit_s": 2.5}}
    brief = make_brief(workloads=[{"workload": "chat", "demand": {"agent": agent}}])
    records = []
    for number, bucket in enumerate((0, 0, 60), 1):
        point = make_point(WORKLOAD, load=0.8, latency=Histogram(counts=((bucket, 5000),)))
        records.append(make_record(WORKLOAD, target, points=(point,), number=number, repeat=number))
    stored = [make_stored(record) for record in records]
    outcome = decide(brief, [WORKLOAD], [target], stored).workloads[0].outcomes[0]

    (rejection,) = outcome.rejections
    assert rejection.number == pytest.approx(2 * 1.01**60.5, rel=1e-3)
    assert "that of the worst repeat is 3.6" in rejection.text
    assert rejection.margin < 0
    again = decide(relaxed(brief, "chat", outcome.nearest), [WORKLOAD], [target], stored)
    assert again.workloads[0].choice is not None


def test_a_promise_that_no_call_can_keep_has_no_relaxation():
    answer = decided(5.0, values=lognormal(count=500)).workloads[0]

    assert answer.outcomes[0].rejections[0].relaxation is None
    assert answer.outcomes[0].binding == ("slo",)
