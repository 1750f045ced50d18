"""A small Hugging Face hub on this machine: one repository, with the answers that the hub gives.

As huggingface_hub asks: /api/models/NAME/revision/REVISION lists the files, HEAD and GET of
/NAME/resolve/COMMIT/FILE give them; large files (LFS) are redirected to another address.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAME = "small/llama"
LARGE = (".safetensors", ".bin")


@dataclass
class Commit:
    """The files of one commit, by name."""

    sha: str
    files: dict[str, bytes]


@dataclass
class Hub:
    """What the server has and how it misbehaves.

    `refuse`: an (HTTP status, X-Error-Code) for every question; `token`: what it wants; `altered`:
    files whose bytes come with one changed; `cut`: files that end too early.
    """

    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    refuse: tuple[int, str] | None = None
    token: str | None = None
    altered: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    def add(self, folder: Path, *, ref: str = "main", **more: bytes) -> str:
        """Make the files of `folder` the commit that `ref` stands for; return its hash."""
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())} | more
        digest = hashlib.sha1(usedforsecurity=False)
        for name, data in sorted(files.items()):
            digest.update(name.encode() + data)
        sha = digest.hexdigest()
        self.commits[sha] = Commit(sha, files)
        self.refs[ref] = sha
        return sha

    def fetched(self) -> list[str]:
        """Return the files whose bytes were asked for, sorted."""
        paths = [path for method, path, _ in self.asked if method == "GET"]
        return sorted(path.rpartition("/")[2] for path in paths if not path.startswith("/api/"))


def blob_of(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        hub.asked.append((self.command, path, self.headers.get("authorization")))
        stored = path.startswith("/store/")
        if hub.refuse is not None:
            return self.send(hub.refuse[0], b"", {"X-Error-Code": hub.refuse[1]})
        if hub.token and not stored and self.headers.get("authorization") != f"Bearer {hub.token}":
            return self.send(401, b"", {"X-Error-Code": "GatedRepo"})
        if stored:
            sha, _, name = path.removeprefix("/store/").partition("/")
            return self.bytes_of(hub.commits[sha], name, {})
        name, _, rest = path.removeprefix("/api/models/").removeprefix("/").partition("/re")
        if name != NAME:
            return self.send(404, b"", {"X-Error-Code": "RepoNotFound"})
        revision, _, file = rest.partition("/")[2].partition("/")
        commit = hub.commits.get(hub.refs.get(revision, revision))
        if commit is None:
            return self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if path.startswith("/api/"):
            tree = {"id": NAME, "sha": commit.sha, "siblings": list(siblings(commit))}
            return self.send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        told = {"X-Repo-Commit": commit.sha}
        if file not in commit.files:
            return self.send(404, b"", told | {"X-Error-Code": "EntryNotFound"})
        if not file.endswith(LARGE):
            return self.bytes_of(commit, file, told | {"ETag": f'"{blob_of(commit.files[file])}"'})
        data = commit.files[file]
        told |= {
            "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Linked-Size": str(len(data)),
            "Location": f"http://localhost:{self.server.server_port}/store/{commit.sha}/{file}",
        }
        return self.send(302, b"", told)

    def bytes_of(self, commit, name, headers):
        hub, data = self.server.hub, commit.files[name]
        if name in hub.altered:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if name in hub.cut:
            data = data[: len(data) // 2]
        self.send(200, data, headers)

    def send(self, status, data, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


def siblings(commit):
    for name, data in commit.files.items():
        told = {"rfilename": name, "size": len(data), "blobId": blob_of(data)}
        if name.endswith(LARGE):
            sha = hashlib.sha256(data).hexdigest()
            told["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 130}
        yield told


class Server(ThreadingHTTPServer):
    daemon_threads = True


class RunningHub:
    """A `Hub` that answers at `hub.url` while the `with` block runs."""

    def __enter__(self) -> Hub:
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.hub = Hub(url=f"http://127.0.0.1:{self.server.server_port}")
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self.server.hub

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
