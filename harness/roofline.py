"""The least work that a request needs, and so the most that hardware can do: formulas, no I/O.

The roofline of Williams, Waterman and Patterson (2009): time is at least bytes / bandwidth and at
least operations / arithmetic rate. Every count here is a lower bound, so that no right figure lies
above the limit. Formulas with their reasons: docs/roofline.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.schema.model import LlamaModel, WhisperModel

BYTES_OF = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.0, "int4": 0.5}
"""Bytes of one weight, or of one cached key or value, by the target's precision."""
MULTIPLY_ADD = 2
"""Operations of one multiplication with its addition."""

Unit = Literal["output tokens", "audio s", "rows"]


@dataclass(frozen=True, slots=True)
class Pass:
    """One way through weights, of which a request has `times`; bytes and operations are of each.

    `shared_bytes` (weights) are read once for all requests that are computed together, `own_bytes`
    (keys and values) and `operations` are of one request.
    """

    times: float
    shared_bytes: float
    own_bytes: float
    operations: float


@dataclass(frozen=True, slots=True)
class Work:
    """The least that one request needs: its passes, and the `units` it is worth.

    `step` is the number of the pass that makes one more token; None where there is none.
    """

    unit: Unit
    units: float
    passes: tuple[Pass, ...]
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most that hardware can move and compute, per second; None where that is not known.

    `cache_bytes` is what it may keep near by from one pass to the next.
    """

    bytes_per_s: float | None
    operations_per_s: float | None
    cache_bytes: float


@dataclass(frozen=True, slots=True)
class Limit:
    """The highest rate in units per second, and what sets it.

    `bytes_per_unit` and `operations_per_unit` are means over the requests, before anything that a
    cache may save. `per_s` and `bound` are None where no known ceiling stands in the way.
    `step_s` is the least time of one output token, the median over the requests.
    """

    bytes_per_unit: float
    operations_per_unit: float
    per_s: float | None
    bound: Literal["memory", "compute"] | None
    step_s: float | None


def limit(works: Sequence[Work], ceilings: Ceilings, together: float) -> Limit:
    """Return the limit for requests `works` (at least one, of one kind), `together` at a time.

    A pass of B requests moves at least shared + B own - cache bytes: what a cache held from the
    pass before need not come again. Memory and arithmetic may overlap fully, so the longer counts.
    """
    units = sum(work.units for work in works)
    parts = [part for work in works for part in work.passes]
    moved = sum(part.times * (part.shared_bytes / together + part.own_bytes) for part in parts)
    operations = sum(part.times * part.operations for part in parts)
    times: dict[Literal["memory", "compute"], float] = {}
    if ceilings.bytes_per_s is not None:
        least = sum(
            _moved(works, number, ceilings.cache_bytes, together)
            for number in range(len(works[0].passes))
        )
        times["memory"] = least / ceilings.bytes_per_s
    if ceilings.operations_per_s is not None:
        times["compute"] = operations / ceilings.operations_per_s
    bound, longest = max(times.items(), key=lambda item: item[1], default=(None, 0.0))
    if not longest:
        bound = None
    return Limit(
        bytes_per_unit=moved / units,
        operations_per_unit=operations / units,
        per_s=units / longest if longest else None,
        bound=bound,
        step_s=_step_s(works, ceilings) if together == 1 else None,
    )


def _moved(works: Sequence[Work], number: int, cache_bytes: float, together: float) -> float:
    """Return the least bytes that pass `number` of all `works` moves from memory."""
    parts = [work.passes[number] for work in works]
    if together == 1:
        return sum(part.times * _beyond(part, part.own_bytes, cache_bytes, 1) for part in parts)
    times = sum(part.times for part in parts)
    if not times:
        return 0.0
    # Requests of a batch differ; only their mean is bounded by what the whole batch moves.
    own = sum(part.times * part.own_bytes for part in parts) / times
    return times * _beyond(parts[0], own, cache_bytes, together)


def _beyond(part: Pass, own_bytes: float, cache_bytes: float, together: float) -> float:
    return max(0.0, (part.shared_bytes - cache_bytes) / together + own_bytes)


def _step_s(works: Sequence[Work], ceilings: Ceilings) -> float | None:
    times = []
    for work in works:
        if work.step is None or not work.passes[work.step].times:
            continue
        part = work.passes[work.step]
        spent = [0.0]
        if ceilings.bytes_per_s is not None:
            moved = _beyond(part, part.own_bytes, ceilings.cache_bytes, 1)
            spent.append(moved / ceilings.bytes_per_s)
        if ceilings.operations_per_s is not None:
            spent.append(part.operations / ceilings.operations_per_s)
        times.append(max(spent))
    return statistics.median(times) or None if times else None


def llama_work(
    model: LlamaModel, prompt: int, output: int, precision: str, *, prefill: bool = True
) -> Work:
    """Return the work of generating `output` tokens after a prompt of `prompt` tokens.

    The first token comes from the pass over the prompt, each further one from a pass of its own
    that reads the cache of all positions before it. Without `prefill` the pass over the prompt is
    left out: for servers that may still hold its keys and values.
    """
    size = BYTES_OF[precision]
    head = model.hidden // model.heads
    layer = model.hidden * head * (2 * model.heads + 2 * model.kv_heads)
    layer += 3 * model.hidden * model.intermediate
    body, out = model.layers * layer, model.vocabulary * model.hidden
    norms = (2 * model.layers + 1) * model.hidden
    weights = (body + out + norms) * size
    position = 2 * model.layers * model.kv_heads * head * size
    attention = 2 * MULTIPLY_ADD * model.layers * model.heads * head
    steps = output - 1
    # Step j of the steps reads prompt + j - 1 positions, and attends to one more: its own.
    before = prompt + (steps - 1) / 2
    first = Pass(
        times=float(prefill),
        shared_bytes=weights,
        own_bytes=prompt * position,
        operations=MULTIPLY_ADD * (body * prompt + out) + attention * prompt * (prompt + 1) / 2,
    )
    step = Pass(
        times=float(steps),
        shared_bytes=weights,
        own_bytes=(before + 1) * position,
        operations=MULTIPLY_ADD * (body + out) + attention * (before + 1),
    )
    return Work("output tokens", float(output), (first, step), step=1)


def whisper_work(
    model: WhisperModel, prefix: int, output: int, audio_s: float, precision: str
) -> Work:
    """Return the work of transcribing one window of `audio_s` seconds into `output` tokens.

    The encoder and the keys and values for cross-attention once, the `prefix` in one pass, and a
    pass for each token after the first. The window is always computed whole, as the model does.
    """
    size, hidden, frames = BYTES_OF[precision], model.hidden, model.frames // 2
    square = hidden * hidden
    convolutions = 3 * model.mel_bands * hidden + 3 * square
    cross = 2 * square * model.decoder_layers
    encoder = Pass(
        times=1.0,
        shared_bytes=(convolutions + 12 * square * model.encoder_layers + cross) * size,
        own_bytes=2 * model.decoder_layers * frames * hidden * size,
        operations=MULTIPLY_ADD
        * (
            3 * model.mel_bands * hidden * model.frames
            + 3 * square * frames
            + model.encoder_layers * (12 * square + 2 * frames * hidden) * frames
            + cross * frames
        ),
    )
    # Self-attention 4, the query and output of cross-attention 2, feed-forward 8 squares.
    body, out = 14 * square * model.decoder_layers, model.vocabulary * hidden
    weights = (body + out) * size
    across = 2 * model.decoder_layers * frames * hidden
    position = 2 * model.decoder_layers * hidden

    def decoder(times: float, tokens: int, before: float) -> Pass:
        attended = tokens * before + tokens * (tokens + 1) / 2
        return Pass(
            times=times,
            shared_bytes=weights,
            own_bytes=(across + position * (before + tokens)) * size,
            operations=MULTIPLY_ADD * (body * tokens + out + across * tokens + position * attended),
        )

    steps = output - 1
    passes = (encoder, decoder(1.0, prefix, 0.0), decoder(steps, 1, prefix + (steps - 1) / 2))
    return Work("audio s", audio_s, passes)


def row_work(weights: int, weights_multiplied: int, features: int, precision: str) -> Work:
    """Return the work of scoring one row of `features` float32 features.

    `weights` are all that a batch of rows must read, `weights_multiplied` those that each row is
    multiplied with (the network's). A tree's comparisons count as nothing: a lower bound.
    """
    part = Pass(
        times=1.0,
        shared_bytes=weights * BYTES_OF[precision],
        own_bytes=4.0 * (features + 1),
        operations=float(MULTIPLY_ADD * weights_multiplied),
    )
    return Work("rows", 1.0, (part,))
