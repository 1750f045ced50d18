"""A chart of a few named lines or points, each with a shape and its name at the right edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.report.charts import (
    BOTTOM,
    LABEL_LENGTH,
    LEFT,
    LONGEST_TOLD,
    RIGHT,
    RING,
    SHAPES,
    TOP,
    CurveChart,
    DrawnCurve,
    Tick,
    spread_heights,
)
from harness.report.plot import place
from harness.report.scale import Scale
from harness.report.text import clip
from harness.report.view import Standing

Span = tuple[float, float, float]
"""Where on the other axis an interval stands, its lower and its upper end."""


@dataclass(frozen=True, slots=True)
class Series:
    """A named line, or a point if it has only one: what is drawn, and what is read out of it.

    Marks stand at the points in `marked`. `hollow` marks are of figures that are not simply
    measured and valid, a `dashed` line of such that were not measured here; a `ringed` end stands
    out. `across` and `up` are the intervals along these axes.
    """

    label: str
    standing: Standing
    points: tuple[tuple[float, float], ...]
    told: str
    marked: tuple[int, ...] = (-1,)
    across: tuple[Span, ...] = ()
    up: tuple[Span, ...] = ()
    hollow: bool = False
    dashed: bool = False
    ringed: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """An axis: its name, its scale, and how a number on it is written."""

    name: str
    scale: Scale
    ticks: tuple[tuple[float, str], ...]


def labelled(
    key: str, title: str, across: Named, up: Named, series: Sequence[Series]
) -> CurveChart:
    """Return the chart of `series`, of which there must be one at least."""
    ends = [(up.scale.share(each.points[-1][1]), index) for index, each in enumerate(series)]
    heights = spread_heights(ends)
    across_ticks = tuple(Tick(_x(across, value), label) for value, label in across.ticks)
    up_ticks = tuple(Tick(_y(up, value), label) for value, label in up.ticks)
    return CurveChart(
        key=key,
        heading=title,
        axes=_note(across, up),
        title=title,
        description=clip(f"{'; '.join(each.told for each in series)}.", LONGEST_TOLD),
        up=up.name,
        across=across.name,
        across_ticks=across_ticks,
        up_ticks=up_ticks,
        grid="".join(f"M{tick.at} {TOP:g}V{BOTTOM:g}" for tick in across_ticks)
        + "".join(f"M{LEFT:g} {tick.at}H{RIGHT:g}" for tick in up_ticks),
        limit=None,
        limit_label_y="",
        curves=tuple(_drawn(e, i, across, up, heights[i]) for i, e in enumerate(series)),
        left_out=(),
        remarks=(),
    )


def _drawn(series: Series, index: int, across: Named, up: Named, height: float) -> DrawnCurve:
    shape = SHAPES[index % len(SHAPES)]
    corners = [(_x(across, x), _y(up, y)) for x, y in series.points]
    places = [f"{x} {y}" for x, y in corners]
    label_y = place(BOTTOM - (BOTTOM - TOP) * height)
    marks = "".join(f"M{places[i]}{shape}" for i in series.marked)
    key = f"M{RIGHT + 25:g} {label_y}{shape}"
    return DrawnCurve(
        label=clip(series.label, LABEL_LENGTH),
        standing=series.standing,
        # Made of numbers here: markup, which the page does not cut as it cuts text.
        line=Markup(_path(corners)),
        intervals="".join(
            f"M{_x(across, x)} {_y(up, low)}V{_y(up, high)}" for x, low, high in series.up
        )
        + "".join(
            f"M{_x(across, low)} {_y(up, y)}H{_x(across, high)}" for y, low, high in series.across
        ),
        kept="" if series.hollow else marks,
        others=marks if series.hollow else "",
        proven=f"M{places[-1]}{RING}" if series.ringed else "",
        leader=f"M{places[-1]}L{RIGHT:g} {label_y}h16",
        key=key,
        label_y=label_y,
        band=None,
        dashed=series.dashed,
    )


def _path(corners: Sequence[tuple[str, str]]) -> str:
    """Return the line from corner to corner; its level and upright parts are written short."""
    (x, y), *rest = corners
    path, level = f"M{x} {y}", ""
    for next_x, next_y in rest:
        if next_y == y:
            level = f"H{next_x}"
        else:
            path += level + (f"V{next_y}" if next_x == x else f"L{next_x} {next_y}")
            level = ""
        x, y = next_x, next_y
    return path + level


def _note(across: Named, up: Named) -> str:
    if across.scale.logarithmic and up.scale.logarithmic:
        return "Both axes are logarithmic."
    if up.scale.logarithmic:
        return "The upright axis is logarithmic."
    return "The level axis is logarithmic." if across.scale.logarithmic else ""


def _x(axis: Named, value: float) -> str:
    return place(LEFT + (RIGHT - LEFT) * axis.scale.share(value))


def _y(axis: Named, value: float) -> str:
    return place(BOTTOM - (BOTTOM - TOP) * axis.scale.share(value))
