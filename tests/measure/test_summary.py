import numpy as np
import pytest

from harness.adapters.base import RowRequest
from harness.early_stopping import latency_estimate
from harness.measure.drive import Driver, StopRule
from harness.measure.summary import Window, summarise
from harness.schema.record import EnergyReading
from harness.schema.workload import SloLimit
from tests.measure.virtual import KnownSession, VirtualClock

ROWS = [RowRequest(np.full(2, i, dtype=np.float32)) for i in range(5)]
SLO = (SloLimit(metric="latency", percentile=90, limit_s=1.0),)
JOULES = EnergyReading(
    meter="rapl",
    joules=100.0,
    duration_s=1.0,
    boundary="package",
    provenance="counter",
    uncertainty=0.01,
)


def service(warm: int, seed: int = 0):
    """Return service times about 10 ms, three times as long for the first `warm` queries."""
    noise = np.exp(0.05 * np.random.default_rng(seed).standard_normal(5_000))
    return lambda n: float(noise[n]) * (0.030 if n < warm else 0.010)


def closed(service_s, count: int = 1_000, **options):
    clock = VirtualClock()
    driver = Driver(KnownSession(clock, service_s, **options), ROWS, clock, 0)
    return driver.closed(StopRule(0.0, 1e3, count))


def summary(samples, scenario="single_stream", energy=(), **options):
    return summarise(
        Window(samples, [0.0] * 5),
        task="tabular_classification",
        scenario=scenario,
        slo=SLO,
        energy=energy,
        **options,
    )


def test_a_closed_loop_s_warm_up_leaves_every_figure() -> None:
    samples = closed(service(100))
    point = summary(samples)
    assert point.warm_up_requests == pytest.approx(100, abs=5)
    assert point.warm_up_requests + point.requests == len(samples.rows) == 1_000
    assert point.metrics["latency_s.p99"].value < 0.02
    assert sum(count for _, count in point.latency.counts) == point.requests
    rate = point.metrics["throughput_requests_per_s"]
    # Over the whole window it would be 1,000 / (100 x 30 ms + 900 x 10 ms) = 83 per second.
    assert rate.value == pytest.approx(100, rel=0.01)
    assert rate.value == pytest.approx(point.requests / point.duration_s)
    assert rate.n == point.requests


def test_joules_are_shared_among_all_requests_the_warm_up_s_too() -> None:
    point = summary(closed(service(100)), energy=[JOULES])
    assert point.warm_up_requests > 0
    each = point.metrics["energy_j_per_request@package"]
    assert each.value == pytest.approx(0.1)
    assert each.n == 1_000


def test_a_steady_run_is_left_whole() -> None:
    point = summary(closed(service(0)))
    assert (point.warm_up_requests, point.requests) == (0, 1_000)


def test_more_than_half_is_no_warm_up() -> None:
    assert summary(closed(service(600))).warm_up_requests == 0


def test_an_open_loop_s_slow_start_is_a_queue_and_stays() -> None:
    clock = VirtualClock()
    driver = Driver(KnownSession(clock, service(100)), ROWS, clock, 0)
    samples = driver.open(50.0, StopRule(20.0, 20.0, 1))
    assert summary(samples, "server", load=0.5, requested_rate=50.0).warm_up_requests == 0
    assert summary(samples, "single_stream").warm_up_requests > 0  # it would have been found


def test_offline_s_warm_up_ends_with_a_batch() -> None:
    point = summary(closed_batches(40), "offline")
    assert 40 * 8 <= point.warm_up_requests <= 55 * 8
    assert point.warm_up_requests % 8 == 0
    assert point.metrics["throughput_requests_per_s"].value == pytest.approx(800, rel=0.02)


def closed_batches(warm: int):
    clock = VirtualClock()
    session = KnownSession(clock, service(warm), max_batch=8)
    return Driver(session, ROWS, clock, 0).offline(StopRule(0.0, 1e3, 400 * 8))


def test_a_query_s_requests_are_cut_together() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, service(50), max_batch=4)
    driver = Driver(session, ROWS, clock, 0)
    samples = driver.multi_stream(StopRule(0.0, 1e3, 400), samples=4)
    queries = Window(samples.by_query(4), [0.0] * 5)
    point = summary(samples, "multi_stream", queries=queries)
    assert point.warm_up_requests == pytest.approx(200, abs=20)
    assert point.warm_up_requests % 4 == 0
    assert point.metrics["latency_s.p90"].n == 400 - point.warm_up_requests // 4
    assert point.metrics["slo_attainment"].n == 400 - point.warm_up_requests // 4


def test_users_whose_requests_began_in_the_warm_up_still_answer_in_the_window() -> None:
    clock = VirtualClock()
    driver = Driver(KnownSession(clock, service(200)), ROWS, clock, 0)
    samples = driver.closed_loop(10, StopRule(0.0, 1e3, 1_000))
    point = summary(samples, "closed_loop")
    assert point.warm_up_requests > 100
    rate = point.metrics["throughput_requests_per_s"]
    # The nine other users' requests were due before; without them it would be 1 % too low.
    assert rate.n == point.requests + 9
    assert rate.value * point.duration_s == pytest.approx(rate.n)


def test_percentiles_carry_mlperf_s_bound() -> None:
    samples = closed(service(0))
    point = summary(samples)
    latencies = np.sort(Window(samples, [0.0] * 5).latency_s)
    metric = point.metrics["latency_s.p99"]
    assert metric.certified == latency_estimate(latencies, 99) == latencies[1_000 - 2]
    assert metric.certified >= metric.value
    assert point.metrics["latency_s.p99.9"].certified is None  # needs 6,636
    assert summary(closed(service(0), 661)).metrics["latency_s.p99"].certified is None
    assert point.metrics["error_rate"].certified is None


def test_a_failed_request_is_slower_than_any_to_the_certified_bound() -> None:
    # Every 1,000th of 2,000 fails: two of the ten that may be slower are taken.
    clean, failing = closed(service(0), 2_000), closed(service(0), 2_000, fail_every=1_000)
    latencies = np.sort(Window(clean, [0.0] * 5).latency_s)
    metric = summary(failing).metrics["latency_s.p99"]
    served = np.sort(Window(failing, [0.0] * 5).latency_s)
    allowed = 2_000 - int(np.searchsorted(latencies, latency_estimate(latencies, 99)))
    assert metric.certified == served[1_998 - (allowed - 2)]
    # A tenth fails: the bound would be one that never came.
    assert summary(closed(service(0), fail_every=10)).metrics["latency_s.p99"].certified is None


def test_a_query_of_several_requests_has_no_time_per_output_token_of_its_own() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.4, max_batch=4, tokens=5)
    samples = Driver(session, ROWS, clock, 0).multi_stream(StopRule(0.0, 99.0, 300), samples=4)
    window = Window(samples, [0.0] * 5)
    point = summarise(
        window,
        task="text_generation",
        scenario="multi_stream",
        slo=(SloLimit(metric="tpot", percentile=90, limit_s=0.2),),
        energy=(),
        queries=Window(samples.by_query(4), [0.0] * 5),
    )
    # Five tokens in 0.4 s, the first after 0.08 s: 0.08 s each.
    assert point.metrics["tpot_s.p50"].value == pytest.approx(0.08)
    assert point.slo[0].value_s == pytest.approx(0.08)
    assert point.slo_state == "met"
