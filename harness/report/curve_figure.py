"""The figure of latency against throughput: the limit, intervals, proven loads and capacities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import units
from harness.report.charts import Curve, spread_heights
from harness.report.scale import Scale
from harness.report.slide import COLOURS, LABEL_LENGTH, MUTED, RULE, known, slide
from harness.report.tables import plain
from harness.report.text import clip
from harness.report.view import WorkloadView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CURVES, MOST_LEADERS = 10, 6
LIMIT = "#a1261f"
LOGARITHMIC = " (logarithmic)"
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "P", "X", "h")
DASHES = {"imported": (0, (6, 2)), "projected": (0, (3, 2)), "claimed": (0, (1, 2))}


def curve_figure(
    view: WorkloadView, what: str, limit_s: float, every: Sequence[Curve], left_out: int
) -> Figure:
    """Return latency against throughput: the limit, intervals, proven loads and capacities."""
    shown, more = every[:MOST_CURVES], len(every) - MOST_CURVES
    operations = [o for curve in shown for o in curve.operations]
    bounds = [b for o in operations for b in (o.latency_s, o.low_s, o.high_s) if b is not None]
    capacities = [rate for curve in shown for rate in curve.capacity or ()]
    across = Scale.spanning([*(o.rate for o in operations), *capacities])
    up = Scale.spanning([limit_s, *bounds])
    notes = [
        "Filled: keeps the limit, proven, in a valid measurement. Hollow: missed, not proven or "
        "noisy. Whiskers: 95 % intervals.",
        "Ring: highest load proven to keep the SLO. Band: estimated capacity, 95 %. "
        "Dashes, dots: figures that this harness has not measured.",
    ]
    if more > 0 or left_out:
        parts = [f"{units.count(more)} more targets"] if more > 0 else []
        parts += [f"{units.count(left_out)} points or targets without a figure"] if left_out else []
        notes.append(f"Not drawn: {' and '.join(parts)}; points.csv has all.")
    figure, axes = slide(
        f"{what} against throughput: {view.decision.title}", notes, left=0.105, right=0.68
    )
    _scaled(axes, across, up)
    axes.set_xlabel(f"Throughput, requests a second{LOGARITHMIC if across.logarithmic else ''}")
    axes.set_ylabel(f"{what}{LOGARITHMIC if up.logarithmic else ''}")
    axes.axhline(limit_s, color=LIMIT, linewidth=1.4, linestyle=(0, (5, 3)))
    axes.annotate(
        f"limit {units.seconds(limit_s)}",
        (0, limit_s),
        xycoords=("axes fraction", "data"),
        xytext=(5, 3 if up.share(limit_s) < 0.93 else -11),
        textcoords="offset points",
        color=LIMIT,
        fontsize=9,
    )
    ends = [(up.share(curve.operations[-1].latency_s), i) for i, curve in enumerate(shown)]
    heights = spread_heights(ends, gap=0.098)
    for index, curve in enumerate(shown):
        leader = curve.standing in COLOURS or len(shown) <= MOST_LEADERS
        _curve(axes, curve, MARKERS[index])
        _label(axes, curve, MARKERS[index], heights[index], leader=leader)
    return figure


def _curve(axes: Axes, curve: Curve, marker: str) -> None:
    colour = COLOURS.get(curve.standing, MUTED)
    strong = curve.standing in COLOURS
    rates = [o.rate for o in curve.operations]
    axes.plot(
        rates,
        [o.latency_s for o in curve.operations],
        color=colour,
        linewidth=2.0 if strong else 1.1,
        linestyle=DASHES.get(curve.evidence, "-"),
        zorder=3 if strong else 2,
    )
    if curve.capacity is not None:
        axes.axvspan(*curve.capacity, color=colour, alpha=0.14, linewidth=0)
    for o in curve.operations:
        if o.low_s is not None and o.high_s is not None:
            axes.errorbar(
                o.rate,
                o.latency_s,
                yerr=[[max(0.0, o.latency_s - o.low_s)], [max(0.0, o.high_s - o.latency_s)]],
                color=colour,
                elinewidth=1.0,
                capsize=2.5,
                zorder=3,
            )
        if o.proven and strong:
            axes.plot(o.rate, o.latency_s, "o", ms=14, mfc="none", mec=colour, mew=1.3, zorder=5)
        sure = o.state == "met" and curve.doubt == "valid"
        axes.plot(
            o.rate,
            o.latency_s,
            marker,
            ms=6.5,
            mfc=colour if sure else "white",
            mec=colour,
            mew=1.3,
            zorder=4,
        )


def _label(axes: Axes, curve: Curve, marker: str, height: float, *, leader: bool) -> None:
    """Name the curve at the right edge beside its mark; `leader`: with a line from its end."""
    colour = COLOURS.get(curve.standing, MUTED)
    last = curve.operations[-1]
    if leader:
        axes.annotate(
            "",
            xy=(last.rate, last.latency_s),
            xycoords="data",
            xytext=(1.035, height),
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6},
            annotation_clip=False,
        )
    axes.plot(
        [1.05],
        [height],
        marker,
        transform=axes.transAxes,
        clip_on=False,
        ms=6.5,
        mfc=colour if curve.doubt == "valid" else "white",
        mec=colour,
        mew=1.3,
    )
    axes.text(
        1.075,
        height + 0.021,
        clip(plain(curve.label), LABEL_LENGTH),
        color=colour,
        fontsize=9,
        fontweight="bold" if curve.standing in COLOURS else "normal",
        transform=axes.transAxes,
        va="center",
    )
    axes.text(
        1.075,
        height - 0.024,
        known(curve.standing, curve.evidence, curve.doubt),
        color=MUTED,
        fontsize=7.5,
        transform=axes.transAxes,
        va="center",
    )


def _scaled(axes: Axes, across: Scale, up: Scale) -> None:
    if across.logarithmic:
        axes.set_xscale("log")
    if up.logarithmic:
        axes.set_yscale("log")
    axes.set_xlim(across.low, across.high)
    axes.set_ylim(up.low, up.high)
    axes.minorticks_off()
    axes.set_xticks(across.ticks(), [units.number(tick) for tick in across.ticks()])
    axes.set_yticks(up.ticks(), [units.seconds(tick) for tick in up.ticks()])
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
