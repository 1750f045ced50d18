"""The client's event loop, and how well it keeps up: the clock of the time stamps."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns, thread_time_ns

from harness.hardware import thread_times

__all__ = ["LoopLag", "Ticker", "loop_factory", "thread_waited_s"]

TICK_S = 0.010
KEPT_TICKS = 60_000  # the last ten minutes


@dataclass(frozen=True, slots=True)
class LoopLag:
    """How late the event loop ran what was due, and what it used.

    `p50_s`, `p99_s`, `max_s`: delay of a timer due every 10 ms, over the last `ticks` of them; the
    timer itself is exact to 1 ms. `cpu_share`: CPU time of the loop's thread over wall time, 1 is
    a whole core. All of these are None before there are two ticks. `cpu_s`: CPU time of the thread
    so far. Of the whole life: `requests` begun; `connections` opened; `reused`: requests on
    a connection that had carried one before; `resent`: requests sent once more because such a
    connection had just been dropped.
    """

    loop: str
    ticks: int
    p50_s: float | None
    p99_s: float | None
    max_s: float | None
    cpu_share: float | None
    cpu_s: float
    requests: int
    connections: int
    reused: int
    resent: int


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes event loops: uvloop's if it is installed, else the standard library's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def thread_waited_s(thread: int | None) -> float | None:
    """Return how long a thread of this process has been ready to run without a core to run on.

    None where the system does not tell.
    """
    times = thread_times(thread)
    return None if times is None else times[1]


class Ticker:
    """Calls `on_tick(now_ns)` every 10 ms and keeps how late each call was."""

    def __init__(self, on_tick: Callable[[int], None]) -> None:
        self._on_tick = on_tick
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._due_ns = 0
        self._kept: deque[tuple[int, int, int]] = deque(maxlen=KEPT_TICKS)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to tick on `loop`, from its own thread."""
        self._loop = loop
        self._again(loop)

    def stop(self) -> None:
        """Tick no more."""
        self._loop = None
        if self._handle is not None:
            self._handle.cancel()

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_ns = perf_counter_ns() + round(TICK_S * 1e9)
        self._handle = loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now_ns = perf_counter_ns()
        # Early by the timer's own coarseness is not late.
        self._kept.append((now_ns, max(0, now_ns - self._due_ns), thread_time_ns()))
        self._on_tick(now_ns)
        if self._loop is not None:
            self._again(self._loop)

    def lag(self, loop: str, counts: Mapping[str, int], since_ns: int = 0) -> LoopLag:
        """Return the lag of the ticks at or after `since_ns`, beside the counts given."""
        ticks = [tick for tick in self._kept.copy() if tick[0] >= since_ns]
        cpu_s = ticks[-1][2] / 1e9 if ticks else 0.0
        if len(ticks) < 2:
            return LoopLag(loop, len(ticks), None, None, None, None, cpu_s, **counts)
        late_s = sorted(lag_ns / 1e9 for _, lag_ns, _ in ticks)
        (begin_ns, _, cpu_begin_ns), (end_ns, _, cpu_end_ns) = ticks[0], ticks[-1]
        return LoopLag(
            loop=loop,
            ticks=len(ticks),
            p50_s=late_s[(len(late_s) - 1) // 2],
            p99_s=late_s[min(len(late_s) - 1, len(late_s) * 99 // 100)],
            max_s=late_s[-1],
            cpu_share=(cpu_end_ns - cpu_begin_ns) / (end_ns - begin_ns),
            cpu_s=cpu_s,
            **counts,
        )
