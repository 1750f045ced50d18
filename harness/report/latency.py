"""The latency drawing: for each target p50, the SLO's percentile and p99, against the limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness import units
from harness.report import words
from harness.report.scale import Scale, in_percent
from harness.report.text import clip
from harness.report.view import Row, Standing, WorkloadView
from harness.schema import Metric
from harness.schema.workload import SloLimit

LABEL_LENGTH = 30
ROW_HEIGHT = 46
TOP, BOTTOM = 30, 30

Shape = Literal["circle", "square", "tick"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A percentile on a row: place and half-interval in per cent of the width, as text."""

    name: str
    shape: Shape
    x: str
    band_x: str | None
    band_width: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """A vertical line with its label: a tick of the axis, or a limit."""

    x: str
    label: str
    anchor: Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One target's row: heights in pixels as text."""

    label: str
    standing: Standing
    remark: str
    key_figure: str
    label_y: str
    track_y: str
    span: tuple[str, str] | None
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class LatencyDrawing:
    """A drawing for one metric of the SLO, with what its table needs.

    `percentiles` are the metric names of the table's columns with their headings.
    """

    key: str
    metric: str
    name: str
    title: str
    description: str
    height: str
    axis_y: str
    logarithmic: bool
    legend: tuple[tuple[Shape, str], ...]
    rows: tuple[LatencyRow, ...]
    limits: tuple[Line, ...]
    ticks: tuple[Line, ...]
    percentiles: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]

    @property
    def remarked(self) -> bool:
        """Whether any of the rows is noisy or not measured by this harness."""
        return any(row.remark for row in self.rows)


def latency_drawings(view: WorkloadView) -> tuple[LatencyDrawing, ...]:
    """Return a drawing for each metric that the workload's SLO names; none without figures."""
    if view.workload is None:
        return ()
    by_metric: dict[str, list[SloLimit]] = {}
    for limit in view.workload.slo:
        by_metric.setdefault(limit.metric, []).append(limit)
    drawings = (_drawing(view, name, limits) for name, limits in by_metric.items())
    return tuple(drawing for drawing in drawings if drawing is not None)


def percentile_names(
    rows: Iterable[Row], metric: str, drawn: Iterable[float]
) -> tuple[tuple[str, str], ...]:
    """Return (metric name, heading) of the percentiles `drawn` and of those that any row has."""
    prefix = f"{metric}_s.p"
    found = set(drawn) | {
        float(name.removeprefix(prefix))
        for row in rows
        if row.point is not None
        for name in row.point.metrics
        if name.startswith(prefix)
    }
    return tuple((f"{prefix}{value:g}", f"p{value:g}") for value in sorted(found))


def _drawing(view: WorkloadView, metric: str, limits: Sequence[SloLimit]) -> LatencyDrawing | None:
    promised = limits[0].percentile
    shapes = _shapes(promised)
    drawable = [row for row in view.measured if row.doubt != "invalid"]
    known = [row for row in drawable if _values(row, metric, shapes)]
    if not known:
        return None
    scale = Scale.spanning(
        [
            *(limit.limit_s for limit in limits),
            *(value for row in known for value in _values(row, metric, shapes)),
        ]
    )
    name = words.metric(metric)
    legend = tuple((shape, f"p{percentile:g}") for percentile, shape in shapes.items())
    axis_y = TOP + ROW_HEIGHT * len(known)
    promises = " and ".join(
        f"p{limit.percentile:g} at most {units.seconds(limit.limit_s)}" for limit in limits
    )
    left_out = [
        f"{row.title}: {'the measurement is invalid' if row.doubt == 'invalid' else _why(row)}"
        for row in view.rows
        if row not in known
    ]
    for percentile in shapes:
        without = [row.title for row in known if _value(row, metric, percentile) is None]
        if without:
            whose = "every target" if len(without) == len(known) else "; ".join(without)
            left_out.append(f"p{percentile:g} of {whose}: the table says why")
    return LatencyDrawing(
        key=f"{view.key}-{metric}",
        metric=metric,
        name=name,
        title=f"{name} of {view.decision.title} on each target",
        description=f"Limit: {promises}. "
        + "; ".join(_spoken(row, metric, shapes) for row in known)
        + ".",
        height=str(axis_y + BOTTOM),
        axis_y=str(axis_y),
        logarithmic=scale.logarithmic,
        legend=legend,
        rows=tuple(
            _row(row, metric, shapes, promised, scale, index) for index, row in enumerate(known)
        ),
        limits=tuple(
            _line(scale, limit.limit_s, f"limit p{limit.percentile:g} ") for limit in limits
        ),
        ticks=tuple(_line(scale, tick) for tick in scale.ticks()),
        percentiles=percentile_names(view.rows, metric, shapes),
        left_out=tuple(left_out),
    )


def _shapes(promised: float) -> dict[float, Shape]:
    """Return which percentiles are drawn, rising, each with its shape; the promise is a square."""
    others = [50.0, 99.0] if promised not in (50.0, 99.0) else [50.0, 95.0, 99.0]
    shapes: dict[float, Shape] = {p: "circle" if p == 50.0 else "tick" for p in others}
    shapes[promised] = "square"
    return dict(sorted(shapes.items()))


def _metric(row: Row, metric: str, percentile: float) -> Metric | None:
    return row.metric(f"{metric}_s.p{percentile:g}")


def _value(row: Row, metric: str, percentile: float) -> float | None:
    figure = _metric(row, metric, percentile)
    return None if figure is None else figure.value


def _values(row: Row, metric: str, shapes: dict[float, Shape]) -> list[float]:
    found = [_value(row, metric, percentile) for percentile in shapes]
    return [value for value in found if value is not None]


def _row(
    row: Row,
    metric: str,
    shapes: dict[float, Shape],
    promised: float,
    scale: Scale,
    index: int,
) -> LatencyRow:
    marks, places = [], []
    for percentile, shape in shapes.items():
        figure = _metric(row, metric, percentile)
        if figure is None or figure.value is None:
            continue
        place = scale.percent(figure.value)
        places.append(place)
        band_x = band_width = None
        if figure.low is not None and figure.high is not None:
            start, end = scale.percent(figure.low), scale.percent(figure.high)
            band_x, band_width = in_percent(start), in_percent(end - start)
        marks.append(Mark(f"p{percentile:g}", shape, in_percent(place), band_x, band_width))
    key = _metric(row, metric, promised)
    top = TOP + ROW_HEIGHT * index
    return LatencyRow(
        label=clip(row.title, LABEL_LENGTH),
        standing=row.standing,
        remark=row.remark,
        key_figure=f"p{promised:g} {_figure(key)}{f', {row.remark}' if row.remark else ''}",
        label_y=str(top + 16),
        track_y=str(top + 31),
        span=(in_percent(min(places)), in_percent(max(places))) if len(places) > 1 else None,
        marks=tuple(marks),
    )


def _figure(metric: Metric | None) -> str:
    if metric is None:
        return "not recorded"
    return units.seconds(metric.value, "not supported by n")


def _spoken(row: Row, metric: str, shapes: dict[float, Shape]) -> str:
    figures = (f"p{p:g} {_figure(_metric(row, metric, p))}" for p in shapes)
    remark = f" ({row.remark})" if row.remark else ""
    return f"{clip(row.title, LABEL_LENGTH)}{remark}: {', '.join(figures)}"


def _why(row: Row) -> str:
    if row.record is None:
        return "not measured"
    return "no figures" if row.point is None else "no percentile is supported by the sample"


def _line(scale: Scale, value: float, prefix: str = "") -> Line:
    place = scale.percent(value)
    anchor: Literal["start", "middle", "end"] = (
        "start" if place < 12 else "end" if place > 88 else "middle"
    )
    return Line(in_percent(place), f"{prefix}{units.seconds(value)}", anchor)
