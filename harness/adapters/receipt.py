"""A reply that our own client has stamped as its bytes came, and that is read afterwards.

Reading a reply takes longer than the pause between two tokens, and would delay the time stamps of
other replies. So the client of `harness.adapters.http` stamps each block of bytes and hands the
whole over unread. That client is part of the harness; other adapters call `tokens` and `done`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from harness.models.requests import Output, Request

__all__ = ["Answer", "Receipt", "StampedQuery", "StampedSession"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reply says, and when its parts came (`time.perf_counter_ns`).

    `first_ns` is the arrival of the first token (0: it did not stream), `ended_ns` of the last.
    `tokens` is how many there are, 0 if not known. Either `output` or `error` is set. `prompt` is
    the prompt's tokens and those of them that came from a cache, where the server says both.
    """

    ended_ns: int
    first_ns: int = 0
    tokens: int = 0
    output: Output | None = None
    error: Exception | None = None
    prompt: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A reply that ended at `ended_ns`; `read()` says what is in it, and never raises."""

    ended_ns: int
    read: Callable[[], Answer]


class StampedQuery(Protocol):
    """A query of the harness that takes receipts."""

    def received(self, index: int, receipt: Receipt) -> None:
        """Say that the reply to request `index` is here; it is read when it is needed."""


@runtime_checkable
class StampedSession(Protocol):
    """A session that hands over receipts, and is asked again at the end how its client kept up."""

    def prepare_requests(self, requests: Sequence[Request]) -> None:
        """Write the messages of `requests`, which otherwise is done when each is first sent."""

    def describe(self) -> Mapping[str, object]:
        """Return what ran, and with it the client's own figures since `prepare_requests`."""
