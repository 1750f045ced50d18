import numpy as np
import pytest

from harness.measure.delays import connection_waits, own_delays
from harness.measure.samples import Samples
from harness.measure.summary import Window


def rows_of(rows):
    """Return rows of samples from (due, issued, ended[, batch]) in ms; -1 stays."""
    made = []
    for due, issued, ended, *batch in rows:
        times = [t * 1_000_000 if t > 0 else t for t in (due, issued, -1, ended)]
        made.append((0, 0, *times, 1, 1, batch[0] if batch else 1, 0))
    return made


def columns_of(rows):
    return Samples(0, 0, rows_of(rows)).columns()


def test_a_request_that_waited_for_the_server_was_not_late_by_the_harness() -> None:
    rows = [(0, 0, 10), (1, 10, 20), (2, 21, 30)]
    due, own = own_delays(columns_of(rows), 1)
    assert (due / 1e6).tolist() == [0, 1, 2]
    assert (own / 1e6).tolist() == [0, 0, 1]
    # Without a limit of requests at once nothing but the harness holds them back.
    assert (own_delays(columns_of(rows), None)[1] / 1e6).tolist() == [0, 9, 19]
    # Of two slots the second is free for the second request.
    assert (own_delays(columns_of(rows), 2)[1] / 1e6).tolist() == [0, 9, 11]


def test_requests_never_issued_have_no_delay() -> None:
    rows = [(0, 0, 10), (1, -1, -1)]
    assert own_delays(columns_of(rows), None)[0].size == 1


def test_the_requests_of_one_query_take_one_slot() -> None:
    rows = [(0, 0, 10, 2), (0, 0, 10, 2), (1, 12, 20, 1)]
    # The one slot was free at 10; of two slots the second was free all the time.
    assert (own_delays(columns_of(rows), 1)[1] / 1e6).tolist() == [0, 0, 2]
    assert (own_delays(columns_of(rows), 2)[1] / 1e6).tolist() == [0, 0, 11]


def test_time_given_to_fill_a_batch_is_no_delay() -> None:
    rows = [(0, 5, 10, 2), (4, 5, 10, 2)]
    assert (own_delays(columns_of(rows), None, 3_000_000)[1] / 1e6).tolist() == [2, 0]


def test_a_request_that_never_ended_holds_its_slot_no_longer_than_it_was_sent() -> None:
    rows = [(0, 1, -1), (2, 3, 9)]
    assert (own_delays(columns_of(rows), 1)[1] / 1e6).tolist() == [1, 1]


def test_a_late_request_among_many_in_flight_is_the_harness_own_lag() -> None:
    # Each takes 100 ms, one is due every 10 ms, and the fifth is sent 30 ms late.
    rows = [(10 * k, 10 * k + (30 if k == 4 else 0), 10 * k + 100) for k in range(8)]
    samples = Samples(0, 0, rows_of(rows))
    lag_s = Window(samples, [0.0], slots=None).lag_s
    assert np.isclose(lag_s.max(), 0.030)
    assert np.isclose(Window(samples, [0.0], slots=64).lag_s.max(), 0.030)


@pytest.mark.parametrize("connections", [1, 3, 8, 50])
def test_what_waits_for_a_connection_waits_as_in_a_queue_of_so_many_servers(connections) -> None:
    """Requests of known lengths, sent first come first served over so many connections."""
    rng = np.random.default_rng(connections)
    issued = np.sort(rng.integers(0, 1_000, 40))
    free, waits, ends = [0] * connections, [], []
    for at in issued.tolist():
        begun = max(at, min(free))
        free[free.index(min(free))] = begun + 100
        waits.append(begun - at)
        ends.append(begun + 100)
    columns = {"issued_ns": issued, "ended_ns": np.array(ends)}
    assert connection_waits(columns, connections).tolist() == waits
