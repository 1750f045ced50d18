"""What must be the same in MLPerf LoadGen and here, whatever the machine is doing."""

import numpy as np
import pytest

from harness.measure.calibrate import INPUTS
from harness.measure.drive import Driver, StopRule
from harness.traffic import poisson_arrivals
from tests.benchmarks import loadgen
from tests.benchmarks.loadgen_parity import Case, SleepSession, differences, exact_ns, ours
from tests.measure.virtual import KnownSession, VirtualClock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(loadgen.absent() is not None, reason=str(loadgen.absent())),
]
SERVICE_S = 0.002
SERVER = Case(SERVICE_S, 300, 100.0)


@pytest.fixture(scope="module")
def served() -> loadgen.Driven:
    return loadgen.drive(SERVER.order)


def distance_from_exponential(gaps_s) -> float:
    """Return the largest distance between the gaps' distribution and the exponential one."""
    ordered = np.sort(gaps_s)
    model = 1 - np.exp(-ordered / ordered.mean())
    steps = np.arange(ordered.size + 1) / ordered.size
    return float(max((steps[1:] - model).max(), (model - steps[:-1]).max()))


@pytest.mark.parametrize("case", [Case(0.0, 700), Case(SERVICE_S, 130), Case(0.0, 60)])
def test_single_stream_latencies_give_the_same_percentiles_and_estimates(case: Case) -> None:
    driven = loadgen.drive(case.order)
    assert driven.latency_ns.size == case.queries
    assert differences(case, driven) == []
    assert ours(case, None).size == case.queries


def test_server_latencies_give_the_same_percentiles_and_verdict(served) -> None:
    assert differences(SERVER, served) == []


def test_no_answer_of_either_is_earlier_than_the_arrivals_allow(served) -> None:
    # A sleep is never shorter than asked, so the queue's exact latencies are a lower bound. The
    # trace tells arrivals to the nanosecond; the margin is for rounding on both sides.
    bound_ns = exact_ns(served.due_s, SERVICE_S) - 1_000
    assert (served.latency_ns >= bound_ns).all()
    replayed = ours(SERVER, served.due_s)
    assert replayed.size == served.due_s.size == SERVER.queries
    assert (replayed >= bound_ns).all()
    # The wait is counted from the due time: some queries had to queue.
    assert (bound_ns > 1.5 * SERVICE_S * 1e9).sum() > 5


def test_loadgens_arrivals_queue_exactly_as_they_must(served) -> None:
    clock = VirtualClock()
    driver = Driver(KnownSession(clock, lambda number: SERVICE_S), INPUTS, clock, seed=0)
    columns = driver.offer(served.due_s).columns()
    found = columns["ended_ns"] - columns["scheduled_ns"]
    assert np.abs(found - exact_ns(served.due_s, SERVICE_S)).max() <= SERVER.queries


def test_arrivals_of_both_are_poisson(served) -> None:
    theirs = np.diff(served.due_s)
    mine = np.diff(poisson_arrivals(100.0, 10.0, 0))
    for gaps_s in (theirs, mine):
        # Of the mean, four standard errors; of the shape, the 0.1 % bound of Lilliefors's test.
        assert abs(gaps_s.mean() * 100 - 1) < 4 / np.sqrt(gaps_s.size)
        assert distance_from_exponential(gaps_s) < 1.45 / np.sqrt(gaps_s.size)


def test_inputs_come_in_whole_permutations_like_loadgens_equal_issue() -> None:
    queries = 4 * loadgen.INPUTS
    theirs = loadgen.drive(loadgen.Order("SingleStream", queries, whole=True)).inputs
    assert len(INPUTS) == loadgen.INPUTS
    stop = StopRule(0.0, 60.0, queries)
    mine = Driver(SleepSession(0.0), INPUTS, VirtualClock(), seed=0).closed(stop).columns()["input"]
    for order in (theirs, mine):
        blocks = np.sort(order.reshape(4, -1), axis=1)
        assert (blocks == np.arange(loadgen.INPUTS)).all()
