"""What happened within one window, request by request: latency, queue and lag over time.

A window may hold hundreds of thousands of requests. Each chart shows the least and the most of each
of 200 slices of time, so that no extreme is lost; the table beside it has twelve slices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import units
from harness.measure.samples import OK
from harness.report import words
from harness.report.plot import CROSS, DOT, Axes, Charted, Layer, Plot, plot
from harness.report.scale import Scale
from harness.schema.record import Point, Record
from harness.schema.workload import SloLimit

Columns = Mapping[str, NDArray[np.int64]]
SamplesOf = Callable[[Record], Columns | None]
Series = NDArray[np.float64]

DRAWN_SLICES, TABLE_SLICES = 200, 12
OPEN = ("server", "burst", "trace")
"""Traffic with a schedule of its own, which does not wait for answers."""
SHORTEST_S = 1e-6
"""The least time that a chart shows: stamps are not finer."""


@dataclass(frozen=True, slots=True)
class Window:
    """The requests of one operating point, in the order in which they were due; times in s.

    NaN: never sent, or never answered. `ok` are those that were answered as they should.
    """

    due_s: Series
    sent_s: Series
    ended_s: Series
    ok: NDArray[np.bool_]
    length_s: float

    @classmethod
    def of(cls, columns: Columns, point: int) -> Window | None:
        """Return the window of the `point`-th operating point; None if it has no request."""
        own = np.flatnonzero(columns["point"] == point)
        if not own.size:
            return None
        order = own[np.argsort(columns["scheduled_ns"][own], kind="stable")]
        due, sent, ended = (
            _seconds(columns[name][order]) for name in ("scheduled_ns", "issued_ns", "ended_ns")
        )
        length_s = float(np.nanmax(np.concatenate((due, sent, ended))))
        ok = columns["status"][order] == OK
        return cls(due, sent, ended, ok, max(length_s, SHORTEST_S))

    @property
    def latency_s(self) -> Series:
        """From when each request was due to its answer."""
        return self.ended_s - self.due_s

    @property
    def lag_s(self) -> Series:
        """From when each request was due until it was sent."""
        return self.sent_s - self.due_s

    def slices(self, at_s: Series, count: int) -> NDArray[np.int64]:
        """Return in which of `count` equal parts of the window each moment lies."""
        part = np.floor(at_s / self.length_s * count).astype(np.int64)
        return np.clip(part, 0, count - 1)


def over_time(
    key: str, record: Record, point: Point, window: Window, limits: Sequence[SloLimit]
) -> tuple[Charted, ...]:
    """Return the charts of latency, of the queue, and of the lag of `point`, each with a table."""
    charts = [_latency(key, point, window, limits), _queue(key, window)]
    if record.cell.scenario.kind in OPEN:
        charts.append(_lag(key, window))
    return tuple(charts)


def extremes(parts: NDArray[np.int64], values: Series) -> NDArray[np.int64]:
    """Return, rising, the positions of the least and the greatest value of each part."""
    order = np.lexsort((values, parts))
    ordered = parts[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    last = np.append(first[1:] - 1, ordered.size - 1) if first.size else first
    return np.unique(np.concatenate((order[first], order[last])))


def steps(begins_s: Series, ends_s: Series) -> tuple[Series, Series]:
    """Return the moments at which a count changes, rising from 0 s, and the count from then on."""
    moments = np.concatenate((begins_s, ends_s))
    changes = np.concatenate((np.ones(begins_s.size), -np.ones(ends_s.size)))
    at, where = np.unique(moments, return_inverse=True)
    counts = np.cumsum(np.bincount(where, weights=changes, minlength=at.size))
    return np.concatenate(([0.0], at)), np.concatenate(([0.0], counts))


def _latency(key: str, point: Point, window: Window, limits: Sequence[SloLimit]) -> Charted:
    ok, latency = window.ok, window.latency_s
    heads = (
        ("Due between", False),
        ("Requests", True),
        ("Failed or not answered", True),
        ("Fastest", True),
        ("Median", True),
        ("Slowest", True),
    )
    rows = []
    part = window.slices(window.due_s, TABLE_SLICES)
    for index in range(TABLE_SLICES):
        own = part == index
        answered = latency[own & ok]
        rows.append(
            (
                _between(window, index),
                units.count(int(own.sum())),
                units.count(int((own & ~ok).sum())),
                *(_of(answered, each) for each in (np.min, np.median, np.max)),
            )
        )
    drawn: Plot | None = None
    shown, known = np.empty(0, dtype=np.int64), np.flatnonzero(ok)
    remark = ""
    if known.size:
        parts = window.slices(window.due_s[known], DRAWN_SLICES)
        shown = known[extremes(parts, latency[known])]
        # Below the clock's own step a logarithmic axis would only show rounding.
        values = np.maximum(latency, SHORTEST_S)
        promised = [limit for limit in limits if limit.metric == "latency"]
        axes = _axes(window, [*values[shown], *(limit.limit_s for limit in promised)])
        top = axes.up.high
        cut = point.warm_up_requests
        late = np.flatnonzero(~ok)
        lost = late[
            np.unique(window.slices(window.due_s[late], DRAWN_SLICES), return_index=True)[1]
        ]
        layers = [
            Layer("dots", axes.marks(_pairs(window.due_s[shown], values[shown]), DOT)),
            Layer("fault", axes.marks(((float(t), top) for t in window.due_s[lost]), CROSS)),
        ]
        if 0 < cut < window.due_s.size:
            x = axes.x(float(window.due_s[cut]))
            layers.append(Layer("edge", f"M{x} 16V291"))
        remark = axes.note
        drawn = plot(
            f"{key}-latency",
            "Latency of the requests over the window",
            f"{units.count(known.size)} answered requests, from {_of(latency[known], np.min)} to "
            f"{_of(latency[known], np.max)}, median {_of(latency[known], np.median)}; "
            f"{units.count(late.size)} failed or not answered.",
            axes,
            ("When the request was due", "Latency"),
            layers,
            [(limit.limit_s, _promise(limit)) for limit in promised],
        )
    legend = [
        ("dot", "a request that was answered"),
        ("cross", "failed or not answered, at the upper edge"),
    ]
    if point.warm_up_requests:
        legend.append(("edge", "before it: warm-up, not in the figures"))
    of = f"{units.count(shown.size)} of {units.count(known.size)} answered requests are drawn"
    note = f"{of}: the fastest and the slowest of each 1/200 of the window. {remark}".strip()
    return Charted(
        "Requests over time",
        "Requests over time: latency from when each was due",
        drawn,
        tuple(legend),
        note if known.size else "No request was answered.",
        heads,
        tuple(rows),
    )


def _queue(key: str, window: Window) -> Charted:
    sent, ended = np.isfinite(window.sent_s), np.isfinite(window.ended_s)
    flying = steps(window.sent_s[sent], window.ended_s[sent & ended])
    waiting = steps(window.due_s, np.maximum(window.sent_s, window.due_s)[sent])
    tables = [_levels(window, each, TABLE_SLICES) for each in (flying, waiting)]
    rows = tuple(
        (
            _between(window, index),
            *(
                text
                for mean, _, most in tables
                for text in (units.number(float(mean[index])), units.count(float(most[index])))
            ),
        )
        for index in range(TABLE_SLICES)
    )
    layers, peaks = [], []
    drawn = [_levels(window, each, DRAWN_SLICES) for each in (flying, waiting)]
    most = max(float(each[2].max()) for each in drawn)
    axes = Axes(
        Scale.spanning([0.0, window.length_s], from_zero=True),
        Scale.spanning([0.0, max(most, 1.0)], from_zero=True),
        "s",
        "1",
    )
    width = window.length_s / DRAWN_SLICES
    for (mean, least, peak), kind in zip(drawn, ("chosen", "runner_up"), strict=True):
        middles = [(index + 0.5) * width for index in range(DRAWN_SLICES)]
        upper = list(zip(middles, peak.tolist(), strict=True))
        lower = list(zip(middles, least.tolist(), strict=True))
        layers.append(Layer(f"area {kind}", f"{axes.line([*upper, *reversed(lower)])}z"))
        dashed = " dashed" if kind == "runner_up" else ""
        line = axes.line(zip(middles, mean.tolist(), strict=True))
        layers.append(Layer(f"line {kind}{dashed}", line))
        peaks.append(units.count(float(peak.max())))
    return Charted(
        "Queue and requests in flight",
        "Queue and requests in flight over time: mean and most of each part",
        plot(
            f"{key}-queue",
            "Requests in flight and waiting over the window",
            f"At most {peaks[0]} in flight at once, and at most {peaks[1]} waiting to be sent.",
            axes,
            ("Time in the window", "Requests"),
            layers,
        ),
        (
            ("line", "in flight: sent, not yet answered"),
            ("dashed", "waiting: due, not yet sent"),
            ("band", "from the least to the most within 1/200 of the window"),
        ),
        "One that is never answered stays in flight, one that is never sent stays waiting.",
        (
            ("Part of the window", False),
            ("In flight, mean", True),
            ("In flight, most", True),
            ("Waiting, mean", True),
            ("Waiting, most", True),
        ),
        rows,
    )


def _lag(key: str, window: Window) -> Charted:
    known = np.flatnonzero(np.isfinite(window.sent_s))
    lag = np.maximum(window.lag_s, 0.0)
    part = window.slices(window.due_s, TABLE_SLICES)
    rows = tuple(
        (
            _between(window, index),
            units.count(int((part == index).sum())),
            units.count(int(((part == index) & ~np.isfinite(window.sent_s)).sum())),
            *(_of(lag[known][part[known] == index], each) for each in (np.median, np.max)),
        )
        for index in range(TABLE_SLICES)
    )
    drawn: Plot | None = None
    remark = ""
    if known.size:
        parts = window.slices(window.due_s[known], DRAWN_SLICES)
        shown = known[extremes(parts, lag[known])]
        axes = _axes(window, [max(float(value), SHORTEST_S) for value in lag[shown]])
        values = np.maximum(lag, SHORTEST_S)
        remark = axes.note
        drawn = plot(
            f"{key}-lag",
            "Time from when a request was due until it was sent",
            f"Median {_of(lag[known], np.median)}, at most {_of(lag[known], np.max)}.",
            axes,
            ("When the request was due", "Due until sent"),
            [Layer("dots", axes.marks(_pairs(window.due_s[shown], values[shown]), DOT))],
        )
    return Charted(
        "Schedule lag",
        "Schedule lag over time: from when a request was due until it was sent",
        drawn,
        (("dot", "a request: the least and the most of each 1/200 of the window"),),
        "It is part of the latency: the wait for a free place on the target, and the harness's own "
        f"delay. A delay of the harness alone would make the record invalid. {remark}".strip(),
        (
            ("Due between", False),
            ("Requests", True),
            ("Never sent", True),
            ("Median", True),
            ("Most", True),
        ),
        rows,
    )


def _levels(
    window: Window, changes: tuple[Series, Series], count: int
) -> tuple[Series, Series, Series]:
    """Return the mean over time, the least and the most of a count in each of `count` parts."""
    at, level = changes
    edges = np.linspace(0.0, window.length_s, count + 1)
    held = level[np.searchsorted(at, edges, side="right") - 1]
    everywhere = np.concatenate((at, edges))
    order = np.argsort(everywhere, kind="stable")
    moments, levels = everywhere[order], np.concatenate((level, held))[order]
    spent = np.diff(np.append(np.minimum(moments, window.length_s), window.length_s))
    own = np.concatenate((window.slices(at, count), np.minimum(np.arange(count + 1), count - 1)))
    part = own[order]
    sums = np.bincount(part, weights=levels * spent, minlength=count)
    times = np.bincount(part, weights=spent, minlength=count)
    least, most = np.full(count, np.inf), np.zeros(count)
    # A level held for no time is that of events at one moment, in whichever order.
    lasting = spent > 0
    np.minimum.at(least, part[lasting], levels[lasting])
    np.maximum.at(most, part[lasting], levels[lasting])
    mean = sums / np.maximum(times, np.finfo(float).tiny)
    return mean, np.where(np.isfinite(least), least, 0.0), most


def _axes(window: Window, values: Sequence[float]) -> Axes:
    across = Scale.spanning([0.0, window.length_s], from_zero=True)
    return Axes(across, Scale.spanning(values), "s", "s")


def _between(window: Window, index: int) -> str:
    low, high = (window.length_s * edge / TABLE_SLICES for edge in (index, index + 1))
    return f"{units.quantity(low, 's')} and {units.quantity(high, 's')}"


def _of(values: Series, what: Callable[[Series], np.floating]) -> str:
    return units.seconds(float(what(values))) if values.size else "none"


def _pairs(first: Series, second: Series) -> list[tuple[float, float]]:
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _promise(limit: SloLimit) -> str:
    return f"limit of p{limit.percentile:g}: {units.seconds(limit.limit_s)}"


def _seconds(column: NDArray[np.int64]) -> Series:
    """Return nanoseconds as seconds; those below 0, of what never happened, as NaN."""
    return np.where(column < 0, np.nan, column / 1e9)


def scenario_note(record: Record) -> str:
    """Return why there is no lag: only traffic with a schedule of its own can run late."""
    if record.cell.scenario.kind in OPEN:
        return ""
    said = words.scenario(record.cell.scenario.kind)
    return f"The traffic is {said}: there is no schedule that requests could be late against."
