"""The Llama architecture as a GGUF file, for llama.cpp.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Blocks of the quantised types:
https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h (q8_0, q4_0).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UnsupportedError
from harness.models.model import Weights
from harness.schema.model import LlamaModel

TYPES = {"f32": "F32", "f16": "F16", "q8_0": "Q8_0", "q4_0": "Q4_0"}
"""By the name that llama.cpp uses: the type of all matrices. Norms stay float32."""
ELEMENTS = {"F32": np.float32, "F16": np.float16}
BLOCK = 32
"""Weights of one output that share a scale, in the quantised types."""
OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def build_gguf(weights: Weights, architecture: LlamaModel, path: Path, kind: str) -> None:
    """Write `path` with all matrices in the type `kind` (see TYPES); there is no tokenizer.

    One matrix at a time is in memory. Raises UnsupportedError if a quantised block does not fit.
    """
    import gguf

    a = architecture
    if kind.startswith("q") and (a.hidden % BLOCK or a.intermediate % BLOCK):
        raise UnsupportedError(
            f"{kind} quantises blocks of {BLOCK}, and 'hidden' {a.hidden} or 'intermediate' "
            f"{a.intermediate} is not a multiple"
        )
    matrix_type = gguf.GGMLQuantizationType[TYPES[kind]]
    vector_type = gguf.GGMLQuantizationType.F32
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(a.context)
    writer.add_embedding_length(a.hidden)
    writer.add_block_count(a.layers)
    writer.add_feed_forward_length(a.intermediate)
    writer.add_head_count(a.heads)
    writer.add_head_count_kv(a.kv_heads)
    writer.add_layer_norm_rms_eps(a.norm_epsilon)
    writer.add_rope_dimension_count(a.hidden // a.heads)
    writer.add_rope_freq_base(a.rope_theta)
    writer.add_vocab_size(a.vocabulary)
    writer.add_file_type(
        gguf.LlamaFileType["ALL_F32" if kind == "f32" else f"MOSTLY_{TYPES[kind]}"]
    )
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_tokenizer_model("none")
    named = _names(a)
    for name, source in named.items():
        shape = weights[source].shape
        stored = matrix_type if len(shape) == 2 else vector_type
        # Quantised tensors are told as their bytes.
        element = np.dtype(ELEMENTS.get(stored.name, np.uint8))
        if stored.name not in ELEMENTS:
            shape = gguf.quant_shape_to_byte_shape(shape, stored)
        writer.add_tensor_info(name, shape, element, math.prod(shape) * element.itemsize, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for array in _arrays(weights, a, named):
        stored = matrix_type if array.ndim == 2 else vector_type
        writer.write_tensor_data(gguf.quantize(array, stored))
    writer.close()


def _names(a: LlamaModel) -> dict[str, str]:
    """Return our names of the weights by GGUF's."""
    names = dict(OUTER)
    for layer in range(a.layers):
        for theirs, ours in LAYER.items():
            names[f"blk.{layer}.{theirs}.weight"] = f"model.layers.{layer}.{ours}.weight"
    if not a.tied_embeddings:
        names["output.weight"] = "lm_head.weight"
    return names


def _arrays(
    weights: Weights, a: LlamaModel, names: dict[str, str]
) -> Iterator[NDArray[np.float32]]:
    for name, source in names.items():
        array = np.ascontiguousarray(weights[source], dtype=np.float32)
        if "attn_q." in name or "attn_k." in name:
            array = _interleave(array, a.heads if "attn_q." in name else a.kv_heads)
        yield array


def _interleave(matrix: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Return the rows of each head in the order in which llama.cpp rotates them.

    It turns neighbours (0, 1), (2, 3), ...; our weights are for turning a half with the other.
    """
    rows = matrix.reshape(heads, 2, -1, matrix.shape[1]).swapaxes(1, 2)
    return np.ascontiguousarray(rows).reshape(matrix.shape)
