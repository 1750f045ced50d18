"""The quality gates of a workload: what a target's answers are held against, and its limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.schema.base import Positive, Share, Spec, Task, Text, absent
from harness.schema.model import Count, LlamaModel, Seed, WhisperModel
from harness.schema.own import ExactAnswers, OwnText, Transcripts


class TextQuality(Spec):
    """A small trained language model, scored on held-out bytes through the same adapter."""

    kind: Literal["perplexity"]
    model: LlamaModel
    text: Text
    tokens: Count = 1024
    window: Count = 128
    perplexity_ratio_max: Positive = 1.02
    kl_divergence_max: Positive = 0.01


class SpeechQuality(Spec):
    """A small trained recogniser of spoken digits, scored through the same adapter."""

    kind: Literal["word_error_rate"]
    model: WhisperModel
    audio: Text
    word_error_rate_max: Share
    word_error_rate_rise_max: Share = 0.01


class FraudQuality(Spec):
    """The workload's own trained model, scored on the later part of the time-ordered data."""

    kind: Literal["pr_auc"]
    rows: Count = 5000
    seed: Seed = 1
    pr_auc_ratio_min: Positive = 0.99
    score_difference_max: Positive = 1e-3


class RowQuality(Spec):
    """Your own labelled rows: the first `rows` of a CSV file with the columns of the inputs.

    Scores may differ by `score_difference_max` from an independent fp32 computation of the same
    model. With `label` (a column of 0 and 1) the PR-AUC may fall to `pr_auc_ratio_min` of that
    computation's.
    """

    kind: Literal["labelled_rows"]
    file: Text
    label: Text | None = None
    rows: Count = 5000
    pr_auc_ratio_min: Positive = 0.99
    score_difference_max: Positive = 1e-3


class ReferenceAgreement(Spec):
    """Agreement of the workload's own model with its fp32 reference on `requests` of the inputs.

    The mean Kullback-Leibler divergence KL(reference || target) in nats per output position. It
    says that the target computes this model, not that the model is good.
    `int4_kl_divergence_max` is the limit of targets with 4-bit weights; without it theirs is the
    same as of others.
    """

    kind: Literal["reference_agreement"]
    requests: Count = 2
    kl_divergence_max: Positive = 0.01
    # Left out where it is not stated: the identity of workloads without it stays what it was.
    int4_kl_divergence_max: Positive | None = Field(default=None, exclude_if=absent)


class VectorAgreement(Spec):
    """Agreement of a served model's vectors with known ones: the least cosine over the texts.

    `file` has a JSON object on each line, {"text": ..., "vector": [...]}, as the model gives it
    where you trust it; the first `texts` lines are asked.
    """

    kind: Literal["vector_agreement"]
    file: Text
    texts: Count = 32
    cosine_min: Share = 0.99


Quality = Annotated[
    TextQuality
    | SpeechQuality
    | FraudQuality
    | RowQuality
    | ReferenceAgreement
    | VectorAgreement
    | ExactAnswers
    | OwnText
    | Transcripts,
    Field(discriminator="kind"),
]

GATES_OF_SERVED: dict[Task, str] = {
    "text_generation": "exact_answers",
    "speech_to_text": "transcripts",
    "text_embedding": "vector_agreement",
}
"""By task: the gate that needs nothing but a server's answers."""

TASK_OF_OWN_GATE: dict[str, Task] = {
    "exact_answers": "text_generation",
    "own_text": "text_generation",
    "transcripts": "speech_to_text",
}
