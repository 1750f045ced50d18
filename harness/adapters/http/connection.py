"""One kept-alive HTTP/1.1 connection: one request at a time, bytes stamped before they are read."""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from time import perf_counter_ns
from typing import Protocol, cast

import httptools

from harness.adapters.http.errors import (
    HttpError,
    ProtocolError,
    TlsError,
    TooLargeError,
    TruncatedError,
)
from harness.adapters.http.reply import Job

__all__ = ["Connection", "Pool"]

MAX_HEAD_BYTES = 256 << 10
# What Python keeps beside the bytes of a chunk: a stream of single bytes must not fill the memory.
CHUNK_COST_BYTES = 160


class Pool(Protocol):
    """Who owns connections, and is told what becomes of them. All calls are on the event loop."""

    def free(self, connection: Connection) -> None:
        """Take back `connection`, which can carry the next request."""

    def lost(self, connection: Connection) -> None:
        """Forget `connection`: its socket is gone."""

    def again(self, job: Job) -> None:
        """Send `job` over a new connection: its kept-alive one ended before any byte came.

        Servers drop idle connections when they like, so that such a request was most likely not
        read. It is sent once more, as other clients do, and its time goes on; that is counted.
        """

    def complain(self, error: Exception) -> None:
        """Tell that a callback raised `error`."""

    def end(self, job: Job) -> None:
        """Tell whoever sent `job` that its reply has ended, whole or with an error."""


@lru_cache(maxsize=512)
def header_name(name: bytes) -> str:
    """Return `name` as text in lower case; servers send the same few again and again."""
    return name.decode("latin-1").lower()


class Connection(asyncio.Protocol):
    """A connection to one endpoint. Its pool gives it a job only while `job` is None."""

    __slots__ = (
        "_complete",
        "_cost",
        "_extra",
        "_head_done",
        "_interim",
        "_keep",
        "_max_reply_bytes",
        "_now_ns",
        "_parser",
        "_parts",
        "_pool",
        "_transport",
        "_until_eof",
        "job",
        "served",
    )

    def __init__(self, pool: Pool, max_reply_bytes: int) -> None:
        self._pool = pool
        self._max_reply_bytes = max_reply_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._now_ns = 0
        self.job: Job | None = None
        self.served = 0
        self._reset()

    def _reset(self) -> None:
        self._cost = 0
        self._head_done = self._interim = self._complete = False
        self._keep = self._extra = self._until_eof = False

    @property
    def usable(self) -> bool:
        """Whether the next request may go over this connection."""
        return self.job is None and self._transport is not None and not self._transport.is_closing()

    def start(self, job: Job) -> None:
        """Send the request of `job`."""
        assert self._transport is not None
        self._reset()
        self.job = job
        job.reply.reused = self.served > 0
        self.served += 1
        self._transport.write(job.request)
        job.reply.sent_ns = perf_counter_ns()

    def fail(self, error: HttpError) -> None:
        """End the open job with `error`; what follows on this connection cannot be told apart."""
        self._now_ns = perf_counter_ns()
        self._end(error)

    def abort(self) -> None:
        """Close the socket at once."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Stamp `data`, take off the framing and keep the body."""
        self._now_ns = perf_counter_ns()
        job = self.job
        if job is None:  # bytes that nobody asked for: the next reply would begin with them
            self.abort()
            return
        self._cost += len(data) + CHUNK_COST_BYTES
        error: HttpError | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            error = ProtocolError("the server wants to leave HTTP/1.1 (an upgrade)")
        except httptools.HttpParserError as broken:
            error = ProtocolError(f"the reply is not HTTP/1.1: {broken}")
        parts = self._parts
        if parts:
            self._parts = []
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            first = not job.reply.chunks
            job.reply.chunks.append((self._now_ns, body))
            try:
                if first and job.on_first is not None:
                    job.on_first(self._now_ns)
                if job.on_chunk is not None:
                    job.on_chunk(self._now_ns, body)
            except Exception as fault:  # ours, not the server's
                self._pool.complain(fault)
        if self._complete:  # bytes after the end of a whole reply do not spoil it
            self._extra = self._extra or error is not None
            self._end(None)
        elif error is not None:
            self._end(error)
        elif self._cost > self._max_reply_bytes:
            self._end(TooLargeError(f"the reply exceeds {self._max_reply_bytes} bytes"))
        elif not self._head_done and self._cost > MAX_HEAD_BYTES:
            self._end(TooLargeError(f"the reply's head exceeds {MAX_HEAD_BYTES} bytes"))

    def eof_received(self) -> None:
        """End a reply whose length is told by the end of the connection."""
        if self.job is not None and self._head_done and self._until_eof:
            self._now_ns = perf_counter_ns()
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the open job, if there is one."""
        self._now_ns = perf_counter_ns()
        job, self._transport = self.job, None
        self._pool.lost(self)
        if job is None:
            return
        if self._cost == 0 and self.served > 1 and not job.resent:
            self.job = None
            self._pool.again(job)
        else:
            self._end(self._why_lost(exc))

    def _why_lost(self, exc: Exception | None) -> HttpError:
        if isinstance(exc, ssl.SSLError):
            return TlsError(f"TLS failed inside a reply: {exc.reason or type(exc).__name__}")
        how = "was closed by the server" if exc is None else "was reset"
        if self._head_done:
            return TruncatedError(f"the connection {how} inside a reply's body")
        if self._cost:
            return TruncatedError(f"the connection {how} inside a reply's head")
        return TruncatedError(f"the connection {how} before any byte of a reply")

    # What the parser calls, from inside `data_received`.

    def on_message_begin(self) -> None:
        """Note a second reply where one was asked for."""
        self._extra = self._extra or self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those behind the body (trailers) are of no use here."""
        if self.job is None or self._head_done:
            return
        key, text, headers = header_name(name), value.decode("latin-1"), self.job.reply.headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """Take the status, and how the end of the body will be known."""
        if self.job is None or self._head_done:
            return
        reply, status = self.job.reply, self._parser.get_status_code()
        if 100 <= status < 200:  # "continue", "early hints": the reply is still to come
            self._interim = True
            reply.headers.clear()
            return
        reply.status = status
        self._head_done = True
        self._keep = self._parser.should_keep_alive()
        self._until_eof = (
            not self._keep
            and status not in (204, 304)
            and "content-length" not in reply.headers
            and "chunked" not in reply.headers.get("transfer-encoding", "").lower()
        )

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        if not self._complete:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Note the end of the reply."""
        if self._interim:
            self._interim = False
        else:
            self._complete = True

    def _end(self, error: HttpError | None) -> None:
        job, transport = self.job, self._transport
        assert job is not None
        self.job = None
        self._parts = []
        job.reply.ended_ns = self._now_ns
        job.reply.error = error
        if (
            error is None
            and self._keep
            and not self._extra
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()  # else: answered before we had said it all
        ):
            self._pool.free(self)  # before the callback, which may want to send
        elif transport is not None:
            transport.abort()
        self._pool.end(job)
