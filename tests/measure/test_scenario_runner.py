"""Every kind of scenario through the runner, on a session whose service times are known."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from harness.adapters.base import Output, RowRequest
from harness.measure.clock import RealClock
from harness.measure.job import Job
from harness.measure.profile import PROFILES
from harness.measure.scenario import ScenarioRunner, find_headline
from harness.plan import make_cell
from tests.factories import make_fraud_workload, make_target, make_workload
from tests.measure.virtual import KnownSession, VirtualClock

ROWS = [RowRequest(np.full(2, i, dtype=np.float32)) for i in range(16)]


class NoEnergy:
    def begin(self):
        pass

    def end(self):
        return []


def measured(
    scenario,
    *,
    service_s=0.01,
    max_batch=1,
    workload=None,
    target=None,
    tmp_path=None,
    profile="quick",
    max_concurrency=1,
):
    """Return the measured points, the session and the notes of a cell on a virtual clock."""
    runner = runner_of(
        scenario,
        service_s=service_s,
        max_batch=max_batch,
        workload=workload,
        target=target,
        tmp_path=tmp_path,
        profile=profile,
        max_concurrency=max_concurrency,
    )
    return runner.run(), runner.session, runner.notes


def runner_of(
    scenario,
    *,
    service_s=0.01,
    max_batch=1,
    workload=None,
    target=None,
    tmp_path=None,
    profile="quick",
    max_concurrency=1,
    session=None,
    seed=1,
):
    workload = workload or make_fraud_workload(scenarios=[scenario])
    target = target or make_target()
    clock = VirtualClock() if session is None else RealClock()
    session = session or KnownSession(clock, lambda n: service_s, max_batch=max_batch, tokens=0)
    cell = make_cell(workload, target, workload.scenarios[0], profile=profile, seed=seed)
    job = Job(
        cell=cell,
        workload=workload,
        target=target,
        data=tmp_path or "/",
        cache="/",
        folder="/",
    )
    notes = []
    session.max_concurrency = max_concurrency
    runner = ScenarioRunner(job, session, NoEnergy(), ROWS, clock, notes.append)
    runner.session, runner.notes = session, notes
    return runner


def test_a_search_finds_the_capacity_of_a_known_queue() -> None:
    """M/D/1: the p99 latency is five service times at a load of 0.565.

    P(W > 4 D) = C exp(-4 theta) with rho (exp(theta) - 1) = theta and
    C = (1 - rho) / (rho exp(theta) - 1) (Cramer-Lundberg asymptotics) is 1 % there.
    """
    points, _, notes = measured({"kind": "server"}, service_s=0.002, profile="standard")
    loads = [each.point.load for each in points]
    assert loads == sorted(loads)
    assert 0.5 in loads
    headline = find_headline([each.point for each in points])
    assert headline is not None
    assert 0.4 < points[headline].point.load < 0.58
    above = [each.point.slo_state for each in points[headline + 1 :]]
    assert above
    assert "met" not in above
    assert "at load" in notes[-1]
    assert [each.samples.columns()["point"][0] for each in points] == list(range(len(points)))


def test_declared_loads_are_measured_and_no_others() -> None:
    points, _, _ = measured({"kind": "server", "load": [0.3, 0.6]})
    assert [each.point.load for each in points] == [0.3, 0.6]
    assert points[0].point.requested_rate == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_a_rate_beyond_what_is_served_is_no_capacity_though_the_window_is_short(seed) -> None:
    """A queue of 45 ms a request that grows by a tenth needs 10 s to miss a limit of 1 s."""
    slo = [{"metric": "latency", "percentile": 95, "limit_s": 1.0}]
    workload = make_fraud_workload(scenarios=[{"kind": "server"}], slo=slo)
    runner = runner_of(None, service_s=0.045, workload=workload, seed=seed)
    points = [each.point for each in runner.run()]
    assert points[find_headline(points)].load < 1
    assert points[-1].load > 1
    assert points[-1].slo_state == "missed"
    assert "were ever served: the queue grows" in points[-1].overload
    if runner.capacity is not None:
        assert runner.capacity.high <= 1.03 / 0.045


def test_multi_stream_times_queries_and_counts_requests() -> None:
    points, session, _ = measured({"kind": "multi_stream", "samples": 8}, service_s=0.01)
    (one,) = points
    # Eight requests one after the other: a query takes 80 ms, a request's share of the rate is 10.
    assert one.point.metrics["latency_s.p50"].value == pytest.approx(0.08)
    assert one.point.metrics["throughput_requests_per_s"].value == pytest.approx(100, rel=0.01)
    points, session, _ = measured({"kind": "multi_stream", "samples": 8}, max_batch=8)
    assert set(session.batches) == {8}
    assert points[0].point.metrics["latency_s.p50"].value == pytest.approx(0.01)
    # Every query met the limit, and so did every request of it.
    good = points[0].point.metrics["goodput_requests_per_s"]
    assert good.value == pytest.approx(800)
    assert good.low == pytest.approx(800 * points[0].point.metrics["slo_attainment"].low)


def test_closed_loop_latency_holds_the_wait_for_the_others() -> None:
    points, _, _ = measured({"kind": "closed_loop", "concurrency": 4}, service_s=0.01)
    assert points[0].point.metrics["latency_s.p50"].value == pytest.approx(0.04, rel=0.01)
    assert points[0].point.metrics["throughput_requests_per_s"].value == pytest.approx(
        100, rel=0.02
    )


def test_bursts_wait_longer_than_poisson_arrivals_at_the_same_load() -> None:
    calm, _, _ = measured({"kind": "server", "load": [0.5]})
    wild, _, _ = measured({"kind": "burst", "load": [0.5], "shape": 0.1})
    slow = np.quantile(wild[0].window.latency_s, 0.9)
    assert slow > 1.5 * np.quantile(calm[0].window.latency_s, 0.9)


def test_a_trace_is_replayed(tmp_path) -> None:
    rows = "\n".join(f"{0.05 * i},{4 + i % 3},8" for i in range(40))
    (tmp_path / "calls.csv").write_text(f"time_s,input_tokens,output_tokens\n{rows}\n")
    workload = make_workload(scenarios=[{"kind": "trace", "file": "calls.csv", "speed": 2.0}])
    points, _, _ = measured(None, workload=workload, tmp_path=tmp_path)
    (one,) = points
    columns = one.samples.columns()
    assert columns["tokens_in"].tolist() == [4 + i % 3 for i in range(40)]
    gaps = np.diff(columns["scheduled_ns"]) / 1e9
    assert np.allclose(gaps, 0.025, atol=1e-6)


def test_a_deadline_turns_late_requests_into_misses() -> None:
    workload = make_fraud_workload(scenarios=[{"kind": "server", "load": [1.5]}], deadline_s=0.05)
    points, _, _ = measured(None, workload=workload)
    (one,) = points
    assert one.point.failed > 0.1 * one.point.requests
    assert one.window.latency_s.max() <= 0.05
    assert one.point.slo_state == "missed"


def test_a_batching_delay_fills_batches_and_is_no_lag() -> None:
    target = make_target(runtime={"adapter": "fake", "max_delay_s": 0.05})
    scenario = {"kind": "server", "load": [0.5]}
    eager, at_once, _ = measured(scenario, max_batch=8)
    patient, filled, _ = measured(scenario, max_batch=8, target=target)
    assert np.mean(filled.batches) > 1.5 * np.mean(at_once.batches)
    assert patient[0].window.lag_s.max() < 1e-6
    assert eager[0].window.lag_s.max() < 1e-6


def test_points_are_counted_for_the_time_limit() -> None:
    quick = PROFILES["quick"]
    kinds = {
        1: {"kind": "single_stream"},
        2: {"kind": "burst", "load": [0.3, 0.6]},
        quick.most_points: {"kind": "server"},
    }
    for count, scenario in kinds.items():
        workload = make_fraud_workload(scenarios=[scenario])
        assert quick.points(workload.scenarios[0]) == count


def test_the_capacity_lies_near_that_of_a_known_queue() -> None:
    """M/D/1 as above: the p99 latency is five service times at a load of 0.565."""
    runner = runner_of({"kind": "server"}, service_s=0.002, profile="standard")
    points = runner.run()
    assert runner.capacity is not None
    assert runner.capacity.unit == "requests/s"
    assert runner.capacity.value == pytest.approx(0.565 / 0.002, rel=0.06)
    assert runner.capacity.low < runner.capacity.value < runner.capacity.high
    assert runner.capacity.n == sum(each.point.requests for each in points)


def test_a_search_that_never_broke_the_slo_has_no_capacity() -> None:
    runner = runner_of({"kind": "server", "load": [0.1, 0.2]})
    runner.run()
    assert runner.capacity is None


def test_windows_end_as_their_profile_says_and_say_why() -> None:
    (quick,), _, _ = measured({"kind": "single_stream"})
    assert quick.point.ending.why == "precise"
    assert quick.point.began_at is not None
    (long,), _, _ = measured({"kind": "single_stream"}, profile="mlperf")
    assert long.point.ending.why == "count"
    assert long.point.duration_s >= 600
    (offline,), _, _ = measured({"kind": "offline"}, profile="mlperf", service_s=0.03)
    assert offline.point.requests >= 24_576
    at_load, _, _ = measured({"kind": "server", "load": [0.5]}, profile="mlperf")
    assert at_load[0].point.ending.why == "precise"
    assert at_load[0].point.duration_s >= 600


def test_a_driver_that_only_issues_asks_for_a_core_of_its_own() -> None:
    _, _, notes = measured({"kind": "server", "load": [0.5]}, max_concurrency=None)
    assert any("core" in note for note in notes)
    _, _, notes = measured({"kind": "server", "load": [0.5]})
    assert not any("core" in note for note in notes)


class Lanes:
    """Answers each query after 50 ms, four at once; others wait for a lane."""

    max_batch = 1

    def __init__(self):
        self._pool = ThreadPoolExecutor(4)

    def submit(self, query):
        self._pool.submit(self._answer, query)

    def _answer(self, query):
        time.sleep(0.05)
        query.done(0, Output(score=0.5))


@pytest.fixture
def _short(monkeypatch):
    brief = replace(PROFILES["quick"], least_s=1.0, most_s=2.0, server_most_s=2.0)
    monkeypatch.setitem(PROFILES, "quick", brief)


class Narrow(Lanes):
    """Lanes that are reached over two connections only."""

    most_sent = 2


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize(
    ("session", "limit", "lanes", "saturated"),
    [(Lanes, 4, 4, True), (Lanes, None, 4, True), (Narrow, None, 2, False)],
)
def test_a_load_is_of_the_most_that_a_session_serves_at_once(
    session, limit, lanes, saturated
) -> None:
    runner = runner_of(
        {"kind": "server", "load": [0.5]}, session=session(), max_concurrency=limit, service_s=None
    )
    (one,) = runner.run()
    # 20 requests/s from each lane.
    assert 0.5 * 12.5 * lanes < one.point.requested_rate < 0.5 * 20.5 * lanes
    # What a client of few connections gets is not the most that the target serves.
    assert runner._client.saturated is saturated
    assert (runner._most is None) is not saturated


def tasks_of(scenario, limit_s):
    return make_fraud_workload(
        scenarios=[scenario],
        agent={"calls_per_task": 4, "order": "sequential"},
        slo=[{"metric": "task_latency", "percentile": 90, "limit_s": limit_s}],
    )


def test_a_search_finds_the_rate_at_which_tasks_keep_their_promise() -> None:
    workload = tasks_of({"kind": "server"}, 0.05)
    points, _, _ = measured(None, service_s=0.005, workload=workload, profile="standard")
    headline = find_headline([each.point for each in points])
    assert headline is not None
    point = points[headline].point
    (check,) = point.slo
    assert check.limit.metric == "task_latency"
    assert check.state == "met"
    assert point.metrics["task_latency_s.p90"].n * 4 == point.requests
    rate = point.metrics["throughput_requests_per_s"].value
    assert point.metrics["throughput_tasks_per_s"].value == pytest.approx(rate / 4, rel=0.02)
    assert any(each.point.slo_state == "missed" for each in points[headline + 1 :])


def test_tasks_alone_take_just_their_calls() -> None:
    workload = tasks_of({"kind": "single_stream"}, 0.05)
    (one,), _, _ = measured(None, service_s=0.01, workload=workload)
    assert one.point.metrics["task_latency_s.p90"].value == pytest.approx(0.04)
    assert one.point.metrics["task_latency_s.mean"].value == pytest.approx(0.04)
    assert one.point.slo_state == "met"
    assert one.point.metrics["task_error_rate"].value == 0.0
