"""What the HTTP client is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.adapters.http.proxy import Proxy

__all__ = ["Endpoint", "Job", "Reply"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host and port, reached directly or through `proxy`.

    `server_name` is the name that its certificate must carry, if not `host`.
    `ca_file` (PEM) is trusted instead of the system's authorities; `verify` False trusts anybody.
    """

    host: str
    port: int
    tls: bool
    server_name: str | None = None
    verify: bool = True
    ca_file: str | None = None
    proxy: Proxy | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(slots=True)
class Reply:
    """A reply as it came: HTTP framing is taken off, nothing else is decoded.

    status: 0 until known. headers: names in lower case; one that comes twice is joined by ", ".
    chunks: body bytes with the time (`time.perf_counter_ns`) at which the client was handed them,
    before it looked at them. ended_ns: the time of the last bytes, or of the failure. error: an
    `HttpError` when the reply is not whole; a status of 500 is no error here. reused: the
    connection had carried a request before. sent_ns: when the whole request had been handed to the
    transport; 0 if that never happened. taken_ns: when the event loop took the
    request up, before any wait for a connection; 0 if it was closed before.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    ended_ns: int = 0
    error: Exception | None = None
    reused: bool = False
    sent_ns: int = 0
    taken_ns: int = 0

    def body(self) -> bytes:
        """Return the whole body, as far as it came."""
        return b"".join(chunk for _, chunk in self.chunks)


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way. `deadline_ns`: by `time.perf_counter_ns`; 0: none.

    `resent`: it is on its second connection, see `Pool.again`.
    """

    request: bytes
    on_end: Callable[[Reply], None]
    deadline_ns: int
    on_first: Callable[[int], None] | None
    on_chunk: Callable[[int, bytes], None] | None
    reply: Reply = field(default_factory=Reply)
    resent: bool = False
