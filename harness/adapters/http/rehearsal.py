"""A session like a served target's, on the server of known truth: same client, same limits."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.adapters.base import Output, Request, Session, TextRequest
from harness.adapters.http.client import Endpoint
from harness.adapters.http.errors import AnswerError
from harness.adapters.http.grpc_client import GrpcClient
from harness.adapters.http.message import Body, Received, check
from harness.adapters.http.processes import make_client
from harness.adapters.http.secrets import Secret
from harness.adapters.http.session import HttpSession
from harness.adapters.http.sse import read_events
from harness.adapters.receipt import Answer
from harness.adapters.trust import Rehearsal, ReplyShape, Truth
from harness.errors import MeasurementError
from harness.schema.server import ServerAddress

INPUTS = 8
TIMEOUT_S = 10.0
PATIENCE_S = 5.0


class TruthCodec:
    """Asks for the shape that it is told, and keeps what the replies say of themselves."""

    def __init__(self, secret: Secret, request_bytes: int) -> None:
        self._secret = secret
        self._content = b"x" * request_bytes
        self.paths: dict[int, str] = {}
        """By the request's number (`id`): where it is sent."""
        self.truths: list[Truth] = []

    def probes(self) -> tuple[str, ...]:
        """Return nothing: this server is ready."""
        return ()

    def learn(self, path: str, document: object) -> None:
        """Learn nothing."""

    def encode(self, request: Request) -> Body:
        """Return a body as long as the target's own, to the path of the request's shape."""
        return Body(self.paths[id(request)], "application/json", self._content)

    def decode(self, request: Request, reply: Received) -> Answer:
        """Return when the client was handed the first and the last token, and keep the truth."""
        content = check(reply, self._secret)
        stream = [(event.at_ns, event.data) for event in read_events(reply.chunks).events]
        if not stream:  # a reply that came whole
            stream = [(reply.ended_ns, content.removeprefix(b"data: "))]
        try:
            received_ns, first_ns = (int(number) for number in stream[0][1].split())
            last_ns = int(stream[-1][1].split()[1])
        except (ValueError, IndexError) as error:
            raise AnswerError("the reply does not say when it was written") from error
        seen_first_ns, seen_last_ns = stream[0][0], stream[-1][0]
        self.truths.append(Truth(received_ns, first_ns, last_ns, seen_first_ns, seen_last_ns))
        return Answer(seen_last_ns, seen_first_ns, len(stream), Output())

    def describe(self) -> Mapping[str, object]:
        """Return nothing: this is no target."""
        return {}


def path_and_content(body: Body) -> bytes:
    """Return a message for `loopback_grpc.py`, as long as the target's own."""
    return (body.path.encode() + b"\0").ljust(len(body.content), b"x")


class HttpRehearsal:
    """A session on the server at `port`; see `harness.adapters.trust.Rehearsal`."""

    def __init__(
        self, port: int, like: ServerAddress, request_bytes: int, processes: int = 1
    ) -> None:
        secret = Secret()
        self._codec = TruthCodec(secret, request_bytes)
        address = ServerAddress(
            url=f"http://127.0.0.1:{port}",
            protocol="openai-chat",
            model="loopback",
            concurrency=like.concurrency,
            connections=like.connections,
            timeout_s=TIMEOUT_S,
        )
        endpoint = Endpoint("127.0.0.1", port, tls=False)
        if like.protocol == "oip-grpc":
            over_grpc = GrpcClient(endpoint, secret, connections=like.connections)
            self.http = HttpSession(
                address, secret, self._codec, over_grpc, {}, write=path_and_content
            )
            return
        client = make_client(endpoint, like, processes)
        self.http = HttpSession(address, secret, self._codec, client, {})

    @property
    def session(self) -> Session:
        """The session."""
        return self.http

    def requests(self, shape: ReplyShape) -> Sequence[Request]:
        """Return requests that are answered with `shape`; their messages are written."""
        path = f"/{round(shape.first_s * 1e6)}/{round(shape.gap_s * 1e6)}/{shape.tokens}"
        made = [TextRequest(np.zeros(1, dtype=np.int64), max(1, shape.tokens))] * INPUTS
        self._codec.paths[id(made[0])] = path
        self.http.prepare_requests(made)
        return made

    def truths(self) -> list[Truth]:
        """Return the truth of the good replies since the last call, in the order of reading."""
        found, self._codec.truths = self._codec.truths, []
        return found


@contextlib.contextmanager
def rehearsal(like: ServerAddress, request_bytes: int, processes: int = 1) -> Iterator[Rehearsal]:
    """Start the server in a process of its own and yield a session on it, like that on `like`.

    MeasurementError if it does not start. No process stays.
    """
    # -P: this folder has modules named as those of the standard library.
    script = "loopback_grpc.py" if like.protocol == "oip-grpc" else "loopback.py"
    command = [sys.executable, "-P", str(Path(__file__).with_name(script))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.strip().isdigit():
                raise MeasurementError("the server to calibrate the client on did not start")
            found = HttpRehearsal(int(line), like, request_bytes, processes)
            try:
                yield found
            finally:
                found.http.close()
        finally:
            process.stdin.close()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
