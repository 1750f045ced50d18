"""The contract between the harness and a runtime (`api_version = 1`, frozen).

An adapter opens a model on a target and gives a session; the harness submits queries to it. The
harness alone takes time stamps, at the moment a query's method is called, so an adapter cannot
report its own times. A runtime that simply computes needs one function: see `BlockingSession`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.models.model import Model
from harness.schema.target import Target

API_VERSION = 1


@dataclass(frozen=True, slots=True)
class TextRequest:
    """Generate exactly `max_new_tokens` tokens, greedy, after `prompt` (int64 token ids [length]).

    Greedy means the lowest id among the largest logits. Stream each token by `query.tokens`.
    """

    prompt: NDArray[np.int64]
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """Transcribe log-mel `features` (float32 [bands, frames]) into exactly `max_new_tokens` tokens.

    Decoding is greedy and starts from `prefix` (int64 token ids [length], at least one).
    `audio_s` is the length of the audio in seconds.
    """

    features: NDArray[np.float32]
    prefix: NDArray[np.int64]
    max_new_tokens: int
    audio_s: float


@dataclass(frozen=True, slots=True)
class RowRequest:
    """Score one row of `features` (float32 [features])."""

    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScoreTextRequest:
    """Return the logits after each of `tokens` (int64 [length]): for quality, never timed."""

    tokens: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoreSpeechRequest:
    """Return the logits after each of `tokens`, given log-mel `features`: for quality, never timed."""

    features: NDArray[np.float32]
    tokens: NDArray[np.int64]


Request = TextRequest | SpeechRequest | RowRequest | ScoreTextRequest | ScoreSpeechRequest


@dataclass(frozen=True, slots=True)
class Output:
    """What came back: generated `tokens`, a `score` in [0, 1], or `logits` (float32 [length, vocab]).

    Which one is set follows from the request.
    """

    tokens: Sequence[int] = ()
    score: float | None = None
    logits: NDArray[np.float32] | None = None


class Query(Protocol):
    """A batch of requests on its way; made by the harness. Methods may be called from any thread."""

    @property
    def requests(self) -> Sequence[Request]:
        """The requests, 1 to the session's `max_batch`, all of one type."""

    def tokens(self, index: int, count: int) -> None:
        """Say that `count` output tokens of request `index` are there. The first call: first token."""

    def done(self, index: int, output: Output) -> None:
        """Say that request `index` has its whole output."""

    def fail(self, error: Exception, index: int | None = None) -> None:
        """Say that request `index`, or with None every open one, has failed."""


class Session(Protocol):
    """A model loaded on a target, taking queries until it is closed."""

    max_batch: int
    """Requests that one query may hold."""
    max_concurrency: int | None
    """Queries that may be in flight; None: no limit."""

    def describe(self) -> Mapping[str, object]:
        """Return what really runs: runtime, version, device, precision, operators, fallbacks."""

    def submit(self, query: Query) -> None:
        """Run `query`. May block until the answer, or return at once and answer from elsewhere."""

    def close(self) -> None:
        """Release the device. Open queries fail."""


class Adapter(Protocol):
    """Opens models on a runtime. Made without arguments; cheap to make; imports its runtime late."""

    api_version: ClassVar[int]

    def open(self, target: Target, model: Model) -> Session:
        """Load and compile `model` for `target`; may take minutes.

        Raises PrerequisiteError if the runtime or device is missing, UnsupportedError if the
        runtime cannot run this model.
        """


class BlockingSession:
    """Turns `infer(requests) -> outputs` into a session: one query at a time, no streaming.

    Subclass it, set `max_batch` if the runtime batches, and write `infer` and `describe`. To stream
    tokens, write `submit` instead of `infer`.
    """

    max_batch: int = 1
    max_concurrency: int | None = 1

    def infer(self, requests: Sequence[Request]) -> Sequence[Output]:
        """Return one output for each request, in their order."""
        raise NotImplementedError

    def describe(self) -> Mapping[str, object]:
        """Return what really runs."""
        raise NotImplementedError

    def submit(self, query: Query) -> None:
        """Run `infer` and hand its outputs to `query`; an exception fails the whole query."""
        try:
            outputs = self.infer(query.requests)
            if len(outputs) != len(query.requests):
                raise ValueError(f"{len(query.requests)} requests gave {len(outputs)} outputs")
        except Exception as error:  # whatever a runtime raises is the query's failure
            query.fail(error)
            return
        for index, output in enumerate(outputs):
            query.done(index, output)

    def close(self) -> None:
        """Release nothing."""
