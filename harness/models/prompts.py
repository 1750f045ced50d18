"""A user's own prompts: read from a text, CSV or JSONL file, and put into token numbers.

Every fault is named with its file and line, before anything is measured.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import Problem, SpecError
from harness.models.requests import Message
from harness.models.tokenizer import OwnTokenizer
from harness.schema.lengths import Distribution
from harness.yaml_reader import display_name, shown

MOST_BYTES = 1_000_000_000
MOST_PROBLEMS = 20
MOST_TOKENS = 10_000_000
MEAN_WITHIN = 0.01
ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt at `line` of its file: what is said, and the line's other fields as they are."""

    line: int
    messages: tuple[Message, ...]
    fields: dict[str, object]

    @property
    def text(self) -> str | None:
        """The text, if it is one plain prompt; None of a conversation."""
        alone = len(self.messages) == 1 and self.messages[0].role == "user"
        return self.messages[0].content if alone else None


def read_prompts(path: Path, count: int) -> list[Prompt]:
    """Return the first `count` prompts of the file `path`, in its order.

    Raises SpecError, with every line that is wrong, if the file is not as docs/inputs.md says.
    """
    name = display_name(path)
    lines = _lines(path, name)
    problems: list[Problem] = []
    if path.suffix == ".csv":
        prompts = _of_csv(lines, name, count, problems)
    else:
        read = _of_json if path.suffix == ".jsonl" else _of_text
        prompts = []
        for number, line in enumerate(lines, 1):
            if len(prompts) == count or len(problems) >= MOST_PROBLEMS:
                break
            if line.strip():
                found = read(line, name, number, problems)
                prompts += [found] if found else []
    if problems:
        raise SpecError.of(problems[:MOST_PROBLEMS])
    if not prompts:
        raise SpecError.of([Problem(name, 1, 1, "", "the file has no prompts")])
    return prompts


def own_lengths(
    prompts: Sequence[Prompt], distribution: Distribution, path: Path
) -> NDArray[np.int64]:
    """Return each prompt's own length, from the empirical distribution's column, after its cut.

    Raises SpecError, with the lines, for what is no whole number of at least 1, and if the mean is
    not within 1 % of the declared one.
    """
    column, mean = distribution.column, distribution.mean
    assert column is not None
    assert mean is not None
    name = display_name(path)
    problems, lengths = [], []
    for prompt in prompts:
        value = prompt.fields.get(column)
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_TOKENS:
            given = "is missing" if value is None else f"is {shown(str(value))}"
            message = f"'{column}' must be a whole number of at least 1, {given}"
            problems.append(Problem(name, prompt.line, 1, "", message))
        else:
            lengths.append(value)
    if problems:
        raise SpecError.of(problems[:MOST_PROBLEMS])
    cut = np.clip(np.array(lengths, dtype=np.int64), distribution.minimum, distribution.maximum)
    check_mean("the mean of '" + column + f"' in {name}", float(cut.mean()), mean, "mean")
    return cut


def check_mean(what: str, found: float, declared: float, field: str) -> None:
    """Raise SpecError, with what to write, unless `found` is within 1 % of `declared`."""
    if abs(found / declared - 1) > MEAN_WITHIN:
        raise SpecError(
            f"{what} is {found:.6g}, not {declared:g}", hint=f"write {field}: {found:.6g}"
        )


def encoded(
    prompts: Sequence[Prompt],
    tokenizer: OwnTokenizer,
    path: Path,
    *,
    context: int | None,
    outputs: Sequence[int],
) -> list[NDArray[np.int64]]:
    """Return the token numbers of `prompts`.

    Raises SpecError, with the lines, for a conversation (which only a server's chat template puts
    into tokens) and for a prompt that with its output does not fit into `context`.
    """
    name = display_name(path)
    problems: list[Problem] = []
    tokens: list[NDArray[np.int64]] = []
    for prompt, output in zip(prompts, outputs, strict=True):
        if prompt.text is None:
            problems.append(_needs_template(prompt, name))
            continue
        ids = tokenizer.encode(prompt.text)
        if not len(ids):
            problems.append(Problem(name, prompt.line, 1, "", "the prompt has no tokens"))
        elif context is not None and len(ids) + output > context:
            message = (
                f"{len(ids)} tokens of the prompt and {output} of the answer are above the "
                f"model's context of {context}"
            )
            problems.append(Problem(name, prompt.line, 1, "", message))
        tokens.append(ids)
    if problems:
        raise SpecError.of(problems[:MOST_PROBLEMS])
    return tokens


def check_plain(prompts: Sequence[Prompt], path: Path) -> None:
    """Raise SpecError, with the lines, if one of `prompts` is a conversation."""
    name = display_name(path)
    problems = [_needs_template(prompt, name) for prompt in prompts if prompt.text is None]
    if problems:
        raise SpecError.of(problems[:MOST_PROBLEMS])


def _needs_template(prompt: Prompt, name: str) -> Problem:
    message = "'messages' need a server's chat template"
    hint = "write the whole text as 'prompt', with the template's own marks"
    return Problem(name, prompt.line, 1, "", message, hint)


def _lines(path: Path, name: str) -> list[str]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SpecError(f"{name}: larger than {MOST_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpecError(f"{name}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SpecError(f"{name}: not UTF-8 text") from None
    # Not splitlines(): a prompt may hold a form feed or a line separator.
    return text.replace("\r\n", "\n").split("\n")


def _of_text(line: str, name: str, number: int, problems: list[Problem]) -> Prompt | None:
    return Prompt(number, (Message("user", line),), {})


def _of_csv(lines: list[str], name: str, count: int, problems: list[Problem]) -> list[Prompt]:
    """Return the prompts of a CSV file; quotes may enclose several lines."""
    reader = csv.reader(io.StringIO("\n".join(lines)), strict=True)
    header: list[str] = []
    prompts: list[Prompt] = []
    try:
        header = next(reader, [])
        if "prompt" not in header or len(set(header)) != len(header):
            message = "the first line must name each column once, 'prompt' among them"
            problems.append(Problem(name, 1, 1, "", message))
            return []
        before = reader.line_num
        for cells in reader:
            number, before = before + 1, reader.line_num
            if len(prompts) == count or len(problems) >= MOST_PROBLEMS:
                break
            if not cells:
                continue
            fields: dict[str, object] = dict(zip(header, cells, strict=False))
            if len(cells) != len(header):
                message = f"must have {len(header)} columns, has {len(cells)}"
                problems.append(Problem(name, number, 1, "", message))
            elif not str(fields["prompt"]).strip():
                problems.append(Problem(name, number, 1, "", "the prompt is empty"))
            else:
                text = str(fields.pop("prompt"))
                prompts.append(Prompt(number, (Message("user", text),), fields))
    except csv.Error as error:
        problems.append(Problem(name, reader.line_num, 1, "", f"not CSV: {error}"))
    return prompts


def _of_json(line: str, name: str, number: int, problems: list[Problem]) -> Prompt | None:
    def wrong(message: str, column: int = 1) -> None:
        problems.append(Problem(name, number, column, "", message))

    try:
        document = json.loads(line)
        # JSON can write half of a character (a lone surrogate), which no text can hold.
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        wrong(f"not JSON: {error.msg}", error.colno)
        return None
    except UnicodeEncodeError:
        wrong("half of a character, as \\ud83d without its other half; write whole ones")
        return None
    except (ValueError, RecursionError):
        wrong("not JSON")
        return None
    if not isinstance(document, dict) or ("prompt" in document) == ("messages" in document):
        wrong("must be an object with either 'prompt' or 'messages'")
        return None
    fields = {key: value for key, value in document.items() if key not in ("prompt", "messages")}
    if "prompt" in document:
        text = document["prompt"]
        if not isinstance(text, str) or not text.strip():
            wrong("'prompt' must be a text that is not empty")
            return None
        return Prompt(number, (Message("user", text),), fields)
    messages = _messages(document["messages"])
    if messages is None:
        wrong(
            '\'messages\' must be a list of {"role", "content"}, with a role of '
            f"{', '.join(ROLES)}, and the last one the user's"
        )
        return None
    return Prompt(number, messages, fields)


def _messages(value: object) -> tuple[Message, ...] | None:
    if not isinstance(value, list) or not value:
        return None
    found = []
    for each in value:
        role, content = (
            (each.get("role"), each.get("content")) if isinstance(each, dict) else ("", 0)
        )
        if role not in ROLES or not isinstance(content, str) or not content.strip():
            return None
        found.append(Message(str(role), content))
    return tuple(found) if found[-1].role == "user" else None
