"""A real server in a process of its own, on a free port of 127.0.0.1, while a block runs."""

import contextlib
import os
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.servers.environments import NotInstalled

READY_S = 120.0
END_S = 10.0


class Running:
    """`command` with `environment` added to ours; ready once a GET of `ready_url` answers 200.

    Its output goes to `log`. Raises RuntimeError with the log's end if it is not ready in time:
    a server that is installed and does not start is a failure, no reason to skip.
    """

    def __init__(self, command, *, url, ready_url, log, environment=None, cwd=None):
        self.command = [str(part) for part in command]
        self.url = url
        self.ready_url = ready_url
        self.log = Path(log)
        self.environment = environment or {}
        self.cwd = cwd

    def __enter__(self):
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # The whole group, also once its first process is gone: some servers start workers.
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, kind)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_S)

    def _wait(self):
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if answers(self.ready_url):
                return
            time.sleep(0.2)
        state = self.process.poll()
        said = "is not ready" if state is None else f"ended with status {state}"
        tail = self.log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self.command[0]} {said}; its log ends:\n{tail}")


def program(folder, name):
    """Return the program `name` of the environment `folder`; NotInstalled if it has none."""
    path = folder / "bin" / name
    if not path.is_file():
        raise NotInstalled(f"{folder} has no {name}")
    return path


def answers(url):
    """Return whether a GET of `url` is answered with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except OSError:  # HTTPError is one too
        return False
