"""How long tasks take: sums of calls and slowest ones, against formulas and simulation."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.mapper.task_latency import Calls, calls_of, parallel, per_call, sequential, tasks_of
from harness.schema.demand import Agent
from harness.statistics import histogram
from tests.factories import make_point
from tests.mapper.calls import SIGMA, WORKLOAD, calls, lognormal


@pytest.fixture(scope="module")
def smooth():
    return calls(lognormal())


@pytest.mark.parametrize(("count", "ratio"), [(1, 3.38), (10, 1.60), (20, 1.40), (50, 1.24)])
def test_the_p99_of_a_sequential_task_nears_its_mean(smooth, count, ratio):
    tasks = sequential(smooth, count)

    assert tasks.quantile(0.99) / tasks.mean_s == pytest.approx(ratio, abs=0.011)


@pytest.mark.parametrize(("count", "percentile"), [(10, 99.90), (50, 99.98)])
def test_a_parallel_task_asks_for_a_higher_percentile_of_each_call(smooth, count, percentile):
    assert per_call(99, count) == pytest.approx(percentile, abs=0.005)

    exact = math.exp(SIGMA * NormalDist().inv_cdf(0.99 ** (1 / count)))
    assert parallel(smooth, count).quantile(0.99) == pytest.approx(exact, rel=0.006)


@pytest.mark.parametrize("order", ["sequential", "parallel"])
@pytest.mark.parametrize("count", [2, 7])
def test_a_task_is_what_a_simulation_of_its_calls_says(order, count):
    generator = np.random.default_rng(3)
    values = generator.gamma(0.7, size=20_000) + generator.choice(
        [0.0, 4.0], 20_000, p=[0.97, 0.03]
    )
    drawn = generator.choice(values, (200_000, count))
    whole = drawn.sum(axis=1) if order == "sequential" else drawn.max(axis=1)
    tasks = tasks_of(calls(values), Agent(calls_per_task=count, order=order))

    assert tasks.mean_s == pytest.approx(whole.mean(), rel=0.01)
    for share in (0.5, 0.9, 0.99):
        assert tasks.quantile(share) == pytest.approx(np.quantile(whole, share), rel=0.02)


def test_two_values_by_hand():
    two = Calls(np.array([1.0, 2.0]), np.array([0.9, 0.1]), 1e6, 1_000_000)

    pair = sequential(two, 2)
    assert pair.mean_s == pytest.approx(2.2)
    assert pair.quantile(0.80) == pytest.approx(2.0, abs=0.001)  # P(2 s) = 0.81
    assert pair.quantile(0.82) == pytest.approx(3.0, abs=0.001)  # P(3 s) = 0.18
    assert pair.quantile(0.995) == pytest.approx(4.0, abs=0.001)
    both = parallel(two, 2)
    assert both.mean_s == pytest.approx(0.81 * 1 + 0.19 * 2)
    assert both.quantile(0.80) == 1.0
    assert both.quantile(0.82) == 2.0


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=30),
    st.integers(1, 50),
    st.sampled_from(["sequential", "parallel"]),
)
@settings(max_examples=40, deadline=None)
def test_a_task_is_no_faster_than_a_call_and_no_slower_than_all_of_them(values, count, order):
    each = calls(values)
    tasks = tasks_of(each, Agent(calls_per_task=count, order=order))
    one = tasks_of(each, Agent(calls_per_task=1, order=order))

    for share in (0.5, 0.9):
        # A step of the grid is a share of the whole task.
        assert tasks.quantile(share) >= one.quantile(share) * 0.99 - tasks.mean_s / 4000
        assert tasks.quantile(share) <= count * each.seconds[-1] * 1.01 + tasks.mean_s / 4000


def test_correlated_calls_are_worth_fewer():
    point = make_point(WORKLOAD, latency=histogram(np.asarray(lognormal(count=5000))))
    metrics = dict(point.metrics)
    metrics["latency_s.p99"] = metrics["latency_s.p99"].model_copy(update={"n_eff": 300.0})

    assert calls_of(point).n_eff == 5000
    assert calls_of(point.model_copy(update={"metrics": metrics})).n_eff == 300
