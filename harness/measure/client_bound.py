"""Whether a served target's figures are those of the client that asked. See docs/served.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from harness import units
from harness.schema.record import Point, Reason, Verdict
from harness.schema.trust import ClientLimit, Trust
from harness.schema.workload import SloLimit

LAG_SHARE = 0.10
CPU_SHARE = 0.90
OWN_SHARE = 0.10
"""The largest part of a figure that may be the client's."""
OWN_FLOOR_S = 0.0005
"""What sending a request and reading a reply costs any client on an idle machine: no limit, only
an error, which the calibration tells."""
OPEN_FLOOR_SHARE = 0.01
"""In an open loop the client's time does not lower the rate: it counts above this share of the
tightest limit."""
TIMER_S = 0.001
"""The loop's timers are exact to 1 ms: that much is no lag."""
ISSUED_SHARE = 0.95
CEILING_SHARE = 0.90
TOO_SHORT = "the client did not run long enough to tell its lag"


def judge_client(
    verdict: Verdict,
    client: object,
    slo: Sequence[SloLimit],
    points: Sequence[Point] = (),
    headline: int | None = None,
) -> Verdict:
    """Return `verdict`, made invalid where the client was the limit.

    `client` is the trust block of a served session, None for other sessions. Of a served one whose
    figures are missing nobody can say that the server was measured, so that is invalid too. Where
    the points (by rising load, the `headline` stands for all) have trust blocks, these decide.
    """
    trusted = [point for point in points if point.trust is not None]
    if trusted:
        reasons = point_reasons(trusted, None if headline is None else points[headline])
    elif client is None:
        return verdict
    else:
        figures = client if isinstance(client, Mapping) else {}
        reasons = client_reasons(figures, min((s.limit_s for s in slo), default=None))
    if reasons:
        return Verdict(state="invalid", reasons=(*reasons, *verdict.reasons))
    found = client_error(trusted)
    if found is None:
        return verdict
    state: Literal["invalid", "noisy"] = "invalid" if verdict.state == "invalid" else "noisy"
    return Verdict(state=state, reasons=(*verdict.reasons, found))


def point_reasons(points: Sequence[Point], headline: Point | None) -> list[Reason]:
    """Return why the record is the client's and not the server's; none if it is the server's.

    A point above one at which the server itself broke the SLO decides nothing. One between it and
    the headline does: then it was the client that kept the search from a higher rate.
    """
    missed = [
        p.load
        for p in points
        if p.load is not None and p.slo_state == "missed" and not p.client_bound
    ]
    above = headline.load if headline is not None else None
    broken = min((load for load in missed if above is None or load > above), default=None)
    bound = [
        point
        for point in points
        if point.client_bound
        and (
            headline is None
            or point.load is None
            or above is None
            or (point.load > above and (broken is None or point.load < broken))
        )
    ]
    if not bound:
        return []
    first = min(bound, key=lambda point: point.load or 0.0)
    assert first.trust is not None
    where = "" if first.load is None else f" at load {first.load:.2g}"
    return [
        Reason(code="client-bound", text=f"{each.text}{where}", value=each.value, limit=each.limit)
        for each in first.trust.client_bound
    ]


def client_error(points: Sequence[Point]) -> Reason | None:
    """Return the reason that a fast server's figures hold much of the client's own time.

    No more than any client's on an idle machine, but more than 10 % of the typical figure.
    """
    worst: Reason | None = None
    for point in points:
        found = point.trust.calibration if point.trust is not None else None
        typical_s = typical_first_s(point)
        error_s = found.first_error_p50_s if found is not None else None
        if error_s is None or not typical_s or error_s <= OWN_SHARE * typical_s:
            continue
        share = error_s / typical_s
        if worst is None or share > (worst.value or 0.0):
            worst = Reason(
                code="client-error",
                text=f"{share:.0%} of the time to the first token or reply is the client's own",
                value=share,
                limit=OWN_SHARE,
            )
    return worst


def typical_first_s(point: Point) -> float | None:
    """Return the median time to the first token, else of the whole reply; None without either."""
    for name in ("ttft_s.p50", "latency_s.p50"):
        metric = point.metrics.get(name)
        if metric is not None and metric.value is not None:
            return metric.value
    return None


def client_limits(
    trust: Trust,
    *,
    typical_s: float | None,
    rate: float | None,
    tightest_s: float | None,
    open_loop: bool = False,
) -> tuple[ClientLimit, ...]:
    """Return the signs that the client was the limit at a point; none if it kept up.

    `typical_s` is the point's median time to the first token or reply, `rate` the replies per
    second, `tightest_s` the tightest limit of the SLO. `open_loop`: requests did not wait for
    replies. A server that is slow gives none: the client waits for it with an idle loop.
    Thresholds: docs/served.md.
    """
    lag_s, cpu = trust.loop_lag_p99_s, trust.cpu_share
    if lag_s is None or cpu is None:
        return (ClientLimit(text=TOO_SHORT),)
    found = []
    if tightest_s is not None and lag_s > LAG_SHARE * tightest_s:
        text = f"the client itself read replies up to {lag_s * 1e3:.2f} ms late"
        found.append(ClientLimit(text=text, value=lag_s, limit=LAG_SHARE * tightest_s))
    busy = cpu + (trust.wait_share or 0.0)
    if trust.crashed:
        text = f"{trust.crashed} of the client's {trust.processes} processes ended by themselves"
        found.append(ClientLimit(text=text, value=float(trust.crashed), limit=0.0))
    if trust.busiest_share is not None:
        if trust.busiest_share > CPU_SHARE:
            one = f"one of the client's {trust.processes} processes, or what feeds them,"
            text = f"{one} used {trust.busiest_share:.0%} of a core, waiting for it included"
            found.append(ClientLimit(text=text, value=trust.busiest_share, limit=CPU_SHARE))
    elif busy > CPU_SHARE:
        waited = f", waiting for it included ({trust.wait_share or 0:.0%})" if cpu < busy else ""
        text = f"the client itself used {busy:.0%} of the one core that it can use{waited}"
        found.append(ClientLimit(text=text, value=busy, limit=CPU_SHARE))
    achieved = trust.achieved_share
    if achieved is not None and achieved < ISSUED_SHARE:
        text = f"the client itself issued {achieved:.0%} of the requested rate"
        found.append(ClientLimit(text=text, value=achieved, limit=ISSUED_SHARE))
    if typical_s is not None:
        floor_s = OPEN_FLOOR_SHARE * tightest_s if open_loop and tightest_s is not None else 0.0
        found += _own_part(trust, typical_s, max(OWN_FLOOR_S, floor_s))
    calibrated = trust.calibration
    if calibrated is None:
        return tuple(found)
    share = calibrated.itl_error_share
    if share is not None and abs(share) > OWN_SHARE:
        text = f"at this load the client itself is {share:+.0%} wrong about the gap between tokens"
        found.append(ClientLimit(text=text, value=abs(share), limit=OWN_SHARE))
    ceiling = calibrated.ceiling_per_s
    if ceiling and rate is not None and rate > CEILING_SHARE * ceiling:
        text = (
            f"{units.rate(rate, 'requests/s')} are {rate / ceiling:.0%} of what this client can do"
        )
        found.append(ClientLimit(text=text, value=rate, limit=CEILING_SHARE * ceiling))
    return tuple(found)


def _own_part(trust: Trust, typical_s: float, floor_s: float) -> list[ClientLimit]:
    """Return the signs that too much of a figure of `typical_s` is the client's own time."""
    limit_s = max(OWN_SHARE * typical_s, floor_s)
    late_s = max(0.0, (trust.loop_lag_p50_s or 0.0) - TIMER_S)
    late_s += (trust.schedule_delay_p50_s or 0.0) + (trust.handover_p50_s or 0.0)
    signs = [(late_s, "the client itself was late by")]
    calibrated = trust.calibration
    if calibrated is not None and calibrated.first_error_p50_s is not None:
        error_s = calibrated.first_error_p50_s
        signs.append((error_s, "at this load the client itself adds"))
    return [
        ClientLimit(
            text=f"{text} {own_s * 1e3:.2f} ms, of {typical_s * 1e3:.2f} ms (medians)",
            value=own_s,
            limit=limit_s,
        )
        for own_s, text in signs
        if own_s > limit_s
    ]


def client_reasons(client: Mapping[str, object], tightest_s: float | None) -> list[Reason]:
    """Return why the client was the limit, of a session without trust blocks at its points.

    Its event loop was late by more than 10 % of the tightest limit (p99), or its thread used more
    than 90 % of a core: a thread without spare time queues what comes, however fast the server is.
    """
    reasons = []
    lag, cpu = client.get("loop_lag_p99_s"), client.get("cpu_share")
    if not isinstance(lag, float) or not isinstance(cpu, float):
        return [Reason(code="client-bound", text=TOO_SHORT)]
    if tightest_s is not None and lag > LAG_SHARE * tightest_s:
        reasons.append(
            Reason(
                code="client-bound",
                text=f"the client itself read replies up to {lag * 1e3:.2f} ms late",
                value=lag,
                limit=LAG_SHARE * tightest_s,
            )
        )
    if cpu > CPU_SHARE:
        reasons.append(
            Reason(
                code="client-bound",
                text=f"the client itself used {cpu:.0%} of the one core that it can use",
                value=cpu,
                limit=CPU_SHARE,
            )
        )
    return reasons
