"""What the runtimes in this process share: checked requests, greedy decoding, streamed tokens.

A runtime brings an engine that computes logits; what a request means is written here once.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import (
    BlockingSession,
    Output,
    Query,
    Request,
    RowRequest,
    ScoreSpeechRequest,
    ScoreTextRequest,
    SpeechRequest,
    Target,
    TextRequest,
)
from harness.errors import AdapterError, SpecError
from harness.hardware import detect
from harness.models.sampler import Sampler
from harness.schema.workload import LlamaModel, WhisperModel

ROWS_MAX = 1024
"""Rows in one query, unless the target's option `max_batch` says otherwise."""


@dataclass(frozen=True, slots=True)
class Options:
    """A target's `runtime.options`.

    Compute threads; rows, and sequences of text, that one query may hold.
    """

    threads: int
    max_batch: int
    max_sequences: int = 1


def read_options(target: Target) -> Options:
    """Return the options of `target`; raise SpecError for an unknown one or a wrong value.

    `threads` is, unless given, what `default_threads` returns. `max_batch` counts rows or texts.
    """
    given = target.runtime.options
    known = ("threads", "max_batch")
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise SpecError(
                f"target {target.name}: the {target.runtime.adapter} adapter has no option "
                f"{name!r}; it has {', '.join(sorted(known))}",
                hint=f"did you mean {close[0]!r}?" if close else None,
            )
        if type(value) is not int or value < 1:
            raise SpecError(
                f"target {target.name}: option {name!r} must be a whole number of at least 1, "
                f"not {value!r}"
            )
    return Options(
        threads=int(given.get("threads") or default_threads()),
        max_batch=int(given.get("max_batch", ROWS_MAX)),
        # A batch raises the time per token: one at a time, unless the target asks for more.
        max_sequences=int(given.get("max_batch", 1)),
    )


def default_threads() -> int:
    """Return the number of physical cores that this process may use, within its CPU quota.

    Logical ones count where the kernel does not tell which share a core.
    """
    facts = detect()
    cores = int(facts["physical_cores"].value or len(os.sched_getaffinity(0)))
    quota = facts["cpu_quota_cores"].value
    return cores if quota is None else max(1, min(cores, int(quota)))


class SequenceEngine(Protocol):
    """A loaded Llama or Whisper model that continues a batch of sequences of tokens in step."""

    def begin(self, features: NDArray[np.float32] | None, padding: NDArray[np.int64]) -> None:
        """Forget the sequences, and take as many as `padding` (int64 [batch]) has entries.

        So many first tokens of each sequence are padding that no other token may see. For speech,
        where the batch is 1, take in `features` (float32 [mel bands, frames]).
        """

    def next_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add `tokens` (int64 [batch, count]) to the sequences; return the likeliest next tokens.

        That is the lowest id among the largest logits: int64 [batch].
        """

    def next_logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Add `tokens` as above; return the logits of the next token, float32 [batch, vocab]."""

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Add `tokens` (int64 [1, count]); return the logits after each, [count, vocabulary]."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """A request that the model can take: its first tokens, and how many to generate (0: score)."""

    index: int
    tokens: NDArray[np.int64]
    features: NDArray[np.float32] | None
    steps: int
    sampler: Sampler | None


class SequenceSession(BlockingSession):
    """Answers text or speech requests with an engine, streaming every token.

    The texts of a query are generated together, in step, as one static batch: shorter prompts are
    padded on their left, and the batch goes on until its longest answer is complete. Speech, and
    what is scored, is taken one at a time.
    """

    def __init__(
        self,
        architecture: LlamaModel | WhisperModel,
        engine: SequenceEngine,
        description: Mapping[str, object],
        max_batch: int = 1,
    ) -> None:
        self.max_batch = max_batch if isinstance(architecture, LlamaModel) else 1
        self._architecture = architecture
        self._engine: SequenceEngine | None = engine
        self._description = {**description, "max_batch": self.max_batch}
        if self.max_batch > 1:
            self._description["batching"] = "static, padded on the left"

    def describe(self) -> Mapping[str, object]:
        """Return what really runs."""
        return self._description

    def submit(self, query: Query) -> None:
        """Answer `query`; an exception fails it."""
        try:
            if self._engine is None:
                raise AdapterError("the session is closed")
            if len(query.requests) > self.max_batch:
                raise AdapterError(
                    f"{len(query.requests)} requests; one query holds {self.max_batch}"
                )
            checked = [self._check(index, each) for index, each in enumerate(query.requests)]
            for batch in self._batches(checked):
                self._answer(self._engine, query, batch)
        except Exception as error:  # whatever a runtime raises is the query's failure
            query.fail(error)

    def close(self) -> None:
        """Let go of the model."""
        self._engine = None

    def _batches(self, checked: Sequence[_Checked]) -> list[Sequence[_Checked]]:
        """Return what is run together: all, unless padding would lead out of the context."""
        together = all(each.steps and each.features is None for each in checked)
        longest = max(len(each.tokens) for each in checked)
        positions = longest + max(each.steps for each in checked) - 1
        if isinstance(self._architecture, LlamaModel) and together:
            together = positions <= self._architecture.context
        return [checked] if together else [[each] for each in checked]

    def _answer(self, engine: SequenceEngine, query: Query, batch: Sequence[_Checked]) -> None:
        width = max(len(each.tokens) for each in batch)
        padding = np.array([width - len(each.tokens) for each in batch], dtype=np.int64)
        engine.begin(batch[0].features, padding)
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
        engine: SequenceEngine, batch: Sequence[_Checked], tokens: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        logits = engine.next_logits(tokens)
        return np.array(
            [
                each.sampler.choose(row) if each.sampler else int(row.argmax())
                for each, row in zip(batch, logits, strict=True)
            ],
            dtype=np.int64,
        )

    def _check(self, index: int, request: Request) -> _Checked:
        """Return `request` as the engine takes it.

        Raises AdapterError for what the model cannot take: some runtimes would compute garbage.
        """
        a = self._architecture
        features = None
        steps = 0
        if isinstance(a, LlamaModel) and isinstance(request, TextRequest):
            tokens, steps, context = request.prompt, request.max_new_tokens, a.context
        elif isinstance(a, LlamaModel) and isinstance(request, ScoreTextRequest):
            tokens, context = request.tokens, a.context
        elif isinstance(a, WhisperModel) and isinstance(request, SpeechRequest):
            tokens, steps, context = request.prefix, request.max_new_tokens, a.text_context
            features = request.features
        elif isinstance(a, WhisperModel) and isinstance(request, ScoreSpeechRequest):
            tokens, features, context = request.tokens, request.features, a.text_context
        else:
            raise AdapterError(f"a {a.family} model does not take a {type(request).__name__}")
        if features is not None:
            assert isinstance(a, WhisperModel)
            if features.shape != (a.mel_bands, a.frames) or features.dtype != np.float32:
                raise AdapterError(
                    f"features are {features.dtype} {list(features.shape)}, "
                    f"not float32 {[a.mel_bands, a.frames]}"
                )
        if steps < 1 and isinstance(request, TextRequest | SpeechRequest):
            raise AdapterError("a request must ask for at least one token")
        # The last token generated is not fed back, so it needs no room.
        if not 0 < len(tokens) <= len(tokens) + max(0, steps - 1) <= context:
            raise AdapterError(
                f"{len(tokens)} tokens and {steps} to generate do not fit in {context} positions"
            )
        if tokens.min() < 0 or tokens.max() >= a.vocabulary:
            raise AdapterError(f"a token is outside the vocabulary of {a.vocabulary}")
        sampling = request.sampling if isinstance(request, TextRequest) else None
        return _Checked(
            index=index,
            tokens=np.ascontiguousarray(tokens, dtype=np.int64),
            features=features,
            steps=steps,
            sampler=Sampler(sampling) if sampling is not None else None,
        )


class RowSession(BlockingSession):
    """Scores rows: those of a query as one matrix.

    `score` takes float32 [rows, features] and returns float32 [rows].
    """

    def __init__(
        self,
        score: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        max_batch: int,
        description: Mapping[str, object],
    ) -> None:
        self.max_batch = max_batch
        self._score: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = score
        self._description = {**description, "max_batch": max_batch}

    def describe(self) -> Mapping[str, object]:
        """Return what really runs."""
        return self._description

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
