"""Judges answers to a user's own questions: right or wrong by rule, never by another model.

A served model gives no logits; whether its answers are still right can be counted all the same.
Rules: docs/quality.md.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import Problem, SpecError
from harness.models.asked import text_of
from harness.models.prompts import MOST_PROBLEMS, Prompt, read_prompts
from harness.models.requests import AnswerRequest, Output
from harness.models.tokenizer import OwnTokenizer
from harness.schema.own import ExactAnswers
from harness.statistics import wilson
from harness.yaml_reader import display_name

MOST_PATTERN = 500
MOST_TEXT = 20_000
"""Letters of an answer that are looked at."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what answers are right: one of `answers`, one choice, or a pattern."""

    prompt: Prompt
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None

    def is_right(self, text: str) -> bool:
        """Return whether `text` is a right answer.

        `answers`: the whole text is one of them, both put into one form. `choices`: the first
        choice that stands in the text as a word is the right one. `pattern`: it is found in it.
        """
        text = text[:MOST_TEXT]
        if self.pattern is not None:
            return self.pattern.search(text) is not None
        if not self.choices:
            return plain(text) in {plain(answer) for answer in self.answers}
        places = [
            (place, -len(c), c) for c in self.choices if (place := _place(c, text)) is not None
        ]
        return bool(places) and min(places)[2] in self.answers


def plain(text: str) -> str:
    """Return `text` in one form: NFKC, case folded, blanks as one, marks at its ends cut off."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip(" .,;:!?\"'`*()[]")


def read_questions(gate: ExactAnswers, data: Path) -> list[Question]:
    """Return the first questions of the gate's file.

    Raises SpecError, with the lines, if the file is not as docs/quality.md says, and if so few
    questions could never show `accuracy_min`, were all answers right.
    """
    path = data / gate.file
    if path.suffix != ".jsonl":
        raise SpecError(f"the gate's file {gate.file} must be a .jsonl file")
    problems: list[Problem] = []
    questions = []
    for prompt in read_prompts(path, gate.questions):
        question = _question(prompt)
        if isinstance(question, str):
            problems.append(Problem(display_name(path), prompt.line, 1, "", question))
        else:
            questions.append(question)
    if problems:
        raise SpecError.of(problems[:MOST_PROBLEMS])
    count = len(questions)
    most = wilson(count, count)[0]
    if most < gate.accuracy_min:
        raise SpecError(
            f"{count} questions, all answered rightly, show an accuracy of only {most:.3f}; "
            f"accuracy_min is {gate.accuracy_min:g}",
            hint=f"ask at least {least_questions(gate.accuracy_min)}, or lower accuracy_min",
        )
    return questions


def least_questions(accuracy: float) -> int:
    """Return how many right answers show `accuracy`, by the lower end of the Wilson interval.

    Of n right ones among n it is n / (n + z^2), with z = 1.96.
    """
    count = max(1, math.floor(1.9599**2 * accuracy / (1 - accuracy)))
    while wilson(count, count)[0] < accuracy:
        count += 1
    return count


def answer_requests(
    questions: Sequence[Question], gate: ExactAnswers, tokenizer: OwnTokenizer | None
) -> list[AnswerRequest]:
    """Return what is asked; without `tokenizer` only a server can answer it."""
    requests = []
    for question in questions:
        prompt: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        if tokenizer is not None and question.prompt.text is not None:
            prompt = tokenizer.encode(question.prompt.text)
        requests.append(
            AnswerRequest(prompt, gate.max_new_tokens, messages=question.prompt.messages)
        )
    return requests


def count_right(
    questions: Sequence[Question], outputs: Sequence[Output], tokenizer: OwnTokenizer | None
) -> int:
    """Return how many answers are right; BadOutputError if one cannot be read as text."""
    right = 0
    for question, output in zip(questions, outputs, strict=True):
        what = f"the question at line {question.prompt.line}"
        right += question.is_right(text_of(output, tokenizer, what))
    return right


def _question(prompt: Prompt) -> Question | str:
    """Return the question of a line, or what is wrong with it."""
    fields = prompt.fields
    pattern, choices, answer = (fields.get(key) for key in ("pattern", "choices", "answer"))
    if pattern is not None:
        if not isinstance(pattern, str) or not 0 < len(pattern) <= MOST_PATTERN:
            return f"'pattern' must be a text of at most {MOST_PATTERN} letters"
        if answer is not None or choices is not None:
            return "has either a 'pattern', or an 'answer', or an 'answer' among 'choices'"
        try:
            compiled = re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            return f"'pattern' is no regular expression: {error}"
        if compiled.search(""):
            return "'pattern' is found in an empty answer, which would count as right"
        return Question(prompt, pattern=compiled)
    answers = _texts([answer] if isinstance(answer, str) else answer)
    if answers is None:
        return "needs a 'pattern' or an 'answer': a text, or a list of texts that are all right"
    if choices is None:
        return Question(prompt, answers)
    given = _texts(choices)
    if given is None or len(given) < 2 or len(set(given)) != len(given):
        return "'choices' must be a list of at least two different texts"
    if len(answers) != 1 or answers[0] not in given:
        return "'answer' must be one of the 'choices'"
    return Question(prompt, answers, given)


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(each, str) and plain(each) for each in value):
        return None
    return tuple(value)


def _place(choice: str, text: str) -> int | None:
    """Return where `choice` stands in `text` as a word of its own."""
    found = re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text)
    return None if found is None else found.start()
