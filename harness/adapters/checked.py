"""Checks that a model can take a request: some runtimes would compute garbage without a word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import (
    Request,
    ScoreSpeechRequest,
    ScoreTextRequest,
    SpeechRequest,
    TextRequest,
)
from harness.errors import AdapterError
from harness.models.sampler import Sampler
from harness.schema.model import LlamaModel, WhisperModel


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that the model can take: its first tokens, and how many to generate (0: score)."""

    index: int
    tokens: NDArray[np.int64]
    features: NDArray[np.float32] | None
    steps: int
    sampler: Sampler | None


def check(architecture: LlamaModel | WhisperModel, index: int, request: Request) -> Checked:
    """Return the request `index` of a query as an engine takes it.

    Raises AdapterError for what the model cannot take.
    """
    a = architecture
    features = None
    steps = 0
    if isinstance(a, LlamaModel) and isinstance(request, TextRequest):
        tokens, steps = request.prompt, request.max_new_tokens
    elif isinstance(a, LlamaModel) and isinstance(request, ScoreTextRequest):
        tokens = request.tokens
    elif isinstance(a, WhisperModel) and isinstance(request, SpeechRequest):
        tokens, steps, features = request.prefix, request.max_new_tokens, request.features
    elif isinstance(a, WhisperModel) and isinstance(request, ScoreSpeechRequest):
        tokens, features = request.tokens, request.features
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
    most = positions_of(a)
    # The last token generated is not fed back, so it needs no room.
    if not 0 < len(tokens) <= len(tokens) + max(0, steps - 1) <= most:
        raise AdapterError(
            f"{len(tokens)} tokens and {steps} to generate do not fit in {most} positions"
        )
    if tokens.min() < 0 or tokens.max() >= a.vocabulary:
        raise AdapterError(f"a token is outside the vocabulary of {a.vocabulary}")
    sampling = request.sampling if isinstance(request, TextRequest) else None
    return Checked(
        index=index,
        tokens=np.ascontiguousarray(tokens, dtype=np.int64),
        features=features,
        steps=steps,
        sampler=Sampler(sampling) if sampling is not None else None,
    )


def positions_of(architecture: LlamaModel | WhisperModel) -> int:
    """Return how many positions of tokens the model has."""
    if isinstance(architecture, LlamaModel):
        return architecture.context
    return architecture.text_context
