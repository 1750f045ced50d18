"""The records that a decision was made from: exactly those, unchanged, or none at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.errors import StoreError
from harness.schema import Decision, Record
from harness.store import Stored


def pinned_records(decision: Decision, stored: Iterable[Stored]) -> tuple[Record, ...]:
    """Return the records that `decision` pins, in its order.

    Raises StoreError if one is missing, if its `record.json` is no longer what it was, or if other
    power imports than then are joined to it: those change its energy, not its file.
    """
    found = {each.record.id: each for each in stored}
    records = []
    for pin in decision.records:
        each = found.get(pin.id)
        if each is None:
            raise StoreError(
                f"record {pin.id} ({pin.label}) is not in the results folder, "
                f"but the decision on '{decision.brief.name}' was made from it",
                hint="name the folder that holds it with --results",
            )
        if each.sha256 != pin.sha256:
            raise StoreError(
                f"record {pin.id} ({pin.label}) is not what the decision was made from: its "
                f"sha256 is {each.sha256}, the decision says {pin.sha256}",
                hint=f"make the decision again: harness map {decision.brief.name}",
            )
        if each.imports != pin.imports:
            raise StoreError(
                f"record {pin.id} ({pin.label}) has other wall-meter readings than those that the "
                f"decision was made from: {_named(each.imports)} now, {_named(pin.imports)} then",
                hint=f"make the decision again: harness map {decision.brief.name}",
            )
        records.append(each.record)
    return tuple(records)


def _named(imports: Mapping[str, str]) -> str:
    """Return imports by id and the start of their sha256, or that there are none."""
    named = (f"import {ulid} (sha256 {sha256[:12]})" for ulid, sha256 in imports.items())
    return " and ".join(named) or "none"
