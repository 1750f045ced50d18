"""Sequences of different lengths in one batch of ONNX Runtime, for continuous batching.

Attention is the operator GroupQueryAttention, which takes a length for each sequence of a batch
and writes new keys and values where the old ones lie. Source:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.models.llama_genai import wide_head
from harness.schema.model import LlamaModel

if TYPE_CHECKING:
    import onnxruntime


class Slots:
    """The sequences of a graph of `harness.models.exports.continuous_folder`.

    Those in use lie in the first rows of the cache, so that one step takes neighbouring rows
    without a copy. When one leaves, the last row moves to its place.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, architecture: LlamaModel, slots: int
    ) -> None:
        from onnxruntime import OrtValue

        a = architecture
        self.slots = slots
        self._value = OrtValue.ortvalue_from_numpy
        self._session = session
        names = [each.name for each in session.get_inputs() if each.name.startswith("past_")]
        shape = (slots, a.kv_heads, a.context, wide_head(a.hidden // a.heads))
        self._caches = {name: np.zeros(shape, dtype=np.float32) for name in names}
        self._bindings: dict[tuple[int, int], onnxruntime.IOBinding] = {}
        self._slots: list[int] = []
        """By row: the slot whose sequence lies there."""
        self._lengths = [0] * slots
        """By row: the positions taken."""

    def extend(self, added: Mapping[int, NDArray[np.int64]]) -> Mapping[int, NDArray[np.float32]]:
        """See `SlotEngine`."""
        found: dict[int, NDArray[np.float32]] = {}
        together = []
        for slot, tokens in added.items():
            row = self._row(slot)
            if len(tokens) == 1 and self._lengths[row]:
                together.append(row)
                continue
            # The operator takes several tokens at once of one sequence alone.
            found[slot] = self._run(row, row + 1, tokens[None], len(tokens) - 1)[0, -1]
        for first, last in _neighbours(sorted(together)):
            tokens = np.array([added[slot] for slot in self._slots[first:last]], dtype=np.int64)
            logits = self._run(first, last, tokens, 0)
            for slot, row_logits in zip(self._slots[first:last], logits, strict=True):
                found[slot] = row_logits[-1]
        return found

    def score(self, slot: int, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `SlotEngine`."""
        row = self._row(slot)
        scores: NDArray[np.float32] = self._run(row, row + 1, tokens[None], 0)[0]
        return scores

    def clear(self, slot: int) -> None:
        """See `SlotEngine`."""
        if slot not in self._slots:
            return
        row, last = self._slots.index(slot), len(self._slots) - 1
        if row != last:
            length = self._lengths[last]
            for cache in self._caches.values():
                cache[row, :, :length] = cache[last, :, :length]
            self._slots[row], self._lengths[row] = self._slots[last], length
        self._slots.pop()
        self._lengths[last] = 0

    def _row(self, slot: int) -> int:
        if slot not in self._slots:
            self._slots.append(slot)
        return self._slots.index(slot)

    def _run(
        self, first: int, last: int, tokens: NDArray[np.int64], wanted: int
    ) -> NDArray[np.float32]:
        """Add `tokens` [rows, count] to the rows `first` to `last`.

        Returns the logits [rows, positions, vocabulary] from position `wanted` of them on.
        """
        lengths = np.array(self._lengths[first:last]) + tokens.shape[1]
        seen = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        inputs = {
            "input_ids": tokens,
            "attention_mask": seen,
            "logits_from": np.array([wanted], dtype=np.int64),
        }
        binding = self._bindings.get((first, last)) or self._bind(first, last)
        values = {name: self._value(np.ascontiguousarray(v)) for name, v in inputs.items()}
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("logits", "cpu")
        self._session.run_with_iobinding(binding)
        self._lengths[first:last] = lengths.tolist()
        # A copy: the runtime uses the memory again.
        logits: NDArray[np.float32] = binding.get_outputs()[-1].numpy().copy()
        return logits

    def _bind(self, first: int, last: int) -> onnxruntime.IOBinding:
        """Return the binding whose cache is these rows, before a run and after it."""
        binding = self._session.io_binding()
        for name, cache in self._caches.items():
            value = self._value(cache[first:last])
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), value)
        self._bindings[first, last] = binding
        return binding


def _neighbours(rows: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the stretches [first, last) of numbers without a gap in `rows`, which rise."""
    first = 0
    for at, row in enumerate(rows):
        if at + 1 == len(rows) or rows[at + 1] != row + 1:
            yield rows[first], row + 1
            first = at + 1
