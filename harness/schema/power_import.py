"""A power import: what external wall logs say about records that were measured meanwhile."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from harness.schema.base import Document, NonNegative, Positive, Spec, Text
from harness.schema.record import Digest, EnergyReading, Ulid

LogFormat = Literal["ptd", "pdu"]


class LogFile(Spec):
    """A log as it was read: `samples` were kept, `dropped` counts the others by reason."""

    name: Text
    sha256: Digest
    format: LogFormat
    timezone: Text
    began_at: datetime
    ended_at: datetime
    period_s: Positive
    samples: Annotated[int, Field(ge=1)]
    dropped: dict[str, int]


class ImportedReading(Spec):
    """The reading of one point of a record; the digest ties it to the record as it was then."""

    record: Ulid
    record_sha256: Digest
    point: Annotated[int, Field(ge=0)]
    began_at: datetime | None
    reading: EnergyReading


class PowerImport(Document):
    """An import of wall logs (`results/energy/ULID.json`); records stay as they are.

    `sensor` is the relative uncertainty of the meter itself at 95 %, known from `sensor_source`;
    `skew_s` how far apart the clocks of meter and machine may have been.
    """

    id: Ulid
    imported_at: datetime
    logs: tuple[LogFile, ...]
    sensor: NonNegative
    sensor_source: Text
    skew_s: NonNegative
    readings: tuple[ImportedReading, ...]
    harness_version: Text
