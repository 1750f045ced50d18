"""The rules that a target must pass for a workload. Every rule that speaks against it is named."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import NormalDist

from harness import units
from harness.mapper.capacity import Work
from harness.mapper.declared import declared
from harness.mapper.operating import (
    EVIDENCE_ORDER,
    point_within_slo,
    share_of_limit,
    throughput_of,
    tightest,
    worst_evidence,
)
from harness.mapper.relax import MEASURE, cut, margin_above, margin_below, relaxation, rounded
from harness.mapper.standing import SIZING_SCENARIO, Standing
from harness.schema.brief import Brief
from harness.schema.demand import Demand
from harness.schema.record import Point, QualityCheck, Record, SloCheck
from harness.schema.rejection import Rejection
from harness.schema.target import Target
from harness.schema.workload import SloLimit, Workload

OPERATOR = re.compile(r"operators? ")
"""How a runtime's refusal begins when it is about operators."""

Z_95 = 1.959964
LEAST_SHOWN = 0.001

DECLARED = frozenset(
    {
        "evidence",
        "tier",
        "residency",
        "air_gap",
        "vendor",
        "precision",
        "edge_latency",
        "memory",
        "price_age",
        "rate_limit",
        "lead_time",
    }
)
"""Rules that leave the throughput and the price known: a fleet can be sized all the same."""


def rejections(
    brief: Brief,
    workload: Workload,
    demand: Demand,
    target: Target,
    known: Standing,
    work: Work,
    skip: str | None = None,
) -> tuple[Rejection, ...]:
    """Return every rule that speaks against `target`; none: it is feasible.

    `skip` is why the newest run left the target out.
    """
    return (
        *_evidence(brief, workload, target, known, work, skip),
        *declared(brief, workload, demand, target, known.records),
    )


def run_command(workload: Workload, target: Target) -> str:
    """Return the command that measures the pair."""
    return f"harness run -w {workload.name} -t {target.name}"


def limit_text(limit: SloLimit) -> str:
    """Return a promise as text: `p95 latency <= 200 ms`."""
    return f"p{limit.percentile:g} {limit.metric} <= {units.seconds(limit.limit_s)}"


def _evidence(
    brief: Brief,
    workload: Workload,
    target: Target,
    known: Standing,
    work: Work,
    skip: str | None,
) -> list[Rejection]:
    remedy = run_command(workload, target)
    if not known.records:
        return [_without_records(workload, known, remedy, skip)]
    found = [*_invalid(known.records, remedy), *_weak(brief, target, known.records, remedy)]
    found += _operators(known.records)
    found += _quality(target, known.records)
    # Figures of an invalid record say nothing about the promise, either way.
    if not any(rejection.rule == "invalid" for rejection in found):
        found += _slo(target, known.records, work, remedy)
    return found


def _without_records(
    workload: Workload, known: Standing, remedy: str, skip: str | None
) -> Rejection:
    if SIZING_SCENARIO not in {scenario.kind for scenario in workload.scenarios}:
        return Rejection(
            rule="not_measured",
            text=f"the workload declares no '{SIZING_SCENARIO}' scenario, so the throughput at the "
            "SLO is not known; the throughput of other scenarios does not stand for it",
            remedy=f"add a '{SIZING_SCENARIO}' scenario to the workload, then {remedy}",
        )
    failed = known.failed
    if failed is not None:
        assert failed.failure is not None
        failure = failed.failure
        rule = "unsupported" if failed.status == "unsupported" else "failed"
        if rule == "unsupported" and OPERATOR.match(failure.message):
            rule = "operators"
        kind = f"{failure.kind}: " if rule == "failed" else ""
        return Rejection(
            rule=rule,  # type: ignore[arg-type]
            text=cut(f"{failed.cell.scenario.kind}: {kind}{failure.message}"),
            remedy=failure.hint or (remedy if rule == "failed" else None),
        )
    text = f"no measurement of the '{SIZING_SCENARIO}' scenario"
    if known.outdated:
        text = _outdated(known)
    elif known.elsewhere:
        text += f", only of {', '.join(known.elsewhere)}"
    if skip:
        text += f"; the newest run skipped the target: {skip}"
        remedy = f"on a machine that can run it: {remedy}"
    return Rejection(rule="not_measured", text=cut(text), remedy=remedy)


def _outdated(known: Standing) -> str:
    """Return what the older records say of the pair, and why that does not count."""
    change = f"before a change of {', '.join(known.outdated)}"
    if known.attempted is None:
        return f"measured {change}"
    failure = known.attempted.failure
    assert failure is not None
    if known.attempted.status == "unsupported":
        return f"found unsupported {change}, and not tried since: {failure.message}"
    return f"tried without success ({failure.kind}) {change}, and not since: {failure.message}"


def _invalid(records: Sequence[Record], remedy: str) -> list[Rejection]:
    invalid = [record for record in records if record.verdict.state == "invalid"]
    reasons = [reason for record in invalid for reason in record.verdict.reasons]
    if not invalid:
        return []
    text = "; ".join(dict.fromkeys(reason.text for reason in reasons))
    first = reasons[0] if reasons else None
    return [
        Rejection(
            rule="invalid",
            text=cut(f"the measurement is invalid: {text or 'no reason recorded'}"),
            number=first.value if first else None,
            limit=first.limit if first else None,
            remedy=remedy,
        )
    ]


def _operators(records: Sequence[Record]) -> list[Rejection]:
    """Return the operators that the runtime said it does not have, although it ran."""
    missing: dict[str, None] = {}
    for record in records:
        covered = record.session.get("operators")
        names = covered.get("unsupported") if isinstance(covered, dict) else None
        missing |= dict.fromkeys(str(name) for name in names or ())
    if not missing:
        return []
    return [
        Rejection(
            rule="operators",
            text=cut(f"the runtime has no implementation of {', '.join(missing)}"),
            number=float(len(missing)),
            limit=0.0,
            unit="operators",
        )
    ]


def _weak(brief: Brief, target: Target, records: Sequence[Record], remedy: str) -> list[Rejection]:
    evidence, needed = worst_evidence(records), brief.constraints.minimum_evidence
    if EVIDENCE_ORDER.index(evidence) <= EVIDENCE_ORDER.index(needed):
        return []
    return [
        Rejection(
            rule="evidence",
            text=f"the figures are {evidence}; the brief asks for {needed} or better",
            remedy=remedy,
            relaxation=relaxation(
                "evidence",
                target.name,
                [("constraints.minimum_evidence", needed, evidence)],
                f"decide on figures that are {evidence}",
            ),
        )
    ]


def _quality(target: Target, records: Sequence[Record]) -> list[Rejection]:
    """Return the failed checks, each once with its worst figure over the repeats."""
    if any(not record.quality for record in records):
        return [Rejection(rule="quality", text="the quality gate was not evaluated")]
    worst: dict[tuple[str, str], QualityCheck] = {}
    for check in (check for record in records for check in record.quality if not check.passed):
        name = (check.gate, check.metric)
        if name not in worst or _quality_margin(check) < _quality_margin(worst[name]):
            worst[name] = check
    return [_quality_rejection(target, worst[name]) for name in sorted(worst)]


def _quality_margin(check: QualityCheck) -> float:
    if check.value is None:
        return float("-inf")
    difference = check.limit - check.value
    return difference if check.better == "lower" else -difference


def _quality_rejection(target: Target, check: QualityCheck) -> Rejection:
    side, margin = (
        ("at most", margin_below) if check.better == "lower" else ("at least", margin_above)
    )
    figure = units.number(check.value, check.reason)
    return Rejection(
        rule="quality",
        text=cut(
            f"{check.gate}: {check.metric} is {figure}, must be {side} {units.number(check.limit)}"
        ),
        number=check.value,
        limit=check.limit,
        margin=None if check.value is None else margin(check.value, check.limit),
        unit=check.metric,
        relaxation=None
        if check.value is None
        else relaxation(
            "quality",
            target.name,
            [(f"workload.quality.{check.gate}.{check.metric}", check.limit, check.value)],
            f"accept a {check.metric} of "
            f"{units.number(rounded(check.value, up=check.better == 'lower'))}",
        ),
    )


def _slo(target: Target, records: Sequence[Record], work: Work, remedy: str) -> list[Rejection]:
    """Return the promises that no tested load keeps, as of the load that comes nearest."""
    for record in records:
        point = point_within_slo(record)
        if point is None:
            return _missed(target, record, remedy)
        if throughput_of(point, work.metric) is None:
            metric = point.metrics.get(work.metric)
            reason = metric.reason if metric is not None else None
            return [
                Rejection(
                    rule="not_measured",
                    text=f"the record has no throughput in {work.throughput_unit}: "
                    f"{reason or 'it is zero or missing'}",
                    remedy=remedy,
                )
            ]
    return []


def _missed(target: Target, record: Record, remedy: str) -> list[Rejection]:
    points = [point for point in record.points if point.slo and not point.client_bound]
    if not points:
        return [Rejection(rule="slo", text="no point was checked against the SLO", remedy=remedy)]
    best = min(points, key=lambda point: share_of_limit(point.slo))
    missed = [check for check in best.slo if check.state == "missed"]
    return [_missed_check(target, best, check) for check in missed or (tightest(best.slo),)]


def p_meets(check: SloCheck) -> float | None:
    """Return the chance that the promise is kept; None where the quantile has no upper bound.

    Phi(ln(limit / value) / sigma), sigma = ln(upper bound / value) / 1.96: the quantile is taken as
    lognormal with the upper end of its 95 % interval. 0 or 1 where the bound is the value.
    """
    if check.value_s is None or check.high_s is None or min(check.value_s, check.high_s) <= 0:
        return None
    room = math.log(check.limit.limit_s / check.value_s)
    sigma = math.log(check.high_s / check.value_s) / Z_95
    if sigma <= 0:
        return float(room >= 0)
    return NormalDist().cdf(room / sigma)


def promise(value_s: float, name: str) -> str:
    """Return the least promise that is kept, in words: `promise 1.24 s for p99 latency`.

    The figure has the digits that are shown, rounded up: never below the value.
    """
    return f"promise {units.seconds(rounded(value_s, up=True))} for {name}"


def _missed_check(target: Target, point: Point, check: SloCheck) -> Rejection:
    limit = check.limit
    where = "" if point.load is None else f" at {units.percent(point.load)} load, the best tested"
    if check.value_s is None:
        figure = f"has no value: {point.failed} of {point.requests} requests failed"
    else:
        figure = f"is {units.seconds(check.value_s)}"
        if check.state != "missed":
            figure += f", but the point as a whole is {point.slo_state}"
    chance = p_meets(check)
    bound = "no upper bound is known"
    if check.high_s is not None and chance is not None:
        bound = f"the upper bound is {units.seconds(check.high_s)}"
        shown = units.percent(chance) if chance >= LEAST_SHOWN else "below 0.1 %"
        bound += f", P(meets) {shown}"
    name = f"p{limit.percentile:g} {limit.metric}"
    # A percentile below the limit is missed by values that it does not hold: no limit says them.
    above = check.value_s is not None and check.value_s > limit.limit_s
    return Rejection(
        rule="slo",
        text=f"{name} {figure}{where}; at most {units.seconds(limit.limit_s)}; {bound}",
        number=check.value_s,
        limit=limit.limit_s,
        margin=None if check.value_s is None else margin_below(check.value_s, limit.limit_s),
        unit="s",
        p_meets=chance,
        relaxation=None
        if check.value_s is None or check.state != "missed" or not above
        else relaxation(
            "slo",
            target.name,
            [(f"workload.slo.{name}.limit_s", limit.limit_s, check.value_s)],
            f"{promise(check.value_s, name)}{MEASURE}",
        ),
    )
