"""The Llama architecture: what its weights are called, how they are drawn, and what it computes.

`reference_logits` is written straight from the definition, in float64 numpy: slow, and the truth
that every runtime is held against. Weights have the names of a Hugging Face state dict.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.models.model import Weights
from harness.schema.model import LlamaModel

NORM_SPREAD = 0.1
"""Drawn norm weights spread around 1, so that a runtime that forgets one is found out."""


def parameter_shapes(architecture: LlamaModel) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name. Matrices are [outputs, inputs]."""
    a = architecture
    head = a.hidden // a.heads
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (a.vocabulary, a.hidden)}
    for layer in range(a.layers):
        name = f"model.layers.{layer}"
        shapes |= {
            f"{name}.input_layernorm.weight": (a.hidden,),
            f"{name}.self_attn.q_proj.weight": (a.heads * head, a.hidden),
            f"{name}.self_attn.k_proj.weight": (a.kv_heads * head, a.hidden),
            f"{name}.self_attn.v_proj.weight": (a.kv_heads * head, a.hidden),
            f"{name}.self_attn.o_proj.weight": (a.hidden, a.heads * head),
            f"{name}.post_attention_layernorm.weight": (a.hidden,),
            f"{name}.mlp.gate_proj.weight": (a.intermediate, a.hidden),
            f"{name}.mlp.up_proj.weight": (a.intermediate, a.hidden),
            f"{name}.mlp.down_proj.weight": (a.hidden, a.intermediate),
        }
    shapes["model.norm.weight"] = (a.hidden,)
    if not a.tied_embeddings:
        shapes["lm_head.weight"] = (a.vocabulary, a.hidden)
    return shapes


def draw_weights(architecture: LlamaModel) -> dict[str, NDArray[np.float32]]:
    """Return weights drawn from the architecture's seed, float32.

    Matrices are normal with variance 1 / inputs, so that activations and logits are of order 1 at
    any size: a wrong computation then moves the output distribution. Norms are 1 with a spread.
    """
    return dict(drawn_weights(architecture))


def drawn_weights(architecture: LlamaModel) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the weights of `draw_weights` by name, one at a time: 1 B parameters are 4.4 GB."""
    rng = np.random.default_rng(architecture.seed)
    for name, shape in parameter_shapes(architecture).items():
        weight = rng.standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            weight *= np.float32(NORM_SPREAD)
            weight += 1
        else:
            weight *= np.float32(shape[1] ** -0.5)
        yield name, weight


def output_matrix(weights: Weights, architecture: LlamaModel) -> NDArray[np.generic]:
    """Return the matrix [vocabulary, hidden] that makes logits: the embeddings where tied."""
    name = "model.embed_tokens.weight" if architecture.tied_embeddings else "lm_head.weight"
    return weights[name]


def rotary_tables(architecture: LlamaModel) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cosines and sines by position, float32 [context, head size / 2] each.

    Entry (p, i) is of the angle p * theta ** (-2 i / head size), computed in float64.
    """
    head = architecture.hidden // architecture.heads
    rates = architecture.rope_theta ** (-np.arange(0, head, 2, dtype=np.float64) / head)
    angles = np.arange(architecture.context)[:, None] * rates
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def reference_logits(
    weights: Weights, architecture: LlamaModel, tokens: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the logits after each of `tokens` (int64 [length]): float32 [length, vocabulary].

    Computed in float64. Raises ValueError if `tokens` is longer than the context.
    """
    a = architecture
    length = len(tokens)
    if not 0 < length <= a.context:
        raise ValueError(f"{length} tokens do not fit in a context of {a.context}")
    head = a.hidden // a.heads
    cosines, sines = (table[:length].astype(np.float64) for table in rotary_tables(a))
    mask = np.triu(np.full((length, length), -np.inf), k=1)

    def wide(name: str) -> NDArray[np.float64]:
        return weights[name].astype(np.float64)

    def normalise(states: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        mean_square = np.mean(states**2, axis=-1, keepdims=True)
        scaled: NDArray[np.float64] = states / np.sqrt(mean_square + a.norm_epsilon) * wide(name)
        return scaled

    def by_head(states: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        return states.reshape(length, count, head).transpose(1, 0, 2)

    def rotate(states: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = np.split(states, 2, axis=-1)
        return np.concatenate(
            [first * cosines - second * sines, second * cosines + first * sines], axis=-1
        )

    states = weights["model.embed_tokens.weight"][tokens].astype(np.float64)
    for layer in range(a.layers):
        name = f"model.layers.{layer}"
        normal = normalise(states, f"{name}.input_layernorm.weight")
        queries = rotate(by_head(normal @ wide(f"{name}.self_attn.q_proj.weight").T, a.heads))
        keys = rotate(by_head(normal @ wide(f"{name}.self_attn.k_proj.weight").T, a.kv_heads))
        values = by_head(normal @ wide(f"{name}.self_attn.v_proj.weight").T, a.kv_heads)
        keys, values = (np.repeat(each, a.heads // a.kv_heads, axis=0) for each in (keys, values))
        scores = queries @ keys.transpose(0, 2, 1) / np.sqrt(head) + mask
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = scores / scores.sum(axis=-1, keepdims=True) @ values
        mixed = mixed.transpose(1, 0, 2).reshape(length, a.hidden)
        states = states + mixed @ wide(f"{name}.self_attn.o_proj.weight").T
        normal = normalise(states, f"{name}.post_attention_layernorm.weight")
        gate = normal @ wide(f"{name}.mlp.gate_proj.weight").T
        gate = gate / (1 + np.exp(-gate))
        inner = gate * (normal @ wide(f"{name}.mlp.up_proj.weight").T)
        states = states + inner @ wide(f"{name}.mlp.down_proj.weight").T
    states = normalise(states, "model.norm.weight")
    return (states @ output_matrix(weights, a).astype(np.float64).T).astype(np.float32)
