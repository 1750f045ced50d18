import threading
import time

import numpy as np
import pytest

from harness.adapters.base import Output, Query, RowRequest, TextRequest
from harness.errors import MeasurementError
from harness.measure.clock import RealClock
from harness.measure.disturbance import Disturbance
from harness.measure.drive import Driver, StopRule
from harness.measure.samples import FAILED, OK, UNSERVED
from harness.measure.summary import Window, summarise
from harness.measure.verdict import judge
from harness.schema.workload import SloLimit
from tests.measure.virtual import KnownSession, VirtualClock

ROWS = [RowRequest(np.full(2, i, dtype=np.float32)) for i in range(5)]
SLO = (SloLimit(metric="latency", percentile=90, limit_s=1.0),)


def window_of(samples, count=5):
    return Window(samples, [0.0] * count)


def test_closed_loop_measures_exactly_the_service_time() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.01 + 0.001 * (n % 10))
    samples = Driver(session, ROWS, clock, 0).closed(StopRule(1.0, 5.0, 50))
    latency = window_of(samples).latency_s
    assert np.allclose(latency, [0.01 + 0.001 * (n % 10) for n in range(latency.size)], atol=1e-9)
    assert latency.sum() >= 1.0
    assert latency.size >= 50


def test_every_input_is_used_equally_often() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.01)
    samples = Driver(session, ROWS, clock, 0).closed(StopRule(0.0, 9.0, 50))
    assert np.array_equal(np.bincount(samples.columns()["input"]), np.full(5, 10))


def test_open_loop_latency_counts_from_the_scheduled_time() -> None:
    """The latency of a queue with known service times follows Lindley's recursion exactly."""
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.008)
    samples = Driver(session, ROWS, clock, 3).open(100.0, StopRule(20.0, 20.0, 1))
    columns = samples.columns()
    due, ended = columns["scheduled_ns"] / 1e9, columns["ended_ns"] / 1e9
    free, expected = 0.0, []
    for t in due:
        free = max(t, free) + 0.008
        expected.append(free - t)
    assert np.allclose(ended - due, expected, atol=2e-6)
    assert max(expected) > 0.02  # there was a queue
    # The client was never late: what a request waited for was the session.
    assert window_of(samples).lag_s.max() < 1e-6


def test_a_stall_shows_in_open_loop_and_hides_in_closed() -> None:
    def service(number: int) -> float:
        return 2.0 if number == 500 else 0.001

    clock = VirtualClock()
    open_loop = Driver(KnownSession(clock, service), ROWS, clock, 1).open(
        100.0, StopRule(20.0, 20.0, 1)
    )
    clock = VirtualClock()
    closed = Driver(KnownSession(clock, service), ROWS, clock, 1).closed(StopRule(0.0, 99.0, 2000))
    # 2 s of 20 s stand still: a request that arrives during the stall waits for the rest of it, so
    # about 9 % wait more than 0.2 s, and p99 is about 2 s x (1 - 0.01 / 0.1) = 1.8 s.
    p99_open = np.quantile(window_of(open_loop).latency_s, 0.99)
    p99_closed = np.quantile(window_of(closed).latency_s, 0.99)
    assert p99_open == pytest.approx(1.8, rel=0.05)
    assert p99_closed == pytest.approx(0.001)


def test_waiting_requests_are_batched() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.1, max_batch=4)
    samples = Driver(session, ROWS, clock, 0).open(30.0, StopRule(10.0, 10.0, 1))
    assert max(session.batches) == 4
    assert sum(session.batches) == len(samples.rows)
    # One at a time would serve 10 per second and fall behind; batches keep up.
    assert (samples.columns()["status"] == OK).all()


def test_offline_uses_the_largest_batch() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.1, max_batch=8)
    samples = Driver(session, ROWS, clock, 0).offline(StopRule(1.0, 5.0, 32))
    assert set(session.batches) == {8}
    point = summarise(
        window_of(samples), task="tabular_classification", scenario="offline", slo=SLO, energy=[]
    )
    assert point.metrics["throughput_requests_per_s"].value == pytest.approx(80.0)
    assert point.slo_state == "not_applicable"
    assert not any(name.startswith("latency") for name in point.metrics)


def test_failed_requests_are_counted_and_kept_out_of_the_percentiles() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.01, fail_every=4)
    samples = Driver(session, ROWS, clock, 0).closed(StopRule(1.0, 5.0, 100))
    window = window_of(samples)
    columns = samples.columns()
    assert (columns["status"] == FAILED).sum() == len(samples.rows) // 4
    assert window.latency_s.size == len(samples.rows) - window.failed
    point = summarise(
        window, task="tabular_classification", scenario="single_stream", slo=SLO, energy=[]
    )
    assert point.metrics["error_rate"].value == pytest.approx(0.25)
    assert point.slo_state == "missed"
    assert samples.errors[0] == "RuntimeError: declared"


def test_an_overloaded_session_leaves_unserved_requests_not_an_endless_run() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 1.0)
    samples = Driver(session, ROWS, clock, 0).open(10.0, StopRule(10.0, 10.0, 1))
    status = samples.columns()["status"]
    assert (status == UNSERVED).sum() > 50
    assert (status == OK).sum() >= 20
    point = summarise(
        window_of(samples),
        task="tabular_classification",
        scenario="server",
        slo=SLO,
        energy=[],
        load=1.0,
    )
    assert point.slo_state == "missed"
    assert point.failed == (status == UNSERVED).sum()
    quiet = Disturbance(0.0, 0.0, 1.0, 0.0)
    verdict = judge([window_of(samples)], [point], SLO, None, quiet, [], simulated=False)
    assert "errors" not in [reason.code for reason in verdict.reasons]


def test_goodput_counts_requests_that_meet_every_limit_together() -> None:
    clock = VirtualClock()
    # Every fourth request is slow, every tenth fails.
    session = KnownSession(clock, lambda n: 2.0 if n % 4 == 0 else 0.1, tokens=2, fail_every=10)
    prompts = [TextRequest(np.zeros(7, dtype=np.int64), 2)]
    samples = Driver(session, prompts, clock, 0).closed(StopRule(0.0, 999.0, 100))
    limits = (
        SloLimit(metric="latency", percentile=90, limit_s=1.0),
        SloLimit(metric="ttft", percentile=90, limit_s=0.06),
        SloLimit(metric="tpot", percentile=90, limit_s=0.06),
    )
    window = Window(samples, [0.0])
    point = summarise(
        window, task="text_generation", scenario="single_stream", slo=limits, energy=[]
    )
    good = sum(1 for n in range(100) if n % 4 and (n + 1) % 10)
    attainment = point.metrics["slo_attainment"]
    assert attainment.value == pytest.approx(good / 100)
    assert attainment.low is not None
    assert attainment.low < good / 100
    goodput = point.metrics["goodput_requests_per_s"].value
    assert goodput == pytest.approx(good / window.duration_s)


def test_a_target_that_never_streams_misses_its_time_to_first_token() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.1)
    samples = Driver(session, ROWS, clock, 0).closed(StopRule(0.0, 99.0, 20))
    limit = SloLimit(metric="ttft", percentile=90, limit_s=10.0)
    assert window_of(samples).within([limit]) == 0
    assert window_of(samples).within(SLO) == 20


def test_first_token_and_time_per_token() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.1, tokens=10)
    prompts = [TextRequest(np.zeros(7, dtype=np.int64), 10)]
    samples = Driver(session, prompts, clock, 0).closed(StopRule(1.0, 5.0, 5))
    window = Window(samples, [0.0])
    assert np.allclose(window.ttft_s, 0.01)
    assert np.allclose(window.tpot_s, 0.01)
    assert set(samples.columns()["tokens_in"]) == {7}
    assert set(samples.columns()["tokens_out"]) == {10}


class Raises(KnownSession):
    def submit(self, query: Query) -> None:
        raise ValueError("not a query's failure, yet treated as one")


def test_a_session_that_raises_fails_its_query_only() -> None:
    clock = VirtualClock()
    session = Raises(clock, lambda n: 0.0)
    clock.now_ns = lambda: (clock.spend(0.1), clock.at_ns)[1]  # type: ignore[method-assign]
    samples = Driver(session, ROWS, clock, 0).closed(StopRule(0.0, 1.0, 3))
    assert (samples.columns()["status"] == FAILED).all()


class Rude(KnownSession):
    def submit(self, query: Query) -> None:
        self.clock.spend(0.01)
        query.done(0, Output(score=0.1))
        query.done(0, Output(score=0.2))
        query.tokens(0, 1)


def test_broken_contract_is_written_down() -> None:
    clock = VirtualClock()
    samples = Driver(Rude(clock, lambda n: 0.0), ROWS, clock, 0).closed(StopRule(0.0, 1.0, 2))
    assert "a request was completed twice" in samples.complaints
    assert "tokens after the end of a request" in samples.complaints


class Threaded:
    """Answers from another thread after a real delay, any number of queries at once."""

    max_batch = 1
    max_concurrency: int | None = None

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.at_once = self.most = 0
        self.lock = threading.Lock()

    def describe(self):
        return {}

    def submit(self, query: Query) -> None:
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)

        def answer() -> None:
            time.sleep(self.delay_s)
            with self.lock:
                self.at_once -= 1
            query.done(0, Output(score=0.5))

        threading.Thread(target=answer).start()

    def close(self) -> None:
        pass


def test_an_asynchronous_session_is_not_held_back() -> None:
    session = Threaded(0.2)
    samples = Driver(session, ROWS, RealClock(), 0).open(40.0, StopRule(1.0, 1.0, 1))
    latency = window_of(samples).latency_s
    assert session.most > 3
    assert latency.min() >= 0.2
    assert (samples.columns()["status"] == OK).all()


def test_concurrency_limit_is_kept() -> None:
    session = Threaded(0.02)
    session.max_concurrency = 2
    samples = Driver(session, ROWS, RealClock(), 0).open(200.0, StopRule(0.5, 0.5, 1))
    assert session.most <= 2
    assert len(samples.rows) > 50
    offline = Driver(session, ROWS, RealClock(), 0).offline(StopRule(0.2, 1.0, 8))
    assert session.most == 2
    assert (np.diff(offline.columns()["issued_ns"]) >= 0).all()


def test_max_batch_below_one_is_refused() -> None:
    clock = VirtualClock()
    with pytest.raises(MeasurementError, match="max_batch"):
        Driver(KnownSession(clock, lambda n: 1.0, max_batch=0), ROWS, clock, 0)
