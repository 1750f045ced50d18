"""Joins wall logs to records by the wall clock, in documents beside the records.

A record never changes: `results/energy/ULID.json` names it by id and digest, and whoever reads the
record through the store sees the readings added to its points.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from harness import __version__
from harness.files import write_whole
from harness.measure.energy_figures import reading_metrics, work_of
from harness.measure.energy_profile import energy_profile
from harness.meters.base import MeterInfo, failed_reading
from harness.meters.sums import add, refused
from harness.meters.wall_log import WallLog
from harness.meters.wall_reading import SKEW_S, wall_meter, wall_reading
from harness.schema.power_import import ImportedReading, LogFile, PowerImport
from harness.schema.record import EnergyProfile, EnergyReading, Point, Record

FOLDER = "energy"


@dataclass(frozen=True, slots=True)
class Sensor:
    """What is known of the meters' own uncertainty; None: what is usual for the log's format."""

    uncertainty: float | None = None
    source: str | None = None


def import_power(
    ulid: str,
    records: Sequence[tuple[Record, str]],
    logs: Sequence[WallLog],
    timezone: str,
    sensor: Sensor | None = None,
    skew_s: float = SKEW_S,
) -> PowerImport:
    """Return what `logs` hold for each point of `records` (with their sha256), as document `ulid`.

    Several logs are the feeds of one machine: their joules are added.
    """
    said = sensor or Sensor()
    meters = [(log, wall_meter(log, said.uncertainty, said.source)) for log in logs]
    readings = []
    for record, digest in records:
        for number, point in enumerate(record.points):
            readings.append(
                ImportedReading(
                    record=record.id,
                    record_sha256=digest,
                    point=number,
                    began_at=point.began_at,
                    reading=_reading(point, meters, skew_s),
                )
            )
    widest = max(meters, key=lambda pair: pair[1].sensor)[1]
    return PowerImport(
        schema=1,
        id=ulid,
        imported_at=datetime.now(UTC),
        logs=tuple(_log_file(log, timezone) for log in logs),
        sensor=widest.sensor,
        sensor_source=widest.sensor_source,
        skew_s=skew_s,
        readings=tuple(readings),
        harness_version=__version__,
    )


def energy_window_s(point: Point) -> tuple[float, float] | None:
    """Return begin and end (epoch, s) of the window that the meters of `point` read; None: unknown.

    The meters' windows are as long as the figures' window or longer, by what lies between stages.
    """
    if point.began_at is None:
        return None
    begin_s = point.began_at.timestamp()
    lengths = [point.duration_s, *(reading.duration_s for reading in point.energy)]
    return begin_s, begin_s + max(lengths)


def _reading(
    point: Point, meters: Sequence[tuple[WallLog, MeterInfo]], skew_s: float
) -> EnergyReading:
    window = energy_window_s(point)
    if window is None:
        reason = "the record does not say when its points began"
        failed = failed_reading(meters[0][1], point.duration_s, reason)
        return failed.model_copy(update={"remedy": "measure again with this version"})
    found = [wall_reading(log, info, *window, skew_s=skew_s) for log, info in meters]
    without = next((reading for reading in found if reading.joules is None), None)
    if without is not None:
        return without
    refusal = refused(found)
    if refusal is not None:
        reason = f"the logs cannot be added: {refusal}"
        return failed_reading(meters[0][1], window[1] - window[0], reason)
    return add(found)


def _log_file(log: WallLog, timezone: str) -> LogFile:
    return LogFile(
        name=log.path.name,
        sha256=log.sha256,
        format=log.format,
        timezone=timezone,
        began_at=datetime.fromtimestamp(float(log.at_s[0]), UTC),
        ended_at=datetime.fromtimestamp(float(log.at_s[-1]), UTC),
        period_s=log.period_s,
        samples=int(log.at_s.size),
        dropped=log.dropped,
    )


def joined(
    record: Record, digest: str, imports: Iterable[tuple[PowerImport, str]]
) -> tuple[Record, dict[str, str]]:
    """Return `record` with the readings that `imports`, oldest first, hold for it as it is now.

    Also the imports that they come from, each id with its sha256. A later import of a point takes
    the place of an earlier one. Only readings with joules come in.
    """
    digests: dict[str, str] = {}
    latest: dict[int, tuple[EnergyReading, str]] = {}
    for document, sha256 in imports:
        digests[document.id] = sha256
        for one in document.readings:
            same = (one.record, one.record_sha256) == (record.id, digest)
            if same and one.reading.joules is not None:
                latest[one.point] = one.reading, document.id
    if not latest:
        return record, {}
    points = tuple(
        _with_reading(point, latest[number][0]) if number in latest else point
        for number, point in enumerate(record.points)
    )
    used = sorted({ulid for _, ulid in latest.values()})
    idle = record.energy or EnergyProfile()
    profile = energy_profile(points, record.headline, idle.off, idle.warm)
    with_readings = record.model_copy(update={"points": points, "energy": profile})
    return with_readings, {ulid: digests[ulid] for ulid in used}


def _with_reading(point: Point, reading: EnergyReading) -> Point:
    """Return `point` with `reading` and its figures, which take the place of earlier ones."""
    return point.model_copy(
        update={
            "energy": (*point.energy, reading),
            "metrics": {**point.metrics, **reading_metrics(reading, work_of(point))},
        }
    )


def save_import(document: PowerImport, results: Path) -> Path:
    """Write `document` to its place under `results`, whole or not at all; return the file.

    Raises StoreError if the disk refuses.
    """
    path = results / FOLDER / f"{document.id}.json"
    hint = "free some disk space or name another folder with --results"
    write_whole(path, document.model_dump_json(indent=1) + "\n", hint=hint)
    return path


def read_imports(results: Path, complain: Callable[[str], None]) -> list[tuple[PowerImport, str]]:
    """Return the imports under `results` with the sha256 of their file, oldest first.

    Those that cannot be read go to `complain`.
    """
    found = []
    for path in sorted((results / FOLDER).glob("*.json")):
        try:
            data = path.read_bytes()
            document = PowerImport.model_validate_json(data)
            found.append((document, hashlib.sha256(data).hexdigest()))
        except OSError as error:
            complain(f"{path}: {error.strerror or error}")
        except ValidationError as error:
            complain(f"{path}: not a readable import: {str(error).splitlines()[0]}")
    return found
