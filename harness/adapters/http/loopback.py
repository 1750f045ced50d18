"""A server whose truth is known, to calibrate the client on: `python loopback.py`.

It runs in a process of its own on 127.0.0.1, and is no target. The path says how to answer:
`/FIRST_US/GAP_US/TOKENS`, or with 0 tokens a reply that comes whole. Every reply carries the truth:
when the request was there, and in each event when it was written (`time.perf_counter_ns`, which on
Linux is CLOCK_MONOTONIC, one clock for all processes of a machine). The schedule is absolute. Its
port is the first line of its output; it ends when its input does. Imports nothing of the harness.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading
from time import perf_counter_ns
from typing import cast

EARLY_NS = 50_000
PAD = b" " * 160
"""An event is about as long as one of a chat completion."""
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
END = b"data: [DONE]\n\n"
LAST = b"%x\r\n%s\r\n0\r\n\r\n" % (len(END), END)


class Loopback(asyncio.Protocol):
    """One connection: requests one after the other, each answered on its own schedule."""

    heads: dict[bytes, tuple[int, int, int, int]] = {}  # noqa: RUF012  one for all connections

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        """Write no more."""
        self._transport = None
        if self._handle is not None:
            self._handle.cancel()

    def data_received(self, data: bytes) -> None:
        """Stamp the request when it is whole, and begin the reply."""
        now_ns = perf_counter_ns()
        self._buffer += data
        if self._busy:
            return
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        if head not in self.heads:
            self.heads[head] = read_head(head)
        self._first_ns, self._gap_ns, self._tokens, length = self.heads[head]
        if len(body) < length:
            return
        self._buffer = body[length:]
        self._busy, self._received_ns, self._written = True, now_ns, 0
        self._go_on()

    def _go_on(self) -> None:
        """Write all that is due, and come again for the rest."""
        while self._transport is not None:
            due_ns = self._received_ns + self._first_ns + self._written * self._gap_ns
            early_ns = due_ns - perf_counter_ns()
            if early_ns > EARLY_NS:
                self._handle = self._loop.call_later(early_ns / 1e9, self._go_on)
                return
            if self._tokens == 0:
                text = b"data: %d %d%s" % (self._received_ns, perf_counter_ns(), PAD)
                self._transport.write(WHOLE % len(text) + text)
                break
            self._written += 1
            text = b"data: %d %d%s\n\n" % (self._received_ns, perf_counter_ns(), PAD)
            block = b"%x\r\n%s\r\n" % (len(text), text)
            if self._written == 1:
                block = STREAM + block
            if self._written == self._tokens:
                self._transport.write(block + LAST)
                break
            self._transport.write(block)
        self._busy = False
        if self._buffer:
            self.data_received(b"")


def read_head(head: bytes) -> tuple[int, int, int, int]:
    """Return (first ns, gap ns, tokens, length of the body) that a request's head asks for."""
    start, *lines = head.split(b"\r\n")
    first_us, gap_us, tokens = start.split(b" ")[1].rsplit(b"/", 3)[1:]
    length = 0
    for line in lines:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    return int(first_us) * 1_000, int(gap_us) * 1_000, int(tokens), length


async def serve() -> None:
    """Serve until the input ends."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(lambda: Loopback(loop), "127.0.0.1", 0, backlog=4_096)
    listening: socket.socket = server.sockets[0]
    print(listening.getsockname()[1], flush=True)

    def wait() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait, daemon=True).start()
    await over.wait()
    server.close()


def main() -> None:
    """Run on uvloop if it is there, without pauses for garbage: it does not live long."""
    try:
        import uvloop
    except ImportError:
        factory = asyncio.new_event_loop
    else:
        factory = uvloop.new_event_loop
    gc.disable()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
