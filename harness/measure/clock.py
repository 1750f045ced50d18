"""The one clock of a measurement: monotonic nanoseconds. Tests put a virtual one in its place."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

SPIN_NS = 200_000
"""How long before a scheduled time the sleep ends, until this machine has shown what it needs."""
SPIN_LEAST_NS = 100_000
SPIN_MOST_NS = 2_000_000
HOLD_NS = 10_000
"""The last stretch is spun without letting go of the interpreter."""


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now_ns(self) -> int:
        """Return monotonic nanoseconds."""

    def wait_until_ns(self, at_ns: int) -> None:
        """Return at `at_ns`, or at once if it has passed."""


class RealClock:
    """`time.perf_counter_ns`, waiting by sleep, then by yielding, then by spinning.

    A sleep ends late by what the machine's timers and scheduler make of it. The clock learns how
    much: a late one widens the stretch that is not slept, each punctual one narrows it a little.
    """

    now_ns = staticmethod(time.perf_counter_ns)

    def __init__(self) -> None:
        self.spin_ns = SPIN_NS

    def wait_until_ns(self, at_ns: int) -> None:
        """Sleep until shortly before `at_ns`, then let only other threads in, then nobody."""
        now = time.perf_counter_ns
        while (left := at_ns - now()) > self.spin_ns:
            wake_ns = at_ns - self.spin_ns
            time.sleep((left - self.spin_ns) / 1e9)
            self.learn(now() - wake_ns)
        # Threads that answer queries need the interpreter: without this they would wait for it
        # until its switch interval (5 ms) is over.
        # Polling nothing lets go of it for 0.2 us; time.sleep(0) would take 70 us. Each waiting
        # thread needs a poll of its own: one that is shared raises RuntimeError.
        if at_ns - now() > HOLD_NS:
            let_others_in = select.poll().poll
            while at_ns - now() > HOLD_NS:
                let_others_in(0)
        while now() < at_ns:
            pass

    def learn(self, late_ns: int) -> None:
        """Adapt to a sleep that ended `late_ns` too late."""
        wanted = late_ns + late_ns // 2
        kept = self.spin_ns - self.spin_ns // 64
        self.spin_ns = min(max(wanted, kept, SPIN_LEAST_NS), SPIN_MOST_NS)


@contextlib.contextmanager
def own_core(threads: int) -> Iterator[int | None]:
    """Give the calling thread a core of its own, if the session's `threads` leave one over.

    Yields the core, or None where there is none to spare or the system has no such control; then
    nothing is changed. All other threads of the process leave that core. Threads that the calling
    thread starts inside share it, so a session must have its threads before. It is for threads that
    only issue requests: a blocking session computes in the thread that issues.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    cores = os.sched_getaffinity(0)
    if len(cores) <= max(1, threads):
        yield None
        return
    core = max(cores)
    before: dict[int, set[int]] = {}
    own = threading.get_native_id()
    for thread in _threads():
        # A thread may have ended, or have been bound by the runtime to what it wants.
        with contextlib.suppress(OSError):
            allowed = os.sched_getaffinity(thread)
            rest = {core} if thread == own else allowed - {core}
            if rest:
                os.sched_setaffinity(thread, rest)
                before[thread] = allowed
    try:
        yield core
    finally:
        for thread, allowed in before.items():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, allowed)


def _threads() -> list[int]:
    """Return the system's numbers of this process's threads."""
    return [int(task.name) for task in Path("/proc/self/task").iterdir()]
