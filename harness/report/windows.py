"""What a measured window supports, in words: why it ended, what was cut, what the search proved.

Used by the page and by `harness show`, so that both say the same.
"""

from __future__ import annotations

from harness import units
from harness.report import words
from harness.report.view import WorkloadView
from harness.schema.record import Metric, Point, Record

WIDENED = "↔"
"""Stands between an interval and the share by which disturbances of the run widened it."""


def window(point: Point) -> str:
    """Return how long the window was and why it ended: `62.0 s, precise`; and if it overloaded."""
    length = units.duration(point.duration_s)
    ended = length if point.ending is None else f"{length}, {words.ending(point.ending.why)}"
    return ended if point.overload is None else f"{ended}; {point.overload}"


def asked(point: Point) -> str:
    """Return the requests that count, and those that were cut as warm-up: `200 + 40 warm-up`."""
    cut = point.warm_up_requests
    return f"{units.count(point.requests)}{f' + {units.count(cut)} warm-up' if cut else ''}"


def widened(metric: Metric) -> str:
    """Return by how much the interval was widened, as `↔ 12 %`; empty if it was not."""
    return f"{WIDENED} {units.percent(metric.widened)}" if metric.widened else ""


def widening(record: Record) -> str:
    """Return by how much the intervals of `record` were widened; empty if they were not."""
    found = (metric for point in record.points for metric in point.metrics.values())
    return max((widened(metric) for metric in found), key=len, default="")


def certified(metric: Metric | None) -> str:
    """Return the bound that MLPerf's early stopping gives: `certified 13.1 ms`; empty if none."""
    if metric is None or metric.certified is None:
        return ""
    return f"certified {units.quantity(metric.certified, metric.unit)}"


def capacity(record: Record) -> str:
    """Return the estimated capacity with its interval beside the rate that was proven.

    Empty where no search was made. The rate is of requests sent, as in the estimate.
    """
    found = record.capacity
    proven = _proven(record)
    if found is None:
        return ""
    if found.value is None:
        return f"capacity not estimated: {found.reason}; {proven}"
    text = units.interval(found.value, found.low, found.high, found.unit)
    doubt = widened(found)
    text = f"estimated capacity {text}{f' {doubt}' if doubt else ''}; {proven}"
    point = record.headline_point
    most = found.value if found.high is None else found.high
    if point is None or point.slo_state != "met" or (point.requested_rate or 0) <= most:
        return text
    return f"{text}; the two disagree: the loads do not lie on one curve"


def unsupported(view: WorkloadView) -> tuple[str, ...]:
    """Return what the windows that their time box closed support, for the loads that count."""
    return tuple(
        f"{row.title}: {row.point.ending.supports}"
        for row in view.rows
        if row.point is not None and row.point.ending is not None and row.point.ending.supports
    )


def left_running(record: Record) -> tuple[str, ...]:
    """Return the processes that the cell had started and not ended; the harness ended them."""
    said = record.session.get("left_running")
    return tuple(str(each) for each in said) if isinstance(said, list | tuple) else ()


def _proven(record: Record) -> str:
    point = record.headline_point
    if point is None or not point.requested_rate:
        return "no load is proven to keep the SLO"
    rate = units.rate(point.requested_rate, "requests/s")
    return f"proven {rate}" if point.slo_state == "met" else f"kept but not proven {rate}"
