"""What the fp32 reference says, kept on disk: it is computed in numpy and takes its time.

A file is named by the hash of all it depends on, so it is never out of date.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.files import whole_file
from harness.models import quality_metrics
from harness.models.inputs import inputs_hash
from harness.models.model import Model, Weights
from harness.models.requests import ScoreSpeechRequest, ScoreTextRequest
from harness.schema import canonical_json
from harness.schema.model import LlamaModel, WhisperModel

Scalar = TypeVar("Scalar", bound=np.generic)

VERSION = 1
"""Goes up when a reference implementation computes something else, which voids what is kept."""


def score(
    model: Model, requests: Sequence[ScoreTextRequest | ScoreSpeechRequest], cache: Path
) -> list[NDArray[np.float32]]:
    """Return the reference logits (float32 [tokens, vocabulary]) for each of `requests`."""

    def compute() -> list[NDArray[np.float32]]:
        weights = model.weights()
        return [_logits(model, weights, request) for request in requests]

    return keep(cache, _key(model, "score", inputs_hash(requests)), len(requests), compute)


def transcribe(
    model: Model,
    features: NDArray[np.float32],
    prefix: NDArray[np.int64],
    guesses: NDArray[np.int64],
    end: int,
    cache: Path,
) -> NDArray[np.int64]:
    """Return the reference's greedy tokens (int64 [clips, steps]) after `prefix`.

    `features` are float32 [clips, bands, frames]; the lowest id among the largest logits is taken.
    From the first `end` on all tokens are `end`. `guesses` (int64 [clips, steps]) only save time:
    where they are right, one pass proves it.
    """

    def compute() -> list[NDArray[np.int64]]:
        weights = model.weights()
        pairs = zip(features, guesses, strict=True)
        return [np.array([listen(weights, *pair) for pair in pairs], dtype=np.int64)]

    def listen(
        weights: Weights, clip: NDArray[np.float32], guess: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        # All steps at once on a guess; every pass makes at least one more step final.
        while True:
            tokens = np.concatenate([prefix, guess[:-1]])
            logits = _logits(model, weights, ScoreSpeechRequest(features=clip, tokens=tokens))
            heard = np.argmax(logits[len(prefix) - 1 :], axis=-1)
            heard[np.cumsum(heard == end) > 0] = end
            if np.array_equal(heard, guess):
                return guess
            guess = heard

    clips = [ScoreSpeechRequest(features=clip, tokens=prefix) for clip in features]
    key = _key(model, "transcribe", inputs_hash(clips), f"{guesses.shape[1]} {end}")
    return keep(cache, key, 1, compute)[0]


def regrets(
    model: Model,
    prompts: Sequence[NDArray[np.int64]],
    chosen: Sequence[NDArray[np.int64]],
    cache: Path,
) -> list[NDArray[np.float64]]:
    """Return the regret (float64 [tokens]) of each token that a target chose after each prompt.

    The reference is given the target's own text so far.
    """
    texts = [np.concatenate(pair) for pair in zip(prompts, chosen, strict=True)]

    def compute() -> list[NDArray[np.float64]]:
        weights = model.weights()
        return [
            quality_metrics.regrets(
                _logits(model, weights, ScoreTextRequest(tokens=text[:-1]))[len(prompt) - 1 :],
                tokens,
            )
            for text, prompt, tokens in zip(texts, prompts, chosen, strict=True)
        ]

    asked = inputs_hash([ScoreTextRequest(tokens=text) for text in texts])
    key = _key(model, "regrets", asked, " ".join(str(len(prompt)) for prompt in prompts))
    return keep(cache, key, len(prompts), compute)


def _logits(
    model: Model, weights: Weights, request: ScoreTextRequest | ScoreSpeechRequest
) -> NDArray[np.float32]:
    from harness.models import llama, whisper

    if isinstance(request, ScoreTextRequest):
        assert isinstance(model.architecture, LlamaModel)
        return llama.reference_logits(weights, model.architecture, request.tokens)
    assert isinstance(model.architecture, WhisperModel)
    return whisper.reference_logits(weights, model.architecture, request.features, request.tokens)


def _key(model: Model, *parts: str) -> str:
    """Return the hash of `parts`, the architecture and every weight."""
    digest = hashlib.sha256("\n".join((str(VERSION), *parts)).encode())
    digest.update(canonical_json(model.architecture).encode())
    weights = model.weights()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def keep(
    cache: Path, key: str, count: int, compute: Callable[[], list[NDArray[Scalar]]]
) -> list[NDArray[Scalar]]:
    """Return the `count` arrays kept under `key`, or compute and keep them.

    A file that cannot be read (a full disk, a broken copy) is made again.
    """
    path = cache / f"reference-{key[:32]}.npz"
    try:
        # Opened here: np.load leaves a file that it cannot read open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as kept:
            return [kept[f"arr_{index}"] for index in range(count)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    arrays = compute()
    with whole_file(path, hint="free some disk space or set HARNESS_CACHE") as file:
        np.savez(file, *arrays)
    return arrays
