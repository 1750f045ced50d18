"""Starts and ends the reference server, in a process of its own."""

import json
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0


class Reference:
    """The reference server while the `with` block runs; arguments: `tests.servers.reference`."""

    module = "tests.servers.reference"

    def __init__(self, *arguments):
        self.arguments = arguments

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, *self.arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        line = self.process.stdout.readline()
        if not line:
            self.__exit__()
            raise RuntimeError("the reference server did not start")
        self.port = json.loads(line)["port"]
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def url(self, options="", path="/v1"):
        """Return the base URL that asks for `options`."""
        return f"http://127.0.0.1:{self.port}{prefix(options)}{path}"

    def get(self, path):
        with urllib.request.urlopen(self.url(path=path), timeout=PATIENCE_S) as reply:
            return reply.read().decode()

    def truth(self):
        """Return the rows of the truth log since the last call."""
        return [json.loads(line) for line in self.get("/truth").splitlines()]

    def stats(self):
        return json.loads(self.get("/stats"))


class Queueing(Reference):
    """The server that is slow by itself; arguments: `tests.servers.queueing`."""

    module = "tests.servers.queueing"


def prefix(options):
    """Return `options` as the first part of a path."""
    return "/" + quote(options, safe="=,:.") if options else ""


def refused_port():
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def certificate(folder, name="localhost"):
    """Return the paths of a self-signed certificate for `name` and of its key; None: no openssl."""
    if shutil.which("openssl") is None:
        return None
    cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN={name} -addext subjectAltName=DNS:{name}"
    )
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    return str(cert), str(key)
