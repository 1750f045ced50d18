"""The Llama architecture as an ONNX graph with its key-value cache as inputs and outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.models.llama import output_matrix, rotary_tables
from harness.models.model import Weights
from harness.models.onnx_graph import HIDDEN_SCORE, DecoderGraph, Graph
from harness.schema.model import LlamaModel


def build_onnx(weights: Weights, architecture: LlamaModel, folder: Path) -> None:
    """Write model.onnx and model.data into `folder`.

    Inputs and outputs are those of `DecoderGraph`, the input padding int64 [batch], and the output
    logits float32 [batch, count - logits_from, vocabulary]. So many of the first positions of a
    sequence are padding, which no other position sees: prompts of different lengths are aligned at
    their ends. Rotary positions count, in a score, by their difference alone.
    """
    a = architecture
    head = a.hidden // a.heads
    path = folder / "model.onnx"
    with DecoderGraph(path, layers=a.layers, heads=a.kv_heads, head=head) as graph:
        _write(graph, weights, a)


def _write(graph: DecoderGraph, weights: Weights, a: LlamaModel) -> None:
    op, constant = graph.op, graph.constant
    mask = _hide_padding(graph)
    head, shared = a.hidden // a.heads, a.heads > a.kv_heads

    cosine_table, sine_table = rotary_tables(a)
    cosines = graph.by_position("cosines", np.concatenate([cosine_table, cosine_table], axis=1))
    # Rotation swaps the halves, which a Gather does; the sign that goes with it is in the table.
    sines = graph.by_position("sines", np.concatenate([-sine_table, sine_table], axis=1))
    swapped = constant(np.roll(np.arange(head), head // 2))
    if shared:
        by_head, by_group = (
            op("Concat", constant([0, heads, -1]), graph.total, axis=0)
            for heads in (a.heads, a.kv_heads)
        )

    embeddings = graph.weight("embeddings", weights["model.embed_tokens.weight"])
    states = op("Gather", embeddings, graph.tokens)
    for layer in range(a.layers):
        name = f"model.layers.{layer}"
        normal = normalise(graph, states, weights, f"{name}.input_layernorm.weight", a)
        projections = [weights[f"{name}.self_attn.{part}_proj.weight"] for part in "qkv"]
        # Scores are scaled by 1 / sqrt(head size): here once, not at every step.
        projections[0] = projections[0].astype(np.float32) * np.float32(head**-0.5)
        heads = graph.linear(f"{name}.query_key_value", normal, *projections)
        heads = op("Reshape", heads, constant([0, 0, a.heads + 2 * a.kv_heads, head]))
        heads = op("Transpose", heads, perm=[0, 2, 1, 3])
        query_key, value = graph.split(heads, [a.heads + a.kv_heads, a.kv_heads], axis=1)
        turned = op("Mul", op("Gather", query_key, swapped, axis=3), sines)
        query_key = op("Add", op("Mul", query_key, cosines), turned)
        query, key = graph.split(query_key, [a.heads, a.kv_heads], axis=1)
        key, value = graph.remember(layer, key, value)
        if shared:
            # Heads that share keys become rows of one product: nothing is repeated.
            query = op("Reshape", query, constant([0, a.kv_heads, -1, head]))
        scores = op("MatMul", query, op("Transpose", key, perm=[0, 1, 3, 2]))
        if shared:
            scores = op("Reshape", scores, by_head)
        shares = op("Softmax", op("Add", scores, mask), axis=-1)
        if shared:
            shares = op("Reshape", shares, by_group)
        mixed = op("MatMul", shares, value)
        if shared:
            mixed = op("Reshape", mixed, constant([0, a.heads, -1, head]))
        mixed = op("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = op("Reshape", mixed, constant([0, 0, a.hidden]))
        output = f"{name}.self_attn.o_proj.weight"
        states = op("Add", states, graph.linear(output, mixed, weights[output]))

        normal = normalise(graph, states, weights, f"{name}.post_attention_layernorm.weight", a)
        states = op("Add", states, feed_forward(graph, normal, name, weights, a))

    states = normalise(graph, graph.wanted(states), weights, "model.norm.weight", a)
    logits = graph.output("logits", np.float32, ["batch", "wanted", a.vocabulary])
    # Its own matrix also where embeddings are tied: a quantiser can take it, and no step turns it.
    graph.linear("lm_head", states, output_matrix(weights, a), output=logits)


def normalise(graph: Graph, states: str, weights: Weights, name: str, a: LlamaModel) -> str:
    """Return `states` over their root mean square, times the weight `name`."""
    op, constant = graph.op, graph.constant
    # In this order runtimes know it for what it is, and use one kernel.
    mean_square = op("ReduceMean", op("Pow", states, constant(2.0)), axes=[-1], keepdims=1)
    root = op("Sqrt", op("Add", mean_square, constant(a.norm_epsilon)))
    return op("Mul", op("Div", states, root), graph.weight(name, weights[name]))


def feed_forward(graph: Graph, normal: str, name: str, weights: Weights, a: LlamaModel) -> str:
    """Return what the layer `name` adds to the states after attention: SwiGLU of `normal`."""
    op = graph.op
    inner = [weights[f"{name}.mlp.{part}_proj.weight"] for part in ("gate", "up")]
    gate_up = graph.linear(f"{name}.gate_up", normal, *inner)
    gate, up = graph.split(gate_up, [a.intermediate, a.intermediate], axis=-1)
    product = op("Mul", op("Mul", gate, op("Sigmoid", gate)), up)
    down = f"{name}.mlp.down_proj.weight"
    return graph.linear(down, product, weights[down])


def _hide_padding(graph: DecoderGraph) -> str:
    """Return the graph's mask [batch, 1, count, total] with each sequence's padding hidden too."""
    op, constant = graph.op, graph.constant
    padding = op("Unsqueeze", graph.input("padding", np.int64, ["batch"]), constant([1, 2, 3]))
    length = op("Squeeze", graph.total, constant([0]))
    columns = op("Range", constant(0), length, constant(1))
    hidden = op("Where", op("Less", columns, padding), constant(HIDDEN_SCORE), constant(0.0))
    return op("Add", graph.mask, hidden)
