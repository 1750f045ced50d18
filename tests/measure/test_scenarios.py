"""The scenarios beyond one at a time, all at once and Poisson, and what bounds a request's wait."""

import threading
import time

import numpy as np
import pytest

from harness.adapters.base import Output, Query, RowRequest
from harness.errors import MeasurementError
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.measure.patience import longest_wait_s
from harness.measure.samples import FAILED, OK, TIMED_OUT, UNSERVED
from harness.measure.summary import Window
from harness.traffic import Spikes
from tests.adapters.http.served import make_served
from tests.factories import make_target, make_workload
from tests.measure.virtual import KnownSession, VirtualClock

ROWS = [RowRequest(np.full(2, i, dtype=np.float32)) for i in range(5)]


def latency_of(samples):
    return Window(samples, [0.0] * 5).latency_s


class Answers:
    """Answers from another thread; the submissions whose number is in `lost` never.

    `release` lets the lost ones go, too late.
    """

    max_batch = 1

    def __init__(self, lost=(), max_concurrency=None) -> None:
        self.lost = lost
        self.max_concurrency = max_concurrency
        self.count = self.at_once = self.most = 0
        self.lock = threading.Lock()
        self.kept: list[Query] = []

    def describe(self):
        return {}

    def submit(self, query: Query) -> None:
        with self.lock:
            number, self.count = self.count, self.count + 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        if number in self.lost:
            self.kept.append(query)
            return
        threading.Thread(target=self._answer, args=(query,)).start()

    def _answer(self, query: Query) -> None:
        with self.lock:
            self.at_once -= 1
        query.done(0, Output(score=0.5))

    def release(self) -> None:
        for query in self.kept:
            query.done(0, Output(score=0.5))

    def close(self) -> None:
        pass


# multi_stream


def test_multi_stream_sends_one_query_of_eight_at_a_time() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.1 + 0.01 * (n % 3), max_batch=8)
    samples = Driver(session, ROWS, clock, 0).multi_stream(StopRule(0.0, 99.0, 30))
    assert session.batches == [8] * 30
    queries = samples.by_query(8)
    assert latency_of(queries) == pytest.approx([0.1 + 0.01 * (n % 3) for n in range(30)])
    assert set(queries.columns()["batch"]) == {8}
    assert np.array_equal(np.bincount(samples.columns()["input"]), np.full(5, 48))


def test_a_query_larger_than_a_batch_ends_with_its_last_part() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.1, max_batch=3)
    samples = Driver(session, ROWS, clock, 0).multi_stream(StopRule(0.0, 99.0, 4), samples=8)
    assert session.batches == [3, 3, 2] * 4
    assert latency_of(samples)[:8] == pytest.approx([0.1] * 3 + [0.2] * 3 + [0.3] * 2)
    assert latency_of(samples.by_query(8)) == pytest.approx([0.3] * 4)


def test_a_query_with_a_failed_request_has_failed() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.1, max_batch=1, fail_every=8)
    samples = Driver(session, ROWS, clock, 0).multi_stream(StopRule(0.0, 99.0, 4), samples=4)
    assert list(samples.by_query(4).columns()["status"]) == [OK, FAILED] * 2


@pytest.mark.parametrize("most", [None, 3])
def test_multi_stream_keeps_to_the_concurrency(most) -> None:
    session = Answers(max_concurrency=most)
    samples = Driver(session, ROWS, RealClock(), 0).multi_stream(StopRule(0.0, 9.0, 5))
    assert len(samples.rows) == 40
    assert (samples.columns()["status"] == OK).all()
    assert most is None or session.most <= most


# closed_loop


def test_users_queue_for_a_session_that_takes_one() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.1)
    samples = Driver(session, ROWS, clock, 0).closed_loop(4, StopRule(0.0, 99.0, 40))
    latency = latency_of(samples)
    # The first four wait for those before them, then everybody waits for three others.
    assert latency[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert latency[4:] == pytest.approx(np.full(latency.size - 4, 0.4))
    assert set(session.batches) == {1}
    # What was sent when the window closed is still served.
    assert latency.size == 43


def test_waiting_users_form_batches() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.1, max_batch=3)
    samples = Driver(session, ROWS, clock, 0).closed_loop(4, StopRule(0.0, 99.0, 40))
    assert session.batches[:3] == [3, 3, 3]
    # One of four always stays behind: it waits for one batch and is served in the next.
    assert sorted(latency_of(samples)[3:6]) == pytest.approx([0.1, 0.1, 0.2])
    together = KnownSession(clock, lambda n: 0.1, max_batch=8)
    samples = Driver(together, ROWS, clock, 0).closed_loop(4, StopRule(0.0, 99.0, 40))
    assert set(together.batches) == {4}
    assert latency_of(samples) == pytest.approx(np.full(40, 0.1))


def test_one_user_is_single_stream() -> None:
    one, other = VirtualClock(), VirtualClock()
    stop = StopRule(0.0, 99.0, 20)
    users = Driver(KnownSession(one, lambda n: 0.1), ROWS, one, 0).closed_loop(1, stop)
    stream = Driver(KnownSession(other, lambda n: 0.1), ROWS, other, 0).closed(stop)
    assert users.rows == stream.rows


@pytest.mark.parametrize(("limit", "most"), [(None, 4), (2, 2)])
def test_users_of_an_asynchronous_session(limit, most) -> None:
    session = Answers(max_concurrency=limit)
    samples = Driver(session, ROWS, RealClock(), 0).closed_loop(4, StopRule(0.0, 9.0, 200))
    assert session.most <= most
    assert len(samples.rows) >= 200
    assert (samples.columns()["status"] == OK).all()
    assert (latency_of(samples) > 0).all()


def test_users_who_time_out_send_the_next_request() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 1.0)
    driver = Driver(session, ROWS, clock, 0, deadline_s=1.5)
    columns = driver.closed_loop(2, StopRule(5.0, 99.0, 1)).columns()
    # Two take turns: each waits 1 s and is served for 1 s, which is later than its deadline.
    assert list(columns["status"][:3]) == [OK, TIMED_OUT, TIMED_OUT]
    driver = Driver(KnownSession(clock, lambda n: 1.0), ROWS, clock, 0, deadline_s=0.4)
    columns = driver.closed_loop(2, StopRule(5.0, 99.0, 1)).columns()
    unsent = columns["issued_ns"] < 0
    assert (columns["status"] == TIMED_OUT).all()
    assert unsent.sum() > (~unsent).sum() > 0


# burst and trace


def test_bursts_queue_more_than_poisson_arrivals() -> None:
    stop = StopRule(200.0, 200.0, 1)
    clock = VirtualClock()
    calm = Driver(KnownSession(clock, lambda n: 0.01), ROWS, clock, 1).open(50.0, stop)
    clock = VirtualClock()
    burst = Driver(KnownSession(clock, lambda n: 0.01), ROWS, clock, 1).burst(50.0, stop)
    assert len(burst.rows) == pytest.approx(len(calm.rows), rel=0.1)
    # By the mean of an M/D/1 queue at load 0.5: 10 ms of service and 5 ms of wait.
    assert latency_of(calm).mean() == pytest.approx(0.015, rel=0.05)
    assert latency_of(burst).mean() > 1.5 * latency_of(calm).mean()


def test_a_window_of_spikes_holds_whole_periods() -> None:
    spikes = Spikes(factor=10.0, spike_s=0.5, every_s=5.0)
    clock = VirtualClock()
    driver = Driver(KnownSession(clock, lambda n: 0.001), ROWS, clock, 1)
    samples = driver.burst(100.0, StopRule(7.0, 20.0, 1), spikes=spikes)
    due = samples.columns()["scheduled_ns"] / 1e9
    assert 9.0 < due.max() <= 10.0
    inside = np.abs(due % 5.0 - 2.5) < 0.25
    assert inside.mean() == pytest.approx(10 * 0.5 / (4.5 + 10 * 0.5), abs=0.1)
    with pytest.raises(MeasurementError, match="no whole period"):
        driver.burst(100.0, StopRule(1.0, 4.0, 1), spikes=spikes)


def test_a_trace_is_replayed_in_its_order_at_its_times() -> None:
    clock = VirtualClock()
    driver = Driver(KnownSession(clock, lambda n: 0.5), ROWS, clock, 0)
    times = np.array([0.0, 0.1, 3.0, 4.0, 50.0])
    columns = driver.replay(times, StopRule(0.0, 10.0, 1)).columns()
    assert list(columns["input"]) == [0, 1, 2, 3]
    assert columns["scheduled_ns"] / 1e9 == pytest.approx(times[:4])
    assert (columns["ended_ns"] - columns["scheduled_ns"]) / 1e9 == pytest.approx(
        [0.5, 0.9, 0.5, 0.5], abs=1e-6
    )
    with pytest.raises(MeasurementError, match="6 arrivals, but 5 inputs"):
        driver.replay(np.zeros(6), StopRule(0.0, 10.0, 1))
    with pytest.raises(MeasurementError, match="no request"):
        driver.offer(np.zeros(0))


# dynamic batching


def test_a_batch_is_filled_for_at_most_the_declared_delay() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.001, max_batch=3)
    driver = Driver(session, ROWS, clock, 0, max_delay_s=0.1)
    # Three fill a batch at 0.06; two go when the first has waited 0.1 s; so does the last, alone.
    columns = driver.offer(np.array([0.0, 0.03, 0.06, 1.0, 1.05, 1.2])).columns()
    assert session.batches == [3, 2, 1]
    assert columns["issued_ns"] / 1e9 == pytest.approx([0.06] * 3 + [1.1] * 2 + [1.3])
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.001, max_batch=3)
    at_once = Driver(session, ROWS, clock, 0).offer(np.array([0.0, 0.03, 0.06])).columns()
    assert session.batches == [1, 1, 1]
    assert at_once["issued_ns"] / 1e9 == pytest.approx([0.0, 0.03, 0.06])


def test_a_queue_is_not_delayed_further() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 1.0, max_batch=4)
    driver = Driver(session, ROWS, clock, 0, max_delay_s=0.1)
    columns = driver.offer(np.array([0.0, 0.2, 0.3]), window_s=5.0).columns()
    # At 1.1 the other two have waited longer than the delay.
    assert columns["issued_ns"] / 1e9 == pytest.approx([0.1, 1.1, 1.1])


# deadlines


def test_what_is_not_sent_by_its_deadline_is_not_sent_and_what_ends_late_has_timed_out() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 1.0)
    driver = Driver(session, ROWS, clock, 0, deadline_s=1.5)
    columns = driver.offer(np.array([0.0, 0.1, 0.2, 0.3, 9.0])).columns()
    by_due = np.argsort(columns["scheduled_ns"])
    # Served until 1.0; sent at 1.0 and answered at 2.0, 1.9 late; at 2.0 two have waited too long.
    assert list(columns["status"][by_due]) == [OK, TIMED_OUT, TIMED_OUT, TIMED_OUT, OK]
    assert list(columns["issued_ns"][by_due] < 0) == [False, False, True, True, False]
    assert len(session.batches) == 3
    window = Window(driver.offer(np.array([0.0, 0.1])), [0.0] * 5)
    assert window.latency_s == pytest.approx([1.0], abs=1e-6)
    assert window.failed == 1


def test_late_requests_are_left_out_of_a_batch() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 1.0, max_batch=2)
    driver = Driver(session, ROWS, clock, 0, deadline_s=0.95)
    columns = driver.offer(np.array([0.0, 0.02, 0.5, 0.6])).columns()
    assert session.batches == [1, 2]
    assert (columns["issued_ns"] < 0).sum() == 1


@pytest.mark.parametrize("limit", [None, 2])
def test_an_answer_that_never_comes_times_out_and_nothing_hangs(limit) -> None:
    session = Answers(lost={1}, max_concurrency=limit)
    release = threading.Timer(0.6, session.release)
    release.start()
    driver = Driver(session, ROWS, RealClock(), 0, deadline_s=0.3)
    samples = driver.offer(np.array([0.0, 0.01, 0.02, 0.03]))
    release.join()
    columns = samples.columns()
    assert sorted(columns["status"]) == [OK, OK, OK, TIMED_OUT]
    assert columns["ended_ns"][columns["status"] == TIMED_OUT] == [-1]
    assert samples.errors == ["TimeoutError: not answered within 0.3 s"]
    # The answer came, too late: that is no breach of the contract.
    assert samples.complaints == []


def test_a_closed_loop_goes_on_after_a_lost_answer() -> None:
    session = Answers(lost={2})
    driver = Driver(session, ROWS, RealClock(), 0, deadline_s=0.3)
    status = driver.closed(StopRule(0.0, 9.0, 6)).columns()["status"]
    assert list(status) == [OK, OK, TIMED_OUT, OK, OK, OK]
    session = Answers(lost={2})
    driver = Driver(session, ROWS, RealClock(), 0, deadline_s=0.3)
    status = driver.closed_loop(2, StopRule(0.0, 9.0, 6)).columns()["status"]
    assert (status == TIMED_OUT).sum() == 1
    assert (status == OK).sum() >= 5


@pytest.mark.parametrize("run", ["closed", "closed_loop", "multi_stream", "offline"])
def test_the_wait_for_a_lost_answer_at_the_end_is_part_of_the_window(run) -> None:
    """Of a target that stands still from its third answer on, no rate is that of the first two."""
    driver = Driver(Answers(lost=range(2, 99)), ROWS, RealClock(), 0, deadline_s=0.4)
    stop = StopRule(0.1, 0.2, 1)
    samples = {
        "closed": lambda: driver.closed(stop),
        "closed_loop": lambda: driver.closed_loop(2, stop),
        "multi_stream": lambda: driver.multi_stream(stop, samples=2),
        "offline": lambda: driver.offline(stop),
    }[run]()
    assert samples.columns()["ended_ns"].max() < 0.2e9
    window = Window(samples, [0.0] * 5, over_ns=samples.over_ns)
    assert window.duration_s >= 0.4
    # A stage that follows begins when the wait is over.
    first, second = samples.over_ns, driver.closed(StopRule(0.0, 0.2, 1))
    samples.follow(second)
    assert samples.rows[-1][2] >= first
    assert samples.over_ns == first + second.over_ns


def test_where_every_request_ended_the_window_ends_with_the_last() -> None:
    samples = Driver(Answers(), ROWS, RealClock(), 0).closed(StopRule(0.0, 9.0, 6))
    assert samples.over_ns == 0


def test_threads_of_an_offline_window_share_one_series_of_inputs() -> None:
    """A window too short for a round of each thread still uses every input equally often."""
    rows = [RowRequest(np.full(2, i, dtype=np.float32)) for i in range(32)]
    driver = Driver(Answers(), rows, RealClock(), 0)
    samples = driver.offline(StopRule(0.0, 9.0, 64))
    used = np.bincount(samples.columns()["input"], minlength=32)
    assert used.max() - used.min() <= 1


def test_a_lost_answer_without_a_deadline_ends_a_closed_loop(monkeypatch) -> None:
    monkeypatch.setattr("harness.measure.patience.DRAIN_S", 0.1)
    for run in (
        lambda driver: driver.closed(StopRule(0.0, 9.0, 6)),
        lambda driver: driver.closed_loop(3, StopRule(0.0, 9.0, 6)),
        lambda driver: driver.multi_stream(StopRule(0.0, 9.0, 6), samples=2),
    ):
        with pytest.raises(MeasurementError, match="not answered within"):
            run(Driver(Answers(lost={2}), ROWS, RealClock(), 0))


class Slow(Answers):
    """Answers after `after_s`, or fails then."""

    def __init__(self, after_s, error=None, **options) -> None:
        super().__init__(**options)
        self.after_s, self.error = after_s, error

    def _answer(self, query: Query) -> None:
        time.sleep(self.after_s)
        if self.error is None:
            query.done(0, Output(score=0.5))
        else:
            query.fail(self.error)


RUNS = {
    "closed": lambda driver: driver.closed(StopRule(0.0, 9.0, 2)),
    "closed_loop": lambda driver: driver.closed_loop(2, StopRule(0.0, 9.0, 2)),
    "offer": lambda driver: driver.offer(np.array([0.0, 0.01])),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_declared_deadline_is_waited_for_however_long_it_is(run, monkeypatch) -> None:
    monkeypatch.setattr("harness.measure.patience.DRAIN_S", 0.1)
    driver = Driver(Slow(0.25), ROWS, RealClock(), 0, deadline_s=5.0)
    assert (RUNS[run](driver).columns()["status"] == OK).all()


@pytest.mark.parametrize("run", RUNS)
def test_a_request_that_a_client_gives_up_itself_has_failed_and_is_not_lost(
    run, monkeypatch
) -> None:
    monkeypatch.setattr("harness.measure.patience.DRAIN_S", 0.1)
    session = Slow(0.25, TimeoutError("no reply within 0.25 s"))
    samples = RUNS[run](Driver(session, ROWS, RealClock(), 0, drain_s=5.0))
    assert (samples.columns()["status"] == FAILED).all()
    assert samples.errors[0] == "TimeoutError: no reply within 0.25 s"


def test_what_is_declared_says_how_long_an_answer_is_waited_for() -> None:
    assert longest_wait_s(make_workload(), make_target()) == 60
    assert longest_wait_s(make_workload(deadline_s=2.0), make_target()) == 60
    assert longest_wait_s(make_workload(deadline_s=300.0), make_target()) == 300
    # The client's own limit comes first: by default both would be 60 s.
    assert longest_wait_s(make_workload(), make_served("http://127.0.0.1:1")) == 65
    slow = make_served("http://127.0.0.1:1", timeout_s=600.0)
    assert longest_wait_s(make_workload(), slow) == 605


def test_unserved_and_timed_out_are_told_apart() -> None:
    clock = VirtualClock()
    driver = Driver(KnownSession(clock, lambda n: 9.0), ROWS, clock, 0, deadline_s=99.0)
    status = driver.offer(np.array([0.0, 0.1, 0.2, 1.0])).columns()["status"]
    assert list(status) == [OK, UNSERVED, UNSERVED, UNSERVED]
