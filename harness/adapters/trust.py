"""A session whose client is the harness's own, and can be asked how well it kept up.

Only then can a figure be told from the client's own error: the harness reads the client's work at
each operating point, and rehearses the same load on a server whose truth is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from harness.adapters.base import Request, Session

__all__ = [
    "ClientWork",
    "CoreWork",
    "GrowingSession",
    "Rehearsal",
    "ReplyShape",
    "TrustedSession",
    "Truth",
]


@dataclass(frozen=True, slots=True)
class CoreWork:
    """What one of a client's threads used so far: CPU time, and time that it waited for a core."""

    cpu_s: float
    waited_s: float | None


@dataclass(frozen=True, slots=True)
class ClientWork:
    """What a client did since a moment; see `harness.schema.trust.Trust` for the figures.

    `waited_s`, for which its thread waited for a core, and the counts are of its whole life.
    Of several processes lags are the worst, the rest are sums; `cores` is of each event loop and of
    the thread that hands requests over, `crashed` counts processes that ended by themselves.
    """

    loop: str
    loop_lag_p50_s: float | None
    loop_lag_p99_s: float | None
    loop_lag_max_s: float | None
    cpu_share: float | None
    waited_s: float | None
    handover_p50_s: float | None
    handover_p99_s: float | None
    requests: int
    connections: int
    reused: int
    resent: int
    cores: tuple[CoreWork, ...] = ()
    crashed: int = 0


@dataclass(frozen=True, slots=True)
class ReplyShape:
    """A reply to rehearse: its first token after `first_s`, then one each `gap_s`, `tokens` in all.

    `tokens` 0: it does not stream and comes whole after `first_s`.
    """

    first_s: float
    gap_s: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Truth:
    """One rehearsed reply (`time.perf_counter_ns`): what the server did, and the client saw.

    `received_ns` is when the server had the request, `first_ns` and `last_ns` when it wrote the
    first and the last token; `seen_*` when the client was handed them.
    """

    received_ns: int
    first_ns: int
    last_ns: int
    seen_first_ns: int
    seen_last_ns: int


class Rehearsal(Protocol):
    """A session on the server of known truth. It answers whatever it is asked."""

    @property
    def session(self) -> Session:
        """The session, to be driven as any other."""

    def requests(self, shape: ReplyShape) -> Sequence[Request]:
        """Return requests that are answered with `shape`."""

    def truths(self) -> list[Truth]:
        """Return the truth of the good replies read since the last call, in the order of reading.

        `Samples.add` reads: the order is that of its rows.
        """


@runtime_checkable
class TrustedSession(Protocol):
    """A session over the harness's own client."""

    def client_work(self, since_ns: int) -> ClientWork:
        """Return what the client did from `since_ns` (`time.perf_counter_ns`) on."""

    def rehearse(self, processes: int | None = None) -> AbstractContextManager[Rehearsal]:
        """Start the server of known truth, and a client like this session's on it.

        With `processes` the client has that many, else as many as this session's.
        """


@runtime_checkable
class ConnectedSession(Protocol):
    """A session whose client sends over a limited number of connections."""

    @property
    def most_sent(self) -> int:
        """How many requests the client sends at once; others wait in it for a connection."""


@runtime_checkable
class GrowingSession(Protocol):
    """A session whose client can be given more processes while nothing is in flight."""

    @property
    def may_grow(self) -> bool:
        """Whether the number of processes is the harness's to choose."""

    @property
    def processes(self) -> int:
        """How many processes the client has."""

    def use_processes(self, count: int) -> None:
        """Go on with a client of `count` processes; HarnessError if they do not start."""
