"""The page of one record: what happened in the measurement, how it is known, and what it proves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness import units
from harness.report import provenance
from harness.report.ceiling import parts
from harness.report.client_trust import trusted
from harness.report.distribution import distribution
from harness.report.links import Links
from harness.report.operators import account
from harness.report.over_time import Columns, Window, over_time, scenario_note
from harness.report.plot import Charted
from harness.report.templating import environment, read
from harness.report.text import clip
from harness.schema import Decision, Metric, Record
from harness.schema.decision import RecordReference
from harness.schema.record import EnergyReading, Point

LONGEST_DETAIL = 1900
LONGEST_FACT = 400


@dataclass(frozen=True, slots=True)
class Reading:
    """An energy window: which one, and the reading in words or why there is none."""

    window: str
    meter: str
    boundary: str
    energy: str
    power: str
    uncertainty: str
    known: str
    reason: str


def render_run(
    decision: Decision,
    record: Record,
    pin: RecordReference,
    samples: Columns | None,
    *,
    links: Links,
    command: str,
) -> str:
    """Return the page of `record` as one HTML file; `samples` are its own, None if it kept none."""
    at = record.headline if record.headline is not None else 0
    point = record.points[at] if record.points else None
    window = None if samples is None or point is None else Window.of(samples, at)
    template = environment().get_template("run.html.j2")
    return template.render(
        style=Markup(read("style.css")),
        links=links,
        decision=decision,
        record=record,
        pin=pin,
        point=point,
        took=units.duration((record.ended_at - record.started_at).total_seconds()),
        charts=_charts(record, point, window),
        no_samples="" if window is not None or point is None else _why_none(samples),
        no_lag="" if point is None else scenario_note(record),
        remark=remark(record),
        readings=readings(record),
        profile=() if record.energy is None else figures(record.energy.metrics),
        metrics=() if point is None else figures(point.metrics),
        roofline=() if record.roofline is None else parts(record.roofline),
        operators=account(record) if record.session or record.failure else None,
        client=client(record),
        trusted=trusted(record),
        detail=ending(record),
        session=[
            (name.replace("_", " "), clip(provenance.told(value), LONGEST_FACT))
            for name, value in sorted(record.session.items())
            if name not in provenance.APART
        ],
        environment=[
            (name.replace("_", " "), provenance.field_text(field))
            for name, field in record.environment.items()
        ],
        hashes=hashes(record, pin),
        command=command,
    )


def client(record: Record) -> tuple[tuple[str, str], ...]:
    """Return how the client of a served target kept up: names with figures; else empty."""
    said = record.session.get("client")
    if not isinstance(said, Mapping):
        return ()
    return tuple(
        (str(name).replace("_", " "), clip(_measured(str(name), value), LONGEST_FACT))
        for name, value in sorted(said.items(), key=lambda item: str(item[0]))
    )


def figures(metrics: Mapping[str, Metric]) -> tuple[tuple[str, Metric], ...]:
    """Return metrics by name, sorted."""
    return tuple(sorted(metrics.items()))


def readings(record: Record) -> tuple[Reading, ...]:
    """Return every energy window of a record: those of its points, warm, and off."""
    windows: list[tuple[str, Sequence[EnergyReading]]] = [
        (_named(index, point), point.energy) for index, point in enumerate(record.points)
    ]
    if record.energy is not None:
        windows += [
            ("session open, no traffic", record.energy.warm),
            ("before the session", record.energy.off),
        ]
    return tuple(_reading(name, each) for name, readings in windows for each in readings)


def hashes(record: Record, pin: RecordReference) -> tuple[tuple[str, str], ...]:
    """Return every hash that ties the record to what it was made from."""
    cell = record.cell
    return (
        ("record.json, sha256", pin.sha256),
        *((f"{name}, sha256", digest) for name, digest in sorted(record.files.items())),
        ("Cell", cell.id),
        ("Workload, as measured", cell.workload_hash),
        ("Target, as measured", cell.target_hash),
        *((f"File {name}", digest) for name, digest in sorted(cell.files.items())),
        *_of_hub(record),
        *((f"Wall-meter import {name}", digest) for name, digest in sorted(pin.imports.items())),
    )


def ending(record: Record) -> str:
    """Return the end of what a failure said at length, which names the cause; else empty."""
    said = "" if record.failure is None else record.failure.detail or ""
    return said if len(said) <= LONGEST_DETAIL else f"…{said[-LONGEST_DETAIL:]}"


def _of_hub(record: Record) -> Iterator[tuple[str, str]]:
    """Yield the commit of a model from a hub, and the sha256 of each of its files as fetched."""
    source = record.session.get("model_source")
    if not isinstance(source, Mapping):
        return
    name, files = source.get("hub"), source.get("files")
    yield f"Model {name}, commit", str(source.get("revision"))
    if isinstance(files, Mapping):
        for file, digest in sorted(files.items(), key=lambda item: str(item[0])):
            yield f"Model file {file}, sha256", str(digest)


def _charts(record: Record, point: Point | None, window: Window | None) -> tuple[Charted, ...]:
    if point is None:
        return ()
    limits = record.workload.slo if point.slo else ()
    timed = () if window is None else over_time("point", record, point, window, limits)
    charts = (*timed, distribution("point", point.latency))
    return tuple(_marked(chart, remark(record)) for chart in charts)


def remark(record: Record) -> str:
    """Return what is to be said of figures that are not simply measured and valid; or empty."""
    said = [str(record.evidence)] if record.evidence != "measured" else []
    state = record.verdict.state
    return ", ".join([*said, state] if state != "valid" else said)


def _marked(chart: Charted, said: str) -> Charted:
    """Return `chart` with what is to be said of its figures below it and read out in its place."""
    if not said:
        return chart
    told = f"Of a record that is {said}."
    drawn = chart.plot
    if drawn is not None:
        drawn = dataclasses.replace(drawn, description=f"{told} {drawn.description}")
    return dataclasses.replace(chart, plot=drawn, note=f"{told} {chart.note}".strip())


def _why_none(samples: Columns | None) -> str:
    if samples is None:
        return "The record kept no samples, so nothing can be drawn over time."
    return "The samples of the record hold no request of this operating point."


def _named(index: int, point: Point) -> str:
    number = f"point {units.count(index + 1)}"
    return number if point.load is None else f"{number}, load {units.percent(point.load)}"


def _reading(window: str, reading: EnergyReading) -> Reading:
    if reading.joules is None:
        remedy = f". To enable it: {reading.remedy}" if reading.remedy else ""
        why = f"not measured: {reading.reason}{remedy}"
        return Reading(window, reading.meter, "", "", "", "", "", why)
    covers = f" ({', '.join(reading.covers)})" if reading.covers else ""
    flags = "".join(f"; {flag.replace('_', ' ')}" for flag in reading.flags)
    modelled = "* " if reading.provenance == "modelled" else ""
    power = reading.joules / reading.duration_s if reading.duration_s else None
    return Reading(
        window=window,
        meter=reading.meter,
        boundary=f"{reading.boundary}{covers}",
        energy=f"{units.joules(reading.joules)}{'*' if modelled else ''}",
        power=units.quantity(power, "W", "not known"),
        uncertainty=f"± {units.percent(reading.uncertainty)}",
        known=f"{modelled}{reading.provenance}{flags}",
        reason="",
    )


def _measured(name: str, value: object) -> str:
    """Return a figure of the client in the unit that its name ends with."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name.endswith("_s"):
            return units.seconds(value)
        if name.endswith("_share"):
            return units.percent(value)
    return provenance.told(value)
