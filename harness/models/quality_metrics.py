"""The figures of the quality gates as pure functions; docs/quality.md has the formulas."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def log_softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Return the log-probabilities (float64, same shape) over the last axis of `logits`."""
    wide = np.asarray(logits, dtype=np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def kl_divergence(reference_logits: ArrayLike, logits: ArrayLike) -> float:
    """Return the mean of KL(reference || target) over positions, in nats.

    Both are [positions, vocabulary]. Raises ValueError if the shapes differ or nothing is there.
    """
    if np.shape(reference_logits) != np.shape(logits) or np.ndim(logits) != 2:
        raise ValueError("KL needs two arrays [positions, vocabulary] of one shape")
    if np.size(logits) == 0:
        raise ValueError("KL of no positions")
    ours, theirs = log_softmax(reference_logits), log_softmax(logits)
    return float((np.exp(ours) * (ours - theirs)).sum(axis=-1).mean())


def perplexity(logits: ArrayLike, targets: ArrayLike) -> float:
    """Return exp(mean negative log-likelihood) of `targets` [positions] under `logits`.

    `logits` are [positions, vocabulary]; position t predicts targets[t]. Raises ValueError if the
    lengths differ or nothing is there.
    """
    chosen = np.asarray(targets)
    if np.ndim(logits) != 2 or chosen.shape != np.shape(logits)[:1] or chosen.size == 0:
        raise ValueError("perplexity needs one target for each of at least one position")
    likelihood = log_softmax(logits)[np.arange(len(chosen)), chosen]
    return float(np.exp(-likelihood.mean()))


def regrets(reference_logits: ArrayLike, chosen: ArrayLike) -> NDArray[np.float64]:
    """Return the probability that the reference gives its best token over the chosen one.

    `reference_logits` are [positions, vocabulary], `chosen` the token ids [positions] that a target
    generated there. float64 [positions]; 0 is the reference's own choice.
    """
    tokens = np.asarray(chosen)
    if np.ndim(reference_logits) != 2 or tokens.shape != np.shape(reference_logits)[:1]:
        raise ValueError("the regret needs one chosen token for each position")
    probability = np.exp(log_softmax(reference_logits))
    taken = probability[np.arange(len(tokens)), tokens]
    lost: NDArray[np.float64] = probability.max(axis=-1) - taken
    return lost


def word_error_rate(
    references: Sequence[Sequence[Hashable]], hypotheses: Sequence[Sequence[Hashable]]
) -> float:
    """Return substitutions, deletions and insertions over all utterances, per reference word.

    An utterance is a sequence of words. Raises ValueError if the counts differ or there is no word.
    """
    words = sum(len(reference) for reference in references)
    if len(references) != len(hypotheses) or words == 0:
        raise ValueError("the word error rate needs as many hypotheses as references, and words")
    return sum(map(_edits, references, hypotheses)) / words


def pr_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the average precision: the sum of precision times the step in recall.

    Rows of equal score are one step, so the order of ties does not matter. Raises ValueError
    without a positive label, or if the lengths differ.
    """
    truth, value = np.asarray(labels).astype(bool), np.asarray(scores, dtype=np.float64)
    if truth.shape != value.shape or truth.ndim != 1 or not truth.any():
        raise ValueError("PR-AUC needs one score for each label, and a positive label")
    order = np.argsort(-value, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(value[order])), len(value) - 1)
    hits = np.cumsum(truth[order])[ends]
    recall = hits / truth.sum()
    return float((np.diff(recall, prepend=0.0) * hits / (ends + 1)).sum())


def _edits(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> int:
    """Return the Levenshtein distance between two sequences of words."""
    row = list(range(len(hypothesis) + 1))
    for left, word in enumerate(reference, start=1):
        diagonal, row[0] = row[0], left
        for right, other in enumerate(hypothesis, start=1):
            best = min(row[right] + 1, row[right - 1] + 1, diagonal + (word != other))
            diagonal, row[right] = row[right], best
    return row[-1]
