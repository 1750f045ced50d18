"""The figures of tasks and of turns: the task is the unit, or the turn's place in a conversation.

A task takes from when its first call was due to the end of its last. It is done if all of its calls
ended well. Formulas: docs/metrics.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import statistics
from harness.distributions import student_quantile
from harness.schema.record import Metric
from harness.schema.workload import SloLimit

OK = 0
"""The status of a request that was answered in time."""
TASK_LATENCY = "task_latency"
TURN_PERCENTILES = (50.0, 90.0, 99.0)

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TaskRows:
    """The tasks that began in a window, in the order of their beginning.

    `latency_s` is of those that were done, `failed` counts the others. `number` is each done
    task's, `of_request` has for each request of the window that was answered the latency of its
    task, infinite of one that failed. `ended_s` (from the window's start) is of all that were done
    in the window, whenever they began.
    """

    number: NDArray[np.int64]
    latency_s: Column
    ended_s: Column
    failed: int
    of_request: Column

    @property
    def count(self) -> int:
        """How many tasks began."""
        return self.latency_s.size + self.failed


def task_rows(
    columns: Mapping[str, NDArray[np.int64]],
    calls: int,
    start_ns: int,
    answered: NDArray[np.bool_],
) -> TaskRows:
    """Return the tasks of `calls` calls each that began at `start_ns` or later.

    `columns` are of all requests; `answered` says which of them `of_request` is of.
    """
    task = columns["task"]
    count = int(task.max()) + 1 if task.size else 0
    due = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(due, task, columns["scheduled_ns"])
    ended = np.full(count, -1)
    np.maximum.at(ended, task, columns["ended_ns"])
    ok = np.bincount(task[columns["status"] == OK], minlength=count)
    seen = np.bincount(task, minlength=count) > 0
    latency_s = np.where(ok >= calls, (ended - due) / 1e9, np.inf)
    began = seen & ((start_ns == 0) | (due >= start_ns))
    order = np.nonzero(began)[0]
    order = order[np.argsort(due[order], kind="stable")]
    done = order[np.isfinite(latency_s[order])]
    within = seen & np.isfinite(latency_s) & ((start_ns == 0) | (ended > start_ns))
    return TaskRows(
        number=done,
        latency_s=latency_s[done],
        ended_s=(ended[within] - start_ns) / 1e9,
        failed=int(order.size - done.size),
        of_request=latency_s[task[answered]],
    )


def task_metrics(
    tasks: TaskRows, duration_s: float, slo: Sequence[SloLimit], bad: NDArray[np.int64]
) -> dict[str, Metric]:
    """Return rate, error rate, attainment and goodput of tasks; `bad` are those with a bad call.

    A task is good if it was done within every limit on `task_latency`, and each of its calls was
    within every limit on a call.
    """
    within = np.ones(tasks.latency_s.size, dtype=bool)
    for limit in slo:
        if limit.metric == TASK_LATENCY:
            within &= tasks.latency_s <= limit.limit_s
    good = int((within & ~np.isin(tasks.number, bad)).sum())
    attainment = statistics.proportion(good, tasks.count, better="higher")
    goodput = statistics.goodput(attainment, duration_s).model_copy(update={"unit": "tasks/s"})
    return {
        "task_latency_s.mean": _mean(tasks.latency_s),
        "throughput_tasks_per_s": statistics.rate(
            np.ones(tasks.ended_s.size), tasks.ended_s, duration_s, unit="tasks/s"
        ),
        "task_error_rate": statistics.proportion(tasks.failed, tasks.count, better="lower"),
        "task_slo_attainment": attainment,
        "goodput_tasks_per_s": goodput,
    }


def _mean(values_s: Column) -> Metric:
    """Return the mean with +-t standard errors, from the effective sample size."""
    method = "t interval, effective sample size"
    n = values_s.size
    if not n:
        reason = "no task was done"
        return Metric(unit="s", better="lower", value=None, n=0, method=method, reason=reason)
    value, low, high = float(values_s.mean()), None, None
    n_eff = statistics.effective_sample_size(values_s)
    if n_eff >= 2:
        times = student_quantile((1 + statistics.CONFIDENCE) / 2, n_eff - 1)
        half = times * float(values_s.std(ddof=1)) / math.sqrt(n_eff)
        low, high = max(0.0, value - half), value + half
    return Metric(
        unit="s", better="lower", value=value, low=low, high=high, n=n, n_eff=n_eff, method=method
    )


def turn_metrics(
    turn: NDArray[np.int64], values: Mapping[str, tuple[Column, NDArray[np.bool_]]]
) -> dict[str, Metric]:
    """Return percentiles of first turns and of later ones apart.

    `turn` is of each answered request. `values` has by name a value of each of those requests that
    are marked, in seconds.
    """
    metrics = {}
    for name, (value_s, has) in values.items():
        for which, chosen in (("first_turn", turn[has] == 0), ("later_turns", turn[has] > 0)):
            for percent in TURN_PERCENTILES:
                metrics[f"{name}_{which}_s.p{percent:g}"] = statistics.percentile(
                    value_s[chosen], percent
                )
    return metrics
