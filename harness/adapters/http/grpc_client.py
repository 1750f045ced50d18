"""A gRPC client with the shape of the HTTP client: bytes out, stamped bytes back, a trust block.

One event loop (asyncio's own: gRPC's Python part is not made for others) in a thread of its own.
gRPC reads and frames replies in threads of its own; a reply is stamped when the event loop is
handed its message, which is still bytes. Nothing is retried, and no proxy of the environment is
taken: both would be gRPC's own choice otherwise.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import ssl
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Protocol, cast
from urllib.parse import quote

from harness.adapters.http.errors import (
    BusyError,
    ConnectError,
    HttpError,
    ProtocolError,
    ProxyError,
    RateLimitError,
    ServerError,
    StatusError,
    TimeoutError_,
    TlsError,
    TooLargeError,
    TruncatedError,
)
from harness.adapters.http.loop import LoopLag
from harness.adapters.http.loop_thread import LoopThread
from harness.adapters.http.oip_messages import INFER
from harness.adapters.http.reply import Endpoint, Job, Reply
from harness.adapters.http.secrets import Secret
from harness.errors import PrerequisiteError

__all__ = ["INSTALL", "GrpcClient"]

INSTALL = "pip install 'accelerator-harness[http,grpc]'"
STREAMS = 100
"""Requests on one connection: HTTP/2 servers are asked to allow no fewer (RFC 9113, 6.5.2)."""
CLOSE_PATIENCE_S = 1.0
STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "CANCELLED": 499,
    "DATA_LOSS": 500,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
}
"""gRPC's codes as HTTP's (google/rpc/code.proto)."""
NO_CONNECTION = ("failed to connect to all addresses", "errors resolving", "dns resolution failed")
LOST = ("socket closed", "connection reset", "recvmsg", "sendmsg", "stream removed", "goaway")


class Channel(Protocol):
    """What we use of `grpc.aio.Channel`."""

    def unary_unary(self, method: str) -> Callable[..., Awaitable[bytes]]:
        """Return what calls `method` with bytes."""

    async def close(self, grace: float | None = None) -> None:
        """Close the connection."""


class Failure(Protocol):
    """What we use of `grpc.aio.AioRpcError`."""

    def code(self) -> object:
        """Return its status code."""

    def details(self) -> str | None:
        """Return what is said of it."""


class GrpcClient(LoopThread):
    """Calls one endpoint's methods over at most `connections` connections.

    A second connection is opened when the first carries 100 requests, and so on. Callbacks run on
    the client's thread and must be quick. Raises TlsError or PrerequisiteError.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        secret: Secret,
        *,
        connections: int,
        max_reply_bytes: int = 64 << 20,
    ) -> None:
        self._endpoint, self._secret = endpoint, secret
        self._connections = connections
        self._options = _options(endpoint, max_reply_bytes)
        self._roots = _roots(endpoint) if endpoint.tls else None
        self._metadata = tuple(secret.headers().items())
        super().__init__("grpc-client", asyncio.new_event_loop, lambda _: None)
        self._incoming: deque[tuple[Job, str]] = deque()
        # Touched on the event loop only:
        self._channels: list[Channel] = []
        self._methods: list[dict[str, Callable[..., Awaitable[bytes]]]] = []
        self._loads: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests = 0
        self._start_loop()

    def send(
        self,
        request: bytes,
        on_end: Callable[[Reply], None],
        *,
        deadline_s: float | None = None,
        method: str = INFER,
    ) -> None:
        """Call `method` with the message `request` and return at once. Any thread may call.

        `on_end` is called once, in every case. `deadline_s` counts from now and includes the wait
        for a connection. Raises HttpError if the client is closed.
        """
        if self._closed or self._loop is None:
            raise HttpError("the client is closed")
        deadline_ns = 0 if deadline_s is None else perf_counter_ns() + round(deadline_s * 1e9)
        self._incoming.append((Job(request, on_end, deadline_ns, None, None), method))
        if threading.current_thread() is self._thread:
            self._drain()
        else:
            self._wake(self._drain)

    def lag(self, since_ns: int = 0) -> LoopLag:
        """Return how well the event loop kept up since `since_ns` (`time.perf_counter_ns`).

        The CPU time is that of the loop's thread, without gRPC's own threads.
        """
        opened = len(self._channels)
        counts = {
            "requests": self._requests,
            "connections": opened,
            "reused": max(0, self._requests - opened),
            "resent": 0,
        }
        return self._ticker.lag("grpc.aio", counts, since_ns)

    # The rest runs on the event loop.

    async def _end_open(self) -> None:
        self._fail_incoming()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            await channel.close(0.0)

    def _drain(self) -> None:
        self._woken = False  # first: what is added from here on wakes us again
        while self._incoming:
            job, method = self._incoming.popleft()
            if self._closed:
                self._fail(job, HttpError("the client was closed"))
                continue
            assert self._loop is not None
            task = self._loop.create_task(self._ask(job, method))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, job: Job, method: str) -> None:
        import grpc

        job.reply.taken_ns = perf_counter_ns()
        reply, at = job.reply, self._place()
        methods = self._methods[at]
        if method not in methods:
            methods[method] = self._channels[at].unary_unary(method)
        self._requests += 1
        self._loads[at] += 1
        reply.reused = self._requests > len(self._channels)
        left_s = (job.deadline_ns - perf_counter_ns()) / 1e9 if job.deadline_ns else None
        try:
            call = methods[method](job.request, timeout=left_s, metadata=self._metadata)
            reply.sent_ns = perf_counter_ns()
            content = await call
            reply.ended_ns = perf_counter_ns()
            reply.status = 200
            reply.chunks.append((reply.ended_ns, content))
        except grpc.aio.AioRpcError as failure:
            reply.ended_ns = perf_counter_ns()
            reply.error = self._error(failure)
        except asyncio.CancelledError:
            reply.ended_ns = perf_counter_ns()
            reply.error = HttpError("the client was closed inside a reply")
        except Exception as error:  # gRPC's own misuse errors: the request must still end
            reply.ended_ns = perf_counter_ns()
            reply.error = ProtocolError(f"the call failed in gRPC itself ({type(error).__name__})")
        finally:
            self._loads[at] -= 1
        self._end(job)

    def _place(self) -> int:
        """Return the least busy connection, a new one if all are full and one more is allowed."""
        least = min(range(len(self._loads)), key=self._loads.__getitem__, default=-1)
        if least < 0 or (self._loads[least] >= STREAMS and len(self._channels) < self._connections):
            self._channels.append(self._channel())
            self._methods.append({})
            self._loads.append(0)
            least = len(self._channels) - 1
        return least

    def _channel(self) -> Channel:
        import grpc

        if not self._endpoint.tls:
            made = grpc.aio.insecure_channel(str(self._endpoint), options=self._options)
        else:
            credentials = grpc.ssl_channel_credentials(self._roots)
            made = grpc.aio.secure_channel(str(self._endpoint), credentials, options=self._options)
        return cast(Channel, made)

    def _end(self, job: Job) -> None:
        try:
            job.on_end(job.reply)
        except Exception as error:  # told to the loop's handler, which logs it; stops nothing
            assert self._loop is not None
            self._loop.call_exception_handler(
                {"message": "a callback of the gRPC client failed", "exception": error}
            )

    def _fail(self, job: Job, error: HttpError) -> None:
        job.reply.ended_ns = perf_counter_ns()
        job.reply.error = error
        self._end(job)

    def _fail_incoming(self) -> None:
        while self._incoming:
            self._fail(self._incoming.popleft()[0], HttpError("the client was closed"))

    def _error(self, failure: Failure) -> HttpError:
        """Return the error that a call's failure is; who said it decides what a code means."""
        code = str(getattr(failure.code(), "name", failure.code()))
        details = " ".join((failure.details() or "").split())
        own = _own(code, details.lower(), self._endpoint)
        return own or _told(code, self._secret.clean(details)[:200])


def _told(code: str, said: str) -> HttpError:
    """Return what the server itself answered with."""
    text = f"the server answered with {code}" + (f": {said}" if said else "")
    if code == "DEADLINE_EXCEEDED":
        return TimeoutError_(text)
    if code == "RESOURCE_EXHAUSTED":
        return RateLimitError(text, hint="lower the load")
    if code == "UNAVAILABLE":
        return BusyError(text)
    status = STATUSES.get(code, 500)
    if status >= 500:
        return ServerError(text, status=status)
    hint = "check the target's 'server.api_key'" if status in (401, 403) else None
    return StatusError(text, status=status, hint=hint)


def _own(code: str, words: str, endpoint: Endpoint) -> HttpError | None:
    """Return what gRPC's own library met; None if the server answered with `code` itself.

    gRPC does not tell the two apart. Its library begins its details with one of a few phrases (seen
    in grpcio 1.85); they are not shown, as they may hold addresses.
    """
    if code == "DEADLINE_EXCEEDED":
        return TimeoutError_("the reply was not whole within the request's deadline")
    if code == "RESOURCE_EXHAUSTED" and "message larger than max" in words:
        return TooLargeError("the reply exceeds what the client keeps")
    if code == "UNAVAILABLE" and words.startswith(LOST):
        return TruncatedError("the connection ended before the reply was whole")
    if code != "UNAVAILABLE" or not words.startswith(NO_CONNECTION):
        return None
    hop = endpoint.proxy or endpoint
    if "http proxy" in words:
        status = words.partition("response code ")[2][:3]
        return ProxyError(
            f"the proxy {hop} opens no tunnel to {endpoint}"
            + (f": status {status}" if status.isdigit() else "")
        )
    if "certificate" in words and "verif" in words:
        return TlsError(
            f"the certificate of {endpoint} is not trusted",
            hint="set 'server.tls.ca_file' to the authority's certificate",
        )
    if "handshake" in words:
        return TlsError(f"no TLS with {endpoint}")
    if "http/2" in words or "http1" in words:
        return ProtocolError(f"what answers at {endpoint} does not speak gRPC")
    if "refused" in words:
        return ConnectError(f"{hop} refuses connections", hint="is the server running there?")
    if "resolving" in words:
        return ConnectError(
            f"the name {hop.host} is not found", hint="is the host right, and is there a network?"
        )
    through = f" through the proxy {hop}" if endpoint.proxy else ""
    return ConnectError(f"no connection to {endpoint}{through}: it is closed or never opens")


def _options(endpoint: Endpoint, max_reply_bytes: int) -> list[tuple[str, int | str]]:
    options: list[tuple[str, int | str]] = [
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),  # no connection of another session
        ("grpc.max_receive_message_length", max_reply_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.primary_user_agent", "accelerator-harness"),
    ]
    proxy = endpoint.proxy
    if proxy is None:
        return [*options, ("grpc.enable_http_proxy", 0)]
    user = f"{quote(proxy.user, safe='')}:{quote(proxy.password, safe='')}@" if proxy.user else ""
    return [*options, ("grpc.http_proxy", f"http://{user}{proxy}")]


def _roots(endpoint: Endpoint) -> bytes | None:
    """Return the authorities to trust as PEM; None leaves it to gRPC's own list.

    Without a `ca_file` they are the system's, as for HTTP, where the system has them in one file.
    """
    known: str | None = ssl.get_default_verify_paths().cafile
    path = endpoint.ca_file or known
    if path is None:
        return None
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise TlsError(
            f"the CA file {path} cannot be used: {error.strerror}",
            hint="give a readable file of PEM certificates",
        ) from error


def need_grpc() -> None:
    """Raise PrerequisiteError, with the command that installs it, if gRPC is missing."""
    # Its log lines repeat what servers and proxies say, which may be a key.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        for name in ("grpc", "google.protobuf"):
            importlib.import_module(name)
    except ImportError as error:
        raise PrerequisiteError(f"oip-grpc needs {error.name}", hint=INSTALL) from error
