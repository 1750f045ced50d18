"""The reference server: speaks the protocols, keeps a schedule, logs the truth, fails on request.

    python -m tests.servers.reference [--loop uvloop] [--tls CERT KEY] ...

It prints one JSON line, {"port": ...}, and ends when its standard input does. Paths:

    POST /v1/chat/completions  /v1/completions  /v1/embeddings  /v1/audio/transcriptions
    GET  /v1/models
    GET  /v2/health/ready  /v2/health/live  /v2/models/NAME     POST /v2/models/NAME/infer
    GET  /truth            the log as JSON lines, which empties it
    GET  /stats            connections opened and open, requests, replies in flight at most, CPU

Options stand before the path or in a header: `tests.servers.script.Options`; faults:
`tests.servers.faults`. A row of the log holds the request's `x-request-id` (or its number), when it
was received, when each token was written and when the reply ended, by `time.perf_counter_ns`, which
all processes of a machine share; and how many of its own answers the messages held (-1: another's).
"""

import argparse
import asyncio
import gc
import json
import socket
import ssl
import struct
import sys
import threading
from time import perf_counter_ns, process_time
from urllib.parse import unquote

from tests.servers import oip, openai
from tests.servers.faults import spoiled
from tests.servers.script import Answer, Options, Request

QUESTIONS = ("/truth", "/stats")  # about the server: not counted themselves
EARLY_NS = 600_000  # event loops count in milliseconds
CACHED = 1_024


class Server:
    """What all connections share."""

    def __init__(self, truth=True):
        self.rows = [] if truth else None
        self.opened = self.open = self.requests = self.flying = self.most_flying = 0
        self.heads, self.scripts = {}, {}

    def head(self, raw):
        """Return (method, path, headers, options, body length) of a request's head."""
        if raw not in self.heads:
            if len(self.heads) >= CACHED:
                self.heads.clear()
            first, *lines = raw.decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ")
            pairs = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            options = Options()
            start, slash, rest = path[1:].partition("/")
            try:
                if "=" in start:
                    options, path = Options.of(unquote(start)), slash + rest
                options = Options.of(headers.get("x-reference", ""), options)
            except (AttributeError, ValueError) as error:
                path = f"/options: {error}"
            self.heads[raw] = method, path, headers, options, int(headers.get("content-length", 0))
        return self.heads[raw]

    def script(self, raw, body):
        """Return what to write for a request."""
        method, path, headers, options, _ = self.head(raw)
        if path in QUESTIONS:
            return spoiled(self.truth() if path == "/truth" else self.stats(), "")
        key = raw, body
        if key not in self.scripts:
            if len(self.scripts) >= CACHED:
                self.scripts.clear()
            request = Request(method, path.partition("?")[0], headers, body, options)
            try:
                self.scripts[key] = spoiled(answer(request), options.fault)
            except (KeyError, ValueError, TypeError) as error:
                told = openai.refusal(400, f"{type(error).__name__}: {error}")
                self.scripts[key] = spoiled(told, "")
        return self.scripts[key]

    def truth(self):
        rows, self.rows = self.rows or [], []
        names = ("id", "path", "fault", "received_ns", "writes_ns", "ended_ns", "heard")
        lines = [json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows]
        return Answer(content_type="application/x-ndjson", body="".join(lines).encode())

    def stats(self):
        names = ("opened", "open", "requests", "most_flying")
        told = {name: getattr(self, name) for name in names} | {"cpu_s": process_time()}
        return Answer(body=json.dumps(told).encode())


def answer(request):
    """Return the good answer to `request`."""
    path = request.path
    if path in POSTS and request.method == "POST":
        return POSTS[path](request)
    if path == "/v1/models":
        return openai.models(request)
    if path in ("/v2/health/ready", "/v2/health/live"):
        return oip.ready()
    if path.startswith("/v2/models/"):
        name, _, verb = path.removeprefix("/v2/models/").partition("/")
        if request.method == "POST" and verb == "infer":
            return oip.infer(request, name)
        return oip.ready() if verb == "ready" else oip.metadata(name)
    return openai.refusal(404, f"no {path}")


POSTS = {
    "/v1/chat/completions": lambda request: openai.generate(request, chat=True),
    "/v1/completions": lambda request: openai.generate(request, chat=False),
    "/v1/embeddings": openai.embeddings,
    "/v1/audio/transcriptions": openai.transcriptions,
}


class Connection(asyncio.Protocol):
    def __init__(self, server):
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.transport = self.script = self.handle = None
        self.paused = False

    def connection_made(self, transport):
        self.transport = transport
        self.server.opened += 1
        self.server.open += 1

    def connection_lost(self, exc):
        self.server.open -= 1
        if self.script is not None:
            self.server.flying -= self.asked
        self.script = None
        if self.handle is not None:
            self.handle.cancel()

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        if self.script is not None:
            self.run()

    def data_received(self, data):
        self.now_ns = perf_counter_ns()
        self.buffer = self.buffer + data if self.buffer else data
        if self.script is None:
            self.next()

    def next(self):
        """Begin the reply to the next whole request, if there is one."""
        raw, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = self.server.head(raw)[4]
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        server = self.server
        self.script, self.step = server.script(raw, rest[:length]), 0
        self.body = rest[:length]
        self.raw, self.received_ns, self.writes_ns = raw, self.now_ns, []
        self.asked = server.head(raw)[1] not in QUESTIONS
        server.requests += self.asked
        server.flying += self.asked
        server.most_flying = max(server.most_flying, server.flying)
        self.run()

    def run(self):
        """Write what is due, and come again for the rest."""
        steps, transport = self.script.steps, self.transport
        while self.step < len(steps):
            if self.paused or transport.is_closing():
                return
            step = steps[self.step]
            if step.at_s:
                early_ns = self.received_ns + round(step.at_s * 1e9) - perf_counter_ns()
                if early_ns > EARLY_NS:
                    self.handle = self.loop.call_later(early_ns / 1e9, self.run)
                    return
            self.step += 1
            if step.token:
                self.writes_ns.append(perf_counter_ns())
            transport.write(step.data)
        self.end()

    def end(self):
        ending, server = self.script.ending, self.server
        if ending == "hang":
            return
        self.script = None
        server.flying -= self.asked
        if self.asked and server.rows is not None:
            _, path, headers, options, _ = server.head(self.raw)
            name = headers.get("x-request-id", server.requests)
            times = (self.received_ns, self.writes_ns, perf_counter_ns())
            row = (name, path, options.fault, *times, openai.heard(self.body))
            server.rows.append(row)
        if ending == "keep":
            if self.buffer:
                self.next()
        elif ending == "close":
            self.transport.close()
        else:
            # A full buffer is written later: a reset must come after what was said.
            self.loop.call_later(0.01, self.reset)

    def reset(self):
        """Close with RST, not FIN: lingering for no time drops the connection."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def serve(arguments):
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    state = Server(truth=not arguments.no_truth)
    context = None
    if arguments.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*arguments.tls)
    server = await loop.create_server(
        lambda: Connection(state), arguments.host, arguments.port, ssl=context, backlog=1_024
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)

    def wait():
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait, daemon=True).start()
    await over.wait()
    server.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--no-truth", action="store_true")
    arguments = parser.parse_args()
    factory = None
    if arguments.loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    gc.disable()  # its pauses would be the schedule's; a test's server does not live long
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(arguments))


if __name__ == "__main__":
    main()
