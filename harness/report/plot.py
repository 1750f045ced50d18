"""A chart with axes as text for the page: paths in a drawing of fixed size that the page scales."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness import units
from harness.report.bars import BarDrawing
from harness.report.charts import CurveChart
from harness.report.frame import Tick, grid, logarithmic_note, marks, x_at, y_at
from harness.report.scale import Scale
from harness.report.text import clip

RIGHT = 794.0
CROSS = "m-3-3l6 6m0-6l-6 6"
DOT = "h0"
LONGEST_TOLD = 1500


@dataclass(frozen=True, slots=True)
class Layer:
    """One path of a chart: how it is drawn (a class of the style sheet) and where."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart as text; `limits` are horizontal lines with a label."""

    key: str
    title: str
    description: str
    across: str
    up: str
    across_ticks: tuple[Tick, ...]
    up_ticks: tuple[Tick, ...]
    grid: str
    layers: tuple[Layer, ...]
    limits: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class Charted:
    """A chart with its legend and its table; without a chart `note` says why there is none.

    The chart is a `plot`, named `curves` or `bars`. `legend` pairs a shape with words; a column of
    `heads` is text or, with True, numbers. Columns in `told` hold sentences and need room.
    """

    heading: str
    caption: str
    plot: Plot | None
    legend: tuple[tuple[str, str], ...]
    note: str
    heads: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]
    curves: CurveChart | None = None
    bars: BarDrawing | None = None
    told: tuple[str, ...] = ()

    @property
    def drawn(self) -> Plot | CurveChart | BarDrawing | None:
        """What is drawn, if anything is."""
        return self.plot or self.curves or self.bars


@dataclass(frozen=True, slots=True)
class Axes:
    """Two scales, and what their numbers are counted in: `s`, `1`, or a unit of a rate."""

    across: Scale
    up: Scale
    across_unit: str
    up_unit: str

    def place(self, across: float, up: float) -> str:
        """Return a point as SVG writes it."""
        return f"{self.x(across)} {self.y(up)}"

    def x(self, value: float) -> str:
        """Return the place of `value` from the left."""
        return x_at(self.across, value, RIGHT)

    def y(self, value: float) -> str:
        """Return the place of `value` from the top."""
        return y_at(self.up, value)

    def marks(self, points: Iterable[tuple[float, float]], shape: str) -> str:
        """Return a path of `shape` at each point."""
        return marks((self.place(*point) for point in points), shape)

    def line(self, points: Iterable[tuple[float, float]]) -> str:
        """Return a path from point to point; empty without points."""
        text = "L".join(self.place(*point) for point in points)
        return f"M{text}" if text else ""

    @property
    def note(self) -> str:
        """Which axes are logarithmic, in a sentence."""
        return logarithmic_note(self.across, self.up)


def plot(
    key: str,
    title: str,
    told: str,
    axes: Axes,
    names: tuple[str, str],
    layers: Sequence[Layer],
    limits: Sequence[tuple[float, str]] = (),
) -> Plot:
    """Return a chart; `told` is read out in its place, `names` are those of the axes."""
    across_ticks = tuple(
        Tick(axes.x(tick), _label(tick, axes.across_unit)) for tick in axes.across.ticks()
    )
    up_ticks = tuple(Tick(axes.y(tick), _label(tick, axes.up_unit)) for tick in axes.up.ticks())
    return Plot(
        key=key,
        title=title,
        description=clip(told, LONGEST_TOLD),
        across=names[0],
        up=names[1],
        across_ticks=across_ticks,
        up_ticks=up_ticks,
        grid=grid(across_ticks, up_ticks, RIGHT),
        # Paths are made of numbers here: markup, which the page does not cut as it cuts text.
        layers=tuple(Layer(each.kind, Markup(each.path)) for each in layers if each.path),
        limits=tuple(Tick(axes.y(value), label) for value, label in limits),
    )


def _label(value: float, unit: str) -> str:
    return units.bare(value) if unit == "1" else units.quantity(value, unit)
