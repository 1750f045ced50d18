import threading

import pytest

from harness.adapters.base import Output, RowRequest
from harness.errors import AdapterError
from harness.measure.query import TimedQuery
from harness.measure.samples import FAILED, OK, TIMED_OUT, Samples
from tests.measure.virtual import VirtualClock

ROWS = [RowRequest(None), RowRequest(None)]  # type: ignore[arg-type]
OUTPUT = Output(score=0.5)


def test_waits_for_all_of_its_requests() -> None:
    query = TimedQuery(ROWS, None, VirtualClock())
    assert not query.wait(0.0)
    query.done(1, OUTPUT)
    assert not query.wait(0.01)
    threading.Timer(0.05, query.done, (0, OUTPUT)).start()
    assert query.wait(10.0)
    assert query.wait(0.0)
    assert query.expect_outputs() == [OUTPUT, OUTPUT]


def test_failing_all_leaves_what_has_ended() -> None:
    query = TimedQuery(ROWS, None, VirtualClock())
    query.done(0, OUTPUT)
    query.fail(RuntimeError("gone"))
    assert query.complete
    assert query.outputs == [OUTPUT, None]
    assert query.complaints == ()
    with pytest.raises(AdapterError, match="gone"):
        query.expect_outputs()


def test_what_comes_after_expiry_frees_the_query_and_is_no_fault() -> None:
    clock = VirtualClock()
    query = TimedQuery(ROWS, [clock.at_ns, clock.at_ns], clock)
    query.issued_ns = clock.at_ns
    clock.spend(0.5)
    query.done(0, OUTPUT)
    query.expire(TimeoutError("too late"))
    assert not query.complete
    query.tokens(1, 1)
    query.done(1, OUTPUT)
    assert query.complete
    assert query.complaints == ()
    for deadline_ns, statuses in ((10**9, [OK, TIMED_OUT]), (10**8, [TIMED_OUT, TIMED_OUT])):
        samples = Samples(0, query.issued_ns)
        samples.add(query, [0, 1], [0, 0], deadline_ns)
        assert list(samples.columns()["status"]) == statuses
        assert list(samples.columns()["ended_ns"]) == [500_000_000, -1]
        assert samples.errors == ["TimeoutError: too late"]
    samples = Samples(0, query.issued_ns)
    samples.add(query, [0, 1], [0, 0])
    assert list(samples.columns()["status"]) == [OK, FAILED]


def test_expiry_of_a_complete_query_does_nothing() -> None:
    query = TimedQuery(ROWS[:1], None, VirtualClock())
    query.done(0, OUTPUT)
    query.expire(TimeoutError())
    assert not query.expired
    query.done(0, OUTPUT)
    assert query.complaints == ("a request was completed twice",)
