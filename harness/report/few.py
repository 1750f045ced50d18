"""The few of many targets that a workload's part shows in full: charts of a hundred show nothing.

All of them stand in the matrix, in the table of every target, and under "targets not chosen".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from harness import units
from harness.report import words
from harness.report.answers import figure, yearly
from harness.report.view import Row, WorkloadView

MOST_IN_FULL = 16
"""Up to so many targets are all shown in full."""
FEW = 8


@dataclass(frozen=True, slots=True)
class Line:
    """A target as one line of the table of every target, as text."""

    title: str
    name: str
    standing: str
    promise: str
    throughput: str
    cost: str
    year: str
    p_best: str
    doubt: str
    evidence: str


def named_few(view: WorkloadView) -> WorkloadView:
    """Return `view` with all of its rows, or of many with at most eight, in their order.

    They are the choice, the runner-up, the front (no other has both more throughput and less
    latency, of usable figures) and then those that the decision puts first.
    """
    if len(view.rows) <= MOST_IN_FULL:
        return view
    named = [row for row in view.rows if row.standing in ("chosen", "runner_up")]
    ordered = dict.fromkeys(row.outcome.target for row in [*named, *front(view), *view.rows])
    kept = set(list(ordered)[:FEW])
    rows = tuple(row for row in view.rows if row.outcome.target in kept)
    return dataclasses.replace(view, rows=rows)


def front(view: WorkloadView) -> tuple[Row, ...]:
    """Return the rows that no other beats in both throughput and promised latency."""
    limit = view.workload.slo[0] if view.workload is not None and view.workload.slo else None
    if limit is None:
        return ()
    found = []
    for row in view.measured:
        rate = row.metric("throughput_requests_per_s")
        latency = row.metric(f"{limit.metric}_s.p{limit.percentile:g}")
        if row.doubt == "invalid" or rate is None or latency is None:
            continue
        if rate.value is not None and latency.value is not None:
            found.append((-rate.value, latency.value, row))
    best = []
    least = float("inf")
    for _, latency_s, row in sorted(found, key=lambda each: each[:2]):
        if latency_s < least:
            best.append(row)
            least = latency_s
    return tuple(best)


def lines(view: WorkloadView) -> tuple[Line, ...]:
    """Return every target of `view` as a line; empty where all are shown in full anyway."""
    if len(view.rows) <= MOST_IN_FULL:
        return ()
    sure = view.decision.confidence
    odds = {} if sure is None else {each.target: each.p_best for each in sure.odds}
    return tuple(_line(row, odds.get(row.outcome.target)) for row in view.rows)


def _line(row: Row, p_best: float | None) -> Line:
    option = row.option
    checks = row.point.slo if row.point is not None else ()
    promise = "; ".join(
        f"{check.limit.metric} p{check.limit.percentile:g} "
        f"{units.seconds(check.value_s, 'not supported by n')} {words.state(check.state)}"
        for check in checks
    )
    evidence = row.record.evidence if option is None and row.record is not None else None
    if option is not None:
        evidence = option.evidence
    return Line(
        title=row.title,
        name=row.outcome.target,
        standing=f"{words.sign(row.standing)} {words.standing(row.standing)}",
        promise=promise or "no figures",
        throughput="none" if option is None else figure(option.throughput, option.throughput_unit),
        cost="none" if option is None else figure(option.cost_per_unit_usd, "USD"),
        year="none" if option is None else yearly(option),
        p_best=units.percent(p_best, "not compared"),
        doubt=words.state(row.doubt.replace(" ", "_")),
        evidence=evidence or "none",
    )
