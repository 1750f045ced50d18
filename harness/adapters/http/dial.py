"""Opens connections: name, TCP and TLS, each with an error class of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TypeVar

from harness.adapters.http.errors import ConnectError, ProxyError, TlsError
from harness.adapters.http.proxy import open_tunnel
from harness.adapters.http.reply import Endpoint

__all__ = ["Dialler"]

P = TypeVar("P", bound=asyncio.BaseProtocol)
Address = tuple[socket.AddressFamily, tuple[object, ...]]


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return the context that trusts what `endpoint` says; TlsError if its CA file is no use."""
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise TlsError(
            f"the CA file {endpoint.ca_file} cannot be used: {error}",
            hint="give a readable file of PEM certificates",
        ) from error
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialler:
    """Connects to one endpoint. The name is looked up once and its addresses are kept."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._next_hop = endpoint.proxy or endpoint
        self._timeout_s = timeout_s
        self._context = tls_context(endpoint) if endpoint.tls else None
        self._lookup: asyncio.Future[list[Address] | OSError] | None = None

    async def connect(self, factory: Callable[[], P]) -> P:
        """Return a connected protocol; raises ConnectError or TlsError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                sock = await self._connected()
                await self._pass_through(sock)
        except TimeoutError as error:
            raise ConnectError(
                f"no connection to {self._next_hop} within {self._timeout_s:g} s",
                hint="is the host right, and does a firewall let you through?",
            ) from error
        try:
            return await self._taken_over(factory, sock)
        except BaseException:  # cancelled too: the socket must not stay
            sock.close()
            raise

    async def _pass_through(self, sock: socket.socket) -> None:
        """Have the proxy, if there is one, open a tunnel where TLS is to run through it."""
        proxy = self._endpoint.proxy
        if proxy is None or not self._endpoint.tls:
            return
        try:
            await open_tunnel(sock, proxy, self._endpoint.host, self._endpoint.port)
        except BaseException as error:  # cancelled too: the socket must not stay
            sock.close()
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise ProxyError(f"the proxy {proxy} broke the connection off") from error
            raise

    async def _taken_over(self, factory: Callable[[], P], sock: socket.socket) -> P:
        """Return a protocol on `sock`, after the TLS handshake if there is one."""
        loop = asyncio.get_running_loop()
        if self._context is None:
            _, protocol = await loop.create_connection(factory, sock=sock)
            return protocol
        try:
            async with asyncio.timeout(self._timeout_s):
                _, protocol = await loop.create_connection(
                    factory,
                    sock=sock,
                    ssl=self._context,
                    server_hostname=self._endpoint.server_name or self._endpoint.host,
                )
        except ssl.SSLCertVerificationError as error:
            raise TlsError(
                f"the certificate of {self._endpoint} is not trusted: {error.verify_message}",
                hint="name the authority that signed it, or the name that it carries",
            ) from error
        except OSError as error:  # ssl.SSLError and TimeoutError are OSErrors
            why = getattr(error, "reason", None) or type(error).__name__
            raise TlsError(f"no TLS with {self._endpoint}: {why}") from error
        return protocol

    async def _connected(self) -> socket.socket:
        """Return a socket connected to the first address that answers."""
        last: OSError | None = None
        for family, address in await self._addresses():
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await asyncio.get_running_loop().sock_connect(sock, address)
            except OSError as error:
                sock.close()
                last = error
            except BaseException:  # cancelled: the socket must not stay
                sock.close()
                raise
            else:
                return sock
        assert last is not None
        if isinstance(last, ConnectionRefusedError):
            raise ConnectError(
                f"{self._next_hop} refuses connections", hint="is the server running there?"
            ) from last
        raise ConnectError(f"no connection to {self._next_hop}: {last.strerror}") from last

    async def _addresses(self) -> list[Address]:
        host, port = self._next_hop.host, self._next_hop.port
        with contextlib.suppress(ValueError):
            version = ipaddress.ip_address(host).version
            return [(socket.AF_INET6 if version == 6 else socket.AF_INET, (host, port))]
        if self._lookup is None:
            self._lookup = self._look_up(host, port)
        found = await asyncio.shield(self._lookup)
        if isinstance(found, OSError):
            self._lookup = None
            raise ConnectError(
                f"the name {host} is not found: {found.strerror}",
                hint="is the host right, and is there a network?",
            ) from found
        return found

    def _look_up(self, host: str, port: int) -> asyncio.Future[list[Address] | OSError]:
        """Look `host` up in a daemon thread: it cannot be stopped, and must hold nobody up."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Address] | OSError] = loop.create_future()

        def settle(found: list[Address] | OSError) -> None:
            if not future.done():
                future.set_result(found)

        def run() -> None:
            found: list[Address] | OSError
            try:
                rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found = [(row[0], row[4]) for row in rows]
            except OSError as error:
                found = error
            except UnicodeError:
                found = socket.gaierror(socket.EAI_NONAME, "not a host name")
            with contextlib.suppress(RuntimeError):  # the client has been closed
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=run, name="http-name", daemon=True).start()
        return future
