"""A server that is slow by itself: one worker for all requests, or a limit of requests a second.

`python -m tests.servers.queueing --service-s 0.05 [--limit-per-s 20]`: each request is served for
`service-s`, one after the other in the order of coming; above the limit it is refused with 429.
Replies are streams of one token, as of `chat/completions`. Starts and ends as the reference server.
"""

import argparse
import asyncio
import json
import sys
import threading
from time import perf_counter

from tests.servers.script import Answer, head, script

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'
STREAM = b"".join(
    step.data
    for step in script(
        Answer(
            content_type="text/event-stream",
            events=((0.0, EVENT, True), (0.0, b"data: [DONE]\n\n", False)),
        )
    ).steps
)
REFUSED = head(429, {"content-type": "application/json", "content-length": 2}) + b"{}"


class Worker:
    """Whose turn it is, and how many were let in during the current second."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.free_s = self.second_s = perf_counter()
        self.let_in = 0

    def wait_s(self):
        """Return how long the request that came now waits for its reply; None if refused."""
        now_s, limit = perf_counter(), self.arguments.limit_per_s
        if now_s - self.second_s >= 1:
            self.second_s, self.let_in = now_s, 0
        if limit is not None and self.let_in >= limit:
            return None
        self.let_in += 1
        self.free_s = max(self.free_s, now_s) + self.arguments.service_s
        return self.free_s - now_s


async def answer(worker, reader, writer):
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            pairs = (line.partition(b":") for line in lines)
            length = [int(value) for name, _, value in pairs if name == b"content-length"]
            await reader.readexactly(sum(length))
            wait_s = worker.wait_s()
            if wait_s is not None:
                await asyncio.sleep(wait_s)
            writer.write(REFUSED if wait_s is None else STREAM)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(arguments):
    worker, loop, over = Worker(arguments), asyncio.get_running_loop(), asyncio.Event()
    server = await asyncio.start_server(lambda r, w: answer(worker, r, w), "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)

    def wait():
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait, daemon=True).start()
    await over.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--service-s", type=float, default=0.0)
    parser.add_argument("--limit-per-s", type=int)
    asyncio.run(serve(parser.parse_args()))
