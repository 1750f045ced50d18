"""The Llama architecture in plain PyTorch, for inference with a key-value cache and for training.

Imports torch: import this module only where torch is needed.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from harness.models.llama import output_matrix, parameter_shapes, rotary_tables
from harness.models.model import Weights
from harness.schema.model import LlamaModel

QUERY_KEY_VALUE = ("q_proj", "k_proj", "v_proj")
GATE_UP = ("gate_proj", "up_proj")


class Cache:
    """The keys and values of sequences of one length, in buffers as long as the context.

    keys, values: [layers, batch, kv_heads, context, head size]; the first `length` are valid.
    """

    def __init__(
        self, architecture: LlamaModel, batch: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        a = architecture
        self.batch = batch
        shape = (a.layers, batch, a.kv_heads, a.context, a.hidden // a.heads)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new positions of one layer; return all of the layer's keys and values so far.

        The caller moves `length` on when every layer has been written.
        """
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Layer(nn.Module):
    """One decoder layer; query, key and value share a matrix, and so do gate and up."""

    def __init__(self, architecture: LlamaModel) -> None:
        super().__init__()
        a = architecture
        self.heads, self.kv_heads, self.head = a.heads, a.kv_heads, a.hidden // a.heads
        self.attention_norm = nn.RMSNorm(a.hidden, eps=a.norm_epsilon)
        rows = (a.heads + 2 * a.kv_heads) * self.head
        self.query_key_value = nn.Linear(a.hidden, rows, bias=False)
        self.output = nn.Linear(a.hidden, a.hidden, bias=False)
        self.mlp_norm = nn.RMSNorm(a.hidden, eps=a.norm_epsilon)
        self.gate_up = nn.Linear(a.hidden, 2 * a.intermediate, bias=False)
        self.down = nn.Linear(a.intermediate, a.hidden, bias=False)

    def forward(
        self,
        states: Tensor,
        cosines: Tensor,
        sines: Tensor,
        mask: Tensor | None,
        cache: tuple[Cache, int] | None,
    ) -> Tensor:
        """Return the next states, [batch, positions, hidden]."""
        batch, count, _ = states.shape
        heads = self.query_key_value(self.attention_norm(states)).view(batch, count, -1, self.head)
        rotated, values = heads.transpose(1, 2).split(
            [self.heads + self.kv_heads, self.kv_heads], dim=1
        )
        # Queries and keys are rotated together: half the kernels.
        first, second = rotated.chunk(2, dim=-1)
        rotated = rotated * cosines + torch.cat((-second, first), dim=-1) * sines
        queries, keys = rotated.split([self.heads, self.kv_heads], dim=1)
        if cache is not None:
            keys, values = cache[0].append(cache[1], keys, values)
        causal = False
        if mask is None and count > 1:  # a branch: a compiler takes the value for a constant then
            causal = True
        mixed = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            is_causal=causal,
            enable_gqa=self.heads != self.kv_heads,
        )
        states = states + self.output(mixed.transpose(1, 2).reshape(batch, count, -1))
        gate, up = self.gate_up(self.mlp_norm(states)).chunk(2, dim=-1)
        after: Tensor = states + self.down(functional.silu(gate) * up)
        return after


class Llama(nn.Module):
    """The whole decoder. Built with PyTorch's own random weights; see `from_weights`."""

    cosines: Tensor
    sines: Tensor

    def __init__(self, architecture: LlamaModel) -> None:
        super().__init__()
        self.architecture = architecture
        self.embedding = nn.Embedding(architecture.vocabulary, architecture.hidden)
        self.layers = nn.ModuleList(Layer(architecture) for _ in range(architecture.layers))
        self.norm = nn.RMSNorm(architecture.hidden, eps=architecture.norm_epsilon)
        self.head = nn.Linear(architecture.hidden, architecture.vocabulary, bias=False)
        self.tie()
        for name, table in zip(("cosines", "sines"), rotary_tables(architecture), strict=True):
            both = torch.tensor(np.concatenate([table, table], axis=1))
            self.register_buffer(name, both, persistent=False)

    def tie(self) -> None:
        """Let the output matrix be the embeddings, where the architecture says so."""
        if self.architecture.tied_embeddings:
            self.head.weight = self.embedding.weight

    def make_cache(self, batch: int = 1) -> Cache:
        """Return an empty cache for `batch` sequences on the module's device, in its precision."""
        weight = self.embedding.weight
        return Cache(self.architecture, batch, weight.device, weight.dtype)

    def forward(
        self,
        tokens: Tensor,
        cache: Cache | None = None,
        wanted: int | None = None,
        padding: Tensor | None = None,
    ) -> Tensor:
        """Return logits [batch, positions, vocabulary] after `tokens` (int64 [batch, positions]).

        With `cache` the tokens continue its sequences. `wanted` keeps only the last so many
        positions. So many first positions of each sequence as `padding` (int64 [batch]) says are
        seen by none but themselves.
        """
        past = cache.length if cache is not None else 0
        count = tokens.shape[1]
        mask = None
        if padding is not None or (past and count > 1):
            rows = torch.arange(past, past + count, device=tokens.device)[:, None]
            columns = torch.arange(past + count, device=tokens.device)
            mask = columns <= rows
            if padding is not None:
                hidden = columns < padding[:, None, None, None]
                # A position that saw nothing at all would give no number.
                mask = mask & (~hidden | (columns == rows))
        cosines, sines = (table[past : past + count] for table in (self.cosines, self.sines))
        states = self.embedding(tokens)
        for index, layer in enumerate(self.layers):
            states = layer(states, cosines, sines, mask, None if cache is None else (cache, index))
        if cache is not None:
            cache.length += count
        logits: Tensor = self.head(self.norm(states if wanted is None else states[:, -wanted:]))
        return logits


def from_weights(weights: Weights, architecture: LlamaModel) -> Llama:
    """Return the module with `weights` copied in, float32, on the CPU, not set up for training."""
    with torch.device("meta"):
        module = Llama(architecture)
    module = module.to_empty(device="cpu")
    module.tie()  # to_empty gives every use of a shared parameter memory of its own

    def fill(parameter: Tensor, *names: str) -> None:
        parts = [np.asarray(weights[name]) for name in names]
        parameter.copy_(torch.tensor(parts[0] if len(parts) == 1 else np.concatenate(parts)))

    with torch.no_grad():
        for name, table in zip(("cosines", "sines"), rotary_tables(architecture), strict=True):
            getattr(module, name).copy_(torch.tensor(np.concatenate([table, table], axis=1)))
        for parameter, names in _parameters(module):
            fill(parameter, *names)
        if not architecture.tied_embeddings:
            module.head.weight.copy_(torch.tensor(np.asarray(output_matrix(weights, architecture))))
    return module.eval()


def to_weights(module: Llama) -> dict[str, NDArray[np.float32]]:
    """Return the module's weights by their Hugging Face names, float32."""
    shapes = parameter_shapes(module.architecture)
    weights: dict[str, NDArray[np.float32]] = {}
    for parameter, names in _parameters(module):
        rows = [shapes[name][0] for name in names]
        parts = torch.split(parameter.detach().to("cpu", torch.float32), rows)
        weights |= {name: part.numpy().copy() for name, part in zip(names, parts, strict=True)}
    if not module.architecture.tied_embeddings:
        head = module.head.weight.detach().to("cpu", torch.float32)
        weights["lm_head.weight"] = head.numpy().copy()
    return {name: weights[name] for name in shapes}


def _parameters(module: Llama) -> list[tuple[Tensor, tuple[str, ...]]]:
    """Return each parameter but the output matrix with the names that it is made of."""
    found: list[tuple[Tensor, tuple[str, ...]]] = [
        (module.embedding.weight, ("model.embed_tokens.weight",)),
        (module.norm.weight, ("model.norm.weight",)),
    ]
    for index, layer in enumerate(module.layers):
        assert isinstance(layer, Layer)
        name = f"model.layers.{index}"
        attention = tuple(f"{name}.self_attn.{part}.weight" for part in QUERY_KEY_VALUE)
        found += [
            (layer.attention_norm.weight, (f"{name}.input_layernorm.weight",)),
            (layer.query_key_value.weight, attention),
            (layer.output.weight, (f"{name}.self_attn.o_proj.weight",)),
            (layer.mlp_norm.weight, (f"{name}.post_attention_layernorm.weight",)),
            (layer.gate_up.weight, tuple(f"{name}.mlp.{part}.weight" for part in GATE_UP)),
            (layer.down.weight, (f"{name}.mlp.down_proj.weight",)),
        ]
    return found
