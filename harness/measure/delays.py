"""How late the harness itself issued requests: apart from what the target held back."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[np.int64]]


def own_delays(
    columns: Columns, slots: int | None, max_delay_ns: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return when each issued request was due, and how late the harness itself issued it (ns).

    Both in the order of issuing. `slots` is how many queries the session takes at once, None
    without a limit: a query that found all of them taken was held back by the target until the
    first of those before it had ended, and only what came after is the harness's own. Requests
    that were issued together are one query; one may be held back by `max_delay_ns` to fill it.
    """
    issued = columns["issued_ns"]
    order = np.argsort(issued, kind="stable")
    order = order[issued[order] >= 0]
    due, issued, ended = (columns[n][order] for n in ("scheduled_ns", "issued_ns", "ended_ns"))
    ready = due + max_delay_ns
    if slots is not None and order.size:
        starts = _query_starts(issued, columns["batch"][order])
        # One that never ended holds its slot until the harness gave it up, nobody knows when.
        ends = np.maximum.reduceat(np.maximum(ended, issued), starts)
        free = _free_ns(ends, slots)
        sizes = np.diff(np.append(starts, order.size))
        ready = np.maximum(ready, np.repeat(free, sizes))
    return due, np.maximum(issued - ready, 0)


def connection_waits(columns: Columns, connections: int) -> NDArray[np.int64]:
    """Return how long each issued request waited for one of `connections` (ns).

    In the order of issuing. Requests are sent one by one, first come first served.
    """
    issued = columns["issued_ns"]
    order = np.argsort(issued, kind="stable")
    order = order[issued[order] >= 0]
    issued, ended = issued[order], columns["ended_ns"][order]
    if issued.size <= connections:
        return np.zeros(issued.size, dtype=np.int64)
    free = _free_ns(np.maximum(ended, issued), connections)
    return np.maximum(free, issued) - issued


def _query_starts(issued: NDArray[np.int64], batch: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the row with which each query begins, of rows in the order of issuing."""
    if batch.max() <= 1:
        return np.arange(issued.size)
    starts, at = [], 0
    while at < issued.size:
        starts.append(at)
        at += max(1, int(batch[at]))
    return np.array(starts, dtype=np.intp)


def _free_ns(ends: NDArray[np.int64], slots: int) -> NDArray[np.int64]:
    """Return when a slot was free for each of the queries that ended at `ends`."""
    none = np.iinfo(np.int64).min
    if slots == 1:
        return np.concatenate(([none], np.maximum.accumulate(ends)[:-1]))
    free = np.full(ends.size, none)
    flying: list[int] = []
    for number, end in enumerate(ends.tolist()):
        if len(flying) == slots:
            free[number] = heapq.heappop(flying)
        heapq.heappush(flying, end)
    return free
