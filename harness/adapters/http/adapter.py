"""The adapter `http`: opens a session on a server, or says what keeps it from being measured."""

from __future__ import annotations

import threading
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np

from harness.adapters.base import (
    API_VERSION,
    EmbedRequest,
    Model,
    Request,
    Session,
    SpeechRequest,
    Target,
    TextRequest,
)
from harness.adapters.http.client import Client, Endpoint, Reply
from harness.adapters.http.codec import Codec
from harness.adapters.http.embeddings import EmbeddingCodec
from harness.adapters.http.errors import (
    BusyError,
    ConnectError,
    HttpError,
    StatusError,
    TimeoutError_,
    TlsError,
)
from harness.adapters.http.grpc_client import GrpcClient, need_grpc
from harness.adapters.http.message import check, compose, parse
from harness.adapters.http.oip import TensorCodec
from harness.adapters.http.oip_grpc import GrpcTensorCodec
from harness.adapters.http.openai import TextCodec
from harness.adapters.http.prerequisites import unserved
from harness.adapters.http.processes import ClientProcesses, make_client
from harness.adapters.http.proxy import Proxy, find_proxy
from harness.adapters.http.secrets import Secret, find_key
from harness.adapters.http.served_model import ListedModel, ServedModel
from harness.adapters.http.session import HttpSession
from harness.adapters.http.transcription import TranscriptionCodec
from harness.adapters.options import check_each
from harness.errors import AdapterError, PrerequisiteError, UnsupportedError
from harness.schema.server import Protocol, ServerAddress

PROBE_S = 10.0
SMALL: dict[Protocol, Request] = {
    "openai-chat": TextRequest(np.zeros(1, dtype=np.int64), 1),
    "openai-completions": TextRequest(np.zeros(1, dtype=np.int64), 1),
    "openai-embeddings": EmbedRequest("the", 1),
    "openai-transcriptions": SpeechRequest(
        np.zeros((1, 100), dtype=np.float32), np.zeros(1, dtype=np.int64), 1, audio_s=1.0
    ),
}
"""Requests that cost a server as little as any."""
REMEDIES: tuple[tuple[type[HttpError], str], ...] = (
    (TlsError, "set 'server.tls.ca_file' to the authority's certificate"),
    (ConnectError, "start the server, or correct 'server.url'"),
    (BusyError, "wait until the server has loaded its model"),
    (TimeoutError_, "see whether the server hangs, or correct 'server.url'"),
)


class HttpAdapter:
    """Measures what a server serves. The server's model is its own: only the task must fit."""

    api_version: ClassVar[int] = API_VERSION
    packages: ClassVar[tuple[str, ...]] = ("httptools",)
    install: ClassVar[str] = "pip install 'accelerator-harness[http]'"

    def check_options(self, target: Target) -> None:
        """Raise OptionError for any option: a server's settings stand under 'server'."""
        check_each(target, ())

    def open(self, target: Target, model: Model) -> Session:
        """Connect and ask the server whether it is ready and has the model.

        Raises PrerequisiteError if not, or if the key is missing.
        """
        self.check_options(target)
        server = target.server
        if server is None:
            raise AdapterError("the adapter 'http' needs a target with a 'server'")
        if (other := unserved(server, model.task, model.architecture.family)) is not None:
            raise UnsupportedError(other)
        proxy = find_proxy(server)
        secret = find_key(server.api_key).hiding(*proxy.hidden if proxy else ())
        facts: dict[str, object] = {
            "runtime": "http",
            "device": "remote",
            "precision": f"{target.runtime.precision} (declared)",
            "proxy": proxy.describe() if proxy else None,
        }
        endpoint = endpoint_of(server, proxy)
        if server.protocol == "oip-grpc":
            return open_grpc(server, secret, endpoint, facts)
        codec = make_codec(server, secret)
        client = make_client(endpoint, server)
        try:
            for path in codec.probes():
                document, software = probe(client, server, secret, path, proxy)
                codec.learn(path, document)
                facts["server"] = software or facts.get("server")
            if isinstance(codec, ListedModel) and codec.served.unlisted:
                ask_for_model(client, server, secret, codec, codec.served, proxy)
            return HttpSession(
                server,
                secret,
                codec,
                client,
                facts,
                write=lambda body: compose(server, secret, body, proxy=proxy),
                grown=lambda count: make_client(endpoint, server, count),
            )
        except BaseException:
            client.close()
            raise


def make_codec(server: ServerAddress, secret: Secret) -> Codec:
    """Return the codec of the server's protocol."""
    if server.protocol == "oip-http":
        return TensorCodec(server, secret)
    if server.protocol == "openai-transcriptions":
        return TranscriptionCodec(server, secret)
    if server.protocol == "openai-embeddings":
        return EmbeddingCodec(server, secret)
    return TextCodec(server, secret)


def open_grpc(
    server: ServerAddress, secret: Secret, endpoint: Endpoint, facts: dict[str, object]
) -> HttpSession:
    """Return a session over gRPC; PrerequisiteError if it is missing or the server is not ready."""
    need_grpc()
    codec = GrpcTensorCodec(server)
    client = GrpcClient(endpoint, secret, connections=server.connections)
    try:
        for method in codec.probes():
            question, replies = codec.question(method), Replies()
            client.send(question, replies.take, deadline_s=PROBE_S, method=method)
            reply = replies.wait(server)
            if isinstance(reply.error, StatusError) and reply.error.status == 501:
                continue  # some servers leave these methods out
            if isinstance(reply.error, HttpError):
                raise _not_ready(server, method, reply.error) from reply.error
            codec.learn(method, reply.body())
        return HttpSession(server, secret, codec, client, facts, write=lambda body: body.content)
    except BaseException:
        client.close()
        raise


def endpoint_of(server: ServerAddress, proxy: Proxy | None = None) -> Endpoint:
    """Return where the client connects to."""
    parts = urlsplit(server.url)
    tls = parts.scheme == "https"
    assert parts.hostname is not None
    return Endpoint(
        host=parts.hostname,
        port=parts.port or (443 if tls else 80),
        tls=tls,
        verify=server.tls.verify,
        ca_file=server.tls.ca_file,
        proxy=proxy,
    )


class Replies:
    """Waits for the reply to a probe."""

    def __init__(self) -> None:
        self._reply: Reply | None = None
        self._ended = threading.Event()

    def take(self, reply: Reply) -> None:
        """Keep `reply`."""
        self._reply = reply
        self._ended.set()

    def wait(self, server: ServerAddress, within_s: float = PROBE_S) -> Reply:
        """Return the reply; PrerequisiteError if none comes."""
        self._ended.wait(within_s + 5.0)
        if self._reply is None:
            raise PrerequisiteError(f"{server.url} does not answer")
        return self._reply


def probe(
    client: Client | ClientProcesses,
    server: ServerAddress,
    secret: Secret,
    path: str,
    proxy: Proxy | None = None,
) -> tuple[object, str | None]:
    """Return what the server answers to a GET of `path`, and the software that it names.

    The answer is None if it has no such page, or one that is not JSON. PrerequisiteError if the
    server cannot be reached, is not ready, or does not let us in.
    """
    replies = Replies()
    request = compose(server, secret, None, path=path, proxy=proxy)
    client.send(request, replies.take, deadline_s=PROBE_S)
    reply = replies.wait(server)
    software = secret.clean(reply.headers.get("server", ""))[:80] or None
    try:
        content = check(reply, secret)
    except StatusError as error:
        # Many servers leave such pages out; some fail at a list that they have no use for.
        if error.status in (404, 405, 501) or (error.status == 500 and path == "/models"):
            return None, software
        raise _not_ready(server, path, error) from error
    except HttpError as error:
        raise _not_ready(server, path, error) from error
    try:
        return parse(content) if content.strip() else None, software
    except HttpError:
        return None, software


def ask_for_model(
    client: Client | ClientProcesses,
    server: ServerAddress,
    secret: Secret,
    codec: Codec,
    model: ServedModel,
    proxy: Proxy | None,
) -> None:
    """Ask once for a model that the server does not list; PrerequisiteError if it has none such.

    Only status 404 says so. All else is left to the measurement: some servers load a model when it
    is first asked for, and some answer whatever name they are asked by.
    """
    replies = Replies()
    request = compose(server, secret, codec.encode(SMALL[server.protocol]), proxy=proxy)
    client.send(request, replies.take, deadline_s=server.timeout_s)
    reply = replies.wait(server, server.timeout_s)
    try:
        check(reply, secret)
    except StatusError as error:
        if error.status == 404:
            raise model.missing(error.message) from error
    except HttpError:
        return


def _not_ready(server: ServerAddress, path: str, error: HttpError) -> PrerequisiteError:
    remedies = [text for kind, text in REMEDIES if isinstance(error, kind)]
    hint = error.hint or (remedies[0] if remedies else "see the server's own log")
    return PrerequisiteError(f"{server.url}{path}: {error.message}", hint=hint)
