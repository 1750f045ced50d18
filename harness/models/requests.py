"""What is asked of a model and what comes back: the currency between inputs, adapters and gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AnswerRequest",
    "EmbedRequest",
    "Message",
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


class Message(NamedTuple):
    """What `role` (system, user or assistant) says in a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class TextRequest:
    """Generate exactly `max_new_tokens` tokens after `prompt` (int64 token ids [length]).

    Without `sampling` greedy: the lowest id among the largest logits. Stream each token by
    `query.tokens`. `messages` are a user's own text: a server is sent them in place of `prompt`,
    which is empty where no tokenizer is named.
    """

    prompt: NDArray[np.int64]
    max_new_tokens: int
    sampling: Sampling | None = None
    messages: tuple[Message, ...] | None = None


@dataclass(frozen=True, slots=True)
class AnswerRequest(TextRequest):
    """Answer `messages` greedily, for quality, never timed. The answer may end earlier.

    A server ends it where its model does, and gives its text (`Output.text`). Whatever takes token
    numbers answers it as any TextRequest; what follows the model's end token is cut off later.
    """


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Return the vector of `text`, which has `words` words."""

    text: str
    words: int


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """Transcribe log-mel `features` (float32 [bands, frames]) into exactly `max_new_tokens` tokens.

    Decoding is greedy and starts from `prefix` (int64 token ids [length], at least one).
    `audio_s` is the length of the audio in seconds. `sound` is the content of a user's own WAV
    file, which servers of sound are sent; where only servers have the model, there are no features.
    """

    features: NDArray[np.float32]
    prefix: NDArray[np.int64]
    max_new_tokens: int
    audio_s: float
    sound: bytes | None = None


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


Request = (
    TextRequest | EmbedRequest | SpeechRequest | RowRequest | ScoreTextRequest | ScoreSpeechRequest
)


class Output(NamedTuple):
    """What came back: `tokens`, a `score`, `logits` [length, vocab], a `vector`, or a `text`.

    A score is in [0, 1], a vector float32 [dimensions].

    Which one is set follows from the request. A named tuple: it is made inside the measured time,
    and a frozen dataclass takes 0.15 us longer.
    """

    tokens: Sequence[int] = ()
    score: float | None = None
    logits: NDArray[np.float32] | None = None
    vector: NDArray[np.float32] | None = None
    text: str | None = None
