"""The figure of what a unit costs on each option, from zero, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import units
from harness.report import answers
from harness.report.option_tables import cost_is_modelled
from harness.report.scale import Scale
from harness.report.slide import COLOURS, INK, LABEL_LENGTH, MUTED, known, slide
from harness.report.tables import plain
from harness.report.text import clip
from harness.report.view import Row, WorkloadView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 12
HATCHES = {"imported": "...", "projected": "///", "claimed": "xxx"}
MODELLED_HATCH = "---"


def cost_figure(view: WorkloadView, every: Sequence[Row]) -> Figure:
    """Return what a unit costs on each option, from zero, with its interval."""
    shown, more = every[:MOST_BARS], len(every) - MOST_BARS
    options = [row.option for row in shown if row.option is not None]
    ends = [o.cost_per_unit_usd.high or o.cost_per_unit_usd.value for o in options]
    scale = Scale.spanning([*ends, *(o.cost_per_unit_usd.value for o in options)], from_zero=True)
    unit = options[0].cost_unit
    notes = [
        "Filled: SLO proven, in a valid measurement. White: not proven or noisy. "
        "Whiskers: 95 % intervals; an arrow: no upper bound.",
        "At the buyer's own demand, in the order of the decision.",
    ]
    hatched = [f"{HATCHES[e][0]} {e}" for e in HATCHES if e in {o.evidence for o in options}]
    if any(cost_is_modelled(option) for option in options):
        hatched.append(f"{MODELLED_HATCH[0]} energy in the cost modelled*, not metered")
    if hatched:
        notes.append(f"Hatched: {', '.join(hatched)}.")
    if more > 0:
        notes.append(f"Not drawn: {units.count(more)} more options; options.csv has all.")
    figure, axes = slide(f"Cost per {unit}: {view.decision.title}", notes, left=0.29, right=0.74)
    axes.set_xlim(0, scale.high)
    ticks = scale.ticks()
    axes.set_xticks(ticks, [units.usd(tick) for tick in ticks])
    axes.set_xlabel(f"USD per {unit}")
    axes.set_ylim(max(len(options), 4) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_color(MUTED)
    for y, (row, option) in enumerate(zip(shown, options, strict=True)):
        colour = COLOURS.get(row.standing, MUTED)
        cost = option.cost_per_unit_usd
        modelled = cost_is_modelled(option)
        sure = option.slo_state == "met" and option.verdict == "valid"
        hatch = HATCHES.get(option.evidence, "") + (MODELLED_HATCH if modelled else "")
        axes.barh(
            y,
            cost.value,
            height=0.56,
            facecolor=(colour if not hatch else f"{colour}33") if sure else "white",
            edgecolor=colour,
            linewidth=1.3,
            hatch=hatch or None,
        )
        low = cost.value if cost.low is None else cost.low
        end = scale.high if cost.high is None else cost.high
        if low < end:
            axes.plot([low, end], [y, y], color=INK, linewidth=1.2, zorder=4)
            for bound in (cost.low, cost.high):
                if bound is not None:
                    axes.plot(bound, y, "|", color=INK, ms=7, mew=1.2, zorder=4)
        if cost.high is None:
            axes.plot(end, y, ">", color=INK, ms=5, zorder=4, clip_on=False)
        size = 9 if len(options) <= 10 else 7.5
        name = clip(plain(row.title), LABEL_LENGTH)
        bold = "bold" if row.standing in COLOURS else "normal"
        _beside(axes, 0.0, y, name, above=True, color=colour, size=size, weight=bold)
        told = known(row.standing, option.evidence, option.verdict, option.slo_state)
        told += ", modelled* energy" if modelled else ""
        _beside(axes, 0.0, y, told, above=False, color=MUTED, size=size - 1.5)
        _beside(axes, 1.0, y, answers.figure(cost, "USD"), color=INK, size=size)
    return figure


def _beside(
    axes: Axes,
    side: float,
    y: float,
    text: str,
    *,
    above: bool | None = None,
    color: str,
    size: float,
    weight: str = "normal",
) -> None:
    """Write `text` left of the axes (`side` 0) or right of them (1), at a bar or by a line off."""
    axes.annotate(
        text,
        (side, y),
        xycoords=axes.get_yaxis_transform(),
        xytext=(14 if side else -7, 0 if above is None else size * (0.62 if above else -0.75)),
        textcoords="offset points",
        ha="left" if side else "right",
        va="center",
        color=color,
        fontsize=size,
        fontweight=weight,
        annotation_clip=False,
    )
