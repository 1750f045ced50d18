"""The adapter `http`: opens a session on a server, or says what keeps it from being measured."""

from __future__ import annotations

import threading
from typing import ClassVar
from urllib.parse import urlsplit

from harness.adapters.base import API_VERSION, Model, Session, Target
from harness.adapters.http.client import Client, Endpoint, Reply
from harness.adapters.http.codec import Codec
from harness.adapters.http.errors import (
    BusyError,
    ConnectError,
    HttpError,
    StatusError,
    TimeoutError_,
    TlsError,
)
from harness.adapters.http.message import check, compose, parse
from harness.adapters.http.oip import TensorCodec
from harness.adapters.http.openai import TextCodec
from harness.adapters.http.secrets import Secret, find_key
from harness.adapters.http.session import HttpSession
from harness.adapters.http.transcription import TranscriptionCodec
from harness.errors import AdapterError, PrerequisiteError, UnsupportedError
from harness.schema.base import Task
from harness.schema.server import Protocol, ServerAddress

PROBE_S = 10.0
TASKS: dict[Protocol, tuple[Task, ...]] = {
    "openai-chat": ("text_generation",),
    "openai-completions": ("text_generation",),
    "openai-transcriptions": ("speech_to_text",),
    "oip-http": ("tabular_classification", "speech_to_text"),
}
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

    def open(self, target: Target, model: Model) -> Session:
        """Connect and ask the server whether it is ready and has the model.

        Raises PrerequisiteError if not, or if the key is missing.
        """
        server = target.server
        if server is None:
            raise AdapterError("the adapter 'http' needs a target with a 'server'")
        if model.task not in TASKS[server.protocol]:
            raise UnsupportedError(f"{server.protocol} does not serve {model.task}")
        secret = find_key(server.api_key)
        codec = make_codec(server, secret)
        client = Client(endpoint_of(server), connections=server.concurrency or server.connections)
        try:
            facts: dict[str, object] = {
                "runtime": "http",
                "device": "remote",
                "precision": f"{target.runtime.precision} (declared)",
            }
            for path in codec.probes():
                document, software = probe(client, server, secret, path)
                codec.learn(path, document)
                facts["server"] = software or facts.get("server")
            return HttpSession(server, secret, codec, client, facts)
        except BaseException:
            client.close()
            raise


def make_codec(server: ServerAddress, secret: Secret) -> Codec:
    """Return the codec of the server's protocol."""
    if server.protocol == "oip-http":
        return TensorCodec(server, secret)
    if server.protocol == "openai-transcriptions":
        return TranscriptionCodec(server, secret)
    return TextCodec(server, secret)


def endpoint_of(server: ServerAddress) -> Endpoint:
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
    )


def probe(
    client: Client, server: ServerAddress, secret: Secret, path: str
) -> tuple[object, str | None]:
    """Return what the server answers to a GET of `path`, and the software that it names.

    The answer is None if it has no such page, or one that is not JSON. PrerequisiteError if the
    server cannot be reached, is not ready, or does not let us in.
    """
    replies: list[Reply] = []
    ended = threading.Event()

    def end(reply: Reply) -> None:
        replies.append(reply)
        ended.set()

    client.send(compose(server, secret, None, path=path), end, deadline_s=PROBE_S)
    if not ended.wait(PROBE_S + 5.0):
        raise PrerequisiteError(f"{server.url} does not answer")
    software = secret.clean(replies[0].headers.get("server", ""))[:80] or None
    try:
        content = check(replies[0], secret)
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


def _not_ready(server: ServerAddress, path: str, error: HttpError) -> PrerequisiteError:
    remedies = [text for kind, text in REMEDIES if isinstance(error, kind)]
    hint = error.hint or (remedies[0] if remedies else "see the server's own log")
    return PrerequisiteError(f"{server.url}{path}: {error.message}", hint=hint)
