"""The rules that a target must pass for a workload. Every rule that speaks against it is named."""

from __future__ import annotations

from collections.abc import Sequence

from harness import units
from harness.mapper.capacity import Work
from harness.mapper.operating import (
    EVIDENCE_ORDER,
    point_within_slo,
    share_of_limit,
    throughput_of,
    tightest,
    worst_evidence,
)
from harness.mapper.standing import SIZING_SCENARIO, Standing
from harness.schema.brief import Brief
from harness.schema.decision import Rejection
from harness.schema.record import Point, QualityCheck, Record, SloCheck
from harness.schema.target import Target
from harness.schema.workload import Demand, SloLimit, Workload


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
        *_site(brief, demand, target),
        *_price(brief, target),
    )


def margin_below(number: float, limit: float) -> float | None:
    """Return (limit - number) / limit of a figure that must stay below; None at a limit of 0."""
    return (limit - number) / limit if limit else None


def margin_above(number: float, limit: float) -> float | None:
    """Return (number - limit) / limit of a figure that must stay above; None at a limit of 0."""
    return (number - limit) / limit if limit else None


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
    found = [*_invalid(known.records, remedy), *_weak(brief, known.records, remedy)]
    found += _quality(known.records)
    # Figures of an invalid record say nothing about the promise, either way.
    if not any(rejection.rule == "invalid" for rejection in found):
        found += _slo(known.records, work, remedy)
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
        kind = "" if rule == "unsupported" else f"{failure.kind}: "
        return Rejection(
            rule=rule,  # type: ignore[arg-type]
            text=_cut(f"{failed.cell.scenario.kind}: {kind}{failure.message}"),
            remedy=failure.hint or (None if rule == "unsupported" else remedy),
        )
    text = f"no measurement of the '{SIZING_SCENARIO}' scenario"
    if known.outdated:
        text = f"measured before a change of {', '.join(known.outdated)}"
    elif known.elsewhere:
        text += f", only of {', '.join(known.elsewhere)}"
    if skip:
        text += f"; the newest run skipped the target: {skip}"
        remedy = f"on a machine that can run it: {remedy}"
    return Rejection(rule="not_measured", text=_cut(text), remedy=remedy)


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
            text=_cut(f"the measurement is invalid: {text or 'no reason recorded'}"),
            number=first.value if first else None,
            limit=first.limit if first else None,
            remedy=remedy,
        )
    ]


def _weak(brief: Brief, records: Sequence[Record], remedy: str) -> list[Rejection]:
    evidence, needed = worst_evidence(records), brief.constraints.minimum_evidence
    if EVIDENCE_ORDER.index(evidence) <= EVIDENCE_ORDER.index(needed):
        return []
    return [
        Rejection(
            rule="evidence",
            text=f"the figures are {evidence}; the brief asks for {needed} or better",
            remedy=remedy,
        )
    ]


def _quality(records: Sequence[Record]) -> list[Rejection]:
    """Return the failed checks, each once with its worst figure over the repeats."""
    if any(not record.quality for record in records):
        return [Rejection(rule="quality", text="the quality gate was not evaluated")]
    worst: dict[tuple[str, str], QualityCheck] = {}
    for check in (check for record in records for check in record.quality if not check.passed):
        name = (check.gate, check.metric)
        if name not in worst or _quality_margin(check) < _quality_margin(worst[name]):
            worst[name] = check
    return [_quality_rejection(worst[name]) for name in sorted(worst)]


def _quality_margin(check: QualityCheck) -> float:
    if check.value is None:
        return float("-inf")
    difference = check.limit - check.value
    return difference if check.better == "lower" else -difference


def _quality_rejection(check: QualityCheck) -> Rejection:
    side, margin = (
        ("at most", margin_below) if check.better == "lower" else ("at least", margin_above)
    )
    figure = units.number(check.value, check.reason)
    return Rejection(
        rule="quality",
        text=_cut(
            f"{check.gate}: {check.metric} is {figure}, must be {side} {units.number(check.limit)}"
        ),
        number=check.value,
        limit=check.limit,
        margin=None if check.value is None else margin(check.value, check.limit),
        unit=check.metric,
    )


def _slo(records: Sequence[Record], work: Work, remedy: str) -> list[Rejection]:
    """Return the promises that no tested load keeps, as of the load that comes nearest."""
    for record in records:
        point = point_within_slo(record)
        if point is None:
            return _missed(record, remedy)
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


def _missed(record: Record, remedy: str) -> list[Rejection]:
    points = [point for point in record.points if point.slo]
    if not points:
        return [Rejection(rule="slo", text="no point was checked against the SLO", remedy=remedy)]
    best = min(points, key=lambda point: share_of_limit(point.slo))
    missed = [check for check in best.slo if check.state == "missed"]
    return [_missed_check(best, check) for check in missed or (tightest(best.slo),)]


def _missed_check(point: Point, check: SloCheck) -> Rejection:
    limit = check.limit
    where = "" if point.load is None else f" at {units.percent(point.load)} load, the best tested"
    if check.value_s is None:
        figure = f"has no value: {point.failed} of {point.requests} requests failed"
    else:
        figure = f"is {units.seconds(check.value_s)}"
        if check.state != "missed":
            figure += f", but the point as a whole is {point.slo_state}"
    return Rejection(
        rule="slo",
        text=f"p{limit.percentile:g} {limit.metric} {figure}{where}; "
        f"at most {units.seconds(limit.limit_s)}",
        number=check.value_s,
        limit=limit.limit_s,
        margin=None if check.value_s is None else margin_below(check.value_s, limit.limit_s),
        unit="s",
    )


def _site(brief: Brief, demand: Demand, target: Target) -> list[Rejection]:
    found = []
    site = target.site
    tiers = _both(demand.tiers, brief.constraints.tiers)
    if tiers is not None and site.tier not in tiers:
        found.append(
            Rejection(
                rule="tier",
                text=f"stands in tier {site.tier}; allowed: {', '.join(tiers) or 'none'}",
            )
        )
    places = _both(demand.residency, brief.constraints.residency)
    if places is not None and site.jurisdiction not in places:
        found.append(
            Rejection(
                rule="residency",
                text=f"data would fall under {site.jurisdiction} ({site.region}); "
                f"allowed: {', '.join(places) or 'none'}",
            )
        )
    return found


def _both(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...] | None:
    """Return what both lists allow; an empty list allows all. None: everything is allowed."""
    if not first or not second:
        return tuple(first or second) or None
    return tuple(name for name in first if name in second)


def _price(brief: Brief, target: Target) -> list[Rejection]:
    if target.price is None:
        return [
            Rejection(
                rule="price",
                text="the target has no price",
                remedy=f"add a price with its source and date to the target '{target.name}'",
            )
        ]
    age = (brief.as_of - target.price.date).days
    limit = brief.constraints.max_price_age_days
    if age <= limit:
        return []
    return [
        Rejection(
            rule="price_age",
            text=f"the price of {target.price.date.isoformat()} is {age} days old on "
            f"{brief.as_of.isoformat()}; at most {limit}",
            number=age,
            limit=limit,
            margin=margin_below(age, limit),
            unit="days",
            remedy=f"look the price up again ({target.price.source})"[:2000],
        )
    ]


def _cut(text: str) -> str:
    """Return `text` at a length that a document takes."""
    return text if len(text) <= 2000 else f"{text[:1999]}…"
