"""What is asked of a model and what comes back: the currency between inputs, adapters and gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Output",
    "Request",
    "RowRequest",
    "Sampling",
    "ScoreSpeechRequest",
    "ScoreTextRequest",
    "SpeechRequest",
    "TextRequest",
]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn: at `temperature`, from the likeliest ones up to a mass of `top_p`.

    `seed` is the request's own, so that its answer does not depend on its neighbours.
    """

    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True, slots=True)
class TextRequest:
    """Generate exactly `max_new_tokens` tokens after `prompt` (int64 token ids [length]).

    Without `sampling` greedy: the lowest id among the largest logits. Stream each token by
    `query.tokens`.
    """

    prompt: NDArray[np.int64]
    max_new_tokens: int
    sampling: Sampling | None = None


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
    """Return the logits after each of `tokens`, given log-mel `features`; never timed."""

    features: NDArray[np.float32]
    tokens: NDArray[np.int64]


Request = TextRequest | SpeechRequest | RowRequest | ScoreTextRequest | ScoreSpeechRequest


class Output(NamedTuple):
    """What came back: generated `tokens`, a `score` in [0, 1], or `logits` [length, vocab].

    Which one is set follows from the request. A named tuple: it is made inside the measured time,
    and a frozen dataclass takes 0.15 us longer.
    """

    tokens: Sequence[int] = ()
    score: float | None = None
    logits: NDArray[np.float32] | None = None
