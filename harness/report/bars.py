"""Bars from zero with whiskers for the 95 % interval: what a unit costs, what a request draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.report.latency import LABEL_LENGTH
from harness.report.scale import Scale
from harness.report.text import clip
from harness.report.view import Standing, WorkloadView
from harness.schema.decision import Interval

ROW_HEIGHT = 46
FOOT = 8
SHORTEST_PERCENT = 0.4


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: places in per cent of the width and heights in pixels, as text."""

    label: str
    standing: Standing
    figure: str
    label_y: str
    bar_y: str
    middle_y: str
    width: str
    whisker: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class BarDrawing:
    """A drawing of bars that share one axis from zero."""

    key: str
    title: str
    description: str
    height: str
    bars: tuple[Bar, ...]


def cost_bars(view: WorkloadView) -> BarDrawing | None:
    """Return what a unit costs on each option, at the buyer's demand; None without options."""
    found = [
        (row.title, row.standing, row.option.cost_per_unit_usd)
        for row in view.rows
        if row.option is not None
    ]
    if not found:
        return None
    unit = next(row.option.cost_unit for row in view.rows if row.option is not None)
    title = f"Cost of {view.decision.title} per {unit} on each feasible target"
    return _bars(f"{view.key}-cost", title, found, "USD")


def energy_bars(view: WorkloadView) -> tuple[tuple[str, BarDrawing], ...]:
    """Return a drawing for each boundary, since energy is not comparable across boundaries."""
    by_boundary: dict[str, list[tuple[str, Standing, Interval]]] = {}
    for row in view.rows:
        option = row.option
        if option is not None and option.energy_j_per_request is not None:
            boundary = option.energy_boundary or "boundary not stated"
            by_boundary.setdefault(boundary, []).append(
                (row.title, row.standing, option.energy_j_per_request)
            )
    return tuple(
        (
            boundary,
            _bars(
                f"{view.key}-energy-{index}",
                f"Energy of a request of {view.decision.title}, {boundary}",
                found,
                "J",
            ),
        )
        for index, (boundary, found) in enumerate(by_boundary.items(), start=1)
    )


def _bars(
    key: str, title: str, found: Sequence[tuple[str, Standing, Interval]], unit: str
) -> BarDrawing:
    ends = [figure.value if figure.high is None else figure.high for _, _, figure in found]
    scale = Scale.spanning([*ends, *(figure.value for _, _, figure in found)], from_zero=True)
    bars = []
    for index, (label, standing, figure) in enumerate(found):
        low, high = figure.low, figure.high
        whisker = None
        if low is not None and high is not None and low < high:
            whisker = (_place(100 * scale.share(low)), _place(100 * scale.share(high)))
        top = ROW_HEIGHT * index
        bars.append(
            Bar(
                label=clip(label, LABEL_LENGTH),
                standing=standing,
                figure=units.quantity(figure.value, unit),
                label_y=str(top + 16),
                bar_y=str(top + 24),
                middle_y=str(top + 31),
                width=_place(max(SHORTEST_PERCENT, 100 * scale.share(figure.value))),
                whisker=whisker,
            )
        )
    spoken = "; ".join(
        f"{clip(label, LABEL_LENGTH)}: "
        f"{units.interval(figure.value, figure.low, figure.high, unit)}"
        for label, _, figure in found
    )
    return BarDrawing(key, title, f"{spoken}.", str(ROW_HEIGHT * len(found) + FOOT), tuple(bars))


def _place(percent: float) -> str:
    return f"{percent:.2f}%"
