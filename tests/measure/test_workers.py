"""Threads that do the same work at once."""

import threading

import pytest

from harness.measure.workers import Shared, work_at_once


def test_all_workers_are_at_work_at_once():
    barrier = threading.Barrier(4)
    work_at_once(lambda: barrier.wait(timeout=10), 4)


def test_a_single_worker_needs_no_thread():
    seen = []
    work_at_once(lambda: seen.append(threading.current_thread()), 1)
    assert seen == [threading.current_thread()]


def test_what_one_worker_raises_is_raised_when_all_have_ended():
    numbers, ended = iter(range(3)), []

    def work():
        number = next(numbers)
        if number == 1:
            raise KeyError(number)
        ended.append(number)

    with pytest.raises(KeyError, match="1"):
        work_at_once(work, 3)
    assert sorted(ended) == [0, 2]


def test_each_item_of_a_shared_series_goes_to_one_worker():
    series, taken = Shared(iter(range(2_000))), []

    def work():
        taken.extend(series)

    work_at_once(work, 8)
    assert sorted(taken) == list(range(2_000))
