"""A server as a session: requests go out at once, replies are stamped by the client, read later."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns

from harness.adapters.base import Query, Request
from harness.adapters.http.client import Client, Reply
from harness.adapters.http.codec import Codec
from harness.adapters.http.errors import AnswerError, HttpError
from harness.adapters.http.message import compose
from harness.adapters.http.secrets import Secret
from harness.adapters.receipt import Answer, Receipt
from harness.errors import AdapterError, UnsupportedError
from harness.schema.server import ServerAddress

PREPARED_BYTES = 256 << 20
UNREAD_BYTES = 512 << 20
CHUNK_COST_BYTES = 160
"""About what keeping one block of a reply takes beside its bytes."""
DELAYS = 100_000


class HttpSession:
    """One server, one codec, one client. Any number of threads may submit.

    A reply is kept as bytes until the harness asks what is in it, at most 512 MB of them; above
    that replies are read as they come, which costs the client time that the trust block shows.
    """

    max_batch = 1

    def __init__(
        self,
        server: ServerAddress,
        secret: Secret,
        codec: Codec,
        client: Client,
        facts: Mapping[str, object],
    ) -> None:
        self.max_concurrency = server.concurrency
        self._server = server
        self._secret = secret
        self._codec = codec
        self._client: Client | None = client
        self._facts = dict(facts)
        self._messages: dict[int, tuple[Request, bytes]] = {}
        self._prepared = 0
        self._lock = threading.Lock()
        self._unread = 0
        self._since_ns = perf_counter_ns()
        self._send_delays_s: deque[float] = deque(maxlen=DELAYS)

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
            message = self._message(request)
        except UnsupportedError as error:
            query.fail(error)
            return

        def end(reply: Reply) -> None:
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
            described["client"] = {
                "loop": lag.loop,
                "loop_lag_p50_s": lag.p50_s,
                "loop_lag_p99_s": lag.p99_s,
                "loop_lag_max_s": lag.max_s,
                "cpu_share": lag.cpu_share,
                "send_delay_p99_s": self._send_delay_p99_s(),
                "requests": lag.requests,
                "connections": lag.connections,
                "reuse_share": lag.reused / lag.requests if lag.requests else None,
            }
        return described

    def close(self) -> None:
        """Close all connections. Open queries fail."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._messages.clear()

    def _message(self, request: Request) -> bytes:
        kept = self._messages.get(id(request))
        if kept is not None and kept[0] is request:
            return kept[1]
        message = compose(self._server, self._secret, self._codec.encode(request))
        with self._lock:
            if self._prepared + len(message) <= PREPARED_BYTES:
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
