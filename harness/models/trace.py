"""Recorded traffic: when requests came and how long they were, from a CSV file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import Problem, SpecError
from harness.models.inputs import draw_requests, draw_sampling
from harness.models.own_inputs import text_shape
from harness.models.requests import Request, TextRequest
from harness.models.rows import decimal
from harness.schema.inputs import PromptInputs
from harness.schema.model import GgufModel, LlamaModel, ServedModel
from harness.schema.workload import Workload
from harness.traffic import input_order, trace_arrivals
from harness.yaml_reader import display_name, shown

HEADER = "time_s,input_tokens,output_tokens"
MOST_BYTES = 100_000_000
MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Trace:
    """Arrivals in seconds (rising, float64 [n]) and lengths in tokens (int64 [n]); n >= 1.

    `source` and `lines` say where each came from.
    """

    times_s: NDArray[np.float64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    source: str
    lines: tuple[int, ...]

    def window(self, speed: float, most_s: float) -> Trace:
        """Return the part that plays within `most_s` at `speed`, its times from 0 and so scaled."""
        times_s = trace_arrivals(self.times_s, speed)
        n = int(np.searchsorted(times_s, most_s))
        return Trace(
            times_s[:n],
            self.input_tokens[:n],
            self.output_tokens[:n],
            self.source,
            self.lines[:n],
        )


def read_trace(path: Path) -> Trace:
    """Return the trace in the CSV file at `path`; SpecError lists what is wrong, with places.

    The first line is `time_s,input_tokens,output_tokens`. Times are seconds from any origin and do
    not fall; tokens are whole numbers of at least 1. Nothing is quoted.
    """
    name = display_name(path)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{name}: cannot be read: {error.strerror or error}") from None
    if len(content) > MOST_BYTES:
        raise SpecError(f"{name}: larger than {MOST_BYTES:,} bytes")
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        bad = content.count(b"\n", 0, error.start) + 1
        raise SpecError.of([Problem(name, bad, 1, "", "not UTF-8")]) from None
    if not lines or lines[0] != HEADER:
        message = f"the first line must be {HEADER}, is {shown(lines[0] if lines else '')}"
        raise SpecError.of([Problem(name, 1, 1, "", message)])
    rows: list[tuple[float, int, int]] = []
    numbers: list[int] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines[1:], 2):
        row = _row(name, number, line, rows[-1][0] if rows else None, problems)
        if row is not None:
            rows.append(row)
            numbers.append(number)
        if len(problems) >= MOST_PROBLEMS:
            break
    if not rows and not problems:
        problems.append(Problem(name, 1, 1, "", "the trace has no rows"))
    if problems:
        raise SpecError.of(problems)
    return Trace(
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.int64),
        name,
        tuple(numbers),
    )


def trace_requests(trace: Trace, workload: Workload, data: Path | None = None) -> list[Request]:
    """Return one request per row of `trace`, in its order.

    Text: prompts of random tokens of the row's length, drawn from `inputs.seed`, that generate the
    row's output length; SpecError names the rows that the model's context does not hold. A user's
    own prompts, and other tasks, have no lengths to follow: the workload's inputs, in seeded
    permutations.
    """
    model = workload.model
    if isinstance(workload.inputs, PromptInputs) and isinstance(model, GgufModel | ServedModel):
        model = text_shape(model, workload.inputs, data)
    if not isinstance(model, LlamaModel) or not isinstance(workload.inputs, PromptInputs):
        inputs = draw_requests(workload, data)
        order = input_order(len(inputs), trace.times_s.size, workload.inputs.seed)
        return [inputs[i] for i in order]
    problems = [
        Problem(
            trace.source,
            line,
            1,
            "",
            f"{prompt} input and {output} output tokens are above the model's context of "
            f"{model.context}",
        )
        for line, prompt, output in zip(
            trace.lines, trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True
        )
        if prompt + output > model.context
    ]
    if problems:
        raise SpecError.of(problems[:MOST_PROBLEMS])
    rng = np.random.default_rng(workload.inputs.seed)
    return [
        TextRequest(
            prompt=rng.integers(0, model.vocabulary, size=prompt, dtype=np.int64),
            max_new_tokens=output,
            sampling=sampling,
        )
        for prompt, output, sampling in zip(
            trace.input_tokens.tolist(),
            trace.output_tokens.tolist(),
            draw_sampling(workload.inputs, trace.times_s.size),
            strict=True,
        )
    ]


def _row(
    name: str, number: int, line: str, before_s: float | None, problems: list[Problem]
) -> tuple[float, int, int] | None:
    """Return what `line` holds, or None and append what is wrong with it."""

    def wrong(column: int, message: str) -> None:
        problems.append(Problem(name, number, column, "", message))

    cells = line.split(",")
    if len(cells) != 3:
        wrong(1, f"must have 3 columns, has {len(cells)}: {shown(line)}")
        return None
    found = len(problems)
    time_s = _time(cells[0])
    if time_s is None:
        wrong(1, f"time_s must be a number of at least 0, is {shown(cells[0])}")
    elif before_s is not None and time_s < before_s:
        wrong(1, f"time_s falls from {before_s:g} to {time_s:g}")
    tokens: list[int] = []
    column = len(cells[0]) + 2
    for label, cell in zip(HEADER.split(",")[1:], cells[1:], strict=True):
        if not (cell.isascii() and cell.isdigit() and len(cell) <= 9 and int(cell) > 0):
            wrong(column, f"{label} must be a whole number of at least 1, is {shown(cell)}")
        else:
            tokens.append(int(cell))
        column += len(cell) + 1
    if len(problems) > found or time_s is None:
        return None
    return time_s, tokens[0], tokens[1]


def _time(cell: str) -> float | None:
    try:
        value = decimal(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
