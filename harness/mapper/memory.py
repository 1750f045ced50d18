"""What a model takes of a target's memory: as measured where a record says so, else by formula.

The formula counts weights and the keys and values of the requests that are in flight at once. What
the runtime takes beside them is not known and not in it, so that it can rule a target out, and a
target that passes may still run out of memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from harness import units
from harness.mapper.operating import point_within_slo
from harness.roofline import BYTES_OF
from harness.schema.inputs import Inputs, PromptInputs
from harness.schema.model import GgufModel, HuggingFaceModel, LlamaModel, WhisperModel
from harness.schema.own import PromptFileInputs
from harness.schema.record import Histogram, Record
from harness.schema.target import Target
from harness.schema.workload import Workload

PEAK = "peak_memory_bytes"
"""What a session may describe: the most memory of the device that it has held."""

RATE = "throughput_requests_per_s"

GGUF_KEPT_BYTES = {"fp32": 4.0}
"""Bytes of a key or value that llama.cpp keeps of a user's own GGUF file, where not 2."""

Shape = LlamaModel | WhisperModel


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """The memory that a workload takes on one unit of a target, in GB, and how that is known."""

    gigabytes: float
    basis: str


@dataclass(frozen=True, slots=True)
class Positions:
    """The positions that a request takes at its longest; `left_out` is what is not in them."""

    count: int
    left_out: str | None = None


def memory_need(workload: Workload, target: Target, records: Sequence[Record]) -> MemoryNeed | None:
    """Return what `workload` takes on one unit of `target`; None where its size is not known.

    The most that any of `records` has described, else weights + requests at once x what each keeps.
    """
    peaks = [
        float(peak)
        for record in records
        if isinstance(peak := record.session.get(PEAK), int | float) and peak > 0
    ]
    if peaks:
        return MemoryNeed(max(peaks) / 1e9, "the most that was held while it was measured")
    shape = shape_of(workload, records)
    if shape is None:
        return None
    precision = target.runtime.precision
    weights = _file_bytes(workload, records) or weight_count(shape) * BYTES_OF[precision]
    at_once = max([1, *(requests_at_once(record) for record in records)])
    longest = positions(workload.inputs, records)
    each = BYTES_OF[precision]
    if isinstance(workload.model, GgufModel):
        each = GGUF_KEPT_BYTES.get(precision, 2.0)
    kept = kept_values(shape, longest.count) * each
    without = "what the runtime takes"
    if longest.left_out is not None and isinstance(shape, LlamaModel):
        without = f"{longest.left_out}, and without {without}"
    return MemoryNeed(
        (weights + at_once * kept) / 1e9,
        f"weights of {units.data(weights)} and {units.data(kept)} of keys and values for "
        f"each of {units.count(at_once)} requests at once, without {without}",
    )


def unknown_size(workload: Workload, target: Target, records: Sequence[Record]) -> str | None:
    """Return why it is not known whether a model in a file fits `target`; None if nothing is open.

    Nothing is where the target states no memory, or was not measured.
    """
    stated = target.hardware.memory_gb
    model = workload.model
    if stated is None or not stated.value or not records:
        return None
    if not isinstance(model, HuggingFaceModel | GgufModel):
        return None
    if memory_need(workload, target, records) is not None:
        return None
    file = model.file if isinstance(model, GgufModel) else model.source
    return (
        f"whether its memory is enough is not known: what is in {file} is not in the record, which "
        "was made by an earlier version; measure it again"
    )


def shape_of(workload: Workload, records: Sequence[Record]) -> Shape | None:
    """Return what is declared of the model, else what a record tells of the files it was read from.

    None of one without keys and values, and where no record tells.
    """
    model = workload.model
    if isinstance(model, LlamaModel | WhisperModel):
        return model
    if not isinstance(model, HuggingFaceModel | GgufModel):
        return None
    for record in records:
        told = record.session.get("model_shape")
        if not isinstance(told, Mapping):
            continue
        kind = WhisperModel if told.get("family") == "whisper" else LlamaModel
        try:
            return kind.model_validate(told)
        except ValidationError:
            continue
    return None


def _file_bytes(workload: Workload, records: Sequence[Record]) -> float | None:
    """Return the bytes of a GGUF file, which is loaded as it is; None of any other model."""
    if not isinstance(workload.model, GgufModel):
        return None
    told = (record.session.get("weight_bytes") for record in records)
    return next((float(n) for n in told if isinstance(n, int | float) and n > 0), None)


def weight_count(model: Shape) -> float:
    """Return the number of weights of `model`."""
    if isinstance(model, LlamaModel):
        head = model.hidden // model.heads
        layer = model.hidden * head * (2 * model.heads + 2 * model.kv_heads)
        layer += 3 * model.hidden * model.intermediate + 2 * model.hidden
        tables = model.vocabulary * model.hidden * (1 if model.tied_embeddings else 2)
        return float(model.layers * layer + tables + model.hidden)
    square = model.hidden**2
    layers = 12 * square * model.encoder_layers + 16 * square * model.decoder_layers
    convolutions = 3 * model.mel_bands * model.hidden + 3 * square
    tables = (model.vocabulary + model.text_context + model.frames // 2) * model.hidden
    return float(layers + convolutions + tables)


def positions(inputs: Inputs, records: Sequence[Record]) -> Positions:
    """Return the positions of the longest prompt with its answer.

    Of own prompts the longest is the one that is declared, else the longest that a record counted;
    where neither is known they are left out. 0 of inputs without a prompt.
    """
    if isinstance(inputs, PromptInputs):
        return Positions(inputs.upper)
    if not isinstance(inputs, PromptFileInputs):
        return Positions(0)
    longest = inputs.prompt_tokens_max or max(map(_counted, records), default=0)
    if not longest:
        return Positions(
            inputs.output_tokens.upper,
            "those of the prompts, whose longest is not known (inputs.prompt_tokens_max)",
        )
    return Positions(longest + inputs.output_tokens.upper)


def _counted(record: Record) -> int:
    """Return the longest own prompt that `record` counted, in tokens; 0 if it counted none."""
    inputs = record.session.get("inputs")
    told = inputs.get("prompt_tokens") if isinstance(inputs, Mapping) else None
    longest = told.get("maximum") if isinstance(told, Mapping) else None
    return longest if isinstance(longest, int) else 0


def kept_values(model: Shape, count: int) -> float:
    """Return the keys and values that one request of `count` positions holds: 2 x layers x size.

    Of Whisper those of the decoder's own positions and of the encoder's that it looks across to.
    """
    if isinstance(model, LlamaModel):
        head = model.hidden // model.heads
        return float(2 * model.layers * model.kv_heads * head * count)
    return float(2 * model.decoder_layers * model.hidden * (model.frames // 2 + model.text_context))


def requests_at_once(record: Record) -> int:
    """Return Little's law at the operating point, rate x mean latency, rounded up; at least 1."""
    point = point_within_slo(record)
    if point is None:
        return 1
    rate = point.metrics.get(RATE)
    mean_s = _mean_s(point.latency)
    if rate is None or not rate.value or mean_s is None:
        return 1
    return max(1, math.ceil(rate.value * mean_s))


def _mean_s(histogram: Histogram) -> float | None:
    """Return the mean of `histogram`, each bucket at its geometric middle."""
    total = sum(count for _, count in histogram.counts)
    if not total:
        return None
    spent = math.fsum(count * histogram.growth ** (k + 0.5) for k, count in histogram.counts)
    return spent / total
