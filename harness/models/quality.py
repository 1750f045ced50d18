"""Quality gates tell whether a target computes the model, and whether the result is still good.

A gate asks a target through a callable and holds the answers against the fp32 reference in numpy.
An answer that cannot be judged (wrong shape, not finite, an error) fails the gate with the reason;
it never passes and never ends the run. Formulas: docs/quality.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError
from harness.models import reference
from harness.models.asked import Ask, BadOutputError, answers, generated, scored
from harness.models.inputs import draw_requests
from harness.models.model import Architecture, Model
from harness.models.own_quality import judge_answers, judge_text, judge_transcripts
from harness.models.quality_metrics import (
    kl_divergence,
    perplexity,
    pr_auc,
    word_error_rate,
)
from harness.models.requests import (
    RowRequest,
    ScoreSpeechRequest,
    ScoreTextRequest,
    SpeechRequest,
    TextRequest,
)
from harness.models.row_quality import judged_rows, true_scores
from harness.models.text_quality import judge_windows, regret_limit
from harness.models.transactions import draw_transactions
from harness.models.trees_mlp import reference_scores
from harness.models.vector_quality import known_vectors, least_cosine
from harness.models.whisper import speech_prefix
from harness.schema.inputs import PromptInputs
from harness.schema.model import LlamaModel, WhisperModel
from harness.schema.own import AudioFileInputs, ExactAnswers, OwnText, PromptFileInputs, Transcripts
from harness.schema.quality import (
    FraudQuality,
    Quality,
    ReferenceAgreement,
    RowQuality,
    SpeechQuality,
    TextQuality,
    VectorAgreement,
)
from harness.schema.record import QualityCheck
from harness.schema.workload import Workload

__all__ = [
    "Ask",
    "evaluate",
    "kl_divergence",
    "perplexity",
    "pr_auc",
    "quality_model",
    "word_error_rate",
]

Limit = tuple[str, float, Literal["lower", "higher"]]

BYTES = 256
PROMPT_TOKENS_MAX = 64
SPEECH_TOKENS = 8
START_TOKEN, END_TOKEN, DIGIT_TOKEN = 0, 1, 2
"""The digit recogniser's marks; token DIGIT_TOKEN + d is the digit d."""


def quality_model(gate: Quality, workload: Workload) -> Architecture | None:
    """Return the model that must be opened for `gate`, or None if it is the workload's own.

    Raises SpecError if `gate` cannot be used with the workload's model.
    """
    _fits(gate, workload)
    return gate.model if isinstance(gate, TextQuality | SpeechQuality) else None


def evaluate(
    gate: Quality,
    *,
    workload: Workload,
    model: Model,
    ask: Ask,
    data: Path,
    cache: Path,
    precision: str = "fp32",
) -> list[QualityCheck]:
    """Return the checks of `gate`, one for each of its limits.

    `model` is the one that `ask` runs: the one `quality_model` names, else the workload's own.
    `data` is the folder that the gate's file names are relative to; `cache` keeps reference values.
    `precision` is the target's.
    Raises SpecError if the gate or its data are wrong; whatever the target does ends in the checks.
    """
    _fits(gate, workload)
    if isinstance(gate, ReferenceAgreement) and precision == "int4":
        most = gate.int4_kl_divergence_max or gate.kl_divergence_max
        gate = gate.model_copy(update={"kl_divergence_max": most})
    said = None
    try:
        if isinstance(gate, TextQuality):
            values = _judge_text(gate, model, ask, data, cache)
        elif isinstance(gate, SpeechQuality):
            values = _judge_speech(gate, model, ask, data, cache)
        elif isinstance(gate, FraudQuality):
            values = _judge_fraud(gate, model, ask)
        elif isinstance(gate, RowQuality):
            features, labels = judged_rows(gate, workload, data)
            truth = true_scores(model, features, cache)
            if labels is None:
                _check_spread(truth, gate)
            values = _compare(labels, truth, features, ask)
        elif isinstance(gate, VectorAgreement):
            values = _judge_vectors(gate, ask, data)
        elif isinstance(gate, ExactAnswers):
            values, said = judge_answers(gate, workload, partial(answers, ask), data)
        elif isinstance(gate, OwnText):
            values = judge_text(gate, workload, model, ask, data, cache)
        elif isinstance(gate, Transcripts):
            values, said = judge_transcripts(gate, workload, partial(answers, ask), data)
        else:
            values = _judge_agreement(gate, workload, model, ask, data, cache)
    except BadOutputError as error:
        return [_failed(gate.kind, limit, str(error)) for limit in _limits(gate, {})]
    return [_check(gate.kind, limit, values[limit[0]], said) for limit in _limits(gate, values)]


def _fits(gate: Quality, workload: Workload) -> None:
    task = {
        "perplexity": "text_generation",
        "word_error_rate": "speech_to_text",
        "pr_auc": "tabular_classification",
        "labelled_rows": "tabular_classification",
        "vector_agreement": "text_embedding",
    }.get(gate.kind)
    if task not in (None, workload.task):
        raise SpecError(f"the gate '{gate.kind}' is for {task}, not for {workload.task}")
    if isinstance(gate, ReferenceAgreement) and workload.task == "tabular_classification":
        raise SpecError(
            "the gate 'reference_agreement' needs a model with logits",
            hint="use the gate 'pr_auc': it compares the scores with the reference's",
        )


def _limits(gate: Quality, values: Mapping[str, float]) -> list[Limit]:
    """Return what `gate` checks: metric, limit, and which way is better."""
    if isinstance(gate, TextQuality | OwnText):
        divergence = values.get("kl_divergence", gate.kl_divergence_max)
        regret = regret_limit(divergence, values.get("scoring_regret", 1.0), gate.kl_divergence_max)
        return [
            ("perplexity_ratio", gate.perplexity_ratio_max, "lower"),
            ("kl_divergence", gate.kl_divergence_max, "lower"),
            ("generation_regret", regret, "lower"),
        ]
    if isinstance(gate, SpeechQuality):
        return [
            ("word_error_rate", gate.word_error_rate_max, "lower"),
            ("word_error_rate_rise", gate.word_error_rate_rise_max, "lower"),
        ]
    if isinstance(gate, FraudQuality):
        return [
            ("pr_auc_ratio", gate.pr_auc_ratio_min, "higher"),
            ("score_difference", gate.score_difference_max, "lower"),
        ]
    if isinstance(gate, RowQuality):
        limits: list[Limit] = [("score_difference", gate.score_difference_max, "lower")]
        if gate.label is not None:
            limits.insert(0, ("pr_auc_ratio", gate.pr_auc_ratio_min, "higher"))
        return limits
    if isinstance(gate, VectorAgreement):
        return [("vector_cosine", gate.cosine_min, "higher")]
    if isinstance(gate, ExactAnswers):
        return [("accuracy_low", gate.accuracy_min, "higher")]
    if isinstance(gate, Transcripts):
        return [("word_error_rate", gate.word_error_rate_max, "lower")]
    return [("kl_divergence", gate.kl_divergence_max, "lower")]


def _judge_text(
    gate: TextQuality, model: Model, ask: Ask, data: Path, cache: Path
) -> dict[str, float]:
    """Score windows of held-out bytes and judge greedy continuations of some of them."""
    if gate.model.vocabulary < BYTES:
        raise SpecError(f"the gate 'perplexity' needs a vocabulary of at least {BYTES} bytes")
    if gate.window > gate.model.context or gate.tokens < gate.window:
        raise SpecError("the gate's 'window' is above its 'tokens' or its model's 'context'")
    raw = _read(data / gate.text)
    count = gate.tokens // gate.window
    if len(raw) <= count * gate.window:
        raise SpecError(f"{gate.text} has {len(raw)} bytes, not above {count * gate.window}")
    held_out = np.frombuffer(raw, dtype=np.uint8).astype(np.int64)
    windows = held_out[: count * gate.window].reshape(count, gate.window)
    targets = held_out[1 : count * gate.window + 1]
    return judge_windows(model, ask, windows, targets, gate.model.vocabulary, cache)


def _judge_speech(
    gate: SpeechQuality, model: Model, ask: Ask, data: Path, cache: Path
) -> dict[str, float]:
    """Transcribe the clips and count wrong words, for the target and for the reference."""
    from safetensors.numpy import load

    arrays = load(_read(data / gate.audio))
    if set(arrays) != {"features", "labels"} or len(arrays["features"]) != len(arrays["labels"]):
        raise SpecError(f"{gate.audio} does not hold 'features' and as many 'labels'")
    features = arrays["features"].astype(np.float32)
    if features.shape[1:] != (gate.model.mel_bands, gate.model.frames):
        raise SpecError(f"{gate.audio} has features {list(features.shape)} that the model has not")
    spoken = [[int(digit) for digit in row if digit >= 0] for row in arrays["labels"]]
    # One more than the longest: room for the mark of the end.
    steps = arrays["labels"].shape[1] + 1
    prefix = speech_prefix(gate.model)
    requests = [
        SpeechRequest(
            features=clip,
            prefix=prefix,
            max_new_tokens=steps,
            audio_s=gate.model.frames / 100,
        )
        for clip in features
    ]
    heard = generated(ask, requests, gate.model.vocabulary)
    guesses = np.full((len(spoken), steps), END_TOKEN, dtype=np.int64)
    for row, digits in enumerate(spoken):
        guesses[row, : len(digits)] = [DIGIT_TOKEN + digit for digit in digits]
    truth = reference.transcribe(model, features, prefix, guesses, END_TOKEN, cache)
    rate = word_error_rate(spoken, [spoken_words(tokens) for tokens in heard])
    known = word_error_rate(spoken, [spoken_words(tokens) for tokens in truth])
    return {"word_error_rate": rate, "word_error_rate_rise": rate - known}


def _judge_fraud(gate: FraudQuality, model: Model, ask: Ask) -> dict[str, float]:
    """Score the later quarter of a draw and compare with the labels and the reference's scores."""
    features, labels, _ = draw_transactions(4 * gate.rows, gate.seed)
    features, labels = features[-gate.rows :], labels[-gate.rows :]
    if not labels.any():
        raise SpecError(f"no fraud among {gate.rows} rows of seed {gate.seed}: raise 'rows'")
    return _compare(labels, reference_scores(model.weights(), features), features, ask)


def _check_spread(truth: NDArray[np.float64], gate: RowQuality) -> None:
    """Raise SpecError if a target that gives every row one score would pass without labels."""
    spread = float(truth.max() - truth.min())
    if spread <= gate.score_difference_max:
        raise SpecError(
            f"the model's own scores of the {len(truth)} rows of {gate.file} lie within "
            f"{spread:.3g} of each other: a target that gives all rows one score would pass with "
            f"score_difference_max: {gate.score_difference_max:g}",
            hint="lower score_difference_max, add rows that differ, or name a 'label'",
        )


def _compare(
    labels: NDArray[np.uint8] | None,
    truth: NDArray[np.float64],
    features: NDArray[np.float32],
    ask: Ask,
) -> dict[str, float]:
    """Score the rows `features` and compare with the labels, if any, and the reference's scores."""
    outputs = answers(ask, [RowRequest(features=row) for row in features])
    given = [math.nan if output.score is None else float(output.score) for output in outputs]
    scores = np.array(given, dtype=np.float64)
    good = (scores >= 0.0) & (scores <= 1.0)
    if not good.all():
        row = int(np.argmin(good))
        raise BadOutputError(
            f"{int((~good).sum())} of {len(features)} scores are not in [0, 1]; "
            f"the first, of row {row}, is {outputs[row].score}"
        )
    values = {"score_difference": float(np.abs(scores - truth).max())}
    if labels is not None:
        values["pr_auc_ratio"] = pr_auc(labels, scores) / pr_auc(labels, truth)
    return values


def _judge_agreement(
    gate: ReferenceAgreement, workload: Workload, model: Model, ask: Ask, data: Path, cache: Path
) -> dict[str, float]:
    """Score the workload's own first inputs: prompts cut short, or clips with a few tokens."""
    fewer: dict[str, object] = {"count": min(gate.requests, workload.inputs.count)}
    if isinstance(workload.inputs, PromptInputs):
        fewer["turns"] = None
    # Your own inputs are held against what is declared of all of them.
    own = isinstance(workload.inputs, PromptFileInputs | AudioFileInputs)
    first = workload.inputs.model_copy(update={} if own else fewer)
    requests: list[ScoreTextRequest | ScoreSpeechRequest] = []
    rng = np.random.default_rng(workload.inputs.seed)
    vocabulary = 0
    drawn_inputs = draw_requests(workload.model_copy(update={"inputs": first}), data)
    for request in drawn_inputs[: gate.requests]:
        if isinstance(request, TextRequest):
            requests.append(ScoreTextRequest(tokens=request.prompt[:PROMPT_TOKENS_MAX]))
        elif isinstance(request, SpeechRequest):
            assert isinstance(workload.model, WhisperModel)
            room = workload.model.text_context - len(request.prefix)
            drawn = rng.integers(0, workload.model.vocabulary, min(SPEECH_TOKENS, room))
            tokens = np.concatenate([request.prefix, drawn])
            requests.append(ScoreSpeechRequest(features=request.features, tokens=tokens))
    if isinstance(workload.model, LlamaModel | WhisperModel):
        vocabulary = workload.model.vocabulary
    truth = np.concatenate(reference.score(model, requests, cache))
    return {"kl_divergence": kl_divergence(truth, scored(ask, requests, vocabulary))}


def _judge_vectors(gate: VectorAgreement, ask: Ask, data: Path) -> dict[str, float]:
    """Ask for the vectors of the gate's texts and compare them with the known ones."""
    requests, known = known_vectors(gate, data)
    outputs = answers(ask, requests)
    try:
        return {"vector_cosine": least_cosine(known, outputs)}
    except ValueError as error:
        raise BadOutputError(str(error)) from error


def spoken_words(tokens: NDArray[np.int64]) -> list[int]:
    """Return the digits before the mark of the end; another mark there is a word, and wrong."""
    words = tokens.tolist()
    stop = words.index(END_TOKEN) if END_TOKEN in words else len(words)
    return [token - DIGIT_TOKEN for token in words[:stop]]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot read the gate's data {path}: {error.strerror}") from error


def _check(gate: str, limit: Limit, value: float, said: str | None = None) -> QualityCheck:
    metric, bound, better = limit
    if not math.isfinite(value):
        return _failed(gate, limit, "the figure is not finite")
    return QualityCheck(
        gate=gate,
        metric=metric,
        value=value,
        limit=bound,
        better=better,
        passed=value <= bound if better == "lower" else value >= bound,
        reason=said,
    )


def _failed(gate: str, limit: Limit, reason: str) -> QualityCheck:
    metric, bound, better = limit
    return QualityCheck(
        gate=gate,
        metric=metric,
        value=None,
        limit=bound,
        better=better,
        passed=False,
        reason=reason,
    )
