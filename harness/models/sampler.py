"""Draws tokens from logits: temperature and nucleus (top-p), from a seed.

Source of top-p: Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.models.requests import Sampling


class Sampler:
    """The draws of one request, in their order; the same seed and logits give the same tokens."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def choose(self, logits: NDArray[np.float32]) -> int:
        """Return a token drawn by `logits` (float32 [vocabulary]).

        Of softmax(logits / temperature), the smallest set of likeliest tokens whose mass reaches
        top_p is kept, and drawn from by its shares. Computed in float64.
        """
        scaled = logits.astype(np.float64) / self._sampling.temperature
        shares = np.exp(scaled - scaled.max())
        shares /= shares.sum()
        # Stable: of tokens that are equally likely the lower id comes first.
        order = np.argsort(-shares, kind="stable")
        mass = np.cumsum(shares[order])
        kept = min(int(np.searchsorted(mass, self._sampling.top_p)) + 1, len(order))
        drawn = self._random.random() * mass[kept - 1]
        return int(order[min(int(np.searchsorted(mass, drawn, side="right")), kept - 1)])
