"""Judges how a target scores a text and how it continues it. Formulas: docs/quality.md.

An engine may score rightly and generate wrongly (a lost cache, shifted positions): both are asked.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.models import reference
from harness.models.asked import Ask, generated, scored
from harness.models.model import Model
from harness.models.quality_metrics import kl_divergence, perplexity, regrets
from harness.models.requests import ScoreTextRequest, TextRequest

GENERATIONS, GENERATED_TOKENS = 8, 32
SPANS = ((0, 1), (1, 8), (8, 32))
"""Steps of generation judged apart: a model that loops is soon content with its own loop."""
REGRET_SLACK = 0.005
REGRET_ROOM, REGRET_TIMES = 0.03, 4.0
"""How far generation may lie above the regret of the scored positions: 8 first steps vary by that
much, and the target's own text is other text."""


def judge_windows(
    model: Model,
    ask: Ask,
    windows: NDArray[np.int64],
    targets: NDArray[np.int64],
    vocabulary: int,
    cache: Path,
) -> dict[str, float]:
    """Return perplexity ratio, KL divergence in nats and generation regret over a text.

    And `scoring_regret`, the mean regret of the likeliest tokens where the text is only scored.

    `windows` are its tokens [windows, window]; `targets` [windows * window] the token after each.
    Raises BadOutputError if an answer cannot be judged.
    """
    requests = [ScoreTextRequest(tokens=window) for window in windows]
    truth = np.concatenate(reference.score(model, requests, cache))
    logits = scored(ask, requests, vocabulary)
    return {
        "perplexity_ratio": perplexity(logits, targets) / perplexity(truth, targets),
        "kl_divergence": kl_divergence(truth, logits),
        "scoring_regret": float(regrets(truth, logits.argmax(axis=-1)).mean()),
        "generation_regret": generation_regret(model, ask, windows, vocabulary, cache),
    }


def generation_regret(
    model: Model, ask: Ask, windows: NDArray[np.int64], vocabulary: int, cache: Path
) -> float:
    """Return the largest mean regret, over SPANS, of greedy continuations of half windows.

    With its half window a continuation is at most as long as a window, so it costs the reference
    no more than the scoring does.
    """
    half = max(1, windows.shape[1] // 2)
    length = min(GENERATED_TOKENS, windows.shape[1] - half + 1)
    prompts = [window[:half] for window in windows[:GENERATIONS]]
    chosen = generated(ask, [TextRequest(prompt, length) for prompt in prompts], vocabulary)
    found = np.stack(reference.regrets(model, prompts, chosen, cache))
    return max(float(found[:, begin:end].mean()) for begin, end in SPANS if begin < length)


def regret_limit(divergence: float, scoring_regret: float, most: float) -> float:
    """Return the regret that a target may have whose scores have the KL `divergence`.

    A target that generates as well as it scores has at most sqrt(2 KL), by Pinsker's inequality;
    KL above `most` does not widen it. That is far too much where weights are coarse, so the regret
    may not be far above `scoring_regret` either.
    """
    bound = REGRET_SLACK + math.sqrt(2 * min(max(divergence, 0.0), most))
    return min(bound, REGRET_ROOM + REGRET_TIMES * scoring_regret)
