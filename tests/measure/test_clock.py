import os
import threading
import time

import pytest

from harness.measure import clock as module
from harness.measure.clock import SPIN_LEAST_NS, SPIN_MOST_NS, SPIN_NS, RealClock, own_core


def test_never_returns_early() -> None:
    clock = RealClock()
    for ahead_ns in (-1_000_000, 0, 1_000, 50_000, 300_000, 3_000_000):
        at_ns = clock.now_ns() + ahead_ns
        clock.wait_until_ns(at_ns)
        assert clock.now_ns() >= at_ns


def test_learns_how_late_sleeps_end() -> None:
    clock = RealClock()
    clock.learn(400_000)
    assert clock.spin_ns == 600_000
    clock.learn(0)
    assert SPIN_NS < clock.spin_ns < 600_000
    for _ in range(1000):
        clock.learn(0)
    assert clock.spin_ns == SPIN_LEAST_NS
    clock.learn(10**9)
    assert clock.spin_ns == SPIN_MOST_NS


def test_lets_other_threads_in_while_it_waits(monkeypatch) -> None:
    """Without sleep, a spin that keeps the interpreter would leave the other thread a few turns."""
    clock = RealClock()
    monkeypatch.setattr(clock, "spin_ns", 10**9)
    done = threading.Event()
    turns = 0

    def other() -> None:
        nonlocal turns
        while not done.is_set():
            time.sleep(0)
            turns += 1

    thread = threading.Thread(target=other)
    thread.start()
    clock.wait_until_ns(clock.now_ns() + 300_000_000)
    done.set()
    thread.join()
    # 300 ms hold 60 switch intervals of 5 ms.
    assert turns > 200


class Affinity:
    """Stands for the scheduler: three threads on four cores; the test's own is 11."""

    def __init__(self, monkeypatch, cores=4) -> None:
        self.allowed = {11: set(range(cores)), 12: set(range(cores)), 13: {cores - 1}}
        monkeypatch.setattr(threading, "get_native_id", lambda: 11)
        monkeypatch.setattr(module, "_threads", lambda: [11, 12, 13, 99])
        monkeypatch.setattr(os, "sched_getaffinity", self.get, raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", self.set, raising=False)

    def get(self, thread: int) -> set[int]:
        if thread == 99:
            raise ProcessLookupError(thread)
        return set(self.allowed[thread or 11])

    def set(self, thread: int, cores) -> None:
        self.allowed[thread] = set(cores)


def test_own_core_clears_a_core_and_puts_everything_back(monkeypatch) -> None:
    machine = Affinity(monkeypatch)
    before = dict(machine.allowed)

    def inside() -> None:
        with own_core(3) as core:
            assert core == 3
            # One thread is bound to that core by its runtime: that stays as it is.
            assert machine.allowed == {11: {3}, 12: {0, 1, 2}, 13: {3}}
            raise RuntimeError

    with pytest.raises(RuntimeError):
        inside()
    assert machine.allowed == before


@pytest.mark.parametrize(("threads", "cores"), [(4, 4), (9, 4), (0, 1)])
def test_no_core_to_spare_changes_nothing(monkeypatch, threads: int, cores: int) -> None:
    machine = Affinity(monkeypatch, cores)
    before = dict(machine.allowed)
    with own_core(threads) as core:
        assert core is None
        assert machine.allowed == before


def test_own_core_on_this_machine() -> None:
    before = os.sched_getaffinity(0)
    with own_core(1) as core:
        if core is not None:
            assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before


def test_several_threads_may_wait_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    clock = RealClock()

    def wait(_: int) -> int:
        for _ in range(20):
            at_ns = clock.now_ns() + 300_000
            clock.wait_until_ns(at_ns)
            assert clock.now_ns() >= at_ns
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(wait, range(8))) == 8
