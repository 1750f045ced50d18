"""An adapter that computes nothing: for tests of the harness, and for trying out the commands.

Its answers are a fixed function of the request and its latency is what the target's options say.
It can fail in every way a runtime can. It describes itself as simulated: its figures are no
measurements of hardware.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, NoReturn

import numpy as np

from harness.adapters.base import (
    Output,
    Query,
    Request,
    RowRequest,
    ScoreSpeechRequest,
    ScoreTextRequest,
    SpeechRequest,
    TextRequest,
)
from harness.adapters.options import check_each
from harness.errors import UnsupportedError
from harness.models.model import Model
from harness.schema.target import Scalar, Target

Answer = Callable[[Request], Output]
Sleep = Callable[[float], None]

FAULTS = (
    "none",
    "exception",
    "segfault",
    "abort",
    "exit",
    "exit_0",
    "sigkill",
    "hang",
    "hang_ignoring_sigterm",
    "hang_closing_output",
    "spin",
    "memory",
    "flood",
    "grandchild",
    "grandchild_setsid",
    "junk",
    "nan",
)
"""How a session can go wrong: the values of the option `fault`."""

DEFAULTS: dict[str, Scalar] = {
    "latency_s": 0.0,
    "token_s": 0.0,
    "max_batch": 1,
    "max_concurrency": 1,
    "asynchronous": False,
    "fail_every": 0,
    "wrong": False,
    "fault": "none",
    "fault_at": "open",
    "memory_gb": 4.0,
    "flood_mb": 256,
}
"""The options with their defaults; see `FakeAdapter`."""

GRANDCHILD_LIVES_S = 120
VOCABULARY = 256


class FakeAdapter:
    """Opens sessions that pretend.

    `answer` gives the output for a request (default: a hash of its input, as tokens or a score);
    `sleep` waits for seconds, for tests with a virtual clock. The options of a target:

    latency_s: seconds from submission to the first output. token_s: seconds for each later token.
    max_batch, max_concurrency (0: no limit): the session's limits. asynchronous: answer from a
    thread of the query's own. fail_every: every n-th request fails (0: none). wrong: answers are
    wrong. fault: one of `FAULTS`, which happens at fault_at: "open" or a request's number from 1.
    memory_gb, flood_mb: how far the faults "memory" and "flood" go.
    """

    api_version: ClassVar[int] = 1

    def __init__(self, answer: Answer | None = None, sleep: Sleep = time.sleep) -> None:
        self._answer = answer
        self._sleep = sleep

    def open(self, target: Target, model: Model) -> FakeSession:
        """Return a session; OptionError for an option that does not exist or has a wrong value."""
        self.check_options(target)
        options = {**DEFAULTS, **target.runtime.options}
        answer = self._answer or Answers(model)
        return FakeSession(target, options, answer, self._sleep)

    def check_options(self, target: Target) -> None:
        """Raise OptionError for an option that does not exist or has a wrong value."""
        check_each(target, DEFAULTS, _wanted)


class FakeSession:
    """Answers queries after the latency that its options state."""

    def __init__(
        self, target: Target, options: Mapping[str, Scalar], answer: Answer, sleep: Sleep
    ) -> None:
        self._target = target
        self._options = options
        self._answer = answer
        self._sleep = sleep
        self._requests = 0
        self._counting = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.max_batch = int(options["max_batch"])
        self.max_concurrency: int | None = int(options["max_concurrency"]) or None
        self._closed = False
        if options["fault_at"] == "open":
            self._fault()

    def describe(self) -> Mapping[str, object]:
        """Return the options, and that nothing here is hardware."""
        return {
            "runtime": "fake",
            "version": "1",
            "simulated": True,
            "device": "none: answers and latencies are made up",
            "precision": self._target.runtime.precision,
            "fallbacks": [],
            "options": dict(self._options),
        }

    def submit(self, query: Query) -> None:
        """Answer `query`: before returning, or with `asynchronous` from another thread."""
        if not self._options["asynchronous"]:
            self._run(query)
            return
        thread = threading.Thread(target=self._run, args=(query,), daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()]
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Wait for the queries that are still being answered from threads."""
        self._closed = True
        for thread in self._threads:
            thread.join()

    def _run(self, query: Query) -> None:
        try:
            if self._closed:
                raise RuntimeError("the session is closed")
            numbers = [self._count() for _ in query.requests]
            self._sleep(float(self._options["latency_s"]))
            for index, (request, number) in enumerate(zip(query.requests, numbers, strict=True)):
                self._one(query, index, request, number)
        except Exception as error:  # whatever goes wrong is the query's failure
            query.fail(error)

    def _count(self) -> int:
        with self._counting:
            self._requests += 1
            return self._requests

    def _one(self, query: Query, index: int, request: Request, number: int) -> None:
        spoil = number == self._options["fault_at"] and self._fault()
        every = int(self._options["fail_every"])
        if every and number % every == 0:
            query.fail(RuntimeError(f"request {number} fails, as asked"), index)
            return
        output = self._answer(request)
        if self._options["wrong"]:
            output = _wrong(output)
        if spoil or (self._options["fault"] == "nan" and self._options["fault_at"] == "open"):
            output = _nan(output)
        if isinstance(request, TextRequest):
            for position in range(len(output.tokens)):
                if position:
                    self._sleep(float(self._options["token_s"]))
                query.tokens(index, 1)
        query.done(index, output)

    def _fault(self) -> bool:
        """Go wrong as the options say; return True if the output is to be spoiled instead."""
        fault = str(self._options["fault"])
        if fault == "exception":
            raise RuntimeError("the fault 'exception', as asked")
        if fault == "memory":
            _fill_memory(float(self._options["memory_gb"]))
        elif fault == "flood":
            _flood(int(self._options["flood_mb"]))
        elif fault in ("grandchild", "grandchild_setsid"):
            _leave_a_process(own_session=fault == "grandchild_setsid")
        elif fault == "junk":
            _write_junk()
        elif fault in DEATHS:
            DEATHS[fault]()
        return fault == "nan"


class Answers:
    """The default answers: tokens or a score that follow from a hash of the request's input."""

    def __init__(self, model: Model) -> None:
        self.vocabulary = int(getattr(model.architecture, "vocabulary", VOCABULARY))

    def __call__(self, request: Request) -> Output:
        """Return the output for `request`; UnsupportedError if it asks for logits."""
        if isinstance(request, TextRequest):
            return self._tokens(request.prompt.tobytes(), request.max_new_tokens)
        if isinstance(request, SpeechRequest):
            source = request.features.tobytes() + request.prefix.tobytes()
            return self._tokens(source, request.max_new_tokens)
        if isinstance(request, RowRequest):
            digest = hashlib.blake2b(request.features.tobytes(), digest_size=8).digest()
            return Output(score=int.from_bytes(digest, "little") / 2**64)
        assert isinstance(request, ScoreTextRequest | ScoreSpeechRequest)
        raise UnsupportedError(
            "the fake adapter has no model, so it has no logits",
            hint="give it an `answer` function that computes them",
        )

    def _tokens(self, source: bytes, count: int) -> Output:
        seed = int.from_bytes(hashlib.blake2b(source, digest_size=8).digest(), "little")
        drawn = np.random.default_rng(seed).integers(0, self.vocabulary, size=count)
        return Output(tokens=tuple(int(token) for token in drawn))


def _wanted(name: str, value: Scalar) -> str | None:
    """Return what the option `name` must be, where `value` is something else."""
    if name == "fault":
        return None if value in FAULTS else f"one of {', '.join(FAULTS)}"
    if name == "fault_at":
        number = type(value) is int and value >= 1
        return None if value == "open" or number else "'open' or the number of a request from 1"
    default = DEFAULTS[name]
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    least = 1 if name == "max_batch" else 0
    whole = isinstance(default, int)
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or value < least:
        return f"{'a whole number' if whole else 'a number'} of at least {least}"
    return None


def _wrong(output: Output) -> Output:
    """Return an output of the right shape that is not the right one."""
    return Output(
        tokens=tuple(token ^ 1 for token in output.tokens),
        score=None if output.score is None else 1.0 - output.score,
        logits=None if output.logits is None else -output.logits,
    )


def _nan(output: Output) -> Output:
    """Return an output of the right shape without one usable value in it."""
    return Output(
        tokens=tuple(-1 for _ in output.tokens),
        score=None if output.score is None else float("nan"),
        logits=None if output.logits is None else np.full_like(output.logits, np.nan),
    )


def _segfault() -> None:
    ctypes.string_at(0)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> NoReturn:
    while True:
        time.sleep(3600)


def _hang_ignoring_sigterm() -> NoReturn:
    # signal.signal works in the main thread only, and a session may run in any.
    ctypes.CDLL(None).signal(int(signal.SIGTERM), 1)
    _hang()


def _hang_closing_output() -> NoReturn:
    # Whoever waits for the end of the output must not take this for the end of the process.
    for descriptor in (1, 2):
        os.close(descriptor)
    _hang()


def _spin() -> None:
    # One call that never returns: no other thread, and no signal handler, gets the interpreter.
    sum(itertools.repeat(0))


DEATHS: dict[str, Callable[[], object]] = {
    "segfault": _segfault,
    "abort": os.abort,
    "exit": lambda: os._exit(7),
    "exit_0": lambda: os._exit(0),
    "sigkill": _kill,
    "hang": _hang,
    "hang_ignoring_sigterm": _hang_ignoring_sigterm,
    "hang_closing_output": _hang_closing_output,
    "spin": _spin,
}
"""The faults that a process does not come back from."""


def _fill_memory(limit_gb: float) -> NoReturn:
    """Fill up to `limit_gb` GB of memory, touching every page, then raise MemoryError."""
    chunk = 64_000_000
    held: list[bytes] = []
    while len(held) * chunk < limit_gb * 1e9:
        held.append(b"\x01" * chunk)
    raise MemoryError(f"the fault 'memory' holds {len(held) * chunk / 1e9:.1f} GB")


def _flood(megabytes: int) -> None:
    """Write `megabytes` MB to standard output, past any buffering of Python's."""
    line = b"flood " * 166 + b"..\n"
    block = line * (1_000_000 // len(line))
    for _ in range(megabytes):
        with contextlib.suppress(BrokenPipeError):
            os.write(1, block)


def _write_junk() -> None:
    """Write what is no JSON to every pipe but the standard ones that this process may write to."""
    for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        # The one that listed the folder is closed by now, and others can only be read.
        with contextlib.suppress(OSError):
            if descriptor > 2 and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, b"{\n[[[\n\xff\x00 no JSON\n")


def _leave_a_process(*, own_session: bool) -> None:
    """Start a process, perhaps in its own session; it outlives this one unless it is killed."""
    command = f"import time; time.sleep({GRANDCHILD_LIVES_S})"
    _LEFT.append(
        subprocess.Popen(
            [sys.executable, "-S", "-c", command],
            start_new_session=own_session,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    )


_LEFT: list[subprocess.Popen[bytes]] = []
"""Keeps the handles: collecting one warns that its process still runs."""
