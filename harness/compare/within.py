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


class Windows:
    """The windows of a cell's runs, each made once: several figures come from the same samples."""

    def __init__(self, samples_of: SamplesOf) -> None:
        self._samples_of = samples_of
        self._made: dict[tuple[str, int, bool], Window | None] = {}

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
            self._made[key] = (
                None if rows is None else _window(rows, number, point.warm_up_requests, size)
            )
        return self._made[key]


def within_runs(
    metric: str,
    base: Sequence[tuple[Record, Point]],
    new: Sequence[tuple[Record, Point]],
    made: Windows,
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
            window = made.of(record, point, metric not in RATES and not metric.startswith("tpot"))
            if window is None:
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
    return ratio_of_runs(second, first)


def _is_of_requests(metric: str) -> bool:
    return metric in RATES or metric.partition("_s.p")[0] in SERIES


def _window(rows: Rows, number: int, warm_up: int, query_size: int) -> Window:
    mine = rows["point"] == number
    table = {name: rows[name][mine] for name in COLUMNS}
    steady_ns = int(np.sort(table["scheduled_ns"])[warm_up]) if warm_up else 0
    if query_size > 1:
        samples = Samples(0, 0, list(zip(*(table[name].tolist() for name in COLUMNS), strict=True)))
        table = samples.by_query(query_size).columns()
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
