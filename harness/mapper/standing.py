"""Which records stand for a workload on a target: the newest run of what is still declared.

A record stands while the workload's and the target's parts that decide the figures are what they
were; a new price, title or demand does not age a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.schema.base import ScenarioKind
from harness.schema.record import Record
from harness.schema.target import Target
from harness.schema.workload import Workload

SIZING_SCENARIO: ScenarioKind = "server"
"""The one scenario whose throughput is one at the SLO under independent arrivals."""

WORKLOAD_PARTS = ("version", "task", "model", "inputs", "slo", "quality")
HARDWARE_PARTS = ("chip", "vendor", "kind", "count")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a workload on a target.

    `records` are the usable ones of the `server` scenario (all repeats of the newest run that has
    any), `others` the newest of the other scenarios, `failed` the newest attempt without figures.
    `outdated` says what has changed since older records, `elsewhere` which scenarios have records;
    `attempted` is the newest of the older ones if none of them has figures.
    """

    records: tuple[Record, ...]
    others: tuple[Record, ...]
    failed: Record | None
    outdated: tuple[str, ...]
    warnings: tuple[str, ...]
    attempted: Record | None = None

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The kinds of the other scenarios that were measured."""
        return tuple(sorted({r.cell.scenario.kind for r in self.others}))

    @property
    def cited(self) -> tuple[Record, ...]:
        """Every record that the outcome rests on, the deciding ones first."""
        failed = () if self.failed is None else (self.failed,)
        return (*self.records, *failed, *self.others)


def standing(workload: Workload, target: Target, records: Iterable[Record]) -> Standing:
    """Return which of `records` (all of this workload and target) stand for the pair."""
    current: list[Record] = []
    older: list[Record] = []
    outdated: set[str] = set()
    for record in sorted(records, key=_age):
        changes = changed_parts(record, workload, target)
        if changes:
            outdated.update(changes)
            older.append(record)
        else:
            current.append(record)
    sizing = [r for r in current if r.cell.scenario.kind == SIZING_SCENARIO]
    newest = _newest_run([r for r in sizing if r.status == "ok"])
    usable, warnings = _usable(newest)
    others: list[Record] = []
    for kind in ("single_stream", "offline"):
        others += _newest_run(
            [r for r in current if r.cell.scenario.kind == kind and r.status == "ok"]
        )
    failures = [r for r in (sizing or current) if r.status != "ok"]
    failed = failures[-1] if failures else None
    if newest and failed is not None:
        if failed.run == newest[0].run or _age(failed) > _age(newest[-1]):
            warnings += (f"{_attempt(failed)}; the figures are of run {newest[0].run}",)
        else:
            failed = None
    return Standing(
        records=usable,
        others=tuple(others),
        failed=failed,
        outdated=tuple(sorted(outdated)),
        warnings=warnings,
        attempted=older[-1] if older and all(r.status != "ok" for r in older) else None,
    )


def changed_parts(record: Record, workload: Workload, target: Target) -> tuple[str, ...]:
    """Return what `record` was measured with that is declared otherwise today, as words."""
    changes = [
        f"the workload's {part}"
        for part in WORKLOAD_PARTS
        if getattr(record.workload, part) != getattr(workload, part)
    ]
    if record.cell.scenario not in workload.scenarios:
        changes.append(f"the workload's scenario {record.cell.scenario.kind}")
    changes += [
        f"the target's {part}"
        for part in HARDWARE_PARTS
        if getattr(record.target.hardware, part) != getattr(target.hardware, part)
    ]
    if record.target.runtime != target.runtime:
        changes.append("the target's runtime")
    return tuple(changes)


def _age(record: Record) -> tuple[float, str]:
    return record.started_at.timestamp(), record.id


def _newest_run(records: Sequence[Record]) -> list[Record]:
    """Return the records of the run that holds the newest of `records` (oldest first)."""
    return [r for r in records if r.run == records[-1].run] if records else []


def _usable(records: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """Drop invalid repeats if others are left; say so."""
    usable = tuple(r for r in records if r.verdict.state != "invalid")
    dropped = len(records) - len(usable)
    if not usable or not dropped:
        return tuple(records), ()
    return usable, (f"{dropped} of {len(records)} repeats are invalid and left out",)


def _attempt(record: Record) -> str:
    assert record.failure is not None
    return (
        f"an attempt on {record.started_at.date().isoformat()} ended without figures "
        f"({record.failure.kind}: {record.failure.message})"
    )
