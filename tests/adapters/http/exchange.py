"""Sends requests with the client and waits for their replies; counts threads and sockets."""

import json
import threading
import time
from contextlib import contextmanager

import psutil

from harness.adapters.http.client import Client, Endpoint
from tests.servers.process import prefix

PATIENCE_S = 20.0


def message(options="", path="/v1/chat/completions", *, tokens=4, stream=True, name=None):
    """Return a whole request that asks the reference server for `tokens`."""
    document = {"model": "reference", "messages": [{"role": "user", "content": "two words"}]}
    body = json.dumps({**document, "max_tokens": tokens, "stream": stream}).encode()
    lines = [f"POST {prefix(options)}{path} HTTP/1.1", "host: reference"]
    lines += [f"content-length: {len(body)}"] + ([f"x-request-id: {name}"] if name else [])
    return "\r\n".join([*lines, "", ""]).encode() + body


class Exchange:
    """One request: its reply, and the calls that it made."""

    def __init__(self, client, request, **options):
        self.calls, self.first, self.seen, self.ended = [], [], [], threading.Event()
        self.begun_ns = time.perf_counter_ns()
        client.send(
            request,
            self.end,
            on_first=self.first.append,
            on_chunk=lambda now_ns, data: self.seen.append((now_ns, data)),
            **options,
        )

    def end(self, reply):
        self.calls.append(reply)
        self.ended.set()

    def reply(self):
        assert self.ended.wait(PATIENCE_S), "on_end was not called"
        return self.calls[0]


def ask(client, request, **options):
    """Return the reply to `request`."""
    return Exchange(client, request, **options).reply()


@contextmanager
def open_client(port, *, connections=4, tls=False, host="127.0.0.1", **options):
    told = {
        name: options.pop(name) for name in ("verify", "ca_file", "server_name") if name in options
    }
    client = Client(Endpoint(host, port, tls, **told), connections=connections, **options)
    try:
        yield client
    finally:
        client.close()


def sockets(port):
    """Return how many sockets of this process are connected to `port`."""
    found = psutil.Process().net_connections(kind="tcp")
    return sum(1 for each in found if each.raddr and each.raddr.port == port)


def settled(count, wanted):
    """Wait a second for `count()` to be `wanted`; return what it is."""
    until = time.monotonic() + 1.0
    while count() != wanted and time.monotonic() < until:
        time.sleep(0.01)
    return count()
