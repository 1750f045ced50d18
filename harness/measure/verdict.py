"""Whether a cell's figures can be used. Codes, thresholds and cures: docs/validity.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness import steady_state
from harness.measure.disturbance import Disturbance
from harness.measure.summary import ONE_BLOCK_MOST, Window
from harness.schema.record import Point, Reason, Roofline, Verdict
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
SHORT_SHARE = 0.90
SHORT_GAPS = 10
CLOCK_NOISY_S = 0.1
SUSPEND_NOISY_S = 0.01
CLOCK_CHANGE_NOISY = 0.10
HARNESS_NOISY = 0.10
QUOTA_NOISY = 0.01
CPU_SHARE_NOISY = 0.90
WAITED_NOISY = 0.02
WAITED_INVALID = 0.10
ABOVE_ROOFLINE = 1.05
LONGEST_ERROR = 200


def judge(
    windows: Sequence[Window],
    points: Sequence[Point],
    slo: Sequence[SloLimit],
    headline: int | None,
    disturbed: Disturbance,
    complaints: Sequence[str],
    simulated: bool,
    least_s: float = 0.0,
    free_length: bool = False,
    errors: Sequence[Sequence[str]] = (),
) -> Verdict:
    """Return the verdict over all operating points of a cell.

    Anything in `invalid` makes the record unusable; anything else found makes it noisy. Whether the
    sample proves the SLO matters at the `headline` point only. `least_s` is how long the profile
    wants every window to last. `free_length`: the protocol cannot say how long an answer is to be.
    `errors` are what the failed requests of each point failed of.
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
    for number, (window, point) in enumerate(zip(windows, points, strict=True)):
        stands = headline in (None, number)
        _judge_point(window, point, slo, invalid, noisy, stands, errors[number] if errors else ())
        _judge_blocks(window, point, noisy)
        # A server that says neither how long its answers are to be nor how many tokens they have.
        if not free_length or window.tokens_out.any():
            _judge_length(window, point, noisy if free_length else invalid)
        _judge_duration(point, least_s, noisy)
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
    _judge_machine(disturbed, invalid, noisy)
    state = "invalid" if invalid else "noisy" if noisy else "valid"
    return Verdict(state=state, reasons=(*_worst(invalid), *_worst(noisy)))  # type: ignore[arg-type]


def _worst(reasons: Sequence[Reason]) -> list[Reason]:
    """Return one reason of each code, the one farthest from its limit, which tells how many."""
    by_code: dict[str, list[Reason]] = {}
    for reason in reasons:
        by_code.setdefault(reason.code, []).append(reason)
    kept = []
    for same in by_code.values():
        worst = max(same, key=_beyond)
        others = len(same) - 1
        text = f"{worst.text}, and at {others} other load{'s' if others > 1 else ''}"
        kept.append(worst.model_copy(update={"text": text}) if others else worst)
    return kept


def _beyond(reason: Reason) -> float:
    """Return how far a reason's value is from its limit, relative to it; 0 without either."""
    if reason.value is None or not reason.limit:
        return abs(reason.value or 0.0)
    return abs(reason.value - reason.limit) / reason.limit


def judge_roofline(verdict: Verdict, drawn: Roofline) -> Verdict:
    """Return `verdict`, invalid if a figure lies above what the hardware can do at all.

    Invalid, not noisy: no disturbance makes a target faster, so the figure is of other work than
    declared, and a target that won by it would be bought for it.
    """
    reasons = [
        Reason(
            code="above-roofline",
            text=f"{what} is {share:.0%} of what the hardware can do ({drawn.source})",
            value=share,
            limit=ABOVE_ROOFLINE,
        )
        for what, share in (
            ("the throughput", drawn.share),
            ("the rate of output tokens", drawn.step_share),
        )
        if share is not None and share > ABOVE_ROOFLINE
    ]
    if not reasons:
        return verdict
    return Verdict(state="invalid", reasons=(*reasons, *verdict.reasons))


def _judge_machine(disturbed: Disturbance, invalid: list[Reason], noisy: list[Reason]) -> None:
    """Judge what others did to the machine, and what the harness did."""
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
    share, taken = disturbed.cpu_share, disturbed.taken_share
    # What a runtime leaves idle by itself is no disturbance: only what others had is.
    if share is not None and share < CPU_SHARE_NOISY and (taken or 0.0) > 1 - CPU_SHARE_NOISY:
        noisy.append(
            Reason(
                code="cpu-share",
                text=f"the target's {disturbed.threads} threads computed for {share:.0%} of the "
                f"time; others had {taken:.0%} of their cores",
                value=share,
                limit=CPU_SHARE_NOISY,
            )
        )
    waited = disturbed.waited_share
    # Where nobody else had its cores, its own threads are too many: that is how it is.
    by_others = (taken or 0.0) > 1 - CPU_SHARE_NOISY
    if waited is not None and waited > WAITED_NOISY and by_others:
        reason = Reason(
            code="thread-wait",
            text=f"threads that compute together waited for a core for up to {waited:.0%} of the "
            "time, and each held up the others",
            value=waited,
            limit=WAITED_INVALID,
        )
        (invalid if waited > WAITED_INVALID else noisy).append(reason)
    if disturbed.pressure_share is not None and disturbed.pressure_share > PRESSURE_NOISY:
        noisy.append(
            Reason(
                code="pressure",
                text=f"for {disturbed.pressure_share:.0%} of the time some task waited for a core",
                value=disturbed.pressure_share,
                limit=PRESSURE_NOISY,
            )
        )
    harness = disturbed.harness_cores
    # With a core to spare it took nothing from the target.
    if harness is not None and harness > HARNESS_NOISY and disturbed.free_cores < 1:
        noisy.append(
            Reason(
                code="harness-share",
                text=f"the harness itself used {harness:.2f} of a core, and none was free",
                value=harness,
                limit=HARNESS_NOISY,
            )
        )
    quota = disturbed.quota_share
    if quota is not None and quota > QUOTA_NOISY:
        noisy.append(
            Reason(
                code="cpu-quota",
                text=f"the limit of a control group stopped this process in {quota:.1%} of its "
                "periods",
                value=quota,
                limit=QUOTA_NOISY,
            )
        )
    if disturbed.foreign_processes:
        noisy.append(
            Reason(
                code="foreign-gpu",
                text=f"{disturbed.foreign_processes} other processes compute on the target's GPU",
                value=float(disturbed.foreign_processes),
                limit=0.0,
            )
        )
    _judge_clocks(disturbed, noisy)


def _judge_clocks(disturbed: Disturbance, noisy: list[Reason]) -> None:
    """Judge the clocks by which time is told, and those that the chips run at."""
    if abs(disturbed.clock_step_s) > CLOCK_NOISY_S:
        noisy.append(
            Reason(
                code="clock",
                text=f"the wall clock was set by {disturbed.clock_step_s:+.3f} s meanwhile; "
                "latencies are not affected",
                value=disturbed.clock_step_s,
                limit=CLOCK_NOISY_S,
            )
        )
    if disturbed.suspended_s > SUSPEND_NOISY_S:
        noisy.append(
            Reason(
                code="clock",
                text=f"the machine was suspended for {disturbed.suspended_s:.2f} s meanwhile",
                value=disturbed.suspended_s,
                limit=SUSPEND_NOISY_S,
            )
        )
    if disturbed.throttle_events or disturbed.throttled_share or disturbed.gpu_slowed:
        found = [*disturbed.gpu_slowed]
        if disturbed.throttle_events:
            found.append(f"the processor throttled {disturbed.throttle_events} times")
        if disturbed.throttled_share:
            found.append(f"for {disturbed.throttled_share:.1%} of the time")
        noisy.append(
            Reason(
                code="throttle",
                text=f"the hardware was slowed down: {', '.join(found)}",
                value=disturbed.throttled_share,
                limit=0.0,
            )
        )
    change = disturbed.clock_change
    if change is not None and abs(change) > CLOCK_CHANGE_NOISY:
        noisy.append(
            Reason(
                code="throttle",
                text=f"the clock rate changed by {change:+.0%} from the start to the end",
                value=change,
                limit=CLOCK_CHANGE_NOISY,
            )
        )


def _judge_duration(point: Point, least_s: float, noisy: list[Reason]) -> None:
    """Judge whether the window lasted; the last of Poisson arrivals may come some gaps early."""
    gap_s = SHORT_GAPS / point.requested_rate if point.requested_rate else 0.0
    limit_s = SHORT_SHARE * least_s
    if point.duration_s + gap_s < limit_s:
        noisy.append(
            Reason(
                code="short",
                text=f"the window lasted {point.duration_s:.1f} s{_where(point)}, "
                f"its profile wants {least_s:g} s",
                value=point.duration_s,
                limit=limit_s,
            )
        )


def _for_example(said: Sequence[str]) -> str:
    """Return the commonest of the errors that were `said`, on one printable line."""
    if not said:
        return ""
    counted = Counter(said)
    commonest = min(counted, key=lambda text: (-counted[text], text))
    line = " ".join("".join(c if c.isprintable() else " " for c in commonest).split())
    cut = len(line) > LONGEST_ERROR
    return f"; for example {line[:LONGEST_ERROR]}{'…' if cut else ''}"


def _where(point: Point) -> str:
    return "" if point.load is None else f" at load {point.load:.2g}"


def _judge_point(
    window: Window,
    point: Point,
    slo: Sequence[SloLimit],
    invalid: list[Reason],
    noisy: list[Reason],
    stands: bool,
    said: Sequence[str],
) -> None:
    """Judge a point; one that `stands` for the record (or where none does) decides about it.

    `said` is what its failed requests failed of.
    """
    where = _where(point)
    # A request that an overloaded target never took up misses the SLO; only failing is a fault.
    failed = point.failed - window.unserved
    errors = failed / point.requests if point.requests else 1.0
    if errors > ERRORS_NOISY:
        reason = Reason(
            code="errors",
            text=f"{failed} of {point.requests} requests failed{where}{_for_example(said)}",
            value=errors,
            limit=ERRORS_INVALID,
        )
        (invalid if errors > ERRORS_INVALID else noisy).append(reason)
    if point.requested_rate and window.latency_s.size and point.slo_state != "missed":
        # The last answer takes its time also where nothing is held up.
        served_s = max(1e-9, window.duration_s - float(np.median(window.latency_s)))
        due_s = window.offered_s
        share = window.latency_s.size / served_s / (point.requests / due_s) if due_s else 1.0
        if share < RATE_NOISY:
            noisy.append(
                Reason(
                    code="rate",
                    text=f"{share:.0%} of the offered rate was served{where}",
                    value=share,
                    limit=RATE_NOISY,
                )
            )
    # What counts from the first token on is the same however late a request was issued.
    from_due = [s.limit_s for s in slo if s.metric != "tpot"]
    limits = from_due or [s.limit_s for s in slo]
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
            reason = Reason(
                code="schedule-lag",
                text=f"the harness itself issued requests up to {lag * 1e3:.2f} ms late{where}",
                value=lag,
                limit=LAG_INVALID_SHARE * min(limits),
            )
            # Late requests can only make a load look worse than it is: elsewhere the target is
            # sold short at most.
            (invalid if stands else noisy).append(reason)
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


def _judge_blocks(window: Window, point: Point, noisy: list[Reason]) -> None:
    """Judge whether a promise about the time per output token rests on replies in one block."""
    if window.one_block is None:
        return
    if any(check.limit.metric == "tpot" and check.state != "met" for check in point.slo):
        share = window.in_one_block / window.several_tokens
        text = f"{window.one_block}{_where(point)}"
        noisy.append(Reason(code="one-block", text=text, value=share, limit=ONE_BLOCK_MOST))


def _judge_length(window: Window, point: Point, reasons: list[Reason]) -> None:
    length = window.length_share
    if length is not None and abs(length - 1) > LENGTH_INVALID:
        reasons.append(
            Reason(
                code="output-length",
                text=f"answers were {length:.0%} as long as asked for{_where(point)}",
                value=length,
                limit=1 - LENGTH_INVALID if length < 1 else 1 + LENGTH_INVALID,
            )
        )
