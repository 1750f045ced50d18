"""The roofline of a record in words: what the hardware can do at most, and what was reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.report.view import WorkloadView
from harness.schema import Record
from harness.schema.record import Roofline

NOT_ASSESSED = "not assessed: the record has no roofline"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A record's row: the limit, by what, what was achieved, its share, and the sources.

    Without a share `reason` says why, and the others are empty. `remark` is what is to be said of
    figures that are not simply measured and valid.
    """

    target: str
    name: str
    limit: str
    bound: str
    achieved: str
    share: str
    source: str
    reason: str
    remark: str = ""


def ceilings(view: WorkloadView) -> tuple[Ceiling, ...]:
    """Return a row for each target with figures, in the order of the view."""
    return tuple(
        ceiling(row.title, row.outcome.target, row.record, row.remark)
        for row in view.measured
        if row.record is not None
    )


def ceiling(title: str, name: str, record: Record, remark: str = "") -> Ceiling:
    """Return the roofline of `record` as a row."""
    found = record.roofline
    if found is None or found.share is None:
        reason = NOT_ASSESSED if found is None else found.reason or NOT_ASSESSED
        return Ceiling(title, name, "", "", "", "", "", reason, remark)
    unit = f"{found.unit or 'requests'}/s"
    return Ceiling(
        title,
        name,
        units.rate(found.limit_per_s, unit, "none"),
        {"memory": "memory bandwidth", "compute": "arithmetic", None: "not told"}[found.bound],
        units.rate(found.achieved_per_s, unit, "not told"),
        units.percent(found.share),
        found.source or "not told",
        "",
        remark,
    )


def parts(found: Roofline) -> Sequence[tuple[str, str]]:
    """Return every figure of a roofline with its name, those that are known."""
    unit = found.unit or "request"
    rows = [
        ("Work counted in", found.unit),
        ("Bytes that one needs at least", _known(found.bytes_per_unit, "B")),
        ("Operations that one needs at least", _amount(found.operations_per_unit)),
        ("Memory bandwidth", _rate(found.bandwidth_bytes_per_s, "bytes/s")),
        ("Arithmetic rate", _rate(found.operations_per_s, "operations/s")),
        ("Cache", _known(found.cache_bytes, "B")),
        ("Bound by", found.bound),
        ("Limit", _rate(found.limit_per_s, f"{unit}/s")),
        ("Achieved", _rate(found.achieved_per_s, f"{unit}/s")),
        ("Share of the limit", _known(found.share, "share")),
        ("Least time of an output token", _known(found.step_limit_s, "s")),
        ("Median time of an output token", _known(found.step_s, "s")),
        ("Share of that limit", _known(found.step_share, "share")),
        ("Why there is no share", found.reason),
        ("Where the ceilings come from", found.source),
        *(("Left out", note) for note in found.notes),
    ]
    return [(name, text) for name, text in rows if text]


def _known(value: float | None, unit: str) -> str | None:
    return None if value is None else units.quantity(value, unit)


def _amount(value: float | None) -> str | None:
    return None if value is None else units.count(value)


def _rate(value: float | None, unit: str) -> str | None:
    return None if value is None else units.rate(value, unit)
