"""How far requests within the runs scatter a ratio: the noise that is seen without any repeat.

Of a workload of tasks the task is the unit of its own figures, as the request is of the others. It
is no evidence for a difference: runs of the same thing differ by more. See docs/compare.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.bootstrap import (
    Interval,
    Resampled,
    ratio_of_runs,
    resampled_percentile,
    resampled_rate,
)
from harness.measure.chains import EXTRA, Chained
from harness.measure.samples import COLUMNS, Samples
from harness.measure.summary import Window
from harness.schema.record import Point, Record
from harness.schema.scenario import MultiStream

Rows = Mapping[str, NDArray[np.int64]]
"""A record's samples, by column."""
SamplesOf = Callable[[Record], Rows | None]
"""Returns a record's samples, or None where it kept none."""

WORK = 30_000_000
"""Requests drawn for a figure, over all its resamples and runs: some tenths of a second."""
FEWEST, MOST = 200, 500
RATES = ("throughput_requests_per_s", "throughput_output_tokens_per_s")
SERIES = ("latency", "ttft", "tpot")
TASKS = "throughput_tasks_per_s"
TASK_MEAN = "task_latency_s.mean"
TASK_SERIES = "task_latency"


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows in the shape that a window takes them."""

    rows: Mapping[str, NDArray[np.int64]]

    def columns(self) -> dict[str, NDArray[np.int64]]:
        return dict(self.rows)


class Windows:
    """The windows of a cell's runs, each made once: several figures come from the same samples."""

    def __init__(self, samples_of: SamplesOf) -> None:
        self._samples_of = samples_of
        self._made: dict[tuple[str, int, bool], Window | None] = {}

    def without_samples(self, record: Record) -> bool:
        """Return whether `record` kept no samples."""
        known = [made for (of, _, _), made in self._made.items() if of == record.id]
        return None in known if known else self._samples_of(record) is None

    def of(self, record: Record, point: Point, by_query: bool) -> Window | None:
        """Return the window of `point` without its warm-up; None where the run kept no samples.

        `by_query`: one row for each query of several requests, where latencies are those.
        """
        number = next(i for i, each in enumerate(record.points) if each is point)
        scenario = record.cell.scenario
        size = scenario.samples if by_query and isinstance(scenario, MultiStream) else 1
        key = (record.id, number, size > 1)
        if key not in self._made:
            rows = self._samples_of(record)
            chained = Chained.of(record.workload)
            if chained is not None and rows is not None and not set(EXTRA) <= set(rows):
                chained = None
            self._made[key] = (
                None
                if rows is None
                else _window(rows, number, point.warm_up_requests, size, chained)
            )
        return self._made[key]


def within_runs(
    metric: str,
    base: Sequence[tuple[Record, Point]],
    new: Sequence[tuple[Record, Point]],
    made: Windows,
) -> Interval | None:
    """Return the ratio of `new` to `base` from their samples, with its within-run interval.

    None where a run kept no samples, or where `metric` is no figure of single requests or tasks
    (energy, for one): `why_none` says which. The ratio is of geometric means, as the comparison's
    is.
    """
    if not _is_resampled(metric):
        return None
    windows: list[list[Window]] = []
    for side in (base, new):
        windows.append([])
        for record, point in side:
            window = made.of(record, point, metric not in RATES and not metric.startswith("tpot"))
            if window is None or (_is_of_tasks(metric) and window.tasks is None):
                return None
            windows[-1].append(window)
    requests = sum(window.requests for side in windows for window in side)
    resamples = min(max(WORK // max(requests, 1), FEWEST), MOST)
    seeds = iter(range(len(base) + len(new)))
    first, second = (
        [_resampled(metric, window, resamples, next(seeds)) for window in side] for side in windows
    )
    if any(not run.value > 0 for run in (*first, *second)):
        return None
    found = ratio_of_runs(second, first)
    if found.reason is not None and _is_of_tasks(metric):
        found = replace(found, reason=found.reason.replace(" requests,", " tasks,"))
    return found


def why_none(metric: str, base: Sequence[Record], new: Sequence[Record], made: Windows) -> str:
    """Return why `within_runs` has no interval for `metric`."""
    if not _is_resampled(metric):
        return "no figure of single requests or tasks"
    if any(made.without_samples(record) for record in (*base, *new)):
        return "a run kept no samples"
    if _is_of_tasks(metric):
        return "the samples of a run do not say which calls are of one task"
    return "not above 0 in every run's samples"


def _is_resampled(metric: str) -> bool:
    return metric in RATES or metric.partition("_s.p")[0] in SERIES or _is_of_tasks(metric)


def _is_of_tasks(metric: str) -> bool:
    return metric in (TASKS, TASK_MEAN) or metric.partition("_s.p")[0] == TASK_SERIES


def _window(
    rows: Rows, number: int, warm_up: int, query_size: int, chained: Chained | None
) -> Window:
    mine = rows["point"] == number
    table = {name: rows[name][mine] for name in (*COLUMNS, *(EXTRA if chained else ()))}
    steady_ns = int(np.sort(table["scheduled_ns"])[warm_up]) if warm_up else 0
    if query_size > 1:
        samples = Samples(0, 0, list(zip(*(table[name].tolist() for name in COLUMNS), strict=True)))
        table = samples.by_query(query_size).columns()
    audio_s = np.zeros(int(table["input"].max(initial=0)) + 1).tolist()
    return Window(_Table(table), audio_s, chained=chained).since(steady_ns)


def _resampled(metric: str, window: Window, resamples: int, seed: int) -> Resampled:
    if metric == TASK_MEAN:
        each_s = window.series(TASK_SERIES)
        return resampled_rate(each_s, np.ones(each_s.size), resamples, seed)
    if metric in (*RATES, TASKS):
        ended_s = window.ended_s
        if metric == TASKS:
            assert window.tasks is not None, "the metric is one of tasks"
            ended_s = window.tasks.ended_s
        order = np.argsort(ended_s, kind="stable")
        amounts = np.ones(order.size)
        if metric == "throughput_output_tokens_per_s":
            amounts = window.tokens_out[order]
        between_s = np.diff(ended_s[order], prepend=0.0)
        return resampled_rate(amounts, np.maximum(between_s, 0.0), resamples, seed)
    name, _, percent = metric.partition("_s.p")
    return resampled_percentile(window.series(name), float(percent), resamples, seed)
