"""Holds what a cell measured against the most that its hardware can do. See docs/roofline.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import roofline, units
from harness.adapters.base import Request, RowRequest, Session, SpeechRequest, TextRequest
from harness.adapters.session import default_threads
from harness.errors import HarnessError
from harness.measure.ceilings import UNKNOWN_CACHE_BYTES, ceilings
from harness.measure.samples import OK, Samples
from harness.measure.verdict import ABOVE_ROOFLINE
from harness.models.model import Model, Weights
from harness.roofline import Ceilings, Work
from harness.schema.model import LlamaModel, TreesMlpModel, WhisperModel
from harness.schema.record import Point, Roofline
from harness.schema.scenario import ClosedLoop, MultiStream, Scenario, SingleStream, Trace
from harness.schema.target import Hardware, Target
from harness.schema.tasks import AgentTask

RATES = {
    "output tokens": "throughput_output_tokens_per_s",
    "audio s": "throughput_audio_s_per_s",
    "rows": "throughput_requests_per_s",
}
"""The metric that a limit is held against, by the work's unit."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a cell has measured at its headline: the point, and the requests that were answered."""

    scenario: Scenario
    point: Point
    answered: Sequence[Request]
    together: float
    """The most requests that can have shared one reading of the weights."""


def measurement(
    scenario: Scenario,
    session: Session,
    point: Point,
    samples: Samples,
    inputs: Sequence[Request],
    agent: AgentTask | None = None,
) -> Measurement:
    """Return what the roofline needs of a point; for a trace `inputs` are not what was sent.

    `agent`: the requests came as the calls of such tasks.
    """
    answered: list[Request] = []
    if not isinstance(scenario, Trace):
        columns = samples.columns()
        answered = [inputs[number] for number in columns["input"][columns["status"] == OK]]
    at_once = agent.calls_per_task if agent and agent.order == "parallel" else 1
    return Measurement(scenario, point, answered, most_together(scenario, session, at_once))


def most_together(scenario: Scenario, session: Session, at_once: int = 1) -> float:
    """Return how many requests the session may compute together under `scenario`, at most.

    `at_once` is how many requests a user sends at once.
    """
    queries = float("inf") if session.max_concurrency is None else session.max_concurrency
    waiting = float("inf")
    if isinstance(scenario, SingleStream):
        waiting = float(at_once)
    elif isinstance(scenario, MultiStream):
        waiting = float(scenario.samples)
    elif isinstance(scenario, ClosedLoop):
        waiting = float(scenario.concurrency * at_once)
    return min(waiting, session.max_batch * queries)


def assess(
    found: Measurement | None,
    model: Model,
    target: Target,
    described: Mapping[str, object],
    cache: Path,
) -> Roofline:
    """Return the roofline of a cell; one that cannot be drawn says why.

    A figure above the limits that the cache keeps has them measured again, once: they may have been
    taken while something else ran. Never raises for what is only missing.
    """
    if described.get("simulated"):
        return Roofline(reason="the target is simulated")
    if found is None:
        return Roofline(reason="no point stands for the record")
    works = _works(found, model, target)
    if isinstance(works, str):
        return Roofline(reason=works)
    if target.runtime.device != "cpu":
        return draw(found, works, *facts(target))
    threads = _threads(target, described)
    try:
        drawn = draw(found, works, *machine(cache, threads, target.runtime.precision))
        if is_above(drawn):
            again = machine(cache, threads, target.runtime.precision, again=True)
            drawn = draw(found, works, *again)
    except HarnessError as error:
        return Roofline(reason=error.message[:2000])
    return drawn


def is_above(drawn: Roofline) -> bool:
    """Return whether a figure is further above the limit than measuring it can explain."""
    return any(
        share is not None and share > ABOVE_ROOFLINE for share in (drawn.share, drawn.step_share)
    )


def draw(
    found: Measurement, works: Sequence[Work], most: Ceilings, source: str, notes: tuple[str, ...]
) -> Roofline:
    """Return the roofline of `works` under the ceilings `most`, with the shares reached."""
    limit = roofline.limit(works, most, found.together)
    unit = works[0].unit
    achieved = found.point.metrics[RATES[unit]].value
    share = None if limit.per_s is None or achieved is None else achieved / limit.per_s
    step = found.point.metrics.get("tpot_s.p50")
    step_s = step.value if step and isinstance(found.scenario, SingleStream) else None
    if limit.step_s and step and step.reason and isinstance(found.scenario, SingleStream):
        notes = (*notes, f"median time per output token: {step.reason}")
    reason = None
    if limit.per_s is None:
        reason = "; ".join(notes) or "what is read fits in the cache and no rate is known"
    elif achieved is None:
        reason = "the point has no throughput"
    biggest = max(part.shared_bytes + part.own_bytes for work in works for part in work.passes)
    if most.bytes_per_s is not None and biggest <= most.cache_bytes:
        fits = f"the {units.data(biggest)} that a pass reads fit in {units.data(most.cache_bytes)}"
        notes = (*notes, f"{fits} of cache, so memory sets no limit")
    return Roofline(
        unit=unit,
        bytes_per_unit=limit.bytes_per_unit,
        operations_per_unit=limit.operations_per_unit,
        bandwidth_bytes_per_s=most.bytes_per_s,
        operations_per_s=most.operations_per_s,
        cache_bytes=most.cache_bytes,
        source=source,
        bound=limit.bound,
        limit_per_s=limit.per_s,
        achieved_per_s=achieved,
        share=share,
        step_limit_s=limit.step_s,
        step_s=step_s,
        step_share=limit.step_s / step_s if limit.step_s and step_s else None,
        reason=reason,
        notes=notes,
    )


def machine(
    cache: Path, threads: int, precision: str, *, again: bool = False
) -> tuple[Ceilings, str, tuple[str, ...]]:
    """Return the ceilings of this processor, where they come from, and what they leave out."""
    found = ceilings(cache, threads, again=again)
    notes: tuple[str, ...] = ()
    rate: float | None = found.operations_per_s
    if precision != "fp32":
        rate = None
        notes = (f"the arithmetic rate is known in fp32 only, not in {precision}",)
    source = f"measured with {threads} threads, {found.measured_at:%Y-%m-%d %H:%M} UTC"
    return Ceilings(found.bytes_per_s, rate, found.cache_bytes), source, notes


def facts(target: Target) -> tuple[Ceilings, str, tuple[str, ...]]:
    """Return the ceilings that the target's hardware facts declare, of all its chips together."""
    hardware, precision = target.hardware, target.runtime.precision
    field = {
        "fp32": "fp32_tflops",
        "bf16": "bf16_dense_tflops",
        "fp16": "bf16_dense_tflops",
        "int8": "int8_dense_tops",
    }.get(precision)
    notes: list[str] = []
    sources: list[str] = []
    bandwidth = _fact(hardware, "bandwidth_gb_per_s", 1e9, notes, sources)
    rate = None
    if field is None:
        notes.append(f"no arithmetic rate is declared for {precision}")
    else:
        rate = _fact(hardware, field, 1e12, notes, sources)
    return (
        Ceilings(bandwidth, rate, UNKNOWN_CACHE_BYTES * hardware.count),
        "; ".join(dict.fromkeys(sources)) or "none",
        tuple(notes),
    )


def _fact(
    hardware: Hardware, field: str, scale: float, notes: list[str], sources: list[str]
) -> float | None:
    fact = getattr(hardware, field)
    if fact is None or not fact.value:
        notes.append(f"the target declares no '{field}'")
        return None
    sources.append(f"{fact.source}, {fact.date}")
    value: float = fact.value * scale * hardware.count
    return value


def cpu_threads(target: Target, described: Mapping[str, object]) -> int | None:
    """Return how many threads the target computes with on this processor; None if elsewhere."""
    if described.get("simulated") or target.runtime.device != "cpu":
        return None
    return _threads(target, described)


def _threads(target: Target, described: Mapping[str, object]) -> int:
    for said in (described.get("threads"), target.runtime.options.get("threads")):
        if type(said) is int and said > 0:
            return said
    return default_threads()


def _works(found: Measurement, model: Model, target: Target) -> list[Work] | str:
    """Return the work of each answered request, or why there is no formula for it."""
    architecture, precision = model.architecture, target.runtime.precision
    if isinstance(found.scenario, Trace):
        return "the lengths of a trace's requests are not followed"
    if not found.answered:
        return "no request was answered"
    works: list[Work] = []
    rows = None
    if isinstance(architecture, TreesMlpModel):
        rows = _row(model.weights(), precision, found.answered[0])
    for request in found.answered:
        if isinstance(request, TextRequest) and isinstance(architecture, LlamaModel):
            works.append(
                roofline.llama_work(
                    architecture,
                    len(request.prompt),
                    request.max_new_tokens,
                    precision,
                    prefill=target.runtime.device != "remote",
                )
            )
        elif isinstance(request, SpeechRequest) and isinstance(architecture, WhisperModel):
            tokens = len(request.prefix), request.max_new_tokens
            works.append(roofline.whisper_work(architecture, *tokens, request.audio_s, precision))
        elif isinstance(request, RowRequest) and rows is not None:
            works.append(rows)
        else:
            return f"there is no formula for a model of family '{architecture.family}'"
    return works


def _row(weights: Weights, precision: str, request: Request) -> Work | None:
    """Return the work of one row: the network's; a row need not visit all nodes of the trees.

    None without a network: of trees alone there is nothing that a peak is given for.
    """
    network = {name: array for name, array in weights.items() if name.startswith("mlp.")}
    if not network or not isinstance(request, RowRequest):
        return None
    products = sum(array.size for name, array in network.items() if name.endswith("weight"))
    whole = sum(array.size for array in network.values())
    return roofline.row_work(whole, products, len(request.features), precision)
