"""What the runtimes in this process share: checked requests, greedy decoding, streamed tokens.

A runtime brings an engine that computes logits; what a request means is written here once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import (
    BlockingSession,
    Output,
    Query,
    Request,
    RowRequest,
)
from harness.adapters.checked import Checked, check, positions_of
from harness.adapters.options import Options, default_threads, read_options
from harness.errors import AdapterError
from harness.schema.model import LlamaModel, WhisperModel

__all__ = [
    "GraphEngine",
    "Options",
    "RowSession",
    "SequenceEngine",
    "SequenceSession",
    "default_threads",
    "read_options",
]


class SequenceEngine(Protocol):
    """A loaded Llama or Whisper model that continues a batch of sequences of tokens in step.

    `pads` says whether the sequences of a batch may begin with different numbers of tokens,
    `batches_chosen` whether a batch takes tokens that are not the likeliest.
    """

    pads: bool
    batches_chosen: bool

    def begin(self, features: NDArray[np.float32] | None, padding: NDArray[np.int64]) -> None:
        """Forget the sequences, and take as many as `padding` (int64 [batch]) has entries.

        So many first tokens of each sequence are padding that no other token may see; all 0 where
        the engine does not pad. For speech take in `features` (float32 [batch, mel bands, frames]).
        """

    def next_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add `tokens` (int64 [batch, count]) to the sequences; return the likeliest next tokens.

        That is the lowest id among the largest logits: int64 [batch].
        """

    def next_logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Add `tokens` as above; return the logits of the next token, float32 [batch, vocab]."""

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Add `tokens` (int64 [1, count]); return the logits after each, [count, vocabulary]."""


class GraphEngine(ABC):
    """What an engine makes of a graph that gives logits from one of the added positions on."""

    def next_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `SequenceEngine`."""
        chosen: NDArray[np.int64] = np.argmax(self.next_logits(tokens), axis=-1)
        return chosen

    def next_logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `SequenceEngine`."""
        logits: NDArray[np.float32] = self._extend(tokens, tokens.shape[1] - 1)[:, -1]
        return logits

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `SequenceEngine`."""
        # A copy: the runtime uses the memory again.
        logits: NDArray[np.float32] = self._extend(tokens, 0)[0].copy()
        return logits

    @abstractmethod
    def _extend(self, tokens: NDArray[np.int64], first: int) -> NDArray[np.float32]:
        """Add `tokens` to the sequences; return the logits from position `first` of them on."""


class SequenceSession(BlockingSession):
    """Answers text or speech requests with an engine, streaming every token.

    The requests of a query are generated together, in step, as one static batch: shorter prompts
    are padded on their left, and the batch goes on until its longest answer is complete. Where the
    engine does not pad, only what begins with equally many tokens is put together. What is scored
    is taken one at a time. `late` returns what is described as it is when it is asked for.
    """

    def __init__(
        self,
        architecture: LlamaModel | WhisperModel,
        engine: SequenceEngine,
        description: Mapping[str, object],
        max_batch: int = 1,
        late: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self.max_batch = max_batch
        self._late = late
        self._architecture = architecture
        self._engine: SequenceEngine | None = engine
        self._description: dict[str, object] = {**description, "max_batch": self.max_batch}
        if self.max_batch > 1:
            how = "padded on the left" if engine.pads else "of sequences that begin equally long"
            self._description.setdefault("batching", f"static, {how}")

    def describe(self) -> Mapping[str, object]:
        """Return what really runs."""
        return {**self._description, **self._late()}

    def submit(self, query: Query) -> None:
        """Answer `query`; an exception fails it."""
        try:
            if self._engine is None:
                raise AdapterError("the session is closed")
            if len(query.requests) > self.max_batch:
                raise AdapterError(
                    f"{len(query.requests)} requests; one query holds {self.max_batch}"
                )
            checked = [
                check(self._architecture, index, each) for index, each in enumerate(query.requests)
            ]
            for batch in self._batches(self._engine, checked):
                self._answer(self._engine, query, batch)
        except Exception as error:  # whatever a runtime raises is the query's failure
            query.fail(error)

    def close(self) -> None:
        """Let go of the model."""
        self._engine = None

    def _batches(self, engine: SequenceEngine, checked: Sequence[Checked]) -> list[list[Checked]]:
        """Return what is run together: all, unless padding is wanted and not to be had.

        The engine may have none, or it would lead out of the context. What is scored, and what is
        sampled where the engine cannot batch it, is alone.
        """
        sampled = any(each.sampler for each in checked) and not engine.batches_chosen
        if sampled or any(not each.steps for each in checked):
            return [[each] for each in checked]
        lengths = {len(each.tokens) for each in checked}
        if len(lengths) == 1:
            return [list(checked)]
        if not engine.pads:
            return [[e for e in checked if len(e.tokens) == length] for length in sorted(lengths)]
        positions = max(lengths) + max(each.steps for each in checked) - 1
        fits = positions <= positions_of(self._architecture)
        return [list(checked)] if fits else [[each] for each in checked]

    def _answer(self, engine: SequenceEngine, query: Query, batch: Sequence[Checked]) -> None:
        width = max(len(each.tokens) for each in batch)
        padding = np.array([width - len(each.tokens) for each in batch], dtype=np.int64)
        features = [each.features for each in batch if each.features is not None]
        engine.begin(np.stack(features) if features else None, padding)
        if len(batch) == 1:
            tokens = batch[0].tokens[None]
        else:
            tokens = np.zeros((len(batch), width), dtype=np.int64)
            for row, each in enumerate(batch):
                tokens[row, padding[row] :] = each.tokens
        if not batch[0].steps:
            query.done(batch[0].index, Output(logits=engine.logits(tokens)))
            return
        sampled = any(each.sampler for each in batch)
        chosen: list[list[int]] = [[] for _ in batch]
        for step in range(1, max(each.steps for each in batch) + 1):
            following = (
                self._sample(engine, batch, tokens) if sampled else engine.next_tokens(tokens)
            )
            for each, token, answer in zip(batch, following.tolist(), chosen, strict=True):
                if step > each.steps:
                    continue
                query.tokens(each.index, 1)
                answer.append(token)
                if step == each.steps:
                    query.done(each.index, Output(tokens=answer))
            tokens = following[:, None]

    @staticmethod
    def _sample(
        engine: SequenceEngine, batch: Sequence[Checked], tokens: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        logits = engine.next_logits(tokens)
        return np.array(
            [
                each.sampler.choose(row) if each.sampler else int(row.argmax())
                for each, row in zip(batch, logits, strict=True)
            ],
            dtype=np.int64,
        )


class RowSession(BlockingSession):
    """Scores rows: those of a query as one matrix.

    `score` takes float32 [rows, features] and returns float32 [rows]. `late` is as above.
    """

    def __init__(
        self,
        score: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        max_batch: int,
        description: Mapping[str, object],
        late: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self.max_batch = max_batch
        self._late = late
        self._score: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = score
        self._description = {**description, "max_batch": max_batch}

    def describe(self) -> Mapping[str, object]:
        """Return what really runs."""
        return {**self._description, **self._late()}

    def submit(self, query: Query) -> None:
        """Score the rows of `query`; an exception fails it.

        A single row takes the shortest way, as a view and without lists: of the 10 us that some
        runtimes need for it, the long way would add one.
        """
        requests = query.requests
        if len(requests) != 1 or type(requests[0]) is not RowRequest or self._score is None:
            super().submit(query)
            return
        try:
            score = self._score(requests[0].features[None])[0]
        except Exception as error:  # whatever a runtime raises is the query's failure
            query.fail(error)
            return
        query.done(0, Output((), float(score)))

    def infer(self, requests: Sequence[Request]) -> Sequence[Output]:
        """Return the score of each row."""
        if self._score is None:
            raise AdapterError("the session is closed")
        rows = []
        for request in requests:
            if not isinstance(request, RowRequest):
                raise AdapterError(f"a trees_mlp model does not take a {type(request).__name__}")
            rows.append(request.features)
        matrix = np.array(rows, dtype=np.float32)
        return [Output(score=score) for score in self._score(matrix).tolist()]

    def close(self) -> None:
        """Let go of the model."""
        self._score = None
