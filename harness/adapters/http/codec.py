"""What every protocol is to the session: requests to bytes, replies to answers, and a tally."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from harness.adapters.base import Request
from harness.adapters.http.message import Body, Received
from harness.adapters.receipt import Answer


class Codec(Protocol):
    """A protocol, made for one server. Nothing in it touches the network."""

    def probes(self) -> tuple[str, ...]:
        """Return the paths to GET when the session opens."""

    def learn(self, path: str, document: object) -> None:
        """Take what the server answered to a probe; PrerequisiteError if it cannot serve us."""

    def encode(self, request: Request) -> Body:
        """Return the body that asks for `request`; UnsupportedError if the protocol cannot."""

    def decode(self, request: Request, reply: Received) -> Answer:
        """Return what `reply` says; raises HttpError if it is no answer."""

    def describe(self) -> Mapping[str, object]:
        """Return how tokens were counted, and what else a reader must know."""


class Tally:
    """How the tokens of all answers so far were counted; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: Counter[str] = Counter()
        self._tokens = self._chunks = self._prompt = self._prompts = 0

    def add(self, source: str, tokens: int, chunks: int, prompt_tokens: int | None) -> None:
        """Count an answer of `tokens` in `chunks`; `source` is `usage` or `chunks`."""
        with self._lock:
            self._sources[source] += 1
            self._tokens += tokens
            self._chunks += chunks
            if prompt_tokens is not None:
                self._prompt += prompt_tokens
                self._prompts += 1

    def describe(self) -> dict[str, object]:
        """Return where counts came from, tokens per chunk, and the server's mean prompt length."""
        with self._lock:
            sources = sorted(self._sources)
            return {
                "tokens_counted_from": " and ".join(sources) if sources else None,
                "tokens_per_chunk": self._tokens / self._chunks if self._chunks else None,
                "prompt_tokens_by_server": (
                    self._prompt / self._prompts if self._prompts else None
                ),
            }
