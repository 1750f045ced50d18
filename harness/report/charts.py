"""The chart of latency against throughput, drawn by matplotlib and dressed for the page.

The SVG takes its colours from the page's CSS variables, so that it follows light, dark and print.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness import units
from harness.report import words
from harness.report.scale import Scale
from harness.report.text import clip, visible
from harness.report.view import Standing, WorkloadView
from harness.schema.workload import SloLimit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "--ink": "#010101",
    "--muted": "#020202",
    "--rule": "#030303",
    "--accent": "#040404",
    "--second": "#050505",
    "--bad": "#060606",
    "--card": "#070707",
}
"""Colours that nobody uses, each standing for a variable of the style sheet until it is put in."""

STANDING_COLOURS: dict[Standing, str] = {
    "chosen": "--accent",
    "runner_up": "--second",
    "feasible": "--muted",
    "excluded": "--muted",
}
MARKERS = "os^Dv<>pPX*h"
WIDTH_INCHES, HEIGHT_INCHES = 11.2, 4.6
LABEL_LENGTH = 28
USE = re.compile(r'href="#([^"]*)"|url\(#([^)]*)\)')
LABEL_GAP = 0.062
"""The least distance between two labels at the right edge, as a share of the axes' height."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operating point: requests/s, the SLO's percentile in s with its interval, its state."""

    rate: float
    latency_s: float
    low_s: float | None
    high_s: float | None
    state: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A target's operating points, from the lowest throughput to the highest."""

    label: str
    standing: Standing
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class CurveChart:
    """A drawn chart, with its heading, a word on its axes, and the points that are not drawn."""

    key: str
    heading: str
    axes: str
    svg: Markup
    left_out: tuple[str, ...]


def curve_charts(view: WorkloadView) -> tuple[CurveChart, ...]:
    """Return a chart for each promise of the SLO that any target has operating points for."""
    if view.workload is None:
        return ()
    charts = []
    for index, limit in enumerate(view.workload.slo, start=1):
        curves, left_out = _curves(view, limit)
        if not curves:
            continue
        key = f"{view.key}-curve-{index}"
        what = f"{words.metric(limit.metric)} p{limit.percentile:g}"
        charts.append(
            CurveChart(
                key=key,
                heading=f"{what} against throughput",
                axes=_axes_note(limit, curves),
                svg=_svg(key, view.decision.title, what, limit, curves),
                left_out=tuple(left_out),
            )
        )
    return tuple(charts)


def _curves(view: WorkloadView, limit: SloLimit) -> tuple[list[Curve], list[str]]:
    name = f"{limit.metric}_s.p{limit.percentile:g}"
    curves, left_out = [], []
    for row in view.rows:
        record = row.record
        if record is None or record.cell.scenario.kind != "server":
            continue
        if record.verdict.state == "invalid":
            left_out.append(f"{row.title}: the measurement is invalid")
            continue
        operations = []
        for point in record.points:
            rate = point.metrics.get("throughput_requests_per_s")
            latency = point.metrics.get(name)
            state = next((c.state for c in point.slo if c.limit == limit), point.slo_state)
            where = "" if point.load is None else f" at load {units.percent(point.load)}"
            if rate is None or rate.value is None or latency is None or latency.value is None:
                missing = latency if rate is not None and rate.value is not None else rate
                reason = "not recorded" if missing is None else missing.reason or "not recorded"
                left_out.append(f"{row.title}{where}: {reason}")
                continue
            operations.append(
                Operation(rate.value, latency.value, latency.low, latency.high, state)
            )
        if operations:
            ordered = sorted(operations, key=lambda o: (o.rate, o.latency_s))
            curves.append(Curve(row.title, row.standing, tuple(ordered)))
    return curves, left_out


def _svg(key: str, workload: str, what: str, limit: SloLimit, curves: Sequence[Curve]) -> Markup:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), facecolor="none")
    stream = io.StringIO()
    with (
        # Whatever the user's own settings are, the bytes stay the same.
        matplotlib.rc_context(matplotlib.rcParamsDefault),
        matplotlib.rc_context(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": key,
                "font.size": 9.75,
                "text.color": COLOURS["--ink"],
                "axes.labelcolor": COLOURS["--ink"],
                "axes.edgecolor": COLOURS["--muted"],
                "xtick.color": COLOURS["--muted"],
                "ytick.color": COLOURS["--muted"],
                "xtick.labelcolor": COLOURS["--muted"],
                "ytick.labelcolor": COLOURS["--muted"],
                "grid.color": COLOURS["--rule"],
                "text.parse_math": False,
            }
        ),
    ):
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.075, 0.12, 0.68, 0.83), facecolor="none")
        _draw(axes, what, limit, curves)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    labels = {_placeholder(i): clip(c.label, LABEL_LENGTH) for i, c in enumerate(curves)}
    spoken = "; ".join(
        f"{clip(curve.label, LABEL_LENGTH)}: "
        + ", ".join(
            f"{units.rate(o.rate, 'requests/s')} at {units.seconds(o.latency_s)} "
            f"({words.state(o.state)})"
            for o in curve.operations
        )
        for curve in curves
    )
    return _dressed(
        stream.getvalue(),
        key=key,
        title=f"{what} of {workload} against throughput",
        description=f"Limit {units.seconds(limit.limit_s)}. {spoken}.",
        labels=labels,
    )


def _scales(limit: SloLimit, curves: Sequence[Curve]) -> tuple[Scale, Scale]:
    """Return the axes of throughput and of latency."""
    operations = [o for curve in curves for o in curve.operations]
    bounds = [b for o in operations for b in (o.latency_s, o.low_s, o.high_s) if b is not None]
    return (
        Scale.spanning(o.rate for o in operations),
        Scale.spanning([limit.limit_s, *bounds]),
    )


def _axes_note(limit: SloLimit, curves: Sequence[Curve]) -> str:
    across, up = _scales(limit, curves)
    if across.logarithmic and up.logarithmic:
        return "Both axes are logarithmic."
    if across.logarithmic:
        return "The axis of throughput is logarithmic."
    return "The axis of latency is logarithmic." if up.logarithmic else "Both axes are linear."


def _draw(axes: Axes, what: str, limit: SloLimit, curves: Sequence[Curve]) -> None:
    """Draw `curves` with matplotlib: filled marks keep the promise, hollow ones do not prove it."""
    across, up = _scales(limit, curves)
    for scale, axis, begin in ((across, axes.xaxis, "x"), (up, axes.yaxis, "y")):
        if scale.logarithmic:
            getattr(axes, f"set_{begin}scale")("log")
        getattr(axes, f"set_{begin}lim")(scale.low, scale.high)
        ticks = scale.ticks()
        text = _rate_tick if begin == "x" else units.seconds
        axis.set_ticks(list(ticks), labels=[text(tick) for tick in ticks])
        axis.set_ticks([], minor=True)
    axes.grid(True, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("Throughput, requests a second")
    axes.set_ylabel(what)
    bad = COLOURS["--bad"]
    axes.axhline(limit.limit_s, color=bad, linewidth=1.4, dashes=(6, 3))
    axes.text(
        0.006,
        min(0.965, up.share(limit.limit_s) + 0.015),
        f"limit {units.seconds(limit.limit_s)}",
        color=bad,
        transform=axes.transAxes,
    )
    ends = [(up.share(c.operations[-1].latency_s), index) for index, c in enumerate(curves)]
    heights = _spread(ends)
    for index, curve in enumerate(curves):
        colour = COLOURS[STANDING_COLOURS[curve.standing]]
        strong = curve.standing in ("chosen", "runner_up")
        marker = MARKERS[index % len(MARKERS)]
        line = 1.9 if strong else 1.1
        front = 4 if strong else 3
        rates = [o.rate for o in curve.operations]
        latencies = [o.latency_s for o in curve.operations]
        axes.plot(rates, latencies, color=colour, linewidth=line, zorder=front)
        bounded = [o for o in curve.operations if o.low_s is not None and o.high_s is not None]
        axes.vlines(
            [o.rate for o in bounded],
            [o.low_s for o in bounded if o.low_s is not None],
            [o.high_s for o in bounded if o.high_s is not None],
            color=colour,
            linewidth=1,
            zorder=front,
        )
        for met, fill in ((True, colour), (False, COLOURS["--card"])):
            alike = [o for o in curve.operations if (o.state == "met") == met]
            axes.plot(
                [o.rate for o in alike],
                [o.latency_s for o in alike],
                linestyle="none",
                marker=marker,
                markersize=6.5,
                markerfacecolor=fill,
                markeredgecolor=colour,
                zorder=front + 1,
            )
        last = curve.operations[-1]
        end = (across.share(last.rate), up.share(last.latency_s))
        axes.plot(
            [end[0], 1.0, 1.03],
            [end[1], heights[index], heights[index]],
            color=COLOURS["--rule"],
            linewidth=0.8,
            transform=axes.transAxes,
            clip_on=False,
            zorder=1,
        )
        axes.plot(
            [1.045],
            [heights[index]],
            marker=marker,
            markersize=5.5,
            color=colour,
            transform=axes.transAxes,
            clip_on=False,
        )
        axes.text(
            1.065,
            heights[index],
            _placeholder(index),
            color=colour,
            fontweight="bold" if curve.standing == "chosen" else "normal",
            verticalalignment="center_baseline",
            transform=axes.transAxes,
        )


def _rate_tick(value: float) -> str:
    return units.count(value) if value == round(value) else units.number(value)


def _spread(ends: Sequence[tuple[float, int]]) -> dict[int, float]:
    """Return a height for each label, near its curve's end, with none upon another."""
    gap = min(LABEL_GAP, 1.0 / len(ends))
    heights: dict[int, float] = {}
    floor = 0.0
    for place, index in sorted(ends):
        heights[index] = max(place, floor)
        floor = heights[index] + gap
    ceiling = 1.0
    for _, index in sorted(ends, reverse=True):
        heights[index] = min(heights[index], ceiling)
        ceiling = heights[index] - gap
    return heights


def _placeholder(index: int) -> str:
    return f"label-of-curve-{index}-"


def _dressed(svg: str, *, key: str, title: str, description: str, labels: dict[str, str]) -> Markup:
    """Return matplotlib's document as an inline SVG: named, themed, with ids of its own."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    view_box = re.search(r'viewBox="([^"]*)"', body)
    assert view_box is not None
    body = body[body.index(">") + 1 :]
    body = body.replace("xlink:href=", "href=")
    used = {name for found in USE.findall(body) for name in found if name}
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'href="#([^"]*)"', rf'href="#{key}-\1"', body)
    body = re.sub(r"url\(#([^)]*)\)", rf"url(#{key}-\1)", body)
    # matplotlib writes a font as one property or as several, depending on its version.
    body = re.sub(r"font: ((?:\w+ )?[\d.]+px) [^;\"]*", r"font: \1 var(--font)", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    # Hundredths of a point cannot be seen, and make a third of the file. Text is left alone.
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), body)
    for variable, sentinel in COLOURS.items():
        body = body.replace(sentinel, f"var({variable})")
    for placeholder, label in labels.items():
        body = body.replace(placeholder, html.escape(visible(label)))
    name = html.escape(visible(clip(title)))
    told = html.escape(visible(clip(description, 4000)))
    return Markup(
        f'<svg class="chart" viewBox="{view_box[1]}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{name}</title><desc id="{key}-desc">{told}</desc>{body}'
    )
