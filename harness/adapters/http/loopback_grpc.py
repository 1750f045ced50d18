"""As `loopback.py`, over gRPC: any method is answered with when it was asked and answered.

The request's bytes begin with `/FIRST_US/GAP_US/TOKENS` and a zero byte; only FIRST_US matters, as
a reply comes whole. What gRPC's own Python server takes is not in what it says, and so counts as
the client's error: that is an upper bound. Imports nothing of the harness.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from time import perf_counter_ns

import grpc

PAD = b" " * 160
EARLY_NS = 50_000


async def answer(request: bytes, context: object) -> bytes:
    """Return the truth, at the time that the request asks for."""
    received_ns = perf_counter_ns()
    due_ns = received_ns + int(request.partition(b"\0")[0].split(b"/")[1]) * 1_000
    early_ns = due_ns - perf_counter_ns()
    if early_ns > EARLY_NS:
        await asyncio.sleep(early_ns / 1e9)
    return b"data: %d %d%s" % (received_ns, perf_counter_ns(), PAD)


class AnyMethod(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Answers every method."""

    def service(self, handler_call_details: object) -> object:
        """Return the one handler."""
        return grpc.unary_unary_rpc_method_handler(answer)


async def serve() -> None:
    """Serve until the input ends."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    server = grpc.aio.server(handlers=[AnyMethod()])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()

    def wait() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait, daemon=True).start()
    await over.wait()
    await server.stop(None)


if __name__ == "__main__":
    gc.disable()  # no pauses for garbage: it does not live long
    asyncio.run(serve())
