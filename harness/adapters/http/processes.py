"""Several client processes, where one core is not enough: each with its own loop and connections.

All stamps are taken in the processes, by `time.perf_counter_ns`: on Linux that is CLOCK_MONOTONIC,
one clock for all processes of a machine. What handing a request over takes is in the latency, and
in the trust block as `handover`.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from harness.adapters.http.channel import Frames, FromProcess, Told, packed
from harness.adapters.http.client import Client
from harness.adapters.http.errors import CrashError, HttpError
from harness.adapters.http.loop import LoopLag, thread_waited_s
from harness.adapters.http.reply import Endpoint, Reply
from harness.adapters.trust import CoreWork
from harness.schema.server import ServerAddress

__all__ = ["ClientProcesses", "make_client"]

MODULE = "harness.adapters.http.client_process"
START_S = 30.0
ANSWER_S = 5.0
CLOSE_S = 3.0
READ_BYTES = 1 << 20


@dataclass(slots=True, eq=False)
class Worker:
    """One process, as its parent knows it."""

    process: subprocess.Popen[bytes]
    sock: socket.socket
    lock: threading.Lock = field(default_factory=threading.Lock)
    frames: Frames = field(default_factory=Frames)
    pending: dict[int, Callable[[Reply], None]] = field(default_factory=dict)
    ready: threading.Event = field(default_factory=threading.Event)
    fault: Exception | None = None
    told: threading.Event = field(default_factory=threading.Event)
    work: tuple[LoopLag, float | None] | None = None
    lost: bool = False


class ClientProcesses:
    """A client of `count` processes, which share `connections`; used as `Client` is.

    A request goes to the process with the fewest open. One that crashes fails its requests, and
    the others go on. Raises what the clients raise, and HttpError if a process does not start.
    """

    def __init__(self, endpoint: Endpoint, *, connections: int, count: int) -> None:
        self._numbers = itertools.count(1)
        self._closed = False
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()
        self._last: dict[Worker, tuple[LoopLag, float | None]] = {}
        self._asking = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="http-processes", daemon=True)
        count = max(1, min(count, connections))
        first = packed((endpoint, -(-connections // count)))
        try:
            for _ in range(count):
                self._workers.append(self._start(first))
            self._thread.start()
            for worker in self._workers:
                if not worker.ready.wait(START_S):
                    raise HttpError("a client process did not start in time")
                if worker.fault is not None:
                    raise worker.fault
        except BaseException:
            self.close()
            raise

    def _start(self, first: bytes) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", MODULE, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
            except OSError as error:
                ours.close()
                raise HttpError(f"a client process cannot be started: {error}") from error
        worker = Worker(process, ours)
        with contextlib.suppress(OSError):  # it has ended already: the reader tells
            ours.sendall(first)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        return worker

    @property
    def count(self) -> int:
        """How many processes there are."""
        return len(self._workers)

    @property
    def pids(self) -> tuple[int, ...]:
        """The numbers of the processes."""
        return tuple(worker.process.pid for worker in self._workers)

    @property
    def crashed(self) -> int:
        """How many processes ended on their own."""
        return sum(worker.lost for worker in self._workers)

    def send(
        self, request: bytes, on_end: Callable[[Reply], None], *, deadline_s: float | None = None
    ) -> None:
        """Send `request`, a whole HTTP/1.1 request; as `Client.send`. Any thread may call.

        `on_end` runs on this client's own thread. HttpError if it is closed, CrashError if no
        process is left.
        """
        if self._closed:
            raise HttpError("the client is closed")
        deadline_ns = 0 if deadline_s is None else time.perf_counter_ns() + round(deadline_s * 1e9)
        number = next(self._numbers)
        while True:
            alive = [worker for worker in self._workers if not worker.lost]
            if not alive:
                raise CrashError("all client processes have ended")
            worker = min(alive, key=lambda each: len(each.pending))
            message = packed(("send", [(number, request, deadline_ns)]))
            with worker.lock:
                if worker.lost:
                    continue
                worker.pending[number] = on_end
                try:
                    worker.sock.sendall(message)
                except OSError:  # it has just ended: the reader fails what is pending
                    return
            return

    def lag(self, since_ns: int = 0) -> LoopLag:
        """Return the worst lag of any process, and the sums of CPU time and counts."""
        found = self._work(since_ns)
        lags = [lag for lag, _ in found]
        if not lags:
            raise HttpError("no client process has told of its work")

        def worst(values: list[float | None]) -> float | None:
            known = [value for value in values if value is not None]
            return max(known) if len(known) == len(values) else None

        shares = [lag.cpu_share for lag in lags]
        total = None if None in shares else sum(share for share in shares if share is not None)
        return LoopLag(
            loop=lags[0].loop,
            ticks=min(lag.ticks for lag in lags),
            p50_s=worst([lag.p50_s for lag in lags]),
            p99_s=worst([lag.p99_s for lag in lags]),
            max_s=worst([lag.max_s for lag in lags]),
            cpu_share=total,
            cpu_s=sum(lag.cpu_s for lag in lags),
            requests=sum(lag.requests for lag in lags),
            connections=sum(lag.connections for lag in lags),
            reused=sum(lag.reused for lag in lags),
            resent=sum(lag.resent for lag in lags),
        )

    def waited_s(self) -> float | None:
        """Return how long all event loops have waited for cores so far; None if one is not told."""
        waits = [waited for _, waited in self._last.values()]
        return None if None in waits else sum(waited for waited in waits if waited is not None)

    def cores(self) -> tuple[CoreWork, ...]:
        """Return what each event loop, and last the thread that hands over, has used so far."""
        found = [CoreWork(lag.cpu_s, waited) for lag, waited in self._work(0)]
        clock = time.pthread_getcpuclockid(self._thread.ident or 0)
        own = CoreWork(time.clock_gettime(clock), thread_waited_s(self._thread.native_id))
        return (*found, own)

    def close(self) -> None:
        """End open requests with an error; no process, thread or socket stays. May be called again.

        Not to be called from a callback.
        """
        if self._closed:
            return
        self._closed = True
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.sock.shutdown(socket.SHUT_RDWR)
        if self._thread.ident is not None:
            self._thread.join()
        until_s = time.monotonic() + CLOSE_S
        for worker in self._workers:
            try:
                worker.process.wait(max(0.01, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._fail(worker, HttpError("the client was closed"))
            worker.sock.close()
        self._selector.close()

    def _work(self, since_ns: int) -> list[tuple[LoopLag, float | None]]:
        """Ask all processes how they kept up; of one that is lost return what it said last."""
        with self._asking:
            for worker in self._workers:
                worker.told.clear()
                with worker.lock, contextlib.suppress(OSError):
                    if not worker.lost:
                        worker.sock.sendall(packed(("work", since_ns)))
            until_s = time.monotonic() + ANSWER_S
            for worker in self._workers:
                if not worker.lost and worker.told.wait(max(0.0, until_s - time.monotonic())):
                    assert worker.work is not None
                    self._last[worker] = worker.work
            return [self._last[worker] for worker in self._workers if worker in self._last]

    # The rest runs on the reading thread.

    def _read(self) -> None:
        left = len(self._workers)
        while left:
            for key, _ in self._selector.select():
                worker = cast(Worker, key.data)
                try:
                    data = worker.sock.recv(READ_BYTES)
                except OSError:
                    data = b""
                if data:
                    for message in worker.frames.take(data):
                        self._take(worker, cast(FromProcess, message))
                    continue
                self._selector.unregister(worker.sock)
                left -= 1
                self._lose(worker)

    def _take(self, worker: Worker, message: FromProcess) -> None:
        if message[0] == "ended":
            for told in message[1]:
                self._end(worker, told)
        elif message[0] == "work":
            worker.work = message[1]
            worker.told.set()
        else:
            worker.fault = message[1]
            worker.ready.set()

    def _end(self, worker: Worker, told: Told) -> None:
        number, status, headers, chunks, ended_ns, error, reused, sent_ns, taken_ns = told
        on_end = worker.pending.pop(number, None)
        if on_end is not None:
            _call(
                on_end,
                Reply(status, headers, chunks, ended_ns, error, reused, sent_ns, taken_ns),
            )

    def _lose(self, worker: Worker) -> None:
        if not self._closed:
            with worker.lock:
                worker.lost = True
            self._fail(worker, CrashError("a client process ended in the middle of its requests"))
        worker.told.set()
        if not worker.ready.is_set():
            worker.fault = HttpError("a client process ended before it was ready")
            worker.ready.set()

    def _fail(self, worker: Worker, error: HttpError) -> None:
        while worker.pending:
            with contextlib.suppress(KeyError):
                _, on_end = worker.pending.popitem()
                _call(on_end, Reply(ended_ns=time.perf_counter_ns(), error=error))


def make_client(
    endpoint: Endpoint, server: ServerAddress, processes: int | None = None
) -> Client | ClientProcesses:
    """Return the client of `endpoint`, with the connections that `server` says.

    It has as many processes as given, else as `server` says: with `auto` one to begin with.
    """
    connections = server.concurrency or server.connections
    count = processes or (1 if server.client_processes == "auto" else server.client_processes)
    if count == 1:
        return Client(endpoint, connections=connections)
    return ClientProcesses(endpoint, connections=connections, count=count)


def _call(on_end: Callable[[Reply], None], reply: Reply) -> None:
    """Call back; what a callback raises is told on the thread's hook, and stops nothing."""
    try:
        on_end(reply)
    except Exception as error:
        threading.excepthook(
            threading.ExceptHookArgs((type(error), error, error.__traceback__, None))
        )
