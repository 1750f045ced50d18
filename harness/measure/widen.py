"""Widens the intervals of a noisy cell by what disturbed it. The arguments: docs/validity.md."""

from __future__ import annotations

from collections.abc import Sequence

from harness import statistics, units
from harness.measure.disturbance import Disturbance
from harness.schema.record import Metric, Point, Reason, SloCheck, Verdict

WIDENED = ("latency_", "ttft_", "tpot_s.", "task_latency_s.", "throughput_", "goodput_")
UNMEASURED_THROTTLE = 0.10
"""For a processor that throttled while neither the time nor its clocks tell how much: as much as
its clocks may change before it counts."""

HELD_UP = 10.0
"""By how many times the share that one of several threads waits all of them are slower: measured
with PyTorch on two cores beside one busy process (0.37 of the time waited, 4.7 times slower)."""


def amounts(verdict: Verdict, disturbed: Disturbance) -> dict[str, float]:
    """Return, by the code of each reason that could have moved the figures, by how much at most.

    A relative amount of a time: 0.1 says that times may be a tenth off, either way. A reason that
    is not in it moves nothing, or is in the figures already.
    """
    found: dict[str, float] = {}
    for reason in verdict.reasons:
        amount = 0.0
        if reason.code == "steal":
            busy = disturbed.own_cores + disturbed.foreign_cores
            amount = _ratio(disturbed.steal_share * disturbed.cores, busy)
        elif reason.code in ("foreign-load", "cpu-share"):
            amount = _taken(disturbed.foreign_cores, disturbed)
        elif reason.code == "harness-share":
            amount = _taken(disturbed.harness_cores or 0.0, disturbed)
        elif reason.code == "thread-wait":
            amount = HELD_UP * (disturbed.waited_share or 0.0)
        elif reason.code == "throttle":
            amount = _throttled(disturbed)
        elif reason.code == "foreign-gpu":
            amount = float(disturbed.foreign_processes or 0)
        elif reason.code == "drift":
            amount = abs(reason.value or 0.0)
        if amount > 0:
            found[reason.code] = max(amount, found.get(reason.code, 0.0))
    return found


def _ratio(taken: float, left: float) -> float:
    """Return `taken` / `left`: the time that a share makes longer; at most tenfold."""
    return min(10.0, taken / left) if left > 0 else 10.0


def _taken(cores: float, disturbed: Disturbance) -> float:
    """Return by how much a target of all cores is slower when `cores` of them are taken.

    Never more than if every second of it had been the target's, nor than if the target had stood
    still whenever some task waited for a core.
    """
    left = max(disturbed.cores - cores, min(disturbed.own_cores, disturbed.cores))
    waited = disturbed.pressure_share
    most = _ratio(cores, left)
    return most if waited is None else min(most, _ratio(waited, 1 - waited))


def _throttled(disturbed: Disturbance) -> float:
    """Return by how much a slower clock makes a time longer: by time throttled, or by the clocks.

    A core counts as standing still while it was throttled, which is the most it can lose.
    """
    throttled = disturbed.throttled_share or 0.0
    share = _ratio(throttled, 1 - throttled)
    ratio = 1 + (disturbed.clock_change or 0.0)
    known = max(share, max(ratio, 1 / ratio) - 1 if ratio > 0 else 0.0)
    return known or UNMEASURED_THROTTLE


def widen(
    points: Sequence[Point], verdict: Verdict, disturbed: Disturbance
) -> tuple[tuple[Point, ...], Verdict]:
    """Return `points` with wider intervals, and `verdict` with the reason `widened`.

    The largest amount w counts, not the sum: the same lost time shows to several instruments. Lower
    bounds are divided by 1 + w and upper ones multiplied by it; a promise that was met is unproven
    if its wider bound is above the limit. Only of a noisy verdict: a valid cell was not disturbed
    beyond the thresholds, an invalid one is never used.
    """
    found = amounts(verdict, disturbed) if verdict.state == "noisy" else {}
    if not found:
        return tuple(points), verdict
    code, amount = max(found.items(), key=lambda each: each[1])
    reason = Reason(
        code="widened",
        text=f"the intervals are widened by {units.percent(amount)} for it ({code})",
        value=amount,
    )
    wider = tuple(_point(point, amount) for point in points)
    return wider, verdict.model_copy(update={"reasons": (*verdict.reasons, reason)})


def widen_capacity(capacity: Metric | None, verdict: Verdict) -> Metric | None:
    """Return `capacity` widened by as much as `widen` said in `verdict` that it widened."""
    amount = next((r.value for r in verdict.reasons if r.code == "widened"), None)
    return _metric(capacity, amount) if capacity is not None and amount else capacity


def _point(point: Point, amount: float) -> Point:
    metrics = {
        name: _metric(metric, amount) if name.startswith(WIDENED) else metric
        for name, metric in point.metrics.items()
    }
    checks = tuple(_check(check, amount) for check in point.slo)
    state = statistics.worst_state(checks) if checks else point.slo_state
    if point.overload is not None:
        state = point.slo_state
    return point.model_copy(update={"metrics": metrics, "slo": checks, "slo_state": state})


def _metric(metric: Metric, amount: float) -> Metric:
    if metric.low is None and metric.high is None:
        return metric
    return metric.model_copy(
        update={
            "low": None if metric.low is None else metric.low / (1 + amount),
            "high": None if metric.high is None else metric.high * (1 + amount),
            "widened": amount,
        }
    )


def _check(check: SloCheck, amount: float) -> SloCheck:
    if check.high_s is None:
        return check  # no bound, so unproven or missed already
    high_s = check.high_s * (1 + amount)
    above = check.state == "met" and high_s > check.limit.limit_s
    return check.model_copy(
        update={"high_s": high_s, "state": "unproven" if above else check.state}
    )
