"""The Whisper architecture as two ONNX graphs: the encoder runs once, the decoder at every step."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from harness.models.model import Weights
from harness.models.onnx_graph import DecoderGraph, Graph
from harness.models.whisper import NORM_EPSILON
from harness.schema.model import WhisperModel


def build_onnx(weights: Weights, architecture: WhisperModel, folder: Path) -> None:
    """Write encoder.onnx, decoder.onnx and their .data files into `folder`.

    encoder: features float32 [batch, mel bands, frames] to cross_key_I [batch, heads, head size,
    frames / 2] (turned, as the decoder's product wants it) and cross_value_I [batch, heads,
    frames / 2, head size], by decoder layer. decoder: inputs and outputs of `DecoderGraph`, the
    inputs cross_key_I and cross_value_I, and the output logits float32 [batch,
    count - logits_from, vocabulary].
    """
    a = architecture
    with Graph(folder / "encoder.onnx") as encoder:
        _write_encoder(_Parts(encoder, weights, a))
    path, head = folder / "decoder.onnx", a.hidden // a.heads
    with DecoderGraph(path, layers=a.decoder_layers, heads=a.heads, head=head) as decoder:
        _write_decoder(decoder, _Parts(decoder, weights, a))


class _Parts:
    """The blocks that both graphs are made of; states are [batch, positions, hidden]."""

    def __init__(self, graph: Graph, weights: Weights, architecture: WhisperModel) -> None:
        self.graph, self.weights, self.architecture = graph, weights, architecture
        self.head = architecture.hidden // architecture.heads

    def weight(self, name: str) -> str:
        return self.graph.weight(name, self.weights[name])

    def affine(self, states: str, *names: str) -> str:
        """Return the projections of `states` by `names`, side by side; keys have no bias.

        Queries are scaled by 1 / sqrt(head size): here once, not at every step.
        """
        matrices, biases = [], []
        for name in names:
            matrix = self.weights[f"{name}.weight"].astype(np.float32, copy=False)
            bias = np.zeros(len(matrix), dtype=np.float32)
            if not name.endswith("k_proj"):
                bias = self.weights[f"{name}.bias"].astype(np.float32)
            scale = np.float32(self.head**-0.5 if name.endswith("q_proj") else 1)
            matrices.append(matrix * scale)
            biases.append(bias * scale)
        product = self.graph.linear(f"{names[0]}.weights", states, *matrices)
        bias_name = self.graph.weight(f"{names[0]}.biases", np.concatenate(biases))
        return self.graph.op("Add", product, bias_name)

    def by_head(self, states: str, *, turned: bool = False, output: str | None = None) -> str:
        """Return [batch, heads, positions, head size], or with `turned` the last two swapped."""
        shape = self.graph.constant([0, 0, self.architecture.heads, self.head])
        perm = [0, 2, 3, 1] if turned else [0, 2, 1, 3]
        heads = self.graph.op("Reshape", states, shape)
        return self.graph.op("Transpose", heads, perm=perm, output=output)

    def project(self, states: str, name: str, parts: str) -> list[str]:
        """Return the `parts` ("q", "k", "v") of attention `name` of `states`."""
        both = self.affine(states, *(f"{name}.{part}_proj" for part in parts))
        if len(parts) == 1:
            return [both]
        return self.graph.split(both, [self.architecture.hidden] * len(parts), axis=-1)

    def attend(
        self, states: str, name: str, query: str, key: str, value: str, mask: str | None = None
    ) -> str:
        """Return `states` plus attention; `key` is turned."""
        op = self.graph.op
        scores = op("MatMul", query, key)
        if mask is not None:
            scores = op("Add", scores, mask)
        mixed = op("MatMul", op("Softmax", scores, axis=-1), value)
        mixed = op("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = op("Reshape", mixed, self.graph.constant([0, 0, self.architecture.hidden]))
        return op("Add", states, self.affine(mixed, f"{name}.out_proj"))

    def normalise(self, states: str, name: str) -> str:
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.graph.op(
            "LayerNormalization", states, scale, shift, axis=-1, epsilon=NORM_EPSILON
        )

    def feed_forward(self, states: str, name: str) -> str:
        normal = self.normalise(states, f"{name}.final_layer_norm")
        inner = self.gelu(self.affine(normal, f"{name}.fc1"))
        return self.graph.op("Add", states, self.affine(inner, f"{name}.fc2"))

    def gelu(self, states: str) -> str:
        # In this order runtimes know it for what it is, and use one kernel.
        op, constant = self.graph.op, self.graph.constant
        share = op("Erf", op("Div", states, constant(math.sqrt(2.0))))
        product = op("Mul", states, op("Add", share, constant(1.0)))
        return op("Mul", product, constant(0.5))

    def cross_shapes(self) -> dict[str, list[int | str]]:
        """Return the shapes of one layer's keys and values of the encoder's states."""
        a = self.architecture
        return {
            "key": ["batch", a.heads, self.head, a.frames // 2],
            "value": ["batch", a.heads, a.frames // 2, self.head],
        }


def _write_encoder(parts: _Parts) -> None:
    graph, a, op = parts.graph, parts.architecture, parts.graph.op
    states = graph.input("features", np.float32, ["batch", a.mel_bands, a.frames])
    for name, stride in (("model.encoder.conv1", 1), ("model.encoder.conv2", 2)):
        filters = (parts.weight(f"{name}.weight"), parts.weight(f"{name}.bias"))
        states = op("Conv", states, *filters, kernel_shape=[3], pads=[1, 1], strides=[stride])
        states = parts.gelu(states)
    states = op("Transpose", states, perm=[0, 2, 1])
    states = op("Add", states, parts.weight("model.encoder.embed_positions.weight"))
    for layer in range(a.encoder_layers):
        name = f"model.encoder.layers.{layer}"
        normal = parts.normalise(states, f"{name}.self_attn_layer_norm")
        query, key, value = parts.project(normal, f"{name}.self_attn", "qkv")
        query, key, value = (
            parts.by_head(query),
            parts.by_head(key, turned=True),
            parts.by_head(value),
        )
        states = parts.attend(states, f"{name}.self_attn", query, key, value)
        states = parts.feed_forward(states, name)
    states = parts.normalise(states, "model.encoder.layer_norm")
    for layer in range(a.decoder_layers):
        projected = parts.project(states, f"model.decoder.layers.{layer}.encoder_attn", "kv")
        for (part, shape), each in zip(parts.cross_shapes().items(), projected, strict=True):
            output = graph.output(f"cross_{part}_{layer}", np.float32, shape)
            parts.by_head(each, turned=part == "key", output=output)


def _write_decoder(graph: DecoderGraph, parts: _Parts) -> None:
    a, op = parts.architecture, graph.op
    embeddings = parts.weights["model.decoder.embed_tokens.weight"]
    states = op("Gather", graph.weight("embeddings", embeddings), graph.tokens)
    name = "model.decoder.embed_positions.weight"
    states = op("Add", states, graph.by_position(name, parts.weights[name]))
    for layer in range(a.decoder_layers):
        name = f"model.decoder.layers.{layer}"
        normal = parts.normalise(states, f"{name}.self_attn_layer_norm")
        projected = parts.project(normal, f"{name}.self_attn", "qkv")
        query, key, value = (parts.by_head(each) for each in projected)
        key, value = graph.remember(layer, key, value)
        key = op("Transpose", key, perm=[0, 1, 3, 2])
        states = parts.attend(states, f"{name}.self_attn", query, key, value, graph.mask)
        normal = parts.normalise(states, f"{name}.encoder_attn_layer_norm")
        (query,) = parts.project(normal, f"{name}.encoder_attn", "q")
        key, value = (
            graph.input(f"cross_{part}_{layer}", np.float32, shape)
            for part, shape in parts.cross_shapes().items()
        )
        query = parts.by_head(query)
        states = parts.attend(states, f"{name}.encoder_attn", query, key, value)
        states = parts.feed_forward(states, name)
    states = parts.normalise(graph.wanted(states), "model.decoder.layer_norm")
    logits = graph.output("logits", np.float32, ["batch", "wanted", a.vocabulary])
    # Its own matrix although tied: a quantiser can take it, and no step turns it.
    graph.linear("proj_out", states, embeddings, output=logits)
