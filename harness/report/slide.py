"""What all figures for slides share: the style, the frame with its title and notes, the words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.report import words
from harness.report.tables import plain
from harness.report.text import clip
from harness.report.view import Standing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_LENGTH, TITLE_LENGTH = 32, 78
PIXELS_PER_INCH = 200
WIDTH_IN, HEIGHT_IN = 9.6, 5.4
"""A slide's 16:9, so that the PNG has 1920 x 1080 pixels."""
INK, MUTED, RULE = "#1a1d21", "#565c64", "#d8dadd"
COLOURS: dict[Standing, str] = {"chosen": "#0b4f8a", "runner_up": "#7b4a00"}
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "hatch.linewidth": 0.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
}


def slide(title: str, notes: Sequence[str], *, left: float, right: float) -> tuple[Figure, Axes]:
    """Return a slide with a title above, `notes` below, and axes between."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), facecolor="white")
    FigureCanvasAgg(figure)
    bottom = 0.137 + 0.034 * max(2, len(notes) - 1)
    axes = figure.add_axes((left, bottom, right - left, 0.885 - bottom))
    figure.text(0.02, 0.945, clip(plain(title), TITLE_LENGTH), fontsize=13, fontweight="bold")
    for index, note in enumerate(reversed(notes)):
        figure.text(0.02, 0.022 + 0.034 * index, note, fontsize=8, color=MUTED)
    return figure, axes


def known(standing: Standing, evidence: str, doubt: str, slo_state: str = "met") -> str:
    """Return in words how the figures are known: `chosen, measured, noisy, SLO not proven`."""
    parts = [words.standing(standing).lower(), evidence]
    parts += [words.state(doubt)] if doubt != "valid" else []
    parts += [f"SLO {words.state(slo_state)}"] if slo_state != "met" else []
    return ", ".join(parts)
