"""The Llama architecture as onnxruntime-genai takes it: a folder with a graph and a configuration.

The same graph, with an input more, serves continuous batching. Attention, with its rotation and its
cache, is one operator of ONNX Runtime.
Sources: https://onnxruntime.ai/docs/genai/reference/config.html and
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md (GroupQueryAttention).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.models.llama import output_matrix, rotary_tables
from harness.models.llama_onnx import feed_forward, normalise
from harness.models.model import Weights
from harness.models.onnx_graph import Graph
from harness.schema.model import LlamaModel

CONFIGURATION = "genai_config.json"
HEAD_MULTIPLE = 16
"""Of the size of a head, in the operator for attention."""
INT32 = 6
"""The element type, as ONNX numbers them."""


def build_genai(weights: Weights, architecture: LlamaModel, folder: Path) -> None:
    """Write model.onnx, model.data and genai_config.json into `folder`, float32.

    There is no tokenizer, as requests are token ids. The runtime ends answers with `end_token`.
    """
    a = architecture
    with Graph(folder / "model.onnx") as graph:
        _write(graph, weights, a)
    write_configuration(a, folder)


def build_continuous(weights: Weights, architecture: LlamaModel, folder: Path) -> None:
    """Write model.onnx and model.data into `folder`, float32, for continuous batching.

    The input logits_from, int64 [1], is the first of the added positions that logits are wanted
    for. attention_mask begins with as many ones as the sequence then has positions.
    """
    with Graph(folder / "model.onnx") as graph:
        _write(graph, weights, architecture, chosen=True)


def write_configuration(architecture: LlamaModel, folder: Path) -> None:
    """Write the genai_config.json of a model of `architecture` into `folder`."""
    a = architecture
    configuration = {
        "model": {
            "type": "llama",
            "vocab_size": a.vocabulary,
            # The last token that is generated is not fed back: it needs no position.
            "context_length": a.context + 1,
            "bos_token_id": 0,
            "eos_token_id": [end_token(a)],
            # No token: what a prompt ends with would be taken for padding, and left unseen.
            "pad_token_id": -1,
            "decoder": {
                "filename": "model.onnx",
                "session_options": {"provider_options": []},
                "head_size": wide_head(a.hidden // a.heads),
                "hidden_size": a.hidden,
                "num_attention_heads": a.heads,
                "num_hidden_layers": a.layers,
                "num_key_value_heads": a.kv_heads,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        # One buffer holds the cache before and after a step: nothing is copied.
        "search": {
            "max_length": a.context + 1,
            "past_present_share_buffer": True,
            "do_sample": False,
        },
    }
    (folder / CONFIGURATION).write_text(json.dumps(configuration, indent=1, sort_keys=True))


def end_token(architecture: LlamaModel) -> int:
    """Return the token that ends a sequence for the runtime, which has no way to have none.

    With an empty list of end tokens it takes the padding's. The last one is seldom chosen:
    vocabularies end with reserved and with filling tokens.
    """
    return architecture.vocabulary - 1


def _write(graph: Graph, weights: Weights, a: LlamaModel, *, chosen: bool = False) -> None:
    op, constant = graph.op, graph.constant
    head = a.hidden // a.heads
    wide = wide_head(head)
    tokens = graph.input("input_ids", np.int64, ["batch", "count"])
    seen = graph.input("attention_mask", np.int64, ["batch", "total"])
    lengths = op("ReduceSum", seen, constant([1]), keepdims=0)
    last = op("Cast", op("Sub", lengths, constant(1)), to=INT32)
    total = op("Cast", op("Gather", op("Shape", seen), constant(1), axis=0), to=INT32)
    cosine_table, sine_table = rotary_tables(a)
    spare = ((0, 0), (0, (wide - head) // 2))
    cosines = graph.weight("cosines", np.pad(cosine_table, spare, constant_values=1.0))
    sines = graph.weight("sines", np.pad(sine_table, spare))
    states = op("Gather", graph.weight("embeddings", weights["model.embed_tokens.weight"]), tokens)

    def cache(length: str) -> list[int | str]:
        return ["batch", a.kv_heads, length, wide]

    for layer in range(a.layers):
        name = f"model.layers.{layer}"
        parts = ("key", "value")
        past = [
            graph.input(f"past_key_values.{layer}.{part}", np.float32, cache("past"))
            for part in parts
        ]
        present = [
            graph.output(f"present.{layer}.{part}", np.float32, cache("total")) for part in parts
        ]
        normal = normalise(graph, states, weights, f"{name}.input_layernorm.weight", a)
        projections = [
            _widen(weights[f"{name}.self_attn.{part}_proj.weight"], head, wide) for part in "qkv"
        ]
        packed = graph.linear(f"{name}.query_key_value", normal, *projections)
        mixed = graph.ops(
            "com.microsoft.GroupQueryAttention",
            [packed, "", "", *past, last, total, cosines, sines],
            [f"{name}.mixed", *present],
            num_heads=a.heads,
            kv_num_heads=a.kv_heads,
            do_rotary=1,
            rotary_interleaved=0,
            scale=head**-0.5,
        )[0]
        output = f"{name}.self_attn.o_proj.weight"
        narrow = _widen(weights[output].T, head, wide).T
        states = op("Add", states, graph.linear(output, mixed, narrow))
        normal = normalise(graph, states, weights, f"{name}.post_attention_layernorm.weight", a)
        states = op("Add", states, feed_forward(graph, normal, name, weights, a))
    count = "count"
    if chosen:
        states = graph.since(states, graph.input("logits_from", np.int64, [1]))
        count = "wanted"
    states = normalise(graph, states, weights, "model.norm.weight", a)
    logits = graph.output("logits", np.float32, ["batch", count, a.vocabulary])
    graph.linear("lm_head", states, output_matrix(weights, a), output=logits)


def wide_head(head: int) -> int:
    """Return the size of a head, and of its keys and values, with what fills it up."""
    return -(-head // HEAD_MULTIPLE) * HEAD_MULTIPLE


def _widen(matrix: NDArray[np.generic], head: int, wide: int) -> NDArray[np.generic]:
    """Return `matrix` [heads * head, ...] with rows of zeros that make each head `wide`.

    The zeros follow each half of a head, because one half is turned with the other. They add
    nothing to a score, and what comes of them meets zeros in the output matrix: the result is the
    same.
    """
    if head == wide:
        return matrix
    halves = matrix.reshape(-1, 2, head // 2, matrix.shape[1])
    spare = (wide - head) // 2
    return np.pad(halves, ((0, 0), (0, 0), (0, spare), (0, 0))).reshape(-1, matrix.shape[1])
