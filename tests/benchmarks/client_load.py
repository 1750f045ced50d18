"""A closed loop on the reference server: by our client, by aiohttp, or by another tool."""

import asyncio
import json
import shlex
import subprocess
import threading
import time
from dataclasses import dataclass
from statistics import median

from harness.adapters.http.client import Client, Endpoint
from harness.adapters.http.processes import ClientProcesses
from harness.adapters.http.sse import read_events
from tests.servers.process import prefix

WARM_UP_S = 0.5
PATIENCE_S = 30.0
PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Row:
    """One request: when it was handed to the client, and the times (ns) and bytes of its arrivals.

    Not when the client says that it was written: what a client does before that is its own error.
    """

    name: str
    sent_ns: int
    chunks: list
    ended_ns: int


@dataclass(frozen=True)
class Load:
    """What a client did in the window: rate in requests/s, CPU seconds of its process for each.

    `rows`: the first `keep` requests sent and ended inside the window.
    """

    rate: float
    cpu_s: float
    rows: list


def body(tokens):
    document = {"model": "reference", "messages": [{"role": "user", "content": "two words"}]}
    return json.dumps({**document, "max_tokens": tokens, "stream": True}).encode()


class Window:
    """Counts what ends between `begin` and `end`; names requests if their rows will be kept."""

    def __init__(self, keep):
        self.keep, self.rows, self.count, self.names = keep, [], 0, 0
        self.open = self.over = False

    def begin(self):
        self.began_ns, self.cpu_began_s = time.perf_counter_ns(), time.process_time()
        self.open = True

    def end(self):
        self.open, self.over = False, True
        took_s = (time.perf_counter_ns() - self.began_ns) / 1e9
        cpu_s = time.process_time() - self.cpu_began_s
        return Load(self.count / took_s, cpu_s / max(self.count, 1), self.rows)

    def name(self):
        self.names += 1
        return str(self.names)

    def add(self, name, sent_ns, chunks, ended_ns):
        if self.open:
            self.count += 1
            if len(self.rows) < self.keep and sent_ns >= self.began_ns:
                self.rows.append(Row(name, sent_ns, chunks, ended_ns))


def ours(
    port,
    *,
    streams,
    tokens,
    window_s,
    options="",
    keep=0,
    named=False,
    decode=False,
    processes=1,
):
    """Return the load of our client; with `decode` each reply is decoded as it ends.

    Of several `processes` the CPU time is that of this one, which hands the requests over.
    """
    said = body(tokens)
    start = (
        f"POST {prefix(options)}{PATH} HTTP/1.1\r\nhost: reference\r\ncontent-length: {len(said)}"
    )
    fixed = f"{start}\r\n\r\n".encode() + said
    window, left, over, faults = Window(keep), streams, threading.Event(), []
    endpoint = Endpoint("127.0.0.1", port, False)
    if processes == 1:
        client = Client(endpoint, connections=streams)
    else:
        client = ClientProcesses(endpoint, connections=streams, count=processes)

    def send():
        sent_ns = time.perf_counter_ns()
        if not named:
            client.send(fixed, lambda reply: end("", sent_ns, reply))
            return
        name = window.name()
        request = f"{start}\r\nx-request-id: {name}\r\n\r\n".encode() + said
        client.send(request, lambda reply: end(name, sent_ns, reply))

    def end(name, sent_ns, reply):
        nonlocal left
        if reply.error is not None or reply.status != 200:
            faults.append(reply)
        if decode:
            decoded(reply.chunks)
        window.add(name, sent_ns, reply.chunks, reply.ended_ns)
        if not window.over:
            send()
            return
        left -= 1
        if not left:
            over.set()

    try:
        for _ in range(streams):
            send()
        time.sleep(WARM_UP_S)
        window.begin()
        time.sleep(window_s)
        load = window.end()
        assert over.wait(PATIENCE_S), "requests are left"
    finally:
        client.close()
    assert not faults, faults[0]
    return load


def decoded(chunks):
    """Return the events of a reply as (time, document); the end mark is checked."""
    stream = read_events(chunks)
    assert stream.done == 1
    return [(event.at_ns, json.loads(event.data)) for event in stream.events]


def by_aiohttp(port, *, streams, tokens, window_s, options="", keep=0, named=False):
    """Return the load of an aiohttp client on uvloop, which reads bodies and decodes nothing."""
    import aiohttp
    import uvloop

    said, window = body(tokens), Window(keep)
    url = f"http://127.0.0.1:{port}{prefix(options)}{PATH}"

    async def stream(session):
        while not window.over:
            name = window.name() if named else ""
            headers = {"x-request-id": name} if named else None
            sent_ns, chunks = time.perf_counter_ns(), []
            async with session.post(url, data=said, headers=headers) as reply:
                assert reply.status == 200
                async for block in reply.content.iter_any():
                    chunks.append((time.perf_counter_ns(), block))
            window.add(name, sent_ns, chunks, time.perf_counter_ns())

    async def run():
        connector = aiohttp.TCPConnector(limit=streams)
        async with aiohttp.ClientSession(connector=connector) as session:
            tasks = [asyncio.create_task(stream(session)) for _ in range(streams)]
            await asyncio.sleep(WARM_UP_S)
            window.begin()
            await asyncio.sleep(window_s)
            load = window.end()
            await asyncio.gather(*tasks)
            return load

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def by_command(server, command, options=""):
    """Return the rate that the server saw of another tool: median over half seconds with requests.

    `{url}` in `command` becomes the base URL. RuntimeError with its last words if it fails.
    """
    arguments = [part.replace("{url}", server.url(options, "")) for part in shlex.split(command)]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    words = []
    reader = threading.Thread(target=lambda: words.extend(child.stdout))
    reader.start()
    rates, last, last_ns = [], server.stats()["requests"], time.perf_counter_ns()
    while child.poll() is None:
        time.sleep(0.5)
        now, now_ns = server.stats()["requests"], time.perf_counter_ns()
        if now > last:
            rates.append((now - last) / ((now_ns - last_ns) / 1e9))
        last, last_ns = now, now_ns
    reader.join()
    child.stdout.close()
    if child.returncode:
        raise RuntimeError(f"{arguments[0]} ended with {child.returncode}: {words[-3:]}")
    return median(rates) if rates else None


def peers(arguments):
    """Return {tool: command} from `--aiperf COMMAND --guidellm COMMAND`; None where not given."""
    names = ("aiperf", "guidellm")
    return {
        name: arguments[arguments.index(f"--{name}") + 1] if f"--{name}" in arguments else None
        for name in names
    }


WHY_NO_PEER = "not given: install it in an environment of its own and pass its command, with {url}"
