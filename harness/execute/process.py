"""Runs one cell in a process of its own, and contains whatever happens there.

A new session and process group, events on a descriptor of their own, a limit for each phase, a cap
on output. Afterwards nothing of the cell is left: its group is killed, and so are descendants that
left the group.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
from pydantic import ValidationError

from harness.measure.job import Job, Result, tells_of_lost_memory
from harness.schema.record import Failure, FailureKind

OUTPUT_LIMIT_BYTES = 50_000_000
TAIL_BYTES = 8_000
RESULT_LIMIT_BYTES = 100_000_000
START_LIMIT_S = 60.0
END_LIMIT_S = 15.0
"""How long a process may take to end once it has told its result."""
DRAIN_S = 2.0
LAST_LINE_CHARACTERS = 300
STYLING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What colours and moves text on a terminal."""
MARK = "HARNESS_CELL"


@dataclass(slots=True)
class Ending:
    """How a cell's process ended: with a `result`, or with a `failure`.

    `left_running` names the processes that it had started and not ended; they are gone now.
    `after_result` says how the process ended if it did so badly, but after its result was whole.
    """

    result: Result | None
    failure: Failure | None
    phases: list[str] = field(default_factory=list)
    left_running: list[str] = field(default_factory=list)
    after_result: str | None = None


OnEvent = Callable[[dict[str, Any]], None]


def run_cell(job: Job, on_event: OnEvent = lambda event: None) -> Ending:
    """Run `job` in a new process and return how it ended; never raises for what the cell does.

    KeyboardInterrupt passes through, after the process is gone.
    """
    _adopt_orphans()
    job_read, job_write = os.pipe()
    result_read, result_write = os.pipe()
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    command = [
        sys.executable,
        "-m",
        "harness.measure.cell",
        str(job_read),
        str(result_write),
        str(os.getpid()),
    ]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(job_read, result_write),
            start_new_session=True,
            env={**os.environ, MARK: mark, "PYTHONUNBUFFERED": "1"},
        )
    except BaseException:
        for descriptor in (job_read, job_write, result_read, result_write):
            os.close(descriptor)
        raise
    os.close(job_read)
    os.close(result_write)
    watch = _Watch(process, result_read, on_event)
    left_running: list[str] = []
    try:
        try:
            watch.send(job_write, job.model_dump_json().encode())
            watch.run()
        finally:
            left_running = _kill_all(process, mark)
        watch.drain()
    finally:
        os.close(result_read)
        assert process.stdout is not None
        process.stdout.close()
    ending = watch.ending()
    ending.left_running = left_running
    return ending


class _Watch:
    """Follows a cell's process: its events, its output, its limits."""

    def __init__(self, process: subprocess.Popen[bytes], result: int, on_event: OnEvent) -> None:
        self._process = process
        self._result_descriptor = result
        self._on_event = on_event
        self._buffer = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._output = 0
        self._phase = "start"
        self._limit_s = START_LIMIT_S
        self._deadline = time.monotonic() + START_LIMIT_S
        self._killed: Failure | None = None
        self._reported: Failure | None = None
        self._result: Result | None = None
        self._junk: str | None = None
        self._after_result: str | None = None
        self._phases: list[str] = []

    def send(self, descriptor: int, data: bytes) -> None:
        """Write the job; the process may be gone already."""
        try:
            with open(descriptor, "wb") as stream:
                stream.write(data)
        except BrokenPipeError:
            pass

    def run(self) -> None:
        """Read until the process has ended or was killed for what it did."""
        output = self._process.stdout
        assert output is not None
        pid = os.pidfd_open(self._process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                os.set_blocking(output.fileno(), False)
                os.set_blocking(self._result_descriptor, False)
                selector.register(output.fileno(), selectors.EVENT_READ, self._read_output)
                selector.register(self._result_descriptor, selectors.EVENT_READ, self._read_events)
                selector.register(pid, selectors.EVENT_READ, None)
                while self._killed is None:
                    left = self._deadline - time.monotonic()
                    if left <= 0 and self._result is not None:
                        # A thread that a runtime left running keeps Python from ending.
                        self._after_result = f"did not end within {END_LIMIT_S:.0f} s"
                        break
                    if left <= 0:
                        self._kill(
                            "hang", f"no end of '{self._phase}' within {self._limit_s:.0f} s"
                        )
                        break
                    ended = False
                    for key, _ in selector.select(left):
                        if key.data is None:
                            ended = True
                        elif not key.data():
                            selector.unregister(key.fd)
                    if ended:
                        break
        finally:
            os.close(pid)

    def drain(self) -> None:
        """Read what the process wrote before it ended: it is still in the pipes."""
        until = time.monotonic() + DRAIN_S
        while self._read_events(drain=True) and time.monotonic() < until:
            pass
        while self._killed is None and self._read_output(drain=True):
            pass

    def _read_output(self, drain: bool = False) -> bool:
        output = self._process.stdout
        assert output is not None
        try:
            block = os.read(output.fileno(), 1 << 16)
        except BlockingIOError:
            return not drain
        self._output += len(block)
        self._tail.append(block)
        self._tail_size += len(block)
        while self._tail_size - len(self._tail[0]) > TAIL_BYTES:
            self._tail_size -= len(self._tail.popleft())
        if self._output > OUTPUT_LIMIT_BYTES:
            self._kill("output_flood", f"more than {OUTPUT_LIMIT_BYTES // 10**6} MB of output")
        return bool(block)

    def _read_events(self, drain: bool = False) -> bool:
        try:
            block = os.read(self._result_descriptor, 1 << 20)
        except BlockingIOError:
            return not drain
        self._buffer += block
        if len(self._buffer) > RESULT_LIMIT_BYTES:
            self._kill("output_flood", "a result of more than 100 MB")
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._take(line)
        return bool(block)

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "phase":
                self._phase = str(event["name"])
                self._limit_s = float(event["limit_s"])
                self._deadline = time.monotonic() + self._limit_s
                self._phases.append(self._phase)
            elif kind == "failure":
                self._reported = Failure.model_validate_json(json.dumps(event["failure"]))
            elif kind == "result":
                self._result = Result.model_validate_json(json.dumps(event["result"]))
                self._deadline = time.monotonic() + END_LIMIT_S
        except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
            self._junk = f"{type(error).__name__}: {str(error)[:200]}"
        else:
            self._on_event(event)

    def _kill(self, kind: FailureKind, message: str) -> None:
        self._killed = Failure(kind=kind, message=message, detail=self._tail_text())

    def _tail_text(self) -> str | None:
        text = b"".join(self._tail)[-TAIL_BYTES:].decode(errors="replace")
        return text.strip() or None

    def ending(self) -> Ending:
        """Return how it ended, once the process is gone."""
        failure = self._killed
        if failure is None and (self._result is None or self._reported or self._junk is not None):
            failure = self._failure()
        if failure is not None:
            return Ending(None, failure, self._phases)
        code = self._process.returncode
        after = self._after_result
        if after is None and code != 0:
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            after = f"ended with {name}"
        return Ending(self._result, None, self._phases, after_result=after)

    def _failure(self) -> Failure | None:
        code = self._process.returncode
        detail = self._tail_text()
        where = f"in phase '{self._phase}'"
        last = last_line(detail)
        said = "" if last is None else f"; its last line of output: {last}"
        if self._reported is not None:
            if self._reported.detail is None:
                return self._reported.model_copy(update={"detail": detail})
            return self._reported
        if code < 0:
            name = signal.Signals(-code).name
            kind: FailureKind = "crash"
            message = f"the process was ended by {name} {where}{said}"
            if tells_of_lost_memory(detail or ""):
                kind, message = "out_of_memory", f"memory ran out {where} ({name})"
            return Failure(kind=kind, message=message, detail=detail)
        if self._junk is not None:
            return Failure(
                kind="no_result", message=f"the result cannot be read: {self._junk}", detail=detail
            )
        if code != 0:
            return Failure(
                kind="exit",
                message=f"the process ended with exit code {code} {where}{said}",
                detail=detail,
            )
        if self._result is None:
            return Failure(
                kind="no_result",
                message=f"the process ended with exit code 0 and no result {where}{said}",
                detail=detail,
            )
        return None


def last_line(text: str | None) -> str | None:
    """Return the last line of `text` with a letter or digit, printable and cut; None without one.

    Of an error that ended Python it is the error itself, below the traceback.
    """
    for line in reversed((text or "").splitlines()):
        plain = STYLING.sub("", line)
        shown = "".join(character if character.isprintable() else " " for character in plain)
        if any(character.isalnum() for character in shown):
            shown = " ".join(shown.split())
            if len(shown) > LAST_LINE_CHARACTERS:
                shown = f"{shown[: LAST_LINE_CHARACTERS - 1]}…"
            return shown
    return None


def _adopt_orphans() -> None:
    """Become the parent of a cell's descendants that outlive their own parent, to find them."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _kill_all(process: subprocess.Popen[bytes], mark: str) -> list[str]:
    """Kill the cell's group and every descendant that carries its mark, and reap them.

    Returns the names of those that were still running, apart from the cell's own process. Names
    only: arguments may hold secrets.
    """
    # Looked up before anything is killed: a dead process shows no mark, and would never be reaped.
    strays = [stray for stray in _marked(mark) if stray.pid != process.pid]
    found = [_name(stray) for stray in strays]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 2.0
    while strays and time.monotonic() < deadline:
        for stray in strays:
            try:
                stray.kill()
                stray.wait(0.5)
            except (psutil.NoSuchProcess, psutil.TimeoutExpired):
                continue
        strays = _marked(mark)
    # Those of the group that had ended without being waited for have become our children.
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-process.pid, os.WNOHANG) == (0, 0):
                time.sleep(0.005)
    return sorted(found)


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return "ended meanwhile"


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.environ().get(MARK) == mark:
                found.append(child)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
