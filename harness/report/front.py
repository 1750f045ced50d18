"""Which options are good at something: cost against latency, with energy and delivery beside it."""

from __future__ import annotations

from harness import units
from harness.report.answers import figure
from harness.report.charts import CurveChart
from harness.report.horizon import named, remarks
from harness.report.labelled import Named, Series, Span, labelled
from harness.report.plot import Charted
from harness.report.scale import Scale
from harness.report.text import clip
from harness.report.view import Row, WorkloadView
from harness.schema.base import Interval
from harness.schema.decision import ParetoAxis, ParetoPoint

NAMES = {"cost": "Cost", "latency": "Latency", "energy": "Energy", "lead_time": "Delivery"}
FEWEST = 2


def front(view: WorkloadView) -> tuple[Charted, ...]:
    """Return the front as a chart with its table; empty with fewer than two options."""
    rows = {row.outcome.target: row for row in view.rows}
    points = [p for p in view.decision.pareto if p.target in rows and p.axes]
    if len(points) < FEWEST:
        return ()
    titles = {target: row.title for target, row in rows.items()}
    known = [
        index
        for index in range(len(points[0].axes))
        if any(point.axes[index].figure is not None for point in points)
    ]
    heads = [NAMES[points[0].axes[index].name] for index in known]
    note = (
        "A ring: no other option is at least as good in everything and better in something, even "
        "at the ends of the intervals. Lower and further left is better. What is not known counts "
        "as worst. The choice is the least expected cost over what the inputs may be, and need not "
        "be on it. Hollow marks: noisy, or not measured by this harness."
    )
    note += remarks(rows[point.target] for point in points)
    unknown = [a for i, a in enumerate(points[0].axes) if i not in known]
    if unknown:
        told = (f"{NAMES[a.name].lower()}{f' ({a.reason})' if a.reason else ''}" for a in unknown)
        note += f" Of no option known: {'; '.join(told)}."
    chart = _chart(view, points, rows)
    return (
        Charted(
            heading="Cost, latency and energy: who is best in what",
            caption=f"The front over cost, latency and energy, {view.decision.title}",
            plot=None,
            legend=(("ring", "on the front"), ("whisker", "95 % interval")),
            note=f"{note} {'' if chart is None else chart.axes}".strip(),
            heads=(
                ("Target", False),
                *((name, True) for name in heads),
                ("On the front", False),
            ),
            rows=tuple(
                (
                    named(rows[point.target]),
                    *(_axis(point.axes[index]) for index in known),
                    _standing(point, titles),
                )
                for point in points
            ),
            curves=chart,
        ),
    )


def _axis(axis: ParetoAxis) -> str:
    """Return a figure with its unit, and what it is measured by."""
    if axis.figure is None:
        return f"not known: {axis.reason or 'no reason given'}"
    dollars, _, per = axis.unit.partition("USD ")
    if per and not dollars:
        text = f"{figure(axis.figure, 'USD')} {per}"
    elif axis.unit == "weeks":
        text = f"{units.number(axis.figure.value)} weeks"
    elif axis.unit == "J per request":
        text = f"{figure(axis.figure, 'J')} a request"
    else:
        text = figure(axis.figure, axis.unit)
    return f"{text}, {axis.basis}" if axis.basis else text


def _standing(point: ParetoPoint, titles: dict[str, str]) -> str:
    if point.on_front:
        return "✓ yes"
    behind = [titles.get(name, name) for name in point.dominated_by]
    more = f" and {units.count(len(behind) - 1)} more" if len(behind) > 1 else ""
    return f"– no: behind {behind[0]}{more}" if behind else "– no"


def _chart(
    view: WorkloadView, points: list[ParetoPoint], rows: dict[str, Row]
) -> CurveChart | None:
    """Return cost against latency; None where fewer than two options have both."""
    placed = []
    for point in points:
        axes = {axis.name: axis for axis in point.axes}
        cost, latency = axes.get("cost"), axes.get("latency")
        if cost and latency and cost.figure and latency.figure:
            placed.append((point, cost.figure, latency.figure))
    if len(placed) < FEWEST:
        return None
    across = Scale.spanning([end for _, cost, _ in placed for end in _ends(cost)])
    up = Scale.spanning([end for _, _, latency in placed for end in _ends(latency)])
    first = {axis.name: axis for axis in placed[0][0].axes}
    basis = first["latency"].basis
    return labelled(
        f"{view.key}-front",
        f"Cost against latency of the options for {view.decision.title}",
        Named(first["cost"].unit, across, tuple((t, units.usd(t)) for t in across.ticks())),
        Named(
            f"Latency{f', {basis}' if basis else ''}",
            up,
            tuple((t, units.seconds(t)) for t in up.ticks()),
        ),
        [_series(point, rows[point.target], *figures) for point, *figures in placed],
    )


def _series(point: ParetoPoint, row: Row, cost: Interval, latency: Interval) -> Series:
    front = "on the front" if point.on_front else "not on the front"
    return Series(
        label=row.title,
        standing=row.standing,
        points=((cost.value, latency.value),),
        told=f"{clip(named(row), 60)}: {figure(cost, 'USD')} at {figure(latency, 's')}, {front}",
        across=_span(latency.value, cost),
        up=_span(cost.value, latency),
        hollow=bool(row.remark),
        ringed=point.on_front,
    )


def _ends(figure: Interval) -> tuple[float, ...]:
    return tuple(end for end in (figure.low, figure.value, figure.high) if end is not None)


def _span(at: float, figure: Interval) -> tuple[Span, ...]:
    """Return the interval of `figure`, which stands at `at` on the other axis."""
    if figure.low is None or figure.high is None or figure.low >= figure.high:
        return ()
    return ((at, figure.low, figure.high),)
