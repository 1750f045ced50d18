"""The requests of a workload, drawn from its seed: the same on every machine and in every run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError
from harness.models.audio import draw_clip, log_mel
from harness.models.requests import Request, RowRequest, SpeechRequest, TextRequest
from harness.models.transactions import draw_transactions
from harness.schema.workload import (
    AudioInputs,
    Distribution,
    LlamaModel,
    PromptInputs,
    TransactionInputs,
    WhisperModel,
    Workload,
)

WHISPER_VOCABULARY = 51_865
WHISPER_PREFIX = (50_258, 50_259, 50_359, 50_363)
"""Start of transcript, English, transcribe, no timestamps: Whisper's multilingual token ids."""


def draw_requests(workload: Workload) -> list[Request]:
    """Return the requests of `workload`, `inputs.count` of them, drawn from `inputs.seed`.

    A larger count begins with the same prompts or clips. Raises SpecError if inputs and model do
    not go together.
    """
    inputs, model = workload.inputs, workload.model
    if isinstance(inputs, PromptInputs) and isinstance(model, LlamaModel):
        return list(_prompts(inputs, model))
    if isinstance(inputs, AudioInputs) and isinstance(model, WhisperModel):
        return list(_clips(inputs, model))
    if isinstance(inputs, TransactionInputs):
        features, _, _ = draw_transactions(inputs.count, inputs.seed)
        return [RowRequest(features=row) for row in features]
    raise SpecError(f"inputs of kind '{inputs.kind}' do not go with a {model.family} model")


def draw_lengths(
    distribution: Distribution, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return `count` lengths in tokens (int64 [count]).

    uniform: every integer from minimum to maximum, both included. lognormal: exp of a normal with
    mean ln(mean) - sigma^2 / 2, rounded, then clipped to [minimum, maximum]; where the bounds cut
    much off, the mean of what is drawn is not `mean`.
    """
    if distribution.kind == "fixed":
        return np.full(count, distribution.value, dtype=np.int64)
    low, high = distribution.minimum, distribution.maximum
    assert low is not None
    assert high is not None
    if distribution.kind == "uniform":
        return rng.integers(low, high, size=count, endpoint=True)
    mean, sigma = distribution.mean, distribution.sigma
    assert mean is not None
    assert sigma is not None
    drawn = rng.lognormal(math.log(mean) - sigma**2 / 2, sigma, count)
    return np.clip(np.rint(drawn), low, high).astype(np.int64)


def speech_prefix(model: WhisperModel) -> NDArray[np.int64]:
    """Return the tokens that decoding starts from: Whisper's own; token 0 of a small vocabulary."""
    whole = model.vocabulary >= WHISPER_VOCABULARY
    return np.array(WHISPER_PREFIX if whole else (0,), dtype=np.int64)


def inputs_hash(requests: Sequence[Request]) -> str:
    """Return the sha256 (hex) of `requests`: types, shapes, values and order."""
    digest = hashlib.sha256()
    for request in requests:
        digest.update(f"{type(request).__name__}\n".encode())
        for field in fields(request):
            value = getattr(request, field.name)
            if isinstance(value, np.ndarray):
                digest.update(f"{field.name} {value.dtype.str} {value.shape}\n".encode())
                digest.update(np.ascontiguousarray(value).tobytes())
            else:
                digest.update(f"{field.name} {value!r}\n".encode())
    return digest.hexdigest()


def _prompts(inputs: PromptInputs, model: LlamaModel) -> list[TextRequest]:
    asked, wanted, *streams = _streams(inputs.seed, 2 + inputs.count)
    prompts = draw_lengths(inputs.prompt_tokens, inputs.count, asked)
    outputs = draw_lengths(inputs.output_tokens, inputs.count, wanted)
    return [
        TextRequest(
            prompt=rng.integers(0, model.vocabulary, size=int(length), dtype=np.int64),
            max_new_tokens=int(output),
        )
        for rng, length, output in zip(streams, prompts, outputs, strict=True)
    ]


def _clips(inputs: AudioInputs, model: WhisperModel) -> list[SpeechRequest]:
    prefix = speech_prefix(model)
    # The last token is put out, never fed back.
    needed = len(prefix) + inputs.output_tokens.upper - 1
    if needed > model.text_context:
        raise SpecError(
            f"{inputs.output_tokens.upper} output tokens after a prefix of {len(prefix)} need "
            f"{needed} positions, above the model's 'text_context' of {model.text_context}"
        )
    wanted, *streams = _streams(inputs.seed, 1 + inputs.count)
    outputs = draw_lengths(inputs.output_tokens, inputs.count, wanted)
    return [
        SpeechRequest(
            features=log_mel(
                draw_clip(inputs.duration_s, rng), bands=model.mel_bands, frames=model.frames
            ),
            prefix=prefix,
            max_new_tokens=int(output),
            audio_s=inputs.duration_s,
        )
        for rng, output in zip(streams, outputs, strict=True)
    ]


def _streams(seed: int, count: int) -> list[np.random.Generator]:
    """Return independent generators, one for each thing drawn: no draw shifts another."""
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(count)]
