"""The Whisper architecture: what its weights are called, how they are drawn, and what it computes.

`reference_logits` is written straight from the definition, in float64 numpy: slow, and the truth
that every runtime is held against. Weights have the names of a Hugging Face state dict.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError
from harness.models.model import Weights
from harness.schema.model import WhisperModel

NORM_EPSILON = 1e-5
LONGEST_PERIOD = 10_000
"""Of the encoder's sinusoidal positions, in units of 2 pi frames."""
SPREAD = 0.1
"""Drawn biases and norms spread, so that a runtime that forgets one is found out."""
ENGLISH_VOCABULARY = 51_864
"""Of Whisper's smallest vocabulary, that of its models for English alone."""
ENGLISH_PREFIX = (50_257, 50_362)
"""Start of transcript, no timestamps."""
START, ENGLISH = 50_258, 50_259
"""Start of transcript and the first language, in the vocabularies of more languages."""
LANGUAGES, LANGUAGES_V3, BANDS_V3 = 99, 100, 128
"""large-v3 knows one language more, and is the first with 128 bands."""


def parameter_shapes(architecture: WhisperModel) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name. Matrices are [outputs, inputs].

    Convolutions are [outputs, inputs, 3]. Raises SpecError if the hidden size is odd or below 4.
    """
    a = architecture
    if a.hidden % 2 or a.hidden < 4:
        raise SpecError(f"a Whisper model needs an even 'hidden' of at least 4, not {a.hidden}")

    def affine(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (a.hidden,), f"{name}.bias": (a.hidden,)}

    def attention(name: str) -> dict[str, tuple[int, ...]]:
        return {
            f"{name}.k_proj.weight": (a.hidden, a.hidden),
            **affine(f"{name}.v_proj", a.hidden, a.hidden),
            **affine(f"{name}.q_proj", a.hidden, a.hidden),
            **affine(f"{name}.out_proj", a.hidden, a.hidden),
        }

    def feed_forward(name: str) -> dict[str, tuple[int, ...]]:
        return {
            **affine(f"{name}.fc1", 4 * a.hidden, a.hidden),
            **affine(f"{name}.fc2", a.hidden, 4 * a.hidden),
            **norm(f"{name}.final_layer_norm"),
        }

    shapes: dict[str, tuple[int, ...]] = {
        "model.encoder.conv1.weight": (a.hidden, a.mel_bands, 3),
        "model.encoder.conv1.bias": (a.hidden,),
        "model.encoder.conv2.weight": (a.hidden, a.hidden, 3),
        "model.encoder.conv2.bias": (a.hidden,),
        "model.encoder.embed_positions.weight": (a.frames // 2, a.hidden),
    }
    for layer in range(a.encoder_layers):
        name = f"model.encoder.layers.{layer}"
        shapes |= attention(f"{name}.self_attn") | norm(f"{name}.self_attn_layer_norm")
        shapes |= feed_forward(name)
    shapes |= norm("model.encoder.layer_norm")
    shapes["model.decoder.embed_tokens.weight"] = (a.vocabulary, a.hidden)
    shapes["model.decoder.embed_positions.weight"] = (a.text_context, a.hidden)
    for layer in range(a.decoder_layers):
        name = f"model.decoder.layers.{layer}"
        shapes |= attention(f"{name}.self_attn") | norm(f"{name}.self_attn_layer_norm")
        shapes |= attention(f"{name}.encoder_attn") | norm(f"{name}.encoder_attn_layer_norm")
        shapes |= feed_forward(name)
    return shapes | norm("model.decoder.layer_norm")


def speech_prefix(model: WhisperModel) -> NDArray[np.int64]:
    """Return the tokens that decoding starts from: those for an English transcript without times.

    Of a vocabulary smaller than Whisper's the `start_token`, or 0. After the languages come
    translate, transcribe, start of LM, previous text, no speech and no timestamps. Source:
    https://github.com/openai/whisper/blob/main/whisper/tokenizer.py
    """
    if model.vocabulary < ENGLISH_VOCABULARY:
        return np.array([model.start_token or 0], dtype=np.int64)
    if model.vocabulary == ENGLISH_VOCABULARY:
        return np.array(ENGLISH_PREFIX, dtype=np.int64)
    third = model.mel_bands == BANDS_V3 and model.vocabulary > ENGLISH_VOCABULARY + 1
    translate = ENGLISH + (LANGUAGES_V3 if third else LANGUAGES)
    return np.array([START, ENGLISH, translate + 1, translate + 5], dtype=np.int64)


def draw_weights(architecture: WhisperModel) -> dict[str, NDArray[np.float32]]:
    """Return weights drawn from the architecture's seed, float32.

    Matrices are normal with variance 1 / inputs, so that activations and logits are of order 1 at
    any size; the decoder's positions have variance 1, so that it does not say one token for ever.
    The encoder's positions are the sinusoids that they are by definition.
    """
    rng = np.random.default_rng(architecture.seed)
    weights = {}
    for name, shape in parameter_shapes(architecture).items():
        if name == "model.encoder.embed_positions.weight":
            weights[name] = sinusoids(*shape)
            continue
        weight = rng.standard_normal(shape, dtype=np.float32)
        if name == "model.decoder.embed_positions.weight":
            weights[name] = weight
        elif len(shape) > 1:
            weights[name] = weight * np.float32(math.prod(shape[1:]) ** -0.5)
        else:
            centre = np.float32(name.endswith("norm.weight"))
            weights[name] = centre + np.float32(SPREAD) * weight
    return weights


def sinusoids(length: int, channels: int) -> NDArray[np.float32]:
    """Return the encoder's positions, float32 [length, channels]: sines, then cosines."""
    half = channels // 2
    rates = np.exp(-math.log(LONGEST_PERIOD) / (half - 1) * np.arange(half))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def reference_logits(
    weights: Weights,
    architecture: WhisperModel,
    features: NDArray[np.float32],
    tokens: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the logits after each of `tokens` (int64 [length]): float32 [length, vocabulary].

    `features` are log-mel frames, float32 [mel bands, frames]. Computed in float64. Raises
    ValueError if `features` have another shape or `tokens` do not fit in the context.
    """
    return _decode(weights, architecture, _encode(weights, architecture, features), tokens)


def _encode(
    weights: Weights, architecture: WhisperModel, features: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the encoder's states, float64 [frames / 2, hidden]."""
    a = architecture
    if features.shape != (a.mel_bands, a.frames):
        raise ValueError(f"features are {features.shape}, not {(a.mel_bands, a.frames)}")
    states = features.astype(np.float64).T
    for name, stride in (("model.encoder.conv1", 1), ("model.encoder.conv2", 2)):
        padded = np.pad(states, ((1, 1), (0, 0)))
        # [positions, inputs, 3]: each position with its neighbours
        windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=0)[::stride]
        kernel = _wide(weights, f"{name}.weight")
        states = np.tensordot(windows, kernel, axes=((1, 2), (1, 2)))
        states = _gelu(states + _wide(weights, f"{name}.bias"))
    states = states + _wide(weights, "model.encoder.embed_positions.weight")
    for layer in range(a.encoder_layers):
        name = f"model.encoder.layers.{layer}"
        normal = _normalise(weights, f"{name}.self_attn_layer_norm", states)
        states = states + _attend(weights, f"{name}.self_attn", normal, normal, a.heads)
        states = _feed_forward(weights, name, states)
    return _normalise(weights, "model.encoder.layer_norm", states)


def _decode(
    weights: Weights,
    architecture: WhisperModel,
    encoded: NDArray[np.float64],
    tokens: NDArray[np.int64],
) -> NDArray[np.float32]:
    a = architecture
    length = len(tokens)
    if not 0 < length <= a.text_context:
        raise ValueError(f"{length} tokens do not fit in a context of {a.text_context}")
    embeddings = _wide(weights, "model.decoder.embed_tokens.weight")
    states = embeddings[tokens] + _wide(weights, "model.decoder.embed_positions.weight")[:length]
    mask = np.triu(np.full((length, length), -np.inf), k=1)
    for layer in range(a.decoder_layers):
        name = f"model.decoder.layers.{layer}"
        normal = _normalise(weights, f"{name}.self_attn_layer_norm", states)
        states = states + _attend(weights, f"{name}.self_attn", normal, normal, a.heads, mask)
        normal = _normalise(weights, f"{name}.encoder_attn_layer_norm", states)
        states = states + _attend(weights, f"{name}.encoder_attn", normal, encoded, a.heads)
        states = _feed_forward(weights, name, states)
    states = _normalise(weights, "model.decoder.layer_norm", states)
    return (states @ embeddings.T).astype(np.float32)


def _wide(weights: Weights, name: str) -> NDArray[np.float64]:
    return weights[name].astype(np.float64)


def _affine(weights: Weights, name: str, states: NDArray[np.float64]) -> NDArray[np.float64]:
    return states @ _wide(weights, f"{name}.weight").T + _wide(weights, f"{name}.bias")


def _normalise(weights: Weights, name: str, states: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = states - states.mean(axis=-1, keepdims=True)
    variance = np.mean(centred**2, axis=-1, keepdims=True)
    scale, shift = _wide(weights, f"{name}.weight"), _wide(weights, f"{name}.bias")
    normal: NDArray[np.float64] = centred / np.sqrt(variance + NORM_EPSILON) * scale + shift
    return normal


def _attend(
    weights: Weights,
    name: str,
    states: NDArray[np.float64],
    source: NDArray[np.float64],
    heads: int,
    mask: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return attention from `states` to `source` ([positions, hidden] both); keys have no bias."""

    def by_head(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return array.reshape(len(array), heads, -1).transpose(1, 0, 2)

    queries = by_head(_affine(weights, f"{name}.q_proj", states))
    keys = by_head(source @ _wide(weights, f"{name}.k_proj.weight").T)
    values = by_head(_affine(weights, f"{name}.v_proj", source))
    scores = queries @ keys.transpose(0, 2, 1) / math.sqrt(queries.shape[-1])
    if mask is not None:
        scores = scores + mask
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = scores / scores.sum(axis=-1, keepdims=True) @ values
    return _affine(weights, f"{name}.out_proj", mixed.transpose(1, 0, 2).reshape(states.shape))


def _feed_forward(weights: Weights, name: str, states: NDArray[np.float64]) -> NDArray[np.float64]:
    normal = _normalise(weights, f"{name}.final_layer_norm", states)
    return states + _affine(weights, f"{name}.fc2", _gelu(_affine(weights, f"{name}.fc1", normal)))


def _gelu(states: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x times the normal distribution function of x, exactly."""
    flat = (states / math.sqrt(2)).ravel().tolist()
    error_function = np.fromiter(map(math.erf, flat), np.float64, len(flat))
    return states * 0.5 * (1 + error_function.reshape(states.shape))
