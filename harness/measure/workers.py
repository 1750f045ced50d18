"""Threads that do the same work at once, as many as a session takes queries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def work_at_once(work: Callable[[], None], count: int) -> None:
    """Run `work` in `count` threads at once and wait until it has returned in all of them.

    Raises what the first of them that failed raised. A single one needs no thread.
    """
    if count <= 1:
        work()
        return
    broken: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # raised again below, in the thread that waits
            broken.append(error)

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]


class Shared(Generic[T]):
    """An iterator that several threads may take from: each item goes to one of them."""

    def __init__(self, source: Iterator[T]) -> None:
        self._source = source
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._lock:
            return next(self._source)
