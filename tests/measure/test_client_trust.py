import numpy as np
import pytest

from harness.adapters.trust import ClientWork, CoreWork
from harness.measure.client_trust import trust_of, typical_s
from harness.measure.samples import COLUMNS


def columns_of(rows):
    """Return columns of rows (due, issued, first, ended[, status]) in ms."""
    table = {name: [] for name in COLUMNS}
    for due, issued, first, ended, *status in rows:
        row = {"scheduled_ns": due, "issued_ns": issued, "first_ns": first, "ended_ns": ended}
        for name in COLUMNS:
            value = row.get(name, 0)
            table[name].append(value * 1_000_000 if value > 0 else value)
        table["status"][-1] = status[0] if status else 0
    return {name: np.array(column, dtype=np.int64) for name, column in table.items()}


def work(**changes):
    figures = {
        "loop": "uvloop",
        "loop_lag_p50_s": 0.0001,
        "loop_lag_p99_s": 0.001,
        "loop_lag_max_s": 0.002,
        "cpu_share": 0.1,
        "waited_s": 1.0,
        "handover_p50_s": 0.0001,
        "handover_p99_s": 0.0002,
        "requests": 10,
        "connections": 2,
        "reused": 8,
        "resent": 0,
    }
    return ClientWork(**{**figures, **changes})


def test_the_rate_that_was_sent_is_told_of_the_rate_that_was_asked_for() -> None:
    late = columns_of([(k * 10, k * 20, k * 20 + 5, k * 20 + 8) for k in range(11)])
    trust = trust_of(work(), work(), 1.0, late, slots=None, open_loop=True)
    assert trust.achieved_share == pytest.approx(0.5)
    assert trust.schedule_delay_p50_s == pytest.approx(0.050)
    held = trust_of(work(), work(), 1.0, late, slots=None, open_loop=False)
    assert held.achieved_share is None


def test_counts_and_the_wait_for_a_core_are_those_of_the_point() -> None:
    rows = columns_of([(0, 0, 5, 10)])
    after = work(requests=30, connections=3, reused=27, resent=1, waited_s=1.5)
    trust = trust_of(work(), after, 2.0, rows, slots=None, open_loop=True)
    assert (trust.requests, trust.connections, trust.resent) == (20, 1, 1)
    assert trust.reuse_share == pytest.approx(19 / 20)
    assert trust.wait_share == pytest.approx(0.25)
    assert trust.achieved_share is None  # one request has no rate
    silent = trust_of(work(), work(waited_s=None), 2.0, rows, slots=None, open_loop=True)
    assert silent.wait_share is None
    assert silent.reuse_share is None


def test_the_typical_time_is_to_the_first_token_or_to_the_end_of_a_silent_reply() -> None:
    assert typical_s(columns_of([(1, 1, 5, 10)])) == pytest.approx(0.004)
    assert typical_s(columns_of([(1, 1, -1, 10)])) == pytest.approx(0.009)
    assert typical_s(columns_of([(1, 1, 5, 10, 1)])) is None


def test_of_several_processes_the_busiest_thread_counts() -> None:
    rows = columns_of([(0, 0, 5, 10)])
    before = work(cores=(CoreWork(1.0, 0.5), CoreWork(2.0, 0.0), CoreWork(0.5, None)), crashed=1)
    after = work(cores=(CoreWork(1.2, 0.6), CoreWork(3.8, 0.1), CoreWork(0.6, None)), crashed=2)
    trust = trust_of(before, after, 2.0, rows, slots=None, open_loop=True)
    assert (trust.processes, trust.crashed) == (2, 1)
    assert trust.busiest_share == pytest.approx(0.95)
    one = trust_of(work(), work(), 2.0, rows, slots=None, open_loop=True)
    assert (one.processes, one.crashed, one.busiest_share) == (1, 0, None)
