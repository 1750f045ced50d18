"""The Whisper architecture in plain PyTorch, for inference with key-value caches and for training.

Imports torch: import this module only where torch is needed.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from harness.models.model import Weights
from harness.models.whisper import NORM_EPSILON, parameter_shapes, sinusoids
from harness.schema.model import WhisperModel

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of one layer, [batch, heads, positions, head size] each."""


class Cache:
    """Utterances being decoded: the encoder's keys and values, and the tokens' so far.

    cross: by layer. keys, values: [layers, batch, heads, text context, head size], of which the
    first `length` positions are valid.
    """

    def __init__(self, architecture: WhisperModel, cross: list[KeysValues]) -> None:
        a = architecture
        like = cross[0][0]
        shape = (a.decoder_layers, len(like), a.heads, a.text_context, a.hidden // a.heads)
        self.cross = cross
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        """Write new positions of one layer; return all of the layer's keys and values so far.

        The caller moves `length` on when every layer has been written.
        """
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Attention(nn.Module):
    """Multi-head attention; the keys have no bias."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(hidden, hidden)
        self.k_proj = nn.Linear(hidden, hidden, bias=False)
        self.v_proj = nn.Linear(hidden, hidden)
        self.out_proj = nn.Linear(hidden, hidden)

    def keys_values(self, states: Tensor) -> KeysValues:
        """Return what `states` [batch, positions, hidden] offer to be attended to."""
        return self._by_head(self.k_proj(states)), self._by_head(self.v_proj(states))

    def forward(
        self, states: Tensor, source: KeysValues, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Return attention from `states` to `source`, [batch, positions, hidden]."""
        queries = self._by_head(self.q_proj(states))
        mixed = functional.scaled_dot_product_attention(
            queries, *source, attn_mask=mask, is_causal=causal
        )
        projected: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(states.shape))
        return projected

    def _by_head(self, states: Tensor) -> Tensor:
        batch, count, _ = states.shape
        return states.view(batch, count, self.heads, -1).transpose(1, 2)


class EncoderLayer(nn.Module):
    """One encoder layer."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(hidden, heads)
        self.self_attn_layer_norm = nn.LayerNorm(hidden, eps=NORM_EPSILON)
        self.fc1 = nn.Linear(hidden, 4 * hidden)
        self.fc2 = nn.Linear(4 * hidden, hidden)
        self.final_layer_norm = nn.LayerNorm(hidden, eps=NORM_EPSILON)

    def forward(self, states: Tensor) -> Tensor:
        """Return the next states, [batch, positions, hidden]."""
        normal = self.self_attn_layer_norm(states)
        states = states + self.self_attn(normal, self.self_attn.keys_values(normal))
        inner = functional.gelu(self.fc1(self.final_layer_norm(states)))
        after: Tensor = states + self.fc2(inner)
        return after


class DecoderLayer(nn.Module):
    """One decoder layer: attention to the tokens so far, then to the encoder's states."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(hidden, heads)
        self.self_attn_layer_norm = nn.LayerNorm(hidden, eps=NORM_EPSILON)
        self.encoder_attn = Attention(hidden, heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(hidden, eps=NORM_EPSILON)
        self.fc1 = nn.Linear(hidden, 4 * hidden)
        self.fc2 = nn.Linear(4 * hidden, hidden)
        self.final_layer_norm = nn.LayerNorm(hidden, eps=NORM_EPSILON)

    def forward(
        self,
        states: Tensor,
        cross: KeysValues,
        mask: Tensor | None,
        cache: tuple[Cache, int] | None,
    ) -> Tensor:
        """Return the next states, [batch, positions, hidden]."""
        normal = self.self_attn_layer_norm(states)
        own = self.self_attn.keys_values(normal)
        if cache is not None:
            own = cache[0].append(cache[1], *own)
        causal = False
        if mask is None and states.shape[1] > 1:  # a branch: a compiler knows the value then
            causal = True
        states = states + self.self_attn(normal, own, mask, causal)
        states = states + self.encoder_attn(self.encoder_attn_layer_norm(states), cross)
        inner = functional.gelu(self.fc1(self.final_layer_norm(states)))
        after: Tensor = states + self.fc2(inner)
        return after


class Encoder(nn.Module):
    """Log-mel frames to states."""

    def __init__(self, architecture: WhisperModel) -> None:
        super().__init__()
        a = architecture
        self.conv1 = nn.Conv1d(a.mel_bands, a.hidden, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(a.hidden, a.hidden, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(a.frames // 2, a.hidden)
        self.embed_positions.requires_grad_(False)
        self.layers = nn.ModuleList(
            EncoderLayer(a.hidden, a.heads) for _ in range(a.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(a.hidden, eps=NORM_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """Return states [batch, frames / 2, hidden] of `features` [batch, mel bands, frames]."""
        states = functional.gelu(self.conv1(features))
        states = functional.gelu(self.conv2(states)).transpose(1, 2)
        states = states + self.embed_positions.weight
        for layer in self.layers:
            states = layer(states)
        normal: Tensor = self.layer_norm(states)
        return normal


class Decoder(nn.Module):
    """Tokens and the encoder's states to logits."""

    def __init__(self, architecture: WhisperModel) -> None:
        super().__init__()
        a = architecture
        self.embed_tokens = nn.Embedding(a.vocabulary, a.hidden)
        self.embed_positions = nn.Embedding(a.text_context, a.hidden)
        self.layers = nn.ModuleList(
            DecoderLayer(a.hidden, a.heads) for _ in range(a.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(a.hidden, eps=NORM_EPSILON)

    def cross(self, encoded: Tensor) -> list[KeysValues]:
        """Return what each layer attends to in the encoder's states [batch, positions, hidden]."""
        return [layer.encoder_attn.keys_values(encoded) for layer in self._decoder_layers()]

    def forward(
        self, tokens: Tensor, cross: list[KeysValues], cache: Cache | None, wanted: int | None
    ) -> Tensor:
        """Return logits [batch, positions, vocabulary] after `tokens` [batch, positions]."""
        past = cache.length if cache is not None else 0
        count = tokens.shape[1]
        mask = None
        if past and count > 1:
            mask = torch.ones(count, past + count, dtype=torch.bool, device=tokens.device).tril(
                past
            )
        states = self.embed_tokens(tokens) + self.embed_positions.weight[past : past + count]
        for index, layer in enumerate(self.layers):
            states = layer(states, cross[index], mask, None if cache is None else (cache, index))
        if cache is not None:
            cache.length += count
        states = self.layer_norm(states if wanted is None else states[:, -wanted:])
        return functional.linear(states, self.embed_tokens.weight)

    def _decoder_layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]


class Whisper(nn.Module):
    """The encoder and the decoder. Built with PyTorch's own random weights; see `from_weights`."""

    def __init__(self, architecture: WhisperModel) -> None:
        super().__init__()
        self.architecture = architecture
        self.encoder = Encoder(architecture)
        self.decoder = Decoder(architecture)
        positions = sinusoids(architecture.frames // 2, architecture.hidden)
        with torch.no_grad():
            self.encoder.embed_positions.weight.copy_(torch.tensor(positions))

    def begin(self, features: Tensor) -> Cache:
        """Encode `features` [batch, mel bands, frames] and return a cache to decode with."""
        return Cache(self.architecture, self.decoder.cross(self.encoder(features)))

    def extend(self, tokens: Tensor, cache: Cache, wanted: int | None = None) -> Tensor:
        """Return logits after `tokens` (int64 [batch, positions]), which continue the cache's.

        `wanted` keeps only the last so many positions.
        """
        logits: Tensor = self.decoder(tokens, cache.cross, cache, wanted)
        return logits

    def forward(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Return logits [batch, positions, vocabulary], all tokens given (teacher forcing)."""
        logits: Tensor = self.decoder(
            tokens, self.decoder.cross(self.encoder(features)), None, None
        )
        return logits


def from_weights(weights: Weights, architecture: WhisperModel) -> Whisper:
    """Return the module with `weights` copied in, float32, on the CPU, not set up for training."""
    with torch.device("meta"):
        # The positions are copied from a meta tensor here and filled with the others below.
        module = Whisper(architecture)
    module = module.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.tensor(np.asarray(weights[f"model.{name}"])))
    return module.eval()


def to_weights(module: Whisper) -> dict[str, NDArray[np.float32]]:
    """Return the module's weights by their Hugging Face names, float32."""
    found = {f"model.{name}": parameter for name, parameter in module.named_parameters()}
    return {
        name: found[name].detach().to("cpu", torch.float32).numpy().copy()
        for name in parameter_shapes(module.architecture)
    }
