"""A server as a session: requests go out at once, replies are stamped by the client, read later."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from time import perf_counter_ns
from typing import Protocol

from harness.adapters.base import Query, Request
from harness.adapters.http.client import Reply
from harness.adapters.http.codec import Codec
from harness.adapters.http.errors import AnswerError, HttpError
from harness.adapters.http.grpc_client import STREAMS
from harness.adapters.http.loop import LoopLag
from harness.adapters.http.message import Body, compose
from harness.adapters.http.processes import ClientProcesses
from harness.adapters.http.secrets import Secret
from harness.adapters.receipt import Answer, Receipt
from harness.adapters.trust import ClientWork, Rehearsal
from harness.errors import AdapterError, UnsupportedError
from harness.models.conversation import TurnRequest
from harness.schema.server import ServerAddress

PREPARED_BYTES = 256 << 20
UNREAD_BYTES = 512 << 20
CHUNK_COST_BYTES = 160
"""About what keeping one block of a reply takes beside its bytes."""
DELAYS = 100_000


class Sender(Protocol):
    """A client: it sends the bytes of a request and calls back once with what came."""

    def send(
        self, request: bytes, on_end: Callable[[Reply], None], *, deadline_s: float | None = None
    ) -> None:
        """Send `request` and return at once; HttpError if the client is closed."""

    def lag(self, since_ns: int = 0) -> LoopLag:
        """Return how well the client kept up since `since_ns`."""

    def waited_s(self) -> float | None:
        """Return how long the client's thread has waited for a core so far; None if not told."""

    def close(self) -> None:
        """End open requests with an error."""


class HttpSession:
    """One server, one codec, one client. Any number of threads may submit.

    `write` makes a request of what the codec wants sent (None: HTTP/1.1, directly to the server).
    `grown` makes a client of so many processes (None: there is only the one).
    A reply is kept as bytes until the harness asks what is in it, at most 512 MB of them; above
    that replies are read as they come, which costs the client time that the trust block shows.
    """

    max_batch = 1

    def __init__(
        self,
        server: ServerAddress,
        secret: Secret,
        codec: Codec,
        client: Sender,
        facts: Mapping[str, object],
        *,
        write: Callable[[Body], bytes] | None = None,
        grown: Callable[[int], Sender] | None = None,
    ) -> None:
        self.max_concurrency = server.concurrency
        self._server = server
        self._codec = codec
        self._write = write or partial(compose, server, secret)
        self._client: Sender | None = client
        self._grown = grown
        self._facts = dict(facts)
        self._messages: dict[int, tuple[Request, bytes]] = {}
        self._prepared = 0
        self._lock = threading.Lock()
        self._unread = 0
        self._since_ns = perf_counter_ns()
        self._send_delays_s: deque[float] = deque(maxlen=DELAYS)
        self._handovers: deque[tuple[int, float]] = deque(maxlen=DELAYS)

    def prepare_requests(self, requests: Sequence[Request]) -> None:
        """Write the messages of `requests` before anything is measured; the client counts anew."""
        for request in requests:
            if self._prepared > PREPARED_BYTES:
                break
            self._message(request)
        self._since_ns = perf_counter_ns()
        self._send_delays_s.clear()

    def submit(self, query: Query) -> None:
        """Send the query's request; its reply comes from the client's thread."""
        begun_ns = perf_counter_ns()
        (request,) = query.requests
        client = self._client
        if client is None:
            query.fail(AdapterError("the session is closed"))
            return
        try:
            # What a turn holds was really said: it is sent once, and never again.
            once = isinstance(request, TurnRequest) and request.turn > 0
            message = self._message(request, keep=not once)
        except UnsupportedError as error:
            query.fail(error)
            return

        def end(reply: Reply) -> None:
            if reply.taken_ns:
                self._handovers.append((begun_ns, (reply.taken_ns - begun_ns) / 1e9))
            if reply.sent_ns:
                self._send_delays_s.append((reply.sent_ns - begun_ns) / 1e9)
            self._hand_over(query, request, reply)

        try:
            client.send(message, end, deadline_s=self._server.timeout_s)
        except HttpError as error:
            query.fail(error)

    def describe(self) -> Mapping[str, object]:
        """Return what is asked and how, and how well the client kept up since `prepare_requests`.

        `client` is the trust block of the record: docs/served.md says what each figure means.
        """
        described: dict[str, object] = {
            **self._facts,
            "protocol": self._server.protocol,
            "model": self._server.model,
            "url": self._server.url,
            **self._codec.describe(),
        }
        if self._client is not None:
            lag = self._client.lag(self._since_ns)
            client: dict[str, object] = {
                "loop": lag.loop,
                "loop_lag_p50_s": lag.p50_s,
                "loop_lag_p99_s": lag.p99_s,
                "loop_lag_max_s": lag.max_s,
                "cpu_share": lag.cpu_share,
                "send_delay_p99_s": self._send_delay_p99_s(),
                "requests": lag.requests,
                "connections": lag.connections,
                "reuse_share": lag.reused / lag.requests if lag.requests else None,
                "resent": lag.resent,
            }
            if isinstance(self._client, ClientProcesses):
                client |= {"processes": self._client.count, "crashed": self._client.crashed}
            described["client"] = client
        return described

    def client_work(self, since_ns: int) -> ClientWork:
        """Return what the client did from `since_ns` on; AdapterError of a closed session."""
        if self._client is None:
            raise AdapterError("the session is closed")
        lag = self._client.lag(since_ns)
        several = self._client if isinstance(self._client, ClientProcesses) else None
        delays = sorted(s for begun_ns, s in self._handovers.copy() if begun_ns >= since_ns)
        return ClientWork(
            loop=lag.loop,
            loop_lag_p50_s=lag.p50_s,
            loop_lag_p99_s=lag.p99_s,
            loop_lag_max_s=lag.max_s,
            cpu_share=lag.cpu_share,
            waited_s=self._client.waited_s(),
            handover_p50_s=delays[(len(delays) - 1) // 2] if delays else None,
            handover_p99_s=delays[int(0.99 * (len(delays) - 1))] if delays else None,
            requests=lag.requests,
            connections=lag.connections,
            reused=lag.reused,
            resent=lag.resent,
            cores=several.cores() if several else (),
            crashed=several.crashed if several else 0,
        )

    @property
    def most_sent(self) -> int:
        """How many requests the client sends at once; others wait in it for a connection."""
        streams = STREAMS if self._server.protocol == "oip-grpc" else 1
        return self._server.connections * streams

    @property
    def may_grow(self) -> bool:
        """Whether the target leaves the number of client processes to the harness."""
        return self._grown is not None and self._server.client_processes == "auto"

    @property
    def processes(self) -> int:
        """How many processes the client has."""
        return self._client.count if isinstance(self._client, ClientProcesses) else 1

    def use_processes(self, count: int) -> None:
        """Go on with a client of `count` processes; what it counts begins anew."""
        if self._grown is None or self._client is None:
            raise AdapterError("the session's client cannot be given more processes")
        client, self._client = self._client, self._grown(count)
        client.close()
        self._since_ns = perf_counter_ns()

    def rehearse(self, processes: int | None = None) -> AbstractContextManager[Rehearsal]:
        """Start a session like this one on a server of known truth, with messages as long."""
        from harness.adapters.http.rehearsal import rehearsal  # which is made of this module

        sizes = [len(message) for _, message in self._messages.values()]
        size = round(sum(sizes) / len(sizes)) if sizes else 0
        return rehearsal(self._server, size, processes or self.processes)

    def close(self) -> None:
        """Close all connections. Open queries fail."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._messages.clear()

    def _message(self, request: Request, *, keep: bool = True) -> bytes:
        kept = self._messages.get(id(request))
        if kept is not None and kept[0] is request:
            return kept[1]
        message = self._write(self._codec.encode(request))
        with self._lock:
            if keep and self._prepared + len(message) <= PREPARED_BYTES:
                self._prepared += len(message)
                # The request is kept too: its number may be another's once it is gone.
                self._messages[id(request)] = (request, message)
        return message

    def _hand_over(self, query: Query, request: Request, reply: Reply) -> None:
        size = sum([len(block) for _, block in reply.chunks])
        size += CHUNK_COST_BYTES * len(reply.chunks)
        received: Callable[[int, Receipt], None] | None = getattr(query, "received", None)
        if received is None:  # a query that is not the harness's own: it stamps the calls
            _tell(query, self._read(request, reply))
            return
        with self._lock:
            late = self._unread + size <= UNREAD_BYTES
            self._unread += size if late else 0
        if not late:
            answer = self._read(request, reply)
            received(0, Receipt(reply.ended_ns, lambda: answer))
            return

        def read() -> Answer:
            with self._lock:
                self._unread -= size
            return self._read(request, reply)

        received(0, Receipt(reply.ended_ns, read))

    def _read(self, request: Request, reply: Reply) -> Answer:
        try:
            return self._codec.decode(request, reply)
        except HttpError as error:
            return Answer(ended_ns=reply.ended_ns, error=error)
        except Exception as error:  # ours: but what a server sends must not end the run
            fault = AnswerError(f"the reply cannot be read: {type(error).__name__}")
            return Answer(ended_ns=reply.ended_ns, error=fault)

    def _send_delay_p99_s(self) -> float | None:
        delays = sorted(self._send_delays_s)
        return delays[int(0.99 * (len(delays) - 1))] if delays else None


def _tell(query: Query, answer: Answer) -> None:
    if answer.error is not None or answer.output is None:
        query.fail(answer.error or AnswerError("the reply holds no answer"))
        return
    if answer.first_ns:
        query.tokens(0, answer.tokens)
    query.done(0, answer.output)
