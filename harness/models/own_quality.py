"""Judges a model on a user's own questions, text and recordings. Formulas: docs/quality.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.errors import SpecError
from harness.models.answers import answer_requests, count_right, read_questions
from harness.models.asked import Ask, text_of
from harness.models.hugging_face import end_tokens
from harness.models.model import Model
from harness.models.own_audio import plain_words, speech_requests, transcribed
from harness.models.prompts import check_plain
from harness.models.quality_metrics import word_error_rate
from harness.models.text_quality import judge_windows
from harness.models.tokenizer import OwnTokenizer, open_tokenizer
from harness.models.whisper import speech_prefix
from harness.schema.model import LlamaModel, ServedModel, WhisperModel
from harness.schema.own import ExactAnswers, OwnText, Transcripts
from harness.schema.workload import Workload
from harness.statistics import wilson

__all__ = ["judge_answers", "judge_text", "judge_transcripts", "tokenizer_of"]


def tokenizer_of(
    gate: ExactAnswers | OwnText | Transcripts, workload: Workload, data: Path
) -> OwnTokenizer | None:
    """Return the gate's tokenizer, which fits the model; None if it names none.

    An answer ends with it where the model's config.json says so, too.
    """
    name = workload.tokenizer(gate)
    if name is None:
        return None
    tokenizer, model = open_tokenizer(data / name), workload.model
    if isinstance(model, LlamaModel):
        tokenizer.check(model.vocabulary)
    if isinstance(model, LlamaModel | WhisperModel) and model.weights is not None:
        return tokenizer.ending(end_tokens(data / model.weights))
    return tokenizer


def judge_answers(
    gate: ExactAnswers, workload: Workload, ask: Ask, data: Path
) -> tuple[dict[str, float], str]:
    """Return the lower end of the accuracy's interval, and the counts in words.

    Raises SpecError if the questions are wrong, BadOutputError if an answer is no text.
    """
    tokenizer = tokenizer_of(gate, workload, data)
    questions = read_questions(gate, data)
    if not isinstance(workload.model, ServedModel):
        check_plain([question.prompt for question in questions], data / gate.file)
    outputs = ask(answer_requests(questions, gate, tokenizer))
    right, count = count_right(questions, outputs, tokenizer), len(questions)
    low, high = wilson(right, count)
    said = (
        f"{right} of {count} answers are right: {right / count:.3f}, 95 % {low:.3f} to {high:.3f}"
    )
    return {"accuracy_low": low}, said


def judge_transcripts(
    gate: Transcripts, workload: Workload, ask: Ask, data: Path
) -> tuple[dict[str, float], str]:
    """Return the word error rate over all recordings, and what it is of, in words.

    Raises SpecError if the recordings are wrong, BadOutputError if an answer is no text.
    """
    tokenizer = tokenizer_of(gate, workload, data)
    recordings, spoken = transcribed(gate, data)
    model = workload.model if isinstance(workload.model, WhisperModel) else None
    prefix = speech_prefix(model) if model else np.zeros(0, dtype=np.int64)
    steps = gate.max_new_tokens
    if model is not None:
        steps = min(steps, model.text_context - len(prefix) + 1)
    requests = speech_requests(recordings, model, prefix, [steps] * len(recordings))
    heard = [
        plain_words(text_of(output, tokenizer, f"recording {number}"))
        for number, output in enumerate(ask(requests), 1)
    ]
    rate, words = word_error_rate(spoken, heard), sum(map(len, spoken))
    return {"word_error_rate": rate}, f"of {words} words in {len(spoken)} recordings"


def judge_text(
    gate: OwnText, workload: Workload, model: Model, ask: Ask, data: Path, cache: Path
) -> dict[str, float]:
    """Score windows of the user's text and continue some, held against the float64 reference.

    Raises SpecError if the gate or its text are wrong, BadOutputError as `judge_windows` does.
    """
    architecture = model.architecture
    if not isinstance(architecture, LlamaModel):
        raise SpecError(
            f"the gate 'own_text' needs a model whose weights are read, not {architecture.family}",
            hint="use the gate 'exact_answers'",
        )
    tokenizer = tokenizer_of(gate, workload, data)
    if tokenizer is None:
        raise SpecError("the gate 'own_text' needs a 'tokenizer'")
    if gate.window > architecture.context or gate.tokens < gate.window:
        raise SpecError("the gate's 'window' is above its 'tokens' or its model's 'context'")
    path = data / gate.file
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read the gate's text {path}: {error}") from error
    # No more letters than could be needed: long files are not tokenised for nothing.
    tokens = tokenizer.encode(text[: 64 * gate.tokens], special=False)
    count = gate.tokens // gate.window
    if len(tokens) <= count * gate.window:
        raise SpecError(
            f"{gate.file} has {len(tokens)} tokens, not above {count * gate.window}",
            hint="lower the gate's 'tokens', or give more text",
        )
    windows = tokens[: count * gate.window].reshape(count, gate.window)
    targets = tokens[1 : count * gate.window + 1]
    return judge_windows(model, ask, windows, targets, architecture.vocabulary, cache)
