"""Erlang C against published values, the tail against simulated queues, and pooled counts."""

import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.mapper import decide
from harness.mapper.dependence import not_one_queue
from harness.mapper.queueing import (
    Service,
    capacity_of_one,
    erlang_c,
    late_share,
    servers_for,
    service_of,
    sizing_of,
    wait_exceeds,
)
from harness.schema.demand import Demand
from harness.schema.record import Histogram
from harness.schema.workload import SloLimit
from tests.factories import (
    make_brief,
    make_fraud_workload,
    make_point,
    make_record,
    make_stored,
    make_target,
)

LIMIT = SloLimit(metric="latency", percentile=99, limit_s=0.020)


@pytest.mark.parametrize(
    ("servers", "load", "published"),
    [
        # M/M/1: rho. M/M/2 and M/M/3 in closed form: 2 rho^2 / (1 + rho); a textbook's 4/9.
        (1, 0.8, 0.8),
        (2, 1.0, 1 / 3),
        (3, 2.0, 4 / 9),
        # Call-centre example of Tanner (2000): 200 calls of 3 min an hour, 11 agents.
        (11, 10.0, 0.6821),
        (14, 10.0, 0.1741),
    ],
)
def test_erlang_c_has_the_published_values(servers, load, published):
    assert erlang_c(servers, load) == pytest.approx(published, abs=5e-5)


@given(servers=st.integers(1, 60), share=st.floats(0.01, 0.99))
def test_erlang_c_is_the_sum_of_its_definition(servers, share):
    load = servers * share
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) / (1 - share)

    assert erlang_c(servers, load) == pytest.approx(last / (sum(terms) + last), rel=1e-9)


def test_erlang_c_neither_overflows_nor_promises_room_that_is_not_there():
    assert 0 < erlang_c(10_000, 9_900.0) < 1
    assert erlang_c(5, 5.0) == 1.0
    assert wait_exceeds(1.0, 5, 6.0, 1.0) == 1.0


@pytest.mark.parametrize(("load", "servers"), [(0.5, 3), (2, 6), (10, 15), (50, 57), (200, 208)])
def test_servers_so_that_one_in_a_hundred_waits_half_a_service_time(load, servers):
    assert servers_for(load, 0.5, 0.01) == servers


def test_steady_service_needs_no_more_servers_than_variable_service():
    counts = [servers_for(20, 0.5, 0.01, cv2) for cv2 in (0.0, 0.5, 1.0, 4.0)]

    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


@pytest.mark.parametrize("cv2", [1.0, 0.25])
def test_the_tail_is_near_that_of_a_simulated_queue(cv2):
    """Gamma service times at 80 % of 4 servers; exact for cv2 = 1, elsewhere within 0.03."""
    rng = np.random.default_rng(1)
    count, servers, load = 200_000, 4, 3.2
    arrivals = np.cumsum(rng.exponential(1 / load, count))
    service = rng.gamma(1 / cv2, cv2, count)
    free = [0.0] * servers
    waits = np.empty(count)
    for i, (arrived, spent) in enumerate(zip(arrivals.tolist(), service.tolist(), strict=True)):
        start = max(arrived, heapq.heappop(free))
        waits[i] = start - arrived
        heapq.heappush(free, start + spent)

    waiting = erlang_c(servers, load)
    for wait in (0.5, 1.0, 2.0):
        said = wait_exceeds(waiting, servers, load, wait, cv2)
        assert said == pytest.approx(float((waits > wait).mean()), abs=0.03)


def test_without_load_only_the_service_itself_can_be_late():
    service = Service(((0.010, 0.9), (0.030, 0.1)))

    assert service.mean_s == pytest.approx(0.012)
    assert late_share(service, 1, 0.0, 0.0, 0.020) == pytest.approx(0.1)
    assert capacity_of_one(service, [LIMIT]) == pytest.approx(0.0, abs=1e-6)


def test_the_capacity_of_one_server_is_that_of_the_closed_form():
    """M/M/1 with fixed waits: constant service s, P(W > L - s) = .01, W by Allen-Cunneen."""
    service = Service(((0.002, 1.0),))
    found = capacity_of_one(service, [LIMIT])

    rho = found * 0.002
    assert rho * math.exp(-(1 - rho) * 9 / 0.5) == pytest.approx(0.01, rel=1e-6)


# ---- the sizing of an option


def streams(middle_s=0.002, spread=3):
    """Return the record of a single stream with service times around `middle_s`."""
    workload = make_fraud_workload()
    bucket = math.floor(math.log(middle_s) / math.log(1.01))
    counts = tuple((bucket + k, 100) for k in range(-spread, spread + 1))
    point = make_point(workload, latency=Histogram(counts=counts))
    return [make_record(workload, make_target(), scenario="single_stream", points=(point,))]


def test_a_histogram_is_the_service_time_within_its_buckets():
    service = service_of(streams()[0].points)

    assert service.mean_s == pytest.approx(0.002, rel=0.01)
    assert service.cv2 == pytest.approx(0.0004, abs=2e-4)
    assert service_of([]) is None


def test_one_queue_before_all_units_takes_fewer_where_the_model_fits_the_measurement():
    capacity = capacity_of_one(service_of(streams()[0].points), [LIMIT])
    rate = 50 * capacity

    sizing = sizing_of(50, 1, rate, capacity * 1.05, [LIMIT], streams())

    assert (sizing.needed, sizing.spare) == (50, 1)
    assert rate * 0.002 < sizing.pooled < 50
    assert f"one shared queue would do with {sizing.pooled}" in sizing.basis


def test_one_unit_cannot_be_pooled():
    capacity = capacity_of_one(service_of(streams()[0].points), [LIMIT])

    assert sizing_of(1, 0, capacity * 0.9, capacity, [LIMIT], streams()).pooled == 1


@pytest.mark.parametrize(
    ("capacity", "limits", "records", "why"),
    [
        (4000.0, [LIMIT], streams(), "so it is no such server"),
        (400.0, [LIMIT], [], "no single stream was measured"),
        (
            400.0,
            [SloLimit(metric="ttft", percentile=90, limit_s=1.0)],
            streams(),
            "a promise is not on the whole latency",
        ),
    ],
)
def test_no_pooled_count_where_the_model_is_not_known_to_hold(capacity, limits, records, why):
    sizing = sizing_of(3, 0, 1000.0, capacity, limits, records)

    assert sizing.pooled is None
    assert why in sizing.basis


# ---- calls that are not independent

CALLS = {"calls_per_task": 3, "order": "parallel"}


@pytest.mark.parametrize(
    ("workload", "demand", "why"),
    [
        ({}, {}, None),
        ({}, {"agent": {**CALLS, "calls_per_task": 1}}, None),
        ({}, {"agent": CALLS}, "which was measured with single calls"),
        ({"agent": CALLS}, {}, "the calls come as tasks of 3 parallel calls, and Erlang C takes"),
    ],
)
def test_calls_that_belong_together_have_no_pooled_count_and_say_so(workload, demand, why):
    scenarios = [{"kind": "single_stream"}, {"kind": "server"}]
    asked = make_fraud_workload(scenarios=scenarios, **workload)
    volume = {"requests_per_month": 1e6, **demand}
    found = not_one_queue(asked, Demand.model_validate(volume))

    assert (found is None) if why is None else (why in found)
    capacity = capacity_of_one(service_of(streams()[0].points), [LIMIT])
    sizing = sizing_of(50, 1, 50 * capacity, capacity, [LIMIT], streams(), found)
    assert (sizing.pooled is None) == (why is not None)
    assert why is None or f"no count for one shared queue: {found}" in sizing.basis


def test_a_decision_on_tasks_says_that_its_units_have_no_shared_queue():
    slo = [{"metric": "latency", "percentile": 90, "limit_s": 0.5}]
    target, workload = make_target(), make_fraud_workload(slo=slo)
    points = (make_point(workload, rate=100.0, load=0.8),)
    record = make_record(workload, target, points=points)
    brief = make_brief(workloads=[{"workload": "fraud", "demand": {"agent": CALLS}}])
    choice = decide(brief, [workload], [target], [make_stored(record)]).workloads[0].choice

    assert choice.sizing.pooled is None
    assert "tasks of 3 parallel calls" in choice.sizing.basis
