"""Bars from zero with whiskers for the 95 % interval: what a unit costs, what a request draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.report.energy import amount, boundary, is_modelled
from harness.report.latency import LABEL_LENGTH
from harness.report.scale import Scale, in_percent
from harness.report.text import clip
from harness.report.view import Standing, WorkloadView
from harness.schema.base import Interval

ROW_HEIGHT = 46
FOOT = 8
SHORTEST_PERCENT = 0.4
Figure = tuple[str, Standing, Interval, bool, str]
"""A bar's label, standing and figure, whether that is modelled, and a remark on it; or none."""


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
    modelled: bool = False
    remark: str = ""

    @property
    def hatched(self) -> bool:
        """Whether the bar is not simply metered, measured and valid."""
        return self.modelled or bool(self.remark)


@dataclass(frozen=True, slots=True)
class BarDrawing:
    """A drawing of bars that share one axis from zero."""

    key: str
    title: str
    description: str
    height: str
    bars: tuple[Bar, ...]

    @property
    def modelled(self) -> bool:
        """Whether any of the bars is modelled."""
        return any(bar.modelled for bar in self.bars)

    @property
    def hatched(self) -> bool:
        """Whether any of the bars is hatched."""
        return any(bar.hatched for bar in self.bars)

    @property
    def remarked(self) -> bool:
        """Whether any of the bars is noisy or not measured by this harness."""
        return any(bar.remark for bar in self.bars)


def cost_bars(view: WorkloadView) -> BarDrawing | None:
    """Return what a unit costs on each option, at the buyer's demand; None without options."""
    found = [
        (row.title, row.standing, row.option.cost_per_unit_usd, False, row.remark)
        for row in view.rows
        if row.option is not None
    ]
    if not found:
        return None
    unit = next(row.option.cost_unit for row in view.rows if row.option is not None)
    title = f"Cost of {view.decision.title} per {unit} on each feasible target"
    return bar_drawing(f"{view.key}-cost", title, found, "USD")


def energy_bars(view: WorkloadView) -> tuple[tuple[str, BarDrawing], ...]:
    """Return a drawing for each boundary, since energy is not comparable across boundaries.

    Modelled bars are hatched.
    """
    by_boundary: dict[str, list[Figure]] = {}
    for row in view.rows:
        option = row.option
        if option is not None and option.energy_j_per_request is not None:
            by_boundary.setdefault(boundary(option), []).append(
                (
                    row.title,
                    row.standing,
                    option.energy_j_per_request,
                    is_modelled(option),
                    row.remark,
                )
            )
    return tuple(
        (
            name,
            bar_drawing(
                f"{view.key}-energy-{index}",
                f"Energy of a request of {view.decision.title}, {name}",
                found,
                "J",
            ),
        )
        for index, (name, found) in enumerate(by_boundary.items(), start=1)
    )


def bar_drawing(key: str, title: str, found: Sequence[Figure], unit: str) -> BarDrawing:
    """Return bars of figures in `unit` from zero, with whiskers; there must be one at least."""
    ends = [figure.value if figure.high is None else figure.high for _, _, figure, _, _ in found]
    scale = Scale.spanning([*ends, *(figure.value for _, _, figure, _, _ in found)], from_zero=True)
    bars = []
    for index, (label, standing, figure, modelled, remark) in enumerate(found):
        low, high = figure.low, figure.high
        whisker = None
        if low is not None and high is not None and low < high:
            whisker = (in_percent(100 * scale.share(low)), in_percent(100 * scale.share(high)))
        top = ROW_HEIGHT * index
        bars.append(
            Bar(
                label=clip(label, LABEL_LENGTH),
                standing=standing,
                figure=f"{units.quantity(figure.value, unit)}{'*' if modelled else ''}"
                f"{f', {remark}' if remark else ''}",
                label_y=str(top + 16),
                bar_y=str(top + 24),
                middle_y=str(top + 31),
                width=in_percent(max(SHORTEST_PERCENT, 100 * scale.share(figure.value))),
                whisker=whisker,
                modelled=modelled,
                remark=remark,
            )
        )
    spoken = "; ".join(
        f"{clip(label, LABEL_LENGTH)}: {amount(figure, unit, modelled)}"
        f"{f', {remark}' if remark else ''}"
        for label, _, figure, modelled, remark in found
    )
    return BarDrawing(key, title, f"{spoken}.", str(ROW_HEIGHT * len(found) + FOOT), tuple(bars))
