"""A record as lines of text for `harness show`: the verdict first, then the figures with doubts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness import units
from harness.cli.output import one_line, table
from harness.report import windows, words
from harness.report.provenance import LONGEST_FACT, field_text, told
from harness.report.text import clip
from harness.schema import Metric, Point, Record
from harness.schema.record import EnergyReading


def record_lines(record: Record, imports: Mapping[str, str]) -> list[str]:
    """Return `record` as lines; `imports` are the power imports that were joined to it."""
    lines = [*_head(record)]
    if record.points:
        lines += _section("points (* stands for the record)", _points(record))
        lines += [f"  {line}" for line in _notes(record)]
    point = record.headline_point or (record.points[0] if record.points else None)
    if point is not None:
        where = "" if point.load is None else f" at load {units.percent(point.load)}"
        lines += _section(f"figures{where}", _figures(point.metrics))
        lines += _section(f"energy{where}", [_energy(each) for each in point.energy])
    if record.energy is not None:
        lines += _section("energy over all loads", _figures(record.energy.metrics))
    lines += _section("wall-meter imports", [f"{k} (sha256 {v})" for k, v in imports.items()])
    lines += _section("quality gate", _quality(record))
    session = {k: v for k, v in record.session.items() if k != "left_running"}
    lines += _section(
        "session",
        [f"{name}: {clip(one_line(told(value)), LONGEST_FACT)}" for name, value in session.items()],
    )
    facts = {k: v for k, v in record.environment.items() if k != "calibration"}
    lines += _section("environment", [f"{k}: {field_text(v)}" for k, v in facts.items()])
    return [*lines, "", "everything: the same command with --json"]


def _head(record: Record) -> list[str]:
    cell, failure = record.cell, record.failure
    lines = [
        f"record {record.id} ({cell.label})",
        f"  run {record.run}, repeat {units.count(cell.repeat)}, profile {cell.profile}, seed "
        f"{units.count(cell.seed)}, harness {record.harness_version}",
        f"  began {record.started_at.isoformat(sep=' ', timespec='seconds')}, took "
        f"{units.duration((record.ended_at - record.started_at).total_seconds())}",
        f"verdict: {record.verdict.state}; {record.status}; {record.evidence}",
        *(f"  {reason.code}: {reason.text}" for reason in record.verdict.reasons),
    ]
    if failure is not None:
        lines.append(f"failure: {failure.kind.replace('_', ' ')}: {failure.message}")
        lines += [f"  hint: {failure.hint}"] if failure.hint else []
    capacity = windows.capacity(record)
    lines += [f"capacity: {capacity.removeprefix('estimated capacity ')}"] if capacity else []
    calibration = record.environment.get("calibration")
    if calibration is not None:
        of = f" ({record.calibration})" if record.calibration else ""
        lines.append(f"calibration: {field_text(calibration)}{of}")
    return [*lines, *(f"left running: {process}" for process in windows.left_running(record))]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    """Return `lines` indented under a title; nothing without lines."""
    indented = [f"  {line}" for line in lines]
    return ["", title, *indented] if indented else []


def _points(record: Record) -> list[str]:
    limits = () if record.cell.scenario.kind == "offline" else record.workload.slo
    header = ["", "load", "requests/s"]
    header += [f"{limit.metric} p{limit.percentile:g}" for limit in limits]
    header += ["SLO", "requests", "failed", "window"]
    rows = []
    for point in record.points:
        mark = "*" if point is record.headline_point else ""
        rows.append(
            [
                mark,
                units.percent(point.load, "full"),
                _figure(point.metrics.get("throughput_requests_per_s"), "1"),
                *(
                    _figure(point.metrics.get(f"{limit.metric}_s.p{limit.percentile:g}"))
                    for limit in limits
                ),
                words.state(point.slo_state),
                windows.asked(point),
                units.count(point.failed),
                windows.window(point),
            ]
        )
    return table(rows, header=header).splitlines()


def _notes(record: Record) -> list[str]:
    """Return what the windows that their time box closed can and cannot support."""
    return [
        f"{_load(point)}: {point.ending.supports}"
        for point in record.points
        if point.ending is not None and point.ending.supports
    ]


def _load(point: Point) -> str:
    return "full load" if point.load is None else f"load {units.percent(point.load)}"


def _figures(metrics: Mapping[str, Metric]) -> list[str]:
    """Return every figure with its bounds; a column that would be empty is left out."""
    if not metrics:
        return []
    header = ("figure", "value (95 % interval)", "widened", "certified", "n", "worth")
    rows = [
        (
            name,
            _figure(metric),
            windows.widened(metric),
            "" if metric.certified is None else units.quantity(metric.certified, metric.unit),
            units.count(metric.n),
            "" if metric.n_eff is None else units.number(metric.n_eff),
        )
        for name, metric in metrics.items()
    ]
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    shown = [[row[i] for i in kept] for row in rows]
    return table(shown, header=[header[i] for i in kept]).splitlines()


def _figure(metric: Metric | None, unit: str | None = None) -> str:
    if metric is None:
        return "not recorded"
    return units.interval(metric.value, metric.low, metric.high, unit or metric.unit, metric.reason)


def _energy(reading: EnergyReading) -> str:
    if reading.joules is None:
        remedy = f"; to enable it: {reading.remedy}" if reading.remedy else ""
        return f"{reading.meter}: {units.NOT_MEASURED}: {reading.reason}{remedy}"
    flags = f" ({', '.join(reading.flags).replace('_', ' ')})" if reading.flags else ""
    return (
        f"{reading.meter}: {units.joules(reading.joules)} ± {units.percent(reading.uncertainty)} "
        f"in {units.duration(reading.duration_s)}, {reading.boundary}, {reading.provenance}{flags}"
    )


def _quality(record: Record) -> list[str]:
    lines = []
    for check in record.quality:
        side = "at most" if check.better == "lower" else "at least"
        value = units.number(check.value, check.reason)
        result = "passed" if check.passed else "failed"
        lines.append(f"{check.metric}: {value}, {side} {units.number(check.limit)}: {result}")
    return lines
