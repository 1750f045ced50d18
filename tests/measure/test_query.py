import threading

import pytest

from harness.adapters.base import Output, RowRequest
from harness.adapters.receipt import Answer, Receipt
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


def received(query: TimedQuery, *, issued: int, answer: Answer, ended: int) -> None:
    query.issued_ns = issued
    query.received(0, Receipt(ended, lambda: answer))


def test_a_receipt_ends_a_request_when_its_bytes_came_and_is_read_with_the_samples() -> None:
    clock = VirtualClock()
    at = clock.at_ns
    query = TimedQuery(ROWS[:1], None, clock)
    clock.spend(1.0)
    answer = Answer(ended_ns=at + 30, first_ns=at + 10, tokens=7, output=Output())
    received(query, issued=at, answer=answer, ended=at + 40)
    assert query.complete
    assert query.ended_ns == [at + 40]
    samples = Samples(0, at)
    samples.add(query, [0], [3])
    columns = samples.columns()
    got = [int(columns[name][0]) for name in ("first_ns", "ended_ns", "tokens_out", "status")]
    assert got == [10, 30, 7, OK]
    assert query.complaints == ()


def test_a_receipt_of_a_failure_is_a_failed_request() -> None:
    clock = VirtualClock()
    query = TimedQuery(ROWS[:1], None, clock)
    clock.spend(1.0)
    at = clock.at_ns
    answer = Answer(ended_ns=at, error=AdapterError("cut off"))
    received(query, issued=at - 50, answer=answer, ended=at)
    samples = Samples(0, 0)
    samples.add(query, [0], [3])
    assert list(samples.columns()["status"]) == [FAILED]
    assert samples.errors == ["AdapterError: cut off"]


@pytest.mark.parametrize(("first", "ended"), [(-1, 30), (31, 30), (10, 41)])
def test_stamps_outside_of_the_request_break_the_contract(first: int, ended: int) -> None:
    clock = VirtualClock()
    at = clock.at_ns
    query = TimedQuery(ROWS[:1], None, clock)
    clock.spend(1.0)
    answer = Answer(ended_ns=at + ended, first_ns=at + first, tokens=7, output=Output())
    received(query, issued=at, answer=answer, ended=at + 40)
    samples = Samples(0, at)
    samples.add(query, [0], [3])
    assert samples.complaints == ["time stamps outside of the request"]
    assert list(samples.columns()["status"]) == [FAILED]


def test_a_receipt_after_expiry_is_not_read() -> None:
    clock = VirtualClock()
    query = TimedQuery(ROWS[:1], None, clock)
    query.expire(TimeoutError("too late"))
    received(query, issued=0, answer=Answer(ended_ns=5, output=Output()), ended=5)
    query.read()
    assert query.complete
    assert query.outputs == [None]
