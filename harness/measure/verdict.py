"""Whether a cell's figures can be used. Codes, thresholds and cures: docs/validity.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness import steady_state
from harness.measure.environment import Disturbance
from harness.measure.summary import Window
from harness.schema.record import Point, Reason, Verdict
from harness.schema.workload import SloLimit

FOREIGN_CORES_NOISY = 0.25
STEAL_NOISY = 0.01
STEAL_INVALID = 0.10
ERRORS_NOISY = 0.0
ERRORS_INVALID = 0.01
PRESSURE_NOISY = 0.05
RATE_NOISY = 0.95
LENGTH_INVALID = 0.10
LAG_INVALID_SHARE = 0.10
DRIFT_NOISY = 0.10


def judge(
    windows: Sequence[Window],
    points: Sequence[Point],
    slo: Sequence[SloLimit],
    headline: int | None,
    disturbed: Disturbance,
    complaints: Sequence[str],
    simulated: bool,
) -> Verdict:
    """Return the verdict over all operating points of a cell.

    Anything in `invalid` makes the record unusable; anything else found makes it noisy. Whether the
    sample proves the SLO matters at the `headline` point only.
    """
    invalid: list[Reason] = []
    noisy: list[Reason] = []
    if complaints:
        kinds = sorted(set(complaints))
        invalid.append(
            Reason(code="contract", text=f"the adapter broke its contract: {'; '.join(kinds)}")
        )
    if simulated:
        invalid.append(Reason(code="simulated", text="the target is simulated, not hardware"))
    for window, point in zip(windows, points, strict=True):
        _judge_point(window, point, slo, invalid, noisy)
    if headline is not None and points[headline].slo_state == "unproven":
        point = points[headline]
        noisy.append(
            Reason(
                code="too-few",
                text=f"the sample does not prove the SLO{_where(point)}: "
                f"{point.requests} requests in {point.duration_s:.1f} s",
                value=float(point.requests),
            )
        )
    if disturbed.steal_share > STEAL_NOISY:
        reason = Reason(
            code="steal",
            text=f"the machine's host took {disturbed.steal_share:.1%} of its time away",
            value=disturbed.steal_share,
            limit=STEAL_NOISY,
        )
        (invalid if disturbed.steal_share > STEAL_INVALID else noisy).append(reason)
    if disturbed.foreign_cores > FOREIGN_CORES_NOISY:
        noisy.append(
            Reason(
                code="foreign-load",
                text=f"other processes kept {disturbed.foreign_cores:.2f} cores busy",
                value=disturbed.foreign_cores,
                limit=FOREIGN_CORES_NOISY,
            )
        )
    if disturbed.pressure_share is not None and disturbed.pressure_share > PRESSURE_NOISY:
        noisy.append(
            Reason(
                code="pressure",
                text=f"for {disturbed.pressure_share:.0%} of the time some task waited for a core",
                value=disturbed.pressure_share,
                limit=PRESSURE_NOISY,
            )
        )
    state = "invalid" if invalid else "noisy" if noisy else "valid"
    return Verdict(state=state, reasons=tuple(invalid + noisy))  # type: ignore[arg-type]


def _where(point: Point) -> str:
    return "" if point.load is None else f" at load {point.load:.2g}"


def _judge_point(
    window: Window,
    point: Point,
    slo: Sequence[SloLimit],
    invalid: list[Reason],
    noisy: list[Reason],
) -> None:
    where = _where(point)
    # A request that an overloaded target never took up misses the SLO; only failing is a fault.
    failed = point.failed - window.unserved
    errors = failed / point.requests if point.requests else 1.0
    if errors > ERRORS_NOISY:
        reason = Reason(
            code="errors",
            text=f"{failed} of {point.requests} requests failed{where}",
            value=errors,
            limit=ERRORS_INVALID,
        )
        (invalid if errors > ERRORS_INVALID else noisy).append(reason)
    length = window.length_share
    if length is not None and abs(length - 1) > LENGTH_INVALID:
        invalid.append(
            Reason(
                code="output-length",
                text=f"answers were {length:.0%} as long as asked for{where}",
                value=length,
                limit=1 - LENGTH_INVALID if length < 1 else 1 + LENGTH_INVALID,
            )
        )
    achieved = point.metrics["throughput_requests_per_s"].value
    if point.requested_rate and achieved is not None and point.slo_state != "missed":
        share = achieved / (point.requests / window.offered_s) if window.offered_s else 1.0
        if share < RATE_NOISY:
            noisy.append(
                Reason(
                    code="rate",
                    text=f"{share:.0%} of the offered rate was served{where}",
                    value=share,
                    limit=RATE_NOISY,
                )
            )
    limits = [s.limit_s for s in slo]
    if point.requested_rate is not None and window.lag_s.size and limits:
        # One pause of the harness makes a queue that looks like the target's: the longest counts.
        pause = float(window.lag_s.max())
        if pause > min(limits):
            noisy.append(
                Reason(
                    code="pause",
                    text=f"the harness itself stood still for {pause * 1e3:.2f} ms{where}",
                    value=pause,
                    limit=min(limits),
                )
            )
        lag = float(np.quantile(window.lag_s, 0.99))
        if lag > LAG_INVALID_SHARE * min(limits):
            invalid.append(
                Reason(
                    code="schedule-lag",
                    text=f"the harness itself issued requests up to {lag * 1e3:.2f} ms late{where}",
                    value=lag,
                    limit=LAG_INVALID_SHARE * min(limits),
                )
            )
    if point.slo and point.requested_rate is None and window.latency_s.size:
        found = steady_state.drift(window.latency_s)
        if found.change is not None and found.proven and abs(found.change) > DRIFT_NOISY:
            noisy.append(
                Reason(
                    code="drift",
                    text=f"the latency moved by {found.change:+.0%} from the first to the last "
                    "third of the window",
                    value=found.change,
                    limit=DRIFT_NOISY,
                )
            )
