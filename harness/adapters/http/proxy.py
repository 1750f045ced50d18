"""The http proxy between the client and a server: where it is, and the tunnel through it.

An https server is reached through a tunnel (CONNECT, RFC 9110 section 9.3.6), an http server by
requests that carry the whole URL (RFC 9112 section 3.2.2). A proxy's password is a key: it comes
from the environment only, and is shown nowhere.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from harness.adapters.http.errors import ProxyError
from harness.errors import PrerequisiteError
from harness.schema.server import ENVIRONMENT, ProxyName, ServerAddress

__all__ = ["Proxy", "find_proxy", "open_tunnel"]

GRPC_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")

MAX_HEAD_BYTES = 64 << 10
EXAMPLE = "http://USER:PASSWORD@proxy.example.com:3128"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and who we are to it. `named_by` is the variable that its URL came from, if any."""

    host: str
    port: int
    named_by: str | None = None
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """The value of the header proxy-authorization (RFC 7617), if there is a user."""
        if not (self.user or self.password):
            return None
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    @property
    def hidden(self) -> tuple[str, ...]:
        """The texts that no message may hold."""
        whole = f"{self.user}:{self.password}"
        return (self.password, whole) if self.password else (self.user,)

    def describe(self) -> str:
        """Return what a record says of it: where it is, or the variable that says where."""
        return f"named by {self.named_by}" if self.named_by else str(self)


def find_proxy(server: ServerAddress, environ: Mapping[str, str] | None = None) -> Proxy | None:
    """Return the proxy on the way to `server`, None if there is none.

    PrerequisiteError if its variable is empty or holds no URL that can be used. `environ`: the
    variables to look in (None: this process's).
    """
    variables = os.environ if environ is None else environ
    found = _find(server, variables)
    if found is not None and server.protocol == "oip-grpc":
        _check_exceptions(server, variables)
    return found


def _check_exceptions(server: ServerAddress, variables: Mapping[str, str]) -> None:
    """Raise PrerequisiteError if gRPC's library would go past the proxy on its own.

    It obeys these variables whatever it is told (grpc/doc/environment_variables.md).
    """
    host = urlsplit(server.url).hostname or ""
    named = next((name for name in GRPC_EXCEPTIONS if variables.get(name)), None)
    if named is None:
        return
    for entry in variables[named].split(","):
        # A range of addresses may hold the host.
        if (text := entry.strip()) and (host.endswith(text) or "/" in text):
            raise PrerequisiteError(
                f"gRPC would not use the proxy: the environment variable {named} excepts {host}",
                hint="export no_grpc_proxy=none in the shell that runs the harness",
            )


def _find(server: ServerAddress, variables: Mapping[str, str]) -> Proxy | None:
    declared = server.proxy
    if declared is None:
        return None
    if isinstance(declared, ProxyName):
        return _proxy(variables.get(declared.env, ""), declared.env)
    if declared != ENVIRONMENT:
        return _proxy(declared, None)
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    known = {
        name.lower().removesuffix("_proxy"): value
        for name, value in sorted(variables.items())  # lower case comes last, and wins
        if name.lower().endswith("_proxy") and value
    }
    if urllib.request.proxy_bypass_environment(parts.hostname, known):  # type: ignore[attr-defined]
        return None
    for scheme in (parts.scheme, "all"):
        if scheme in known:
            return _proxy(known[scheme], f"{scheme.upper()}_PROXY")
    return None


def _proxy(text: str, variable: str | None) -> Proxy:
    """Return the proxy at the URL `text`, which is never shown."""
    where = f"the environment variable {variable}" if variable else "'server.proxy'"
    hint = f"export {variable}={EXAMPLE}" if variable else "write it as http://HOST:PORT"
    text = text.strip()
    if not text:
        raise PrerequisiteError(f"the proxy is missing: {where} is empty", hint=hint)
    parts = _split(text if "://" in text else f"http://{text}")
    if parts is None:
        raise PrerequisiteError(
            f"{where} holds no proxy's URL that can be used; special characters of a password must "
            "be percent-encoded",
            hint=hint,
        )
    if parts.scheme != "http":
        raise PrerequisiteError(
            f"{where} names a proxy that is not reached by http, which is not supported",
            hint=hint,
        )
    assert parts.hostname is not None
    return Proxy(
        host=parts.hostname,
        port=parts.port or 80,
        named_by=variable,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _split(text: str) -> SplitResult | None:
    """Return the parts of a proxy's URL; None if any part might really be of a password."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    plain = text.isascii() and text.isprintable() and " " not in text
    rest = parts.path not in ("", "/") or "?" in text or "#" in text
    if not plain or rest or not parts.hostname or text.count("@") > 1:
        return None
    return parts


async def open_tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Have `proxy`, to which `sock` is connected, pass bytes to `host` and back.

    Raises ProxyError if it will not, OSError if the connection breaks.
    """
    loop = asyncio.get_running_loop()
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {name} HTTP/1.1", f"host: {name}", "user-agent: accelerator-harness"]
    if proxy.authorization:
        lines.append(f"proxy-authorization: {proxy.authorization}")
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head:
        block = await loop.sock_recv(sock, 4096)
        if not block:
            raise ProxyError(f"the proxy {proxy} closed the connection instead of opening a tunnel")
        head += block
        if len(head) > MAX_HEAD_BYTES:
            break
    first = head.split(b"\r\n", 1)[0].split()
    status = first[1] if len(first) > 1 and first[0].startswith(b"HTTP/1.") else b""
    if not (status.isdigit() and len(status) == 3):
        raise ProxyError(f"what answers at {proxy} is no http proxy")
    if status[:1] != b"2":
        hint = None
        if status == b"407":
            hint = f"it wants a password: proxy: {{env: NAME}}, with NAME={EXAMPLE}"
        raise ProxyError(
            f"the proxy {proxy} opens no tunnel to {name}: status {status.decode()}", hint=hint
        )
    if head.split(b"\r\n\r\n", 1)[1]:
        raise ProxyError(f"the proxy {proxy} sent bytes before the server was asked anything")
