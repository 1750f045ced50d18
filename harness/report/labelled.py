"""A chart of a few named lines or points, each with a shape and its name at the right edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.report.charts import (
    LABEL_LENGTH,
    LONGEST_TOLD,
    RING,
    SHAPES,
    CurveChart,
    DrawnCurve,
    spread_heights,
)
from harness.report.frame import (
    BOTTOM,
    RIGHT,
    TOP,
    Tick,
    grid,
    logarithmic_note,
    marks,
    place,
    x_at,
    y_at,
)
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
    across_ticks = tuple(Tick(x_at(across.scale, value), label) for value, label in across.ticks)
    up_ticks = tuple(Tick(y_at(up.scale, value), label) for value, label in up.ticks)
    return CurveChart(
        key=key,
        heading=title,
        axes=logarithmic_note(across.scale, up.scale),
        title=title,
        description=clip(f"{'; '.join(each.told for each in series)}.", LONGEST_TOLD),
        up=up.name,
        across=across.name,
        across_ticks=across_ticks,
        up_ticks=up_ticks,
        grid=grid(across_ticks, up_ticks),
        limit=None,
        limit_label_y="",
        curves=tuple(_drawn(e, i, across, up, heights[i]) for i, e in enumerate(series)),
        left_out=(),
        remarks=(),
    )


def _drawn(series: Series, index: int, across: Named, up: Named, height: float) -> DrawnCurve:
    shape = SHAPES[index % len(SHAPES)]
    corners = [(x_at(across.scale, x), y_at(up.scale, y)) for x, y in series.points]
    places = [f"{x} {y}" for x, y in corners]
    label_y = place(BOTTOM - (BOTTOM - TOP) * height)
    marked = marks((places[i] for i in series.marked), shape)
    key = f"M{RIGHT + 25:g} {label_y}{shape}"
    return DrawnCurve(
        label=clip(series.label, LABEL_LENGTH),
        standing=series.standing,
        # Made of numbers here: markup, which the page does not cut as it cuts text.
        line=Markup(_path(corners)),
        intervals="".join(
            f"M{x_at(across.scale, x)} {y_at(up.scale, low)}V{y_at(up.scale, high)}"
            for x, low, high in series.up
        )
        + "".join(
            f"M{x_at(across.scale, low)} {y_at(up.scale, y)}H{x_at(across.scale, high)}"
            for y, low, high in series.across
        ),
        kept="" if series.hollow else marked,
        others=marked if series.hollow else "",
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
