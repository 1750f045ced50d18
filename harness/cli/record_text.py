"""A record as lines of text for `harness show`: the verdict first, then the figures with doubts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness import units
from harness.cli.output import one_line, table
from harness.report import ceiling, windows, words
from harness.report.provenance import LONGEST_FACT, field_text, told
from harness.report.text import clip
from harness.schema import Metric, Point, Record
from harness.schema.record import EnergyReading
from harness.schema.trust import Trust


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
        lines += _section(f"the client{where}", _client(point.trust))
        lines += _section(f"energy{where}", [_energy(each) for each in point.energy])
    if record.energy is not None:
        lines += _section("energy over all loads", _figures(record.energy.metrics))
    lines += _section("wall-meter imports", [f"{k} (sha256 {v})" for k, v in imports.items()])
    lines += _section("quality gate", _quality(record))
    if record.roofline is not None:
        parts = ceiling.parts(record.roofline)
        lines += _section("roofline", [f"{name}: {text}" for name, text in parts])
    session = {k: v for k, v in record.session.items() if k not in ("left_running", "disturbance")}
    lines += _section("the machine meanwhile", _meanwhile(record.session.get("disturbance")))
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
    """Return what windows closed by their time box support, and where the client was the limit."""
    ended = [
        f"{_load(point)}: {point.ending.supports}"
        for point in record.points
        if point.ending is not None and point.ending.supports
    ]
    return ended + [
        f"{_load(point)}: the client was the limit: {sign.text}"
        for point in record.points
        if point.trust is not None
        for sign in point.trust.client_bound
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


def _cores(trust: Trust, few: str) -> list[str]:
    """Return how busy the client's one thread was, or its processes."""
    if trust.processes == 1:
        waited = units.percent(trust.wait_share, "(not told)")
        return [
            f"its core: used {units.percent(trust.cpu_share, few)} of the time, waited for {waited}"
        ]
    crashed = f", {units.count(trust.crashed)} of them ended by themselves" if trust.crashed else ""
    busiest = units.percent(trust.busiest_share, few)
    return [f"{units.count(trust.processes)} processes{crashed}, the busiest {busiest} of a core"]


def _client(trust: Trust | None) -> list[str]:
    """Return how well the client of a served target kept up, and its calibrated error."""
    if trust is None:
        return []
    few, none = "the point was too short", "none issued"
    lines = [
        f"event loop ({trust.loop}) late by {units.seconds(trust.loop_lag_p50_s, few)} (p50), "
        f"{units.seconds(trust.loop_lag_p99_s, few)} (p99)",
        *_cores(trust, few),
        f"requests issued late by {units.seconds(trust.schedule_delay_p50_s, none)} (p50), "
        f"{units.seconds(trust.schedule_delay_p99_s, none)} (p99)",
        f"requested rate issued: {units.percent(trust.achieved_share, 'none requested')}",
        f"{units.count(trust.requests)} requests, {units.count(trust.connections)} connections "
        f"opened, {units.percent(trust.reuse_share, 'none sent')} reused, "
        f"{units.count(trust.resent)} resent",
    ]
    found = trust.calibration
    if found is None:
        return [*lines, "not calibrated"]
    if found.reason is not None:
        return [*lines, f"not calibrated: {found.reason}"]
    error = units.percent(found.itl_error_share, "one token")
    return [
        *lines,
        f"calibrated with {units.count(found.requests)} requests of this load: first token or "
        f"reply {units.seconds(found.first_error_p50_s)} (p50), "
        f"{units.seconds(found.first_error_p99_s)} (p99) late; gap between tokens off by {error}; "
        f"at most {units.rate(found.ceiling_per_s, 'requests/s', 'not known')}",
    ]


def _energy(reading: EnergyReading) -> str:
    if reading.joules is None:
        remedy = f"; to enable it: {reading.remedy}" if reading.remedy else ""
        return f"{reading.meter}: {units.NOT_MEASURED}: {reading.reason}{remedy}"
    flags = f" ({', '.join(reading.flags).replace('_', ' ')})" if reading.flags else ""
    return (
        f"{reading.meter}: {units.joules(reading.joules)} ± {units.percent(reading.uncertainty)} "
        f"in {units.duration(reading.duration_s)}, {reading.boundary}, {reading.provenance}{flags}"
    )


def _meanwhile(figures: object) -> list[str]:
    """Return what else went on while the cell was measured, shares in per cent."""
    if not isinstance(figures, Mapping):
        return []
    return [f"{name}: {_told_share(name, value)}" for name, value in figures.items()]


def _told_share(name: str, value: object) -> str:
    if name.endswith("_share") and isinstance(value, int | float):
        return units.percent(float(value))
    return clip(one_line(told(value)), LONGEST_FACT)


def _quality(record: Record) -> list[str]:
    lines = []
    for check in record.quality:
        side = "at most" if check.better == "lower" else "at least"
        value = units.number(check.value, check.reason)
        result = "passed" if check.passed else "failed"
        lines.append(f"{check.metric}: {value}, {side} {units.number(check.limit)}: {result}")
    return lines
