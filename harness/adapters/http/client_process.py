"""One of several client processes: `python -m harness.adapters.http.client_process DESCRIPTOR`.

It sends what its parent tells it over the socket of that number, through one client with one event
loop, which reads that socket too. Where it connects comes over the socket, never by argument: a
proxy's password is in it. It ends when the socket does, however its parent ended.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import signal
import socket
import sys
import threading
from time import perf_counter_ns
from typing import cast

from harness.adapters.http.channel import LENGTH, Ask, Frames, FromParent, Told, packed
from harness.adapters.http.client import Client
from harness.adapters.http.reply import Reply

__all__ = ["Channel", "main"]

LEAST_S = 1e-6


class Channel(asyncio.Protocol):
    """The end of the parent's socket, on the client's own event loop."""

    def __init__(self, client: Client, over: threading.Event) -> None:
        self._client = client
        self._over = over
        self._frames = Frames()
        self._transport: asyncio.WriteTransport | None = None
        self._ended: list[Told] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say that requests may come."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(packed(("ready", None)))

    def data_received(self, data: bytes) -> None:
        """Send the requests that came."""
        for message in self._frames.take(data):
            told = cast(FromParent, message)
            if told[0] == "send":
                for ask in told[1]:
                    self._send(ask)
            else:
                self._write(("work", (self._client.lag(told[1]), self._client.waited_s())))

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the parent has closed, or is gone."""
        self._transport = None
        self._over.set()

    def _send(self, ask: Ask) -> None:
        number, request, deadline_ns = ask
        left_s = max(LEAST_S, (deadline_ns - perf_counter_ns()) / 1e9) if deadline_ns else None
        self._client.send(request, lambda reply: self._end(number, reply), deadline_s=left_s)

    def _end(self, number: int, reply: Reply) -> None:
        if not self._ended:  # one message for all that ends in this turn of the loop
            asyncio.get_running_loop().call_soon(self._flush)
        self._ended.append(
            (
                number,
                reply.status,
                reply.headers,
                reply.chunks,
                reply.ended_ns,
                reply.error,
                reply.reused,
                reply.sent_ns,
                reply.taken_ns,
            )
        )

    def _flush(self) -> None:
        ended, self._ended = self._ended, []
        self._write(("ended", ended))

    def _write(self, message: object) -> None:
        if self._transport is not None:
            self._transport.write(packed(message))


def received(sock: socket.socket, size: int) -> bytes:
    """Return `size` bytes; EOFError if the parent is gone."""
    content = bytearray()
    while len(content) < size:
        part = sock.recv(size - len(content))
        if not part:
            raise EOFError
        content += part
    return bytes(content)


def main(descriptor: int) -> int:
    """Run until the parent closes the socket `descriptor`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    sock = socket.socket(fileno=descriptor)
    try:
        (size,) = LENGTH.unpack(received(sock, LENGTH.size))
        endpoint, connections = pickle.loads(received(sock, size))
    except EOFError:
        return 0
    try:
        client = Client(endpoint, connections=connections)
    except Exception as error:  # a missing package, a certificate that cannot be read
        sock.sendall(packed(("ready", error)))
        return 1
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    over = threading.Event()
    client.attach(sock, lambda: Channel(client, over))
    over.wait()
    client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
