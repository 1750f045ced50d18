"""The HTTP/1.1 request that goes out, and the checks that every reply passes before it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from harness.adapters.http.errors import (
    BusyError,
    ContentTypeError,
    EncodingError,
    HttpError,
    JsonError,
    RateLimitError,
    RedirectError,
    ServerError,
    StatusError,
)
from harness.adapters.http.proxy import Proxy
from harness.adapters.http.secrets import Secret
from harness.schema.server import ServerAddress

SHOWN = 200
"""Characters of a server's own words that a message shows."""


class Received(Protocol):
    """A reply as the client hands it over: see `harness.adapters.http.client.Reply`."""

    status: int
    headers: dict[str, str]
    chunks: list[tuple[int, bytes]]
    ended_ns: int
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: its path below the base URL, its type, its bytes."""

    path: str
    content_type: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    accept: str = "application/json"


def compose(
    server: ServerAddress,
    secret: Secret,
    body: Body | None,
    *,
    path: str = "",
    proxy: Proxy | None = None,
) -> bytes:
    """Return the whole request: a POST of `body`, or without one a GET of `path`.

    Through a `proxy` to an http server it carries the whole URL, and the proxy's password.
    """
    parts = urlsplit(server.url)
    where = f"{parts.path.rstrip('/')}{body.path if body else path}" or "/"
    headers = {
        "host": parts.netloc,
        "accept": body.accept if body else "application/json",
        # Compressed answers would be unpacked after they are stamped, and take the server's time.
        "accept-encoding": "identity",
        "user-agent": "accelerator-harness",
        **secret.headers(),
    }
    if proxy is not None and parts.scheme == "http":
        where = f"http://{parts.netloc}{where}"
        if proxy.authorization:
            headers["proxy-authorization"] = proxy.authorization
    if body is not None:
        headers |= {"content-type": body.content_type, "content-length": str(len(body.content))}
        headers |= body.headers
    lines = [f"{'POST' if body else 'GET'} {where} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    return head + body.content if body else head


def check(reply: Received, secret: Secret, *types: str) -> bytes:
    """Return the reply's body; raise the HttpError that says why it is no answer.

    `types`: the content types that may come; none given, any may.
    """
    if reply.error is not None:
        raise reply.error
    body = b"".join([block for _, block in reply.chunks])
    status = reply.status
    if 300 <= status < 400:
        raise RedirectError(
            f"the server redirects (status {status}); redirects are not followed",
            hint="put the final address into the target's 'server.url'",
        )
    if not 200 <= status < 300:
        raise _refusal(reply, body, secret)
    coding = reply.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise EncodingError("the reply is compressed, which was not asked for")
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if types and kind not in types:
        got = secret.clean(kind[:60]) or "no content type"
        raise ContentTypeError(f"the reply is {got!r}, not {' or '.join(types)}")
    return body


def parse(content: bytes) -> object:
    """Return `content` as JSON; raise EncodingError or JsonError."""
    try:
        return json.loads(content)
    except UnicodeDecodeError:
        raise EncodingError("the reply is not UTF-8") from None
    except (ValueError, RecursionError):
        # The text is not shown: it may be anything.
        raise JsonError(f"the reply is not JSON ({len(content)} bytes)") from None


def words_of(document: object, secret: Secret) -> str:
    """Return what the server says of its error, short and without the key; "" if nothing."""
    said: object = document
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and name in said:
            said = said[name]
    if not isinstance(said, str):
        return ""
    text = " ".join(said.split())
    text = "".join(character for character in text if character.isprintable())
    return secret.clean(text)[:SHOWN]


def _refusal(reply: Received, body: bytes, secret: Secret) -> HttpError:
    status = reply.status
    try:
        said = words_of(parse(body), secret)
    except HttpError:
        said = ""
    text = f"the server answered with status {status}" + (f": {said}" if said else "")
    if status == 429:
        return RateLimitError(text, retry_after_s=_retry_after(reply), hint="lower the load")
    if status == 503:
        return BusyError(text, retry_after_s=_retry_after(reply))
    if status >= 500:
        return ServerError(text, status=status)
    hint = "check the target's 'server.api_key'" if status in (401, 403) else None
    if status == 407:
        hint = "the proxy wants a password: name it in the target's 'server.proxy: {env: NAME}'"
    return StatusError(text, status=status, hint=hint)


def _retry_after(reply: Received) -> float | None:
    """Return the seconds that the server asks to wait; None if it names none, or a date."""
    text = reply.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
