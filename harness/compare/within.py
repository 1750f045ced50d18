"""How far requests within the runs scatter a ratio: the noise that is seen without any repeat.

It is no evidence for a difference: runs of the same thing differ by more. See docs/compare.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.bootstrap import (
    Interval,
    Resampled,
    ratio_of_runs,
    resampled_percentile,
    resampled_rate,
)
from harness.measure.samples import COLUMNS, Samples
from harness.measure.summary import Window
from harness.schema.record import Point, Record
from harness.schema.workload import MultiStream

Rows = Mapping[str, NDArray[np.int64]]
"""A record's samples, by column."""
SamplesOf = Callable[[Record], Rows | None]
"""Returns a record's samples, or None where it kept none."""

WORK = 30_000_000
"""Requests drawn for a figure, over all its resamples and runs: some tenths of a second."""
FEWEST, MOST = 200, 500
RATES = ("throughput_requests_per_s", "throughput_output_tokens_per_s")
SERIES = ("latency", "ttft", "tpot")


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows in the shape that a window takes them."""

    rows: Mapping[str, NDArray[np.int64]]

    def columns(self) -> dict[str, NDArray[np.int64]]:
        return dict(self.rows)


def within_runs(
    metric: str,
    base: Sequence[tuple[Record, Point]],
    new: Sequence[tuple[Record, Point]],
    samples_of: SamplesOf,
) -> Interval | None:
    """Return the ratio of `new` to `base` from their samples, with its within-run interval.

    None where a run kept no samples, or where `metric` is no figure of single requests (energy, for
    one). The ratio is of geometric means, as the comparison's is.
    """
    if not _is_of_requests(metric):
        return None
    windows: list[list[Window]] = []
    for side in (base, new):
        windows.append([])
        for record, point in side:
            rows = samples_of(record)
            if rows is None:
                return None
            windows[-1].append(_window(rows, record, point, metric not in RATES))
    requests = sum(window.requests for side in windows for window in side)
    resamples = min(max(WORK // max(requests, 1), FEWEST), MOST)
    seeds = iter(range(len(base) + len(new)))
    first, second = (
        [_resampled(metric, window, resamples, next(seeds)) for window in side] for side in windows
    )
    if any(not run.value > 0 for run in (*first, *second)):
        return None
    return ratio_of_runs(second, first)


def _is_of_requests(metric: str) -> bool:
    return metric in RATES or metric.partition("_s.p")[0] in SERIES


def _window(rows: Rows, record: Record, point: Point, by_query: bool) -> Window:
    """Return the window of `point` without its warm-up; `by_query` where latencies are those."""
    position = next(i for i, each in enumerate(record.points) if each is point)
    mine = rows["point"] == position
    table = {name: rows[name][mine] for name in COLUMNS}
    due_ns = np.sort(table["scheduled_ns"])
    steady_ns = int(due_ns[point.warm_up_requests]) if point.warm_up_requests else 0
    scenario = record.cell.scenario
    if by_query and isinstance(scenario, MultiStream):
        samples = Samples(0, 0, list(zip(*(table[name].tolist() for name in COLUMNS), strict=True)))
        table = samples.by_query(scenario.samples).columns()
    audio_s = np.zeros(int(table["input"].max(initial=0)) + 1).tolist()
    return Window(_Table(table), audio_s).since(steady_ns)


def _resampled(metric: str, window: Window, resamples: int, seed: int) -> Resampled:
    if metric in RATES:
        order = np.argsort(window.ended_s, kind="stable")
        amounts = np.ones(order.size)
        if metric == "throughput_output_tokens_per_s":
            amounts = window.tokens_out[order]
        between_s = np.diff(window.ended_s[order], prepend=0.0)
        return resampled_rate(amounts, np.maximum(between_s, 0.0), resamples, seed)
    name, _, percent = metric.partition("_s.p")
    return resampled_percentile(window.series(name), float(percent), resamples, seed)
