"""Tables of the records: every figure at every load, every energy reading, how each is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report.tables import Cell, Kind, Table, joined, table
from harness.schema import Decision, Record
from harness.schema.record import EnergyReading, Point

RECORD: tuple[tuple[str, Kind, str], ...] = (
    ("record", "text", "The record's id."),
    ("workload", "text", "The workload's name."),
    ("target", "text", "The target's name."),
    ("scenario", "text", "The kind of traffic."),
    ("evidence", "text", "measured, imported, projected or claimed."),
    ("validity", "text", "valid, noisy or invalid; failed or unsupported."),
)
RECORDS: tuple[tuple[str, Kind, str], ...] = (
    *RECORD,
    ("validity_reasons", "text", "Why it is not simply valid, or how the cell ended."),
    ("repeat", "count", "Which repetition of the same cell."),
    ("profile", "text", "How long was measured."),
    ("started_at", "text", "When the cell began, with the offset from UTC."),
    ("capacity_requests_per_s", "number", "Rate at which the SLO is just kept, estimated."),
    ("capacity_requests_per_s_low", "number", "Its 95 % lower bound; empty: none is supported."),
    ("capacity_requests_per_s_high", "number", "Its 95 % upper bound; empty: none is supported."),
    ("capacity_reason", "text", "Why the capacity is empty."),
    ("quality_passed", "flag", "Whether every check of the quality gate held; empty: none made."),
    ("quality", "text", "The checks of the quality gate in words."),
    ("harness_version", "text", "The harness that measured it."),
    ("sha256", "text", "Hash of its record.json, by which the decision names it."),
    ("power_imports", "text", "Imports of wall meters joined to it."),
)
AT: tuple[tuple[str, Kind, str], ...] = (
    ("point", "count", "The operating point in the record, from 0."),
    ("load", "number", "Share of the back-to-back rate; empty: the traffic has no load."),
)
POINTS: tuple[tuple[str, Kind, str], ...] = (
    *RECORD,
    *AT,
    ("stands_for_record", "flag", "Whether it is the record's headline."),
    ("requested_requests_per_s", "number", "The rate that was sent; empty: not by rate."),
    ("duration_s", "number", "Length of the window."),
    ("requests", "count", "Requests that count."),
    ("failed", "count", "Failed ones among them."),
    ("warm_up_requests", "count", "Requests cut from the window's start."),
    ("ending", "text", "precise, count, time_box or trace_end; empty: not recorded."),
    ("supports", "text", "What a window closed by its time box supports."),
    ("slo_state", "text", "met, unproven, missed or not_applicable."),
    ("overload", "text", "Why the target does not keep up with the rate; empty: it does."),
    ("metric", "text", "The metric's name."),
    ("value", "number", "Its value, in `unit`."),
    ("low", "number", "Its 95 % lower bound; empty: none is supported by n."),
    ("high", "number", "Its 95 % upper bound; empty: none is supported by n."),
    ("unit", "text", "Unit of value, low, high and certified."),
    ("better", "text", "lower or higher."),
    ("n", "count", "Samples."),
    ("n_eff", "number", "Independent samples that they are worth; empty: not estimated."),
    ("certified", "number", "MLPerf-style early-stopping bound; empty: none is supported."),
    ("widened", "number", "Share by which disturbances widened the interval."),
    ("method", "text", "How the interval was made."),
    ("reason", "text", "Why the value is empty."),
)
ENERGY: tuple[tuple[str, Kind, str], ...] = (
    *RECORD,
    ("when", "text", "point, warm (session open, no traffic) or off (before the session)."),
    *AT,
    ("meter", "text", "The meter's name."),
    ("boundary", "text", "What is included: chip, module, package, dram, node, wall."),
    ("covers", "text", "The components that the joules belong to."),
    ("provenance", "text", "counter, sampled, external or modelled."),
    ("joules", "number", "Energy of the window."),
    ("joules_low", "number", "Its 95 % lower bound."),
    ("joules_high", "number", "Its 95 % upper bound."),
    ("uncertainty", "number", "Relative, at 95 %."),
    ("duration_s", "number", "Length of the window."),
    ("flags", "text", "What a reader must know of it, such as simulated or partial_coverage."),
    ("reason", "text", "Why the joules are empty."),
    ("remedy", "text", "What would give them."),
)


def record_tables(decision: Decision, records: Sequence[Record]) -> tuple[Table, ...]:
    """Return `points`, `energy` and `records` by workload, target, scenario and record."""
    ordered = sorted(
        records, key=lambda r: (r.cell.workload, r.cell.target, r.cell.scenario.kind, r.id)
    )
    return (
        table("points", POINTS, [row for record in ordered for row in _points(record)]),
        table("energy", ENERGY, [row for record in ordered for row in _energy(record)]),
        table("records", RECORDS, [_record(decision, record) for record in ordered]),
    )


def head(record: Record) -> dict[str, Cell]:
    """Return the columns `RECORD` of a row."""
    return {
        "record": record.id,
        "workload": record.cell.workload,
        "target": record.cell.target,
        "scenario": record.cell.scenario.kind,
        "evidence": record.evidence,
        "validity": record.verdict.state if record.status == "ok" else record.status,
    }


def _points(record: Record) -> Iterator[dict[str, Cell]]:
    for index, point in enumerate(record.points):
        at: dict[str, Cell] = {
            **head(record),
            "point": index,
            "load": point.load,
            "stands_for_record": index == record.headline,
            "requested_requests_per_s": point.requested_rate,
            "duration_s": point.duration_s,
            "requests": point.requests,
            "failed": point.failed,
            "warm_up_requests": point.warm_up_requests,
            "ending": None if point.ending is None else point.ending.why,
            "supports": None if point.ending is None else point.ending.supports,
            "slo_state": point.slo_state,
            "overload": point.overload,
        }
        for name, metric in sorted(point.metrics.items()):
            yield {
                **at,
                "metric": name,
                "value": metric.value,
                "low": metric.low,
                "high": metric.high,
                "unit": metric.unit,
                "better": metric.better,
                "n": metric.n,
                "n_eff": metric.n_eff,
                "certified": metric.certified,
                "widened": metric.widened,
                "method": metric.method,
                "reason": metric.reason,
            }


def _energy(record: Record) -> Iterator[dict[str, Cell]]:
    profile = record.energy
    windows: list[tuple[str, int | None, Point | None, Sequence[EnergyReading]]] = [
        ("point", index, point, point.energy) for index, point in enumerate(record.points)
    ]
    if profile is not None:
        windows += [("warm", None, None, profile.warm), ("off", None, None, profile.off)]
    for when, index, point, readings in windows:
        for reading in readings:
            known = reading.joules is not None and reading.uncertainty is not None
            wide = (reading.joules or 0.0) * (reading.uncertainty or 0.0)
            yield {
                **head(record),
                "when": when,
                "point": index,
                "load": None if point is None else point.load,
                "meter": reading.meter,
                "boundary": reading.boundary,
                "covers": joined(reading.covers),
                "provenance": reading.provenance,
                "joules": reading.joules,
                "joules_low": max(0.0, (reading.joules or 0.0) - wide) if known else None,
                "joules_high": (reading.joules or 0.0) + wide if known else None,
                "uncertainty": reading.uncertainty,
                "duration_s": reading.duration_s,
                "flags": joined(reading.flags),
                "reason": reading.reason,
                "remedy": reading.remedy,
            }


def _record(decision: Decision, record: Record) -> dict[str, Cell]:
    pin = next(pin for pin in decision.records if pin.id == record.id)
    capacity, failure = record.capacity, record.failure
    reasons = [reason.text for reason in record.verdict.reasons]
    if failure is not None:
        reasons.append(f"{failure.kind}: {failure.message}")
    return {
        **head(record),
        "validity_reasons": joined(reasons),
        "repeat": record.cell.repeat,
        "profile": record.cell.profile,
        "started_at": record.started_at.isoformat(),
        "capacity_requests_per_s": None if capacity is None else capacity.value,
        "capacity_requests_per_s_low": None if capacity is None else capacity.low,
        "capacity_requests_per_s_high": None if capacity is None else capacity.high,
        "capacity_reason": "no search was made" if capacity is None else capacity.reason,
        "quality_passed": record.quality_passed if record.quality else None,
        "quality": joined([_check(record, index) for index in range(len(record.quality))]),
        "harness_version": record.harness_version,
        "sha256": pin.sha256,
        "power_imports": joined(sorted(pin.imports)),
    }


def _check(record: Record, index: int) -> str:
    check = record.quality[index]
    state = "passed" if check.passed else "failed"
    return f"{check.gate} {state}{f' ({check.reason})' if check.reason else ''}"
