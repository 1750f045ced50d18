"""The latency of tasks where the record measured them as tasks: then nothing is calculated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

from harness import units
from harness.schema.demand import Agent
from harness.schema.option import TaskFigures, TaskQuantile
from harness.schema.record import Metric, Point, Record
from harness.statistics import minimum_samples

MEAN = "task_latency_s.mean"
TOLD = (50.0, 99.0)
"""The percentiles of a task that are told beside that of its promise."""


def measured_tasks(record: Record, points: Sequence[Point], agent: Agent) -> TaskFigures | None:
    """Return the figures of the tasks at `points`, repeats of one operating point of `record`.

    Medians of the values, the highest of the bounds, the worst state. None where the workload of
    the record does not run the tasks of `agent`, where a task failed (the latencies are of the
    others), or where the promised percentile was not told.
    """
    declared, slo = record.workload.agent, agent.slo
    if declared is None or not points:
        return None
    if (declared.calls_per_task, declared.order) != (agent.calls_per_task, agent.order):
        return None
    percentiles = sorted({*TOLD, *(() if slo is None else (slo.percentile,))})
    means, found = [], []
    for point in points:
        failed, mean = point.metrics.get("task_error_rate"), point.metrics.get(MEAN)
        told = [point.metrics.get(f"task_latency_s.p{p:g}") for p in percentiles]
        if failed is None or failed.value != 0 or mean is None or mean.value is None:
            return None
        means.append(mean)
        found.append([metric for metric in told if metric is not None])
        if len(found[-1]) < len(percentiles):
            return None
    quantiles = tuple(
        _quantile(percent, same)
        for percent, same in zip(percentiles, zip(*found, strict=True), strict=True)
    )
    promised = None
    if slo is not None:
        promised = next(q for q in quantiles if q.percentile == slo.percentile)
    return TaskFigures(
        calls_per_task=agent.calls_per_task,
        order=agent.order,
        mean_s=median(mean.value for mean in means if mean.value is not None),
        quantiles=quantiles,
        n_eff=min(mean.n_eff or 0.0 for mean in means),
        slo=slo,
        state=None if slo is None or promised is None else _state(promised, slo.limit_s),
        basis=f"measured as tasks of {units.count(agent.calls_per_task)} calls at the load that "
        "the throughput is of",
    )


def _quantile(percent: float, same: Sequence[Metric]) -> TaskQuantile:
    needed = minimum_samples(percent / 100)
    unknown = next((metric for metric in same if metric.value is None), None)
    if unknown is not None:
        return TaskQuantile(percentile=percent, needed=needed, reason=unknown.reason)
    highs = [math.inf if metric.high is None else metric.high for metric in same]
    return TaskQuantile(
        percentile=percent,
        needed=needed,
        value_s=median(metric.value for metric in same if metric.value is not None),
        high_s=None if math.inf in highs else max(highs),
    )


def _state(found: TaskQuantile, limit_s: float) -> Literal["met", "missed", "unproven"]:
    if found.value_s is not None and found.value_s > limit_s:
        return "missed"
    return "met" if found.high_s is not None and found.high_s <= limit_s else "unproven"
