"""Continuous batching: requests join and leave a running batch between two steps.

A thread of the session steps all sequences together. What arrives meanwhile joins at the next
step, its prompt in pieces of at most `PROMPT_TOKENS`, so that a long one does not hold up the
answers under way; a sequence leaves when its last token is there. Source of the idea: Yu et al.,
"Orca: A Distributed Serving System for Transformer-Based Generative Models", OSDI 2022; of the
pieces: Agrawal et al., "Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve",
OSDI 2024.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import Output, Query
from harness.adapters.checked import Checked, check
from harness.errors import AdapterError
from harness.schema.model import LlamaModel

PROMPT_TOKENS = 512
"""Tokens of prompts that one step takes in, at most."""


class SlotEngine(Protocol):
    """A loaded Llama model with `slots` places for sequences, each at its own length."""

    slots: int

    def extend(self, added: Mapping[int, NDArray[np.int64]]) -> Mapping[int, NDArray[np.float32]]:
        """Add tokens (int64 [count], at least one) to the sequences of these slots.

        Returns for each the logits after its last token, float32 [vocabulary], which hold until the
        next call.
        """

    def score(self, slot: int, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Add `tokens` to the sequence; return the logits after each, [count, vocabulary]."""

    def clear(self, slot: int) -> None:
        """Forget the slot's sequence, if it has one."""


@dataclass(slots=True)
class _Sequence:
    """A request in a slot; `left` are the tokens that the model has not taken in."""

    query: Query
    checked: Checked
    slot: int
    left: NDArray[np.int64]
    answer: list[int] = field(default_factory=list)


class ContinuousSession:
    """Answers text requests, one a query, as many at once as the engine has slots."""

    max_batch = 1

    def __init__(
        self, architecture: LlamaModel, engine: SlotEngine, description: Mapping[str, object]
    ) -> None:
        self.max_concurrency: int | None = engine.slots
        self._architecture = architecture
        self._engine: SlotEngine | None = engine
        self._description = {
            **description,
            "asynchronous": True,
            "max_batch": 1,
            "max_concurrency": engine.slots,
            "batching": f"continuous, up to {engine.slots} sequences; prompts in pieces of at "
            f"most {PROMPT_TOKENS} tokens a step",
        }
        self._free = _all_slots(engine)
        self._running: list[_Sequence] = []
        self._waiting: deque[tuple[Query, Checked]] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="continuous-batching", daemon=True)
        self._thread.start()

    def describe(self) -> Mapping[str, object]:
        """Return what really runs."""
        return self._description

    def submit(self, query: Query) -> None:
        """Let `query` join the batch, and return at once."""
        try:
            if len(query.requests) > 1:
                raise AdapterError(f"{len(query.requests)} requests; one query holds 1")
            checked = check(self._architecture, 0, query.requests[0])
            with self._changed:
                if self._closed:
                    raise AdapterError("the session is closed")
                self._waiting.append((query, checked))
                self._changed.notify()
        except AdapterError as error:
            query.fail(error)

    def close(self) -> None:
        """End open queries with an error, and let go of the model. May be called again."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._engine = None

    def _work(self) -> None:
        engine = self._engine
        assert engine is not None
        while self._join():
            # Whatever a runtime raises is the failure of all in it, also what would end the thread:
            # nobody would answer those that wait.
            try:
                self._step(engine)
            except BaseException as error:
                self._fail(_failure(error))
                try:
                    self._start_over(engine)
                except BaseException as error:
                    self._end(_failure(error))
                    return
        self._end(AdapterError("the session was closed"))

    def _start_over(self, engine: SlotEngine) -> None:
        """Forget the sequences that run, and have all slots free."""
        self._running.clear()
        self._free = _all_slots(engine)
        for slot in self._free:
            engine.clear(slot)

    def _end(self, error: Exception) -> None:
        """Fail all that run and wait with `error`, and take no more."""
        with self._changed:
            self._closed = True
        self._fail(error)
        for query, _ in self._waiting:
            query.fail(error)

    def _join(self) -> bool:
        """Wait for something to do, and give slots to what waits; False when closed."""
        with self._changed:
            while not (self._running or self._waiting or self._closed):
                self._changed.wait()
            while self._waiting and self._free and not self._closed:
                query, checked = self._waiting.popleft()
                sequence = _Sequence(query, checked, self._free.pop(), checked.tokens)
                self._running.append(sequence)
            return not self._closed

    def _step(self, engine: SlotEngine) -> None:
        """Take in what is left of each sequence, as far as a step goes; one more token each."""
        room = PROMPT_TOKENS
        added: dict[int, NDArray[np.int64]] = {}
        for each in self._running:
            if not each.checked.steps:
                self._score(engine, each)
            elif each.answer:
                added[each.slot] = each.left
            elif room:
                added[each.slot] = each.left[:room]
                room -= len(added[each.slot])
        logits = engine.extend(added) if added else {}
        for each in self._running:
            if each.slot not in added:
                continue
            each.left = each.left[len(added[each.slot]) :]
            if not each.left.size:
                self._choose(each, self._row(logits, each.slot))
        self._leave(engine)

    def _row(self, logits: Mapping[int, NDArray[np.float32]], slot: int) -> NDArray[np.float32]:
        """Return the logits of `slot`. AdapterError if the engine gave none, or no such ones."""
        row = np.asarray(logits.get(slot, ()))
        if row.shape != (self._architecture.vocabulary,):
            raise AdapterError(
                f"the engine gave logits of shape {list(row.shape)} for a sequence, not "
                f"[{self._architecture.vocabulary}]"
            )
        # What is not a number counts as the largest, so that looking at one value is enough.
        if not np.isfinite(row[row.argmax()]):
            raise AdapterError("the engine gave logits that are not finite")
        return row

    @staticmethod
    def _score(engine: SlotEngine, each: _Sequence) -> None:
        logits = engine.score(each.slot, each.left)
        each.left = each.left[:0]
        each.query.done(0, Output(logits=logits))

    @staticmethod
    def _choose(each: _Sequence, logits: NDArray[np.float32]) -> None:
        sampler = each.checked.sampler
        token = sampler.choose(logits) if sampler else int(logits.argmax())
        each.query.tokens(0, 1)
        each.answer.append(token)
        if len(each.answer) == each.checked.steps:
            each.query.done(0, Output(tokens=each.answer))
        else:
            each.left = np.array([token], dtype=np.int64)

    def _leave(self, engine: SlotEngine) -> None:
        """Give back the slots of sequences that have nothing left to take in."""
        for each in self._running:
            if not each.left.size:
                engine.clear(each.slot)
                self._free.append(each.slot)
        self._running = [each for each in self._running if each.left.size]

    def _fail(self, error: Exception) -> None:
        for each in self._running:
            each.query.fail(error)


def _failure(error: BaseException) -> Exception:
    """Return `error` as the failure of requests: SystemExit and the like become AdapterError."""
    if isinstance(error, Exception):
        return error
    return AdapterError(f"the engine raised {type(error).__name__}: {error}".removesuffix(": "))


def _all_slots(engine: SlotEngine) -> list[int]:
    """Return the engine's slots, the first to be taken last."""
    return list(range(engine.slots))[::-1]
