"""Which records stand against which: what a name means, which runs count, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.errors import SpecError
from harness.schema.record import Record

SHORTEST_PREFIX = 4
CellKey = tuple[str, str, str]
"""Workload, scenario, and the target where it tells cells apart, else empty."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two things compared: what the user called it, and all its records."""

    name: str
    records: tuple[Record, ...]


def find_side(name: str, records: Iterable[Record]) -> Side:
    """Return the records that `name` stands for: a target, a run id or a record id.

    Ids may be cut to a prefix that fits one id only. Raises SpecError if nothing or several fit.
    """
    everything = list(records)
    of_target = tuple(r for r in everything if r.cell.target == name)
    if of_target:
        return Side(name, of_target)
    prefix = name.upper()
    if len(prefix) >= SHORTEST_PREFIX:
        ids = {r.run for r in everything} | {r.id for r in everything}
        found = sorted(each for each in ids if each.startswith(prefix))
        if len(found) > 1:
            shown = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
            raise SpecError(f"'{name}' fits {len(found)} runs and records: {shown}")
        if found:
            return Side(name, tuple(r for r in everything if found[0] in (r.run, r.id)))
    targets = sorted({r.cell.target for r in everything})
    raise SpecError(
        f"no measured target, run or record is called '{name}'",
        hint=f"measured targets: {', '.join(targets)}" if targets else "there are no records",
    )


def by_cell(
    records: Sequence[Record], with_target: bool, workload: str | None, scenario: str | None
) -> dict[CellKey, list[Record]]:
    """Return the records by cell; `workload` and `scenario` keep only those."""
    cells: dict[CellKey, list[Record]] = {}
    for record in records:
        cell = record.cell
        if workload not in (None, cell.workload) or scenario not in (None, cell.scenario.kind):
            continue
        key = (cell.workload, cell.scenario.kind, cell.target if with_target else "")
        cells.setdefault(key, []).append(record)
    return cells


def listed(cells: dict[CellKey, list[Record]]) -> str:
    """Return the names of the cells, for a message."""
    return ", ".join(label(key) for key in sorted(cells)) or "nothing that fits"


def label(key: CellKey) -> str:
    """Return the name of a cell, as in `chat@box/server` or `chat/server`."""
    workload, scenario, target = key
    return f"{workload}@{target}/{scenario}" if target else f"{workload}/{scenario}"


def newest_runs(
    base: Sequence[Record], new: Sequence[Record]
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Return the records of the newest run that both have, else of the newest run of each."""
    runs = [{r.run for r in side} for side in (base, new)]
    # A run can stand on both sides only with different records, as in target against target.
    same = {r.id for r in base} & {r.id for r in new}
    common = set() if same else runs[0] & runs[1]
    wanted = [max(common)] * 2 if common else [max(each) for each in runs]
    first, second = (
        tuple(sorted((r for r in side if r.run == run), key=lambda r: (r.cell.repeat, r.id)))
        for side, run in zip((base, new), wanted, strict=True)
    )
    return first, second


def of_newest_declaration(records: Sequence[Record]) -> tuple[Record, ...]:
    """Return those of `records`, all of one run, that were declared as the newest of them.

    A run that is resumed after an edit measures its cells anew, beside those of before.
    """

    def declaration(record: Record) -> str:
        return record.cell.model_dump_json(exclude={"id", "repeat"})

    newest = declaration(max(records, key=lambda r: r.id))
    return tuple(r for r in records if declaration(r) == newest)


def incomparable(base: Sequence[Record], new: Sequence[Record]) -> str | None:
    """Return why the figures of the two sides would not mean the same; None if they do."""
    if {r.id for r in base} & {r.id for r in new}:
        return "both sides are the same records"
    everything = (*base, *new)
    identity: dict[str, Callable[[Record], object]] = {
        "versions of the workload": lambda r: r.cell.workload_version,
        "declarations of the workload": lambda r: r.cell.workload_hash[:8],
        "settings of the scenario": lambda r: r.cell.scenario.model_dump_json(),
        "profiles": lambda r: r.cell.profile,
        "kinds of evidence": lambda r: r.evidence,
    }
    for words, of in identity.items():
        values = sorted({str(of(r)) for r in everything})
        if len(values) > 1:
            return f"different {words}: {' and '.join(values)}"
    for name in sorted({name for r in everything for name in r.cell.files}):
        # Records of version 0.1.0 do not know; that is no difference.
        known = sorted({r.cell.files[name][:8] for r in everything if name in r.cell.files})
        if len(known) > 1:
            return f"different contents of {name}: {' and '.join(known)}"
    return None


def unusable(record: Record) -> str | None:
    """Return why a record's figures cannot be used; None if they can."""
    if record.failure is not None:
        return f"{record.status} ({record.failure.kind}: {record.failure.message})"
    if record.verdict.state == "invalid":
        reasons = ", ".join(sorted({r.code for r in record.verdict.reasons}))
        return f"invalid ({reasons})" if reasons else "invalid"
    return None
