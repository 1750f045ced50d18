"""What a model takes of a target's memory: as measured where a record says so, else by formula.

The formula counts weights and the keys and values of the requests that are in flight at once. What
the runtime takes beside them is not known and not in it, so that it can rule a target out, and a
target that passes may still run out of memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.mapper.operating import point_within_slo
from harness.roofline import BYTES_OF
from harness.schema.model import LlamaModel, WhisperModel
from harness.schema.record import Histogram, Record
from harness.schema.target import Target
from harness.schema.workload import PromptInputs, Workload

PEAK = "peak_memory_bytes"
"""What a session may describe: the most memory of the device that it has held."""

RATE = "throughput_requests_per_s"


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """The memory that a workload takes on one unit of a target, in GB, and how that is known."""

    gigabytes: float
    basis: str


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
    size = BYTES_OF[target.runtime.precision]
    weights = weight_count(workload)
    if weights is None:
        return None
    at_once = max([1, *(requests_at_once(record) for record in records)])
    kept = kept_values(workload) * size
    return MemoryNeed(
        (weights * size + at_once * kept) / 1e9,
        f"weights of {units.data(weights * size)} and {units.data(kept)} of keys and values for "
        f"each of {units.count(at_once)} requests at once, without what the runtime takes",
    )


def weight_count(workload: Workload) -> float | None:
    """Return the weights of a model that is built from its configuration; None of a file's."""
    model = workload.model
    if isinstance(model, LlamaModel):
        head = model.hidden // model.heads
        layer = model.hidden * head * (2 * model.heads + 2 * model.kv_heads)
        layer += 3 * model.hidden * model.intermediate + 2 * model.hidden
        tables = model.vocabulary * model.hidden * (1 if model.tied_embeddings else 2)
        return float(model.layers * layer + tables + model.hidden)
    if isinstance(model, WhisperModel):
        square = model.hidden**2
        layers = 12 * square * model.encoder_layers + 16 * square * model.decoder_layers
        convolutions = 3 * model.mel_bands * model.hidden + 3 * square
        tables = (model.vocabulary + model.text_context + model.frames // 2) * model.hidden
        return float(layers + convolutions + tables)
    return None


def kept_values(workload: Workload) -> float:
    """Return the keys and values that one request holds at its longest: 2 x layers x heads x size.

    Of Whisper those of the decoder's own positions and of the encoder's that it looks across to.
    """
    model, inputs = workload.model, workload.inputs
    if isinstance(model, LlamaModel) and isinstance(inputs, PromptInputs):
        head = model.hidden // model.heads
        return float(2 * model.layers * model.kv_heads * head * inputs.upper)
    if isinstance(model, WhisperModel):
        positions = model.frames // 2 + model.text_context
        return float(2 * model.decoder_layers * model.hidden * positions)
    return 0.0


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
