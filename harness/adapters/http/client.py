"""An HTTP/1.1 client that measures servers and not itself.

One event loop in a thread of its own. Bytes are stamped before anything reads them, only framing is
taken off, and a burst of requests from other threads costs one wake-up. No redirect is
followed and nothing is retried, but for a request that met a connection the server had just
dropped (`Pool.again`): what a server does is what the caller sees.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING

from harness.adapters.http.dial import Dialler
from harness.adapters.http.errors import ConnectError, HttpError, TimeoutError_, TruncatedError
from harness.adapters.http.loop import LoopLag, loop_factory
from harness.adapters.http.loop_thread import LoopThread
from harness.adapters.http.reply import Endpoint, Job, Reply
from harness.errors import PrerequisiteError

if TYPE_CHECKING:
    from harness.adapters.http.connection import Connection

__all__ = ["Client", "Endpoint", "LoopLag", "Reply"]

CLOSE_PATIENCE_S = 1.0
NEVER_NS = 1 << 62


def connection_class() -> type[Connection]:
    """Return `Connection`; PrerequisiteError if httptools is missing."""
    try:
        from harness.adapters.http.connection import Connection
    except ImportError as error:
        raise PrerequisiteError(
            f"served targets need httptools: {error}",
            hint="pip install 'accelerator-harness[http]'",
        ) from error
    return Connection


class Client(LoopThread):
    """Sends requests to one endpoint over at most `connections` kept-alive connections.

    `max_reply_bytes` bounds what one reply may hold in memory: its bytes and what keeping them
    takes. A request waits when all connections are busy. Callbacks run on the client's own thread,
    must be quick, and may send. Raises TlsError or PrerequisiteError.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connections: int,
        max_reply_bytes: int = 64 << 20,
        connect_timeout_s: float = 10.0,
    ) -> None:
        if connections < 1:
            raise ValueError(f"connections is {connections}, must be at least 1")
        self._connection = connection_class()
        self._connections = connections
        self._max_reply_bytes = max_reply_bytes
        self._dialler = Dialler(endpoint, connect_timeout_s)
        super().__init__("http-client", loop_factory(), self._expire)
        # Handed over by any thread:
        self._incoming: deque[Job] = deque()
        # Touched on the event loop only:
        self._waiting: deque[Job] = deque()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._dials: dict[asyncio.Task[None], None] = {}
        self._soonest_ns = NEVER_NS  # no open deadline is earlier
        self._requests = self._opened = self._reused = self._resent = 0
        self._start_loop()

    def send(
        self,
        request: bytes,
        on_end: Callable[[Reply], None],
        *,
        deadline_s: float | None = None,
        on_first: Callable[[int], None] | None = None,
        on_chunk: Callable[[int, bytes], None] | None = None,
    ) -> None:
        """Send `request`, a whole HTTP/1.1 request, and return at once. Any thread may call.

        `on_end` is called once, in every case. `deadline_s` counts from now and includes the wait
        for a connection. `on_first` gets the time of the first body bytes, `on_chunk` the time and
        the bytes of each arrival. Raises HttpError if the client is closed.
        """
        if self._closed or self._loop is None:
            raise HttpError("the client is closed")
        deadline_ns = 0 if deadline_s is None else perf_counter_ns() + round(deadline_s * 1e9)
        job = Job(request, on_end, deadline_ns, on_first, on_chunk)
        if threading.current_thread() is self._thread:
            self._begin(job)
            return
        self._incoming.append(job)
        self._wake(self._drain)

    def attach(self, sock: socket.socket, factory: Callable[[], asyncio.Protocol]) -> None:
        """Have the event loop read `sock`, of a socket pair, too. Any thread may call."""
        assert self._loop is not None
        sock.setblocking(False)
        coroutine = self._loop.create_unix_connection(factory, sock=sock)
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def lag(self, since_ns: int = 0) -> LoopLag:
        """Return how well the event loop kept up, from `since_ns` (`time.perf_counter_ns`) on.

        The counts of requests and connections are since the client began.
        """
        name = self._factory.__module__.partition(".")[0]
        counts = {
            "requests": self._requests,
            "connections": self._opened,
            "reused": self._reused,
            "resent": self._resent,
        }
        return self._ticker.lag(name, counts, since_ns)

    # The rest runs on the event loop.

    async def _end_open(self) -> None:
        for dial in list(self._dials):
            dial.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        self._fail_incoming()
        while self._waiting:
            self._fail(self._waiting.popleft(), HttpError("the client was closed"))
        for connection in list(self._open):
            if connection.job is not None:
                connection.fail(HttpError("the client was closed inside a reply"))
            connection.abort()
        give_up_ns = perf_counter_ns() + round(CLOSE_PATIENCE_S * 1e9)
        while self._open and perf_counter_ns() < give_up_ns:
            await asyncio.sleep(0.001)

    def _drain(self) -> None:
        self._woken = False  # first: what is added from here on wakes us again
        incoming = self._incoming
        while incoming:
            self._begin(incoming.popleft())

    def _begin(self, job: Job) -> None:
        if self._closed:  # closed while it was on its way here
            self._fail(job, HttpError("the client was closed"))
            return
        job.reply.taken_ns = perf_counter_ns()
        if job.deadline_ns and job.deadline_ns < self._soonest_ns:
            self._soonest_ns = job.deadline_ns
        while self._idle:
            # The one used last: it is the least likely to have been dropped by the server.
            connection = self._idle.pop()
            if connection.usable:
                self._start(connection, job)
                return
        self._waiting.append(job)
        self._dial()

    def _start(self, connection: Connection, job: Job) -> None:
        self._requests += 1
        self._reused += connection.served > 0
        connection.start(job)

    def _dial(self) -> None:
        """Open connections for what waits, up to the limit."""
        if self._closed:
            return
        room = self._connections - len(self._open) - len(self._dials)
        for _ in range(min(room, len(self._waiting) - len(self._dials))):
            assert self._loop is not None
            task = self._loop.create_task(self._connect())
            self._dials[task] = None
            task.add_done_callback(self._dialled)

    async def _connect(self) -> None:
        connection = await self._dialler.connect(
            lambda: self._connection(self, self._max_reply_bytes)
        )
        if not connection.usable:
            raise TruncatedError("the server closed the connection as soon as it was open")
        self._opened += 1
        self._open.add(connection)
        self.free(connection)

    def _dialled(self, task: asyncio.Task[None]) -> None:
        del self._dials[task]
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and self._waiting:  # each try was made for one that waits
            if not isinstance(error, HttpError):
                error = ConnectError(f"no connection: {error}")
            self._fail(self._waiting.popleft(), error)
        self._dial()

    def free(self, connection: Connection) -> None:
        """Give `connection` the next request, or keep it."""
        job = self._next(connection)
        if job is None:
            self._idle.append(connection)
        else:
            self._start(connection, job)

    def _next(self, connection: Connection) -> Job | None:
        """Take what waits longest; what is sent again goes over a new connection only.

        A used one may be about to be dropped by the server, like the one that failed it. A new one
        is always on its way for it: the loss made room.
        """
        for position, job in enumerate(self._waiting):
            if not (job.resent and connection.served):
                del self._waiting[position]
                return job
        return None

    def lost(self, connection: Connection) -> None:
        """Forget `connection`."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._dial()

    def end(self, job: Job) -> None:
        """Call back; whatever a callback raises is told to the loop, and stops nothing."""
        try:
            job.on_end(job.reply)
        except Exception as error:
            self.complain(error)

    def again(self, job: Job) -> None:
        """Send `job` over a new connection, before all that waits."""
        if self._closed:
            self._fail(job, HttpError("the client was closed"))
            return
        job.resent = True
        self._resent += 1
        self._waiting.appendleft(job)
        self._dial()

    def complain(self, error: Exception) -> None:
        """Tell the event loop's exception handler, which logs it."""
        assert self._loop is not None
        self._loop.call_exception_handler(
            {"message": "a callback of the HTTP client failed", "exception": error}
        )

    def _fail(self, job: Job, error: HttpError) -> None:
        job.reply.ended_ns = perf_counter_ns()
        job.reply.error = error
        self.end(job)

    def _fail_incoming(self) -> None:
        while self._incoming:
            self._fail(self._incoming.popleft(), HttpError("the client was closed"))

    def _expire(self, now_ns: int) -> None:
        """End what is past its deadline. Looks at requests only when one may be."""
        if now_ns < self._soonest_ns:
            return
        late = [job for job in self._waiting if 0 < job.deadline_ns <= now_ns]
        if late:
            gone = set(late)
            self._waiting = deque(job for job in self._waiting if job not in gone)
            for dial in list(self._dials)[len(self._waiting) :]:
                dial.cancel()
        busy = [(connection, connection.job) for connection in self._open]
        self._soonest_ns = NEVER_NS
        for job in self._waiting:
            self._soonest_ns = min(self._soonest_ns, job.deadline_ns or NEVER_NS)
        for connection, open_job in busy:
            if open_job is None or not open_job.deadline_ns:
                continue
            if open_job.deadline_ns > now_ns:
                self._soonest_ns = min(self._soonest_ns, open_job.deadline_ns)
            else:
                begun = "the reply was not whole" if open_job.reply.status else "there was no reply"
                connection.fail(TimeoutError_(f"{begun} within the request's deadline"))
        for job in late:
            self._fail(job, TimeoutError_("there was no connection within the request's deadline"))
