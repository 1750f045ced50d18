"""A small http proxy: tunnels (CONNECT) and whole URLs; keeps what was asked of it."""

import socket
import threading
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit


class Proxy(ThreadingTCPServer):
    """Asks for `password` (the whole header's value) if there is one.

    `fault`: answer a status instead, "close" at once, or send "garbage".
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, password=None, fault=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.password, self.fault, self.asked, self.heads = password, fault, [], []

    @property
    def port(self):
        return self.server_address[1]

    def handle_error(self, request, client_address):
        pass


class Handler(BaseRequestHandler):
    def handle(self):
        server, client = self.server, self.request
        (head, rest), far = read_head(client), None
        while head:
            method, target, _ = head[0].split(" ")
            server.asked.append(f"{method} {target}")
            server.heads.append(head)
            headers = dict(line.lower().split(": ", 1) for line in head[1:])
            pairs = (line.split(": ", 1) for line in head[1:])
            told = [value for name, value in pairs if name.lower() == "proxy-authorization"]
            if server.fault == "close":
                return
            if server.fault == "garbage":
                client.sendall(b"SSH-2.0-proxy\r\n\r\n")
                return
            refusal = server.fault or (server.password and told != [server.password] and "407 No")
            if refusal:
                client.sendall(f"HTTP/1.1 {refusal}\r\ncontent-length: 0\r\n\r\n".encode())
                return
            if method == "CONNECT":
                host, _, port = target.rpartition(":")
                with socket.create_connection((host.strip("[]"), int(port)), timeout=10) as far:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    couple(client, far)
                return
            length = int(headers.get("content-length", 0))
            while len(rest) < length:
                rest += client.recv(65536)
            parts = urlsplit(target)
            if far is None:
                far = socket.create_connection((parts.hostname, parts.port or 80), timeout=10)
                threading.Thread(target=copy, args=(far, client), daemon=True).start()
            kept = [f"{method} {parts.path} HTTP/1.1"]
            kept += [line for line in head[1:] if not line.lower().startswith("proxy-")]
            far.sendall("\r\n".join([*kept, "", ""]).encode() + rest[:length])
            head, rest = read_head(client)
        if far is not None:
            far.close()


def read_head(sock):
    """Return the lines of a head, and the bytes behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            block = sock.recv(65536)
        except OSError:
            block = b""
        if not block:
            return [], b""
        data += block
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), rest


def copy(source, target):
    with suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    for sock in (source, target):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def couple(one, other):
    thread = threading.Thread(target=copy, args=(one, other))
    thread.start()
    copy(other, one)
    thread.join()


@contextmanager
def proxied(**options):
    """Run a proxy; yields it."""
    with Proxy(**options) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
