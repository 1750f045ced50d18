"""The contract between the harness and a runtime (`api_version = 1`, frozen).

An adapter opens a model on a target and gives a session; the harness submits queries to it. The
harness alone takes time stamps, at the moment a query's method is called, so an adapter cannot
report its own times. A runtime that simply computes needs one function: see `BlockingSession`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from harness.models.model import Model
from harness.models.requests import (
    EmbedRequest,
    Output,
    Request,
    RowRequest,
    ScoreSpeechRequest,
    ScoreTextRequest,
    SpeechRequest,
    TextRequest,
)
from harness.schema.target import Target

__all__ = [
    "API_VERSION",
    "Adapter",
    "BlockingSession",
    "EmbedRequest",
    "Model",
    "Output",
    "Query",
    "Request",
    "RowRequest",
    "ScoreSpeechRequest",
    "ScoreTextRequest",
    "Session",
    "SpeechRequest",
    "Target",
    "TextRequest",
]

API_VERSION = 1


class Query(Protocol):
    """A batch of requests on its way, made by the harness. Any thread may call its methods."""

    @property
    def requests(self) -> Sequence[Request]:
        """The requests, 1 to the session's `max_batch`, all of one type."""

    def tokens(self, index: int, count: int) -> None:
        """Say that `count` more tokens of request `index` exist; first call, first token."""

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
    """Opens models on a runtime. Made without arguments, cheaply; imports its runtime late.

    A class attribute `packages` may name the modules that it will import, and `install` the command
    that installs them: then `harness plan` can say that one is missing, without importing it. A
    method `check_options(target)` may raise OptionError for a wrong one of `runtime.options`: then
    `harness validate` and `harness plan` can say so, with its line. It imports no runtime.
    """

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
