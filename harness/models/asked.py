"""Asks a target a gate's requests, and refuses outputs that cannot be judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.models.requests import (
    Output,
    Request,
    ScoreSpeechRequest,
    ScoreTextRequest,
    SpeechRequest,
    TextRequest,
)
from harness.models.tokenizer import OwnTokenizer

Ask = Callable[[Sequence[Request]], Sequence[Output]]
"""Runs requests (all of one type) on the target and returns their outputs in the same order."""


class BadOutputError(Exception):
    """An answer of the target that cannot be judged."""


def answers(ask: Ask, requests: Sequence[Request]) -> Sequence[Output]:
    """Return the target's outputs; an error of the target or a wrong count is a bad output."""
    try:
        outputs = ask(requests)
    except HarnessError as error:
        raise BadOutputError(f"the target failed: {error}") from error
    if len(outputs) != len(requests):
        raise BadOutputError(f"{len(requests)} requests gave {len(outputs)} outputs")
    return outputs


def scored(
    ask: Ask, requests: Sequence[ScoreTextRequest | ScoreSpeechRequest], vocabulary: int
) -> NDArray[np.float64]:
    """Return the target's logits, all requests in a row: float64 [positions, vocabulary]."""
    parts = []
    for number, output in enumerate(answers(ask, requests)):
        wanted = (len(requests[number].tokens), vocabulary)
        if output.logits is None:
            raise BadOutputError(f"request {number} gave no logits")
        logits = np.asarray(output.logits)
        if logits.shape != wanted:
            raise BadOutputError(
                f"request {number} gave logits {list(logits.shape)}, not {list(wanted)}"
            )
        if not np.isfinite(logits).all():
            raise BadOutputError(f"request {number} gave logits that are not finite")
        parts.append(logits.astype(np.float64))
    return np.concatenate(parts)


def generated(
    ask: Ask, requests: Sequence[TextRequest] | Sequence[SpeechRequest], vocabulary: int
) -> list[NDArray[np.int64]]:
    """Return the target's tokens, int64 [max_new_tokens] a request, all in the vocabulary."""
    results = []
    for number, output in enumerate(answers(ask, requests)):
        wanted = requests[number].max_new_tokens
        if len(output.tokens) != wanted:
            raise BadOutputError(f"request {number} gave {len(output.tokens)} tokens, not {wanted}")
        tokens = np.asarray(output.tokens)
        if tokens.dtype.kind not in "iu" or tokens.min() < 0 or tokens.max() >= vocabulary:
            raise BadOutputError(f"request {number} gave a token outside [0, {vocabulary})")
        results.append(tokens.astype(np.int64))
    return results


def text_of(output: Output, tokenizer: OwnTokenizer | None, what: str) -> str:
    """Return the text that answers `what`: as it came, or read from the tokens.

    Raises BadOutputError if there is neither, or nothing to read them with.
    """
    if output.text is not None:
        return output.text
    if tokenizer is None or not len(output.tokens):
        raise BadOutputError(
            f"{what} got no text; a target that is no server needs the gate's 'tokenizer'"
        )
    return tokenizer.decode(output.tokens)
