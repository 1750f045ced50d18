"""Gives the client of a served target more processes where the demanded rate takes them."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable

from harness.adapters.trust import GrowingSession, TrustedSession
from harness.errors import HarnessError
from harness.measure.clock import Clock
from harness.measure.rehearse import rehearser

__all__ = ["ClientScale", "processes_for"]

CERTAIN_PER_S = 2_000.0
"""Replies, or tokens, a second that one process is sure to keep up with: nothing is rehearsed."""
USED = 0.7
"""Of what one process can do, the share that it is to be asked for."""

Ceiling = Callable[[float, int], float | None]
"""Replies a second that one process can do, of so many tokens, looked for about a rate."""


def processes_for(rate: float, ceiling: float | None, cores: int) -> int:
    """Return how many processes `rate` takes, of which each does `ceiling`; at least 1.

    At most as many as leave a core of the machine's `cores` to what issues the requests.
    """
    if not ceiling or rate <= USED * ceiling:
        return 1
    return max(1, min(math.ceil(rate / (USED * ceiling)), cores - 1))


class ClientScale:
    """Decides before a point how many processes its rate takes; never takes one away.

    Nothing happens of a session whose number is fixed, where no core is spare, and at rates that
    any one process keeps up with. Else the ceiling of one is found out, about a second each time.
    """

    def __init__(
        self,
        session: object,
        clock: Clock,
        *,
        cores: int | None = None,
        ceiling: Ceiling | None = None,
    ) -> None:
        self._session = session if isinstance(session, GrowingSession) else None
        self._trusted = session if isinstance(session, TrustedSession) else None
        self._clock = clock
        self._cores = cores if cores is not None else usable_cores()
        self._ceiling = ceiling or self._rehearsed
        self._enough = 0.0

    def make_room(self, rate: float, tokens: int) -> None:
        """Start as many processes as `rate` requests a second of `tokens` tokens each take."""
        session = self._session
        if session is None or not session.may_grow or self._cores < 3:
            return
        if rate <= self._enough or rate * max(1, tokens) <= CERTAIN_PER_S:
            return
        self._enough = rate
        count = processes_for(rate, self._ceiling(rate, tokens), self._cores)
        if count > session.processes:
            with contextlib.suppress(HarnessError):  # it goes on with the process that it has
                session.use_processes(count)

    def _rehearsed(self, rate: float, tokens: int) -> float | None:
        if self._trusted is None:
            return None
        with rehearser(self._trusted, self._clock, processes=1) as found:
            return None if found is None else found.ceiling(rate, tokens)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
