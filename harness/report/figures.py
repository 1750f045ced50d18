"""Figures for slides and documents: the report's curves and costs as SVG and PNG, by matplotlib.

The same decision and records give the same bytes with the same matplotlib. No state is told by
colour alone: marks have shapes, what is in doubt is hollow, what no meter read is hatched.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from harness.report import words
from harness.report.charts import curves
from harness.report.cost_figure import cost_figure
from harness.report.curve_figure import curve_figure
from harness.report.slide import PIXELS_PER_INCH, STYLE
from harness.report.view import WorkloadView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures(views: Sequence[WorkloadView]) -> Iterator[tuple[str, bytes]]:
    """Yield each figure's file name and bytes: `WORKLOAD-METRIC.svg`, `.png`, `WORKLOAD-cost.*`.

    A workload without curves or options has none of them.
    """
    from matplotlib import style

    for name, draw in (plan for view in views for plan in _plans(view)):
        with style.context(STYLE, after_reset=True), warnings.catch_warnings():
            # A title may have letters that the font of the PNG lacks: it shows boxes for them.
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            figure = draw()
            files = {kind: _bytes(figure, kind) for kind in ("svg", "png")}
        for kind, data in files.items():
            yield f"{name}.{kind}", data


def _plans(view: WorkloadView) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the name of each figure of a workload with what draws it."""
    workload = view.decision.workload
    for limit in () if view.workload is None else view.workload.slo:
        found, left_out = curves(view, limit)
        if found:
            what = f"{words.metric(limit.metric)} p{limit.percentile:g}"
            yield (
                f"{workload}-{limit.metric}-p{limit.percentile:g}",
                partial(curve_figure, view, what, limit.limit_s, found, len(left_out)),
            )
    priced = [row for row in view.rows if row.option is not None]
    if priced:
        yield f"{workload}-cost", partial(cost_figure, view, priced)


def _bytes(figure: Figure, kind: str) -> bytes:
    held = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(held, format=kind, dpi=PIXELS_PER_INCH, metadata=metadata)
    return held.getvalue()
