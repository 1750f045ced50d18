"""The chart of latency against throughput, as places in a drawing that the page scales.

Its colours come from the page's style sheet, so that it follows light, dark and print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.report import words
from harness.report.frame import (
    BOTTOM,
    RIGHT,
    TOP,
    Tick,
    from_left,
    from_top,
    grid,
    marks,
    place,
    x_at,
    y_at,
)
from harness.report.scale import Scale
from harness.report.text import clip
from harness.report.view import Row, Standing, WorkloadView
from harness.schema.record import Point
from harness.schema.workload import SloLimit

WIDTH, HEIGHT = 806, 331
LABEL_LENGTH = 28
LONGEST_TOLD = 4000
LABEL_GAP = 0.062
"""The least distance between two labels at the right edge, as a share of the axes' height."""
SHAPES = (
    "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0z",
    "m-3-3h6v6h-6z",
    "m0-3.7l3.6 6.4h-7.2z",
    "m0-3.9l3.9 3.9l-3.9 3.9l-3.9-3.9z",
    "m0 3.7l3.6-6.4h-7.2z",
    "m-3.7 0l6.4-3.6v7.2z",
    "m3.7 0l-6.4-3.6v7.2z",
    "m-1.3-3.6h2.6v2.3h2.3v2.6h-2.3v2.3h-2.6v-2.3h-2.3v-2.6h2.3z",
    "m0-1.8l1.8-1.8l1.8 1.8l-1.8 1.8l1.8 1.8l-1.8 1.8l-1.8-1.8l-1.8 1.8l-1.8-1.8l1.8-1.8"
    "l-1.8-1.8l1.8-1.8z",
    "m0-3.8l3.3 1.9v3.8l-3.3 1.9l-3.3-1.9v-3.8z",
    "m-4-1.6h8v3.2h-8z",
)
"""Marks around a point, as SVG paths: a shape of its own for each target."""
RING = "m-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z"
STRONG: tuple[Standing, ...] = ("chosen", "runner_up")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operating point: requests/s, the SLO's percentile in s with its interval, its state."""

    rate: float
    latency_s: float
    low_s: float | None
    high_s: float | None
    state: str
    proven: bool = False
    """Whether it is the highest load at which the target kept the SLO."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A target's operating points, from the lowest throughput to the highest.

    `capacity` is the interval of the rate at which it just keeps the SLO, in requests/s, of the
    choice and the runner-up only: more than two bands would hide the curves. `evidence` and `doubt`
    are those of the record.
    """

    label: str
    standing: Standing
    operations: tuple[Operation, ...]
    capacity: tuple[float, float] | None = None
    evidence: str = "measured"
    doubt: str = "valid"


@dataclass(frozen=True, slots=True)
class Numbered:
    """A place on a chart that a table speaks of by its number, and where the number stands."""

    x: str
    y: str
    label_x: str
    label_y: str
    label: str


@dataclass(frozen=True, slots=True)
class Band:
    """An interval of throughput, from the bottom of the axes to the top."""

    x: str
    width: str


@dataclass(frozen=True, slots=True)
class DrawnCurve:
    """A curve as SVG paths: its line, its intervals, marks that keep the promise and others.

    Of a noisy record all marks are among the `others`; `dashed`: it was not measured here.
    """

    label: str
    standing: Standing
    line: str
    intervals: str
    kept: str
    others: str
    proven: str
    leader: str
    key: str
    label_y: str
    band: Band | None
    dashed: bool


@dataclass(frozen=True, slots=True)
class CurveChart:
    """A chart, with its heading, a word on its axes, and the points that are not drawn.

    `remarks` name the curves whose figures are not simply measured and valid; `upright` is a line
    from the bottom to the top.
    """

    key: str
    heading: str
    axes: str
    title: str
    description: str
    up: str
    across_ticks: tuple[Tick, ...]
    up_ticks: tuple[Tick, ...]
    grid: str
    limit: Tick | None
    limit_label_y: str
    curves: tuple[DrawnCurve, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    across: str = "Throughput, requests a second"
    upright: Tick | None = None
    numbered: tuple[Numbered, ...] = ()

    @property
    def has_capacity(self) -> bool:
        """Whether any capacity is drawn."""
        return any(curve.band for curve in self.curves)

    @property
    def has_proven(self) -> bool:
        """Whether any proven rate is drawn."""
        return any(curve.proven for curve in self.curves)


def curve_charts(view: WorkloadView) -> tuple[CurveChart, ...]:
    """Return a chart for each promise of the SLO that any target has operating points for."""
    if view.workload is None:
        return ()
    charts = []
    for index, limit in enumerate(view.workload.slo, start=1):
        found, left_out = curves(view, limit)
        if found:
            charts.append(_chart(view, index, limit, found, left_out))
    return tuple(charts)


def undrawn_curves(view: WorkloadView) -> tuple[str, ...]:
    """Return why none of the points under random arrivals can be drawn; empty without points."""
    limits = () if view.workload is None else view.workload.slo
    return tuple(dict.fromkeys(line for limit in limits for line in curves(view, limit)[1]))


def curves(view: WorkloadView, limit: SloLimit) -> tuple[list[Curve], list[str]]:
    """Return each target's curve for a promise of the SLO, and what has none and why."""
    found_curves, left_out = [], []
    for row in view.rows:
        record = row.record
        if record is None or record.cell.scenario.kind != "server":
            continue
        if record.verdict.state == "invalid":
            left_out.append(f"{row.title}: the measurement is invalid")
            continue
        operations = []
        for point in record.points:
            met = point is record.headline_point and point.slo_state == "met"
            found = _operation(point, limit, proven=met)
            if isinstance(found, str):
                where = "" if point.load is None else f" at load {units.percent(point.load)}"
                left_out.append(f"{row.title}{where}: {found}")
            else:
                operations.append(found)
        if operations:
            ordered = sorted(operations, key=lambda o: (o.rate, o.latency_s))
            found_curves.append(
                Curve(
                    label=row.title,
                    standing=row.standing,
                    operations=tuple(ordered),
                    capacity=_capacity(row),
                    evidence=record.evidence,
                    doubt=row.doubt,
                )
            )
    return found_curves, left_out


def _operation(point: Point, limit: SloLimit, proven: bool) -> Operation | str:
    """Return the point, or why it cannot be drawn."""
    rate = point.metrics.get("throughput_requests_per_s")
    latency = point.metrics.get(f"{limit.metric}_s.p{limit.percentile:g}")
    if rate is None or rate.value is None or latency is None or latency.value is None:
        missing = latency if rate is not None and rate.value is not None else rate
        return (missing and missing.reason) or "not recorded"
    state = next((c.state for c in point.slo if c.limit == limit), point.slo_state)
    return Operation(rate.value, latency.value, latency.low, latency.high, state, proven)


def _capacity(row: Row) -> tuple[float, float] | None:
    capacity = None if row.record is None else row.record.capacity
    if row.standing not in STRONG or capacity is None:
        return None
    return None if capacity.low is None or capacity.high is None else (capacity.low, capacity.high)


def _chart(
    view: WorkloadView,
    index: int,
    limit: SloLimit,
    curves: Sequence[Curve],
    left_out: Sequence[str],
) -> CurveChart:
    what = f"{words.metric(limit.metric)} p{limit.percentile:g}"
    operations = [o for curve in curves for o in curve.operations]
    bounds = [b for o in operations for b in (o.latency_s, o.low_s, o.high_s) if b is not None]
    capacities = [rate for curve in curves for rate in curve.capacity or ()]
    across = Scale.spanning([*(o.rate for o in operations), *capacities])
    up = Scale.spanning([limit.limit_s, *bounds])
    heights = spread_heights(
        [(up.share(c.operations[-1].latency_s), i) for i, c in enumerate(curves)]
    )
    across_ticks = tuple(Tick(x_at(across, t), units.bare(t)) for t in across.ticks())
    up_ticks = tuple(Tick(y_at(up, t), units.seconds(t)) for t in up.ticks())
    limit_y = from_top(up, limit.limit_s)
    spoken = "; ".join(_spoken(curve) for curve in curves)
    return CurveChart(
        key=f"{view.key}-curve-{index}",
        heading=f"{what} against throughput",
        axes=_axes_note(across, up),
        title=f"{what} of {view.decision.title} against throughput",
        description=clip(f"Limit {units.seconds(limit.limit_s)}. {spoken}.", LONGEST_TOLD),
        up=what,
        across_ticks=across_ticks,
        up_ticks=up_ticks,
        grid=grid(across_ticks, up_ticks),
        limit=Tick(place(limit_y), f"limit {units.seconds(limit.limit_s)}"),
        limit_label_y=place(max(limit_y - 4, TOP + 9)),
        curves=tuple(_drawn(curve, i, across, up, heights[i]) for i, curve in enumerate(curves)),
        left_out=tuple(left_out),
        remarks=tuple(f"{c.label}: {_remark(c)}" for c in curves if _remark(c)),
    )


def _remark(curve: Curve) -> str:
    said = [curve.evidence] if curve.evidence != "measured" else []
    return ", ".join([*said, curve.doubt] if curve.doubt != "valid" else said)


def _spoken(curve: Curve) -> str:
    figures = ", ".join(
        f"{units.rate(o.rate, 'requests/s')} at {units.seconds(o.latency_s)} "
        f"({words.state(o.state)})"
        for o in curve.operations
    )
    remark = f" ({_remark(curve)})" if _remark(curve) else ""
    return f"{clip(curve.label, LABEL_LENGTH)}{remark}: {figures}"


def _axes_note(across: Scale, up: Scale) -> str:
    if across.logarithmic and up.logarithmic:
        return "Both axes are logarithmic."
    if across.logarithmic:
        return "The axis of throughput is logarithmic."
    return "The axis of latency is logarithmic." if up.logarithmic else "Both axes are linear."


def _drawn(curve: Curve, index: int, across: Scale, up: Scale, height: float) -> DrawnCurve:
    """Return `curve` as paths; its label stands at `height`, a share of that of the axes."""
    shape = SHAPES[index % len(SHAPES)]
    places = [(o, f"{x_at(across, o.rate)} {y_at(up, o.latency_s)}") for o in curve.operations]
    label_y = place(BOTTOM - (BOTTOM - TOP) * height)
    band = None
    if curve.capacity is not None:
        low, high = (from_left(across, rate) for rate in curve.capacity)
        band = Band(place(low), place(max(high - low, 1.0)))
    strong = curve.standing in STRONG
    sure = curve.doubt == "valid"
    return DrawnCurve(
        label=clip(curve.label, LABEL_LENGTH),
        standing=curve.standing,
        line="M" + "L".join(at for _, at in places),
        intervals="".join(
            f"M{x_at(across, o.rate)} {y_at(up, o.low_s)}V{y_at(up, o.high_s)}"
            for o in curve.operations
            if o.low_s is not None and o.high_s is not None
        ),
        kept=marks((at for o, at in places if o.state == "met" and sure), shape),
        others=marks((at for o, at in places if o.state != "met" or not sure), shape),
        proven=marks((at for o, at in places if o.proven and strong), RING),
        leader=f"M{places[-1][1]}L{RIGHT:g} {label_y}h16",
        key=marks([f"{RIGHT + 25:g} {label_y}"], shape),
        label_y=label_y,
        band=band,
        dashed=curve.evidence != "measured",
    )


def spread_heights(ends: Sequence[tuple[float, int]], gap: float = LABEL_GAP) -> dict[int, float]:
    """Return a height for each label, near its curve's end, with none upon another."""
    gap = min(gap, 1.0 / len(ends))
    heights: dict[int, float] = {}
    floor = 0.0
    for end, index in sorted(ends):
        heights[index] = max(end, floor)
        floor = heights[index] + gap
    ceiling = 1.0
    for _, index in sorted(ends, reverse=True):
        heights[index] = min(heights[index], ceiling)
        ceiling = heights[index] - gap
    return heights
