"""The records that a decision was made from: exactly those, unchanged, or none at all."""

from __future__ import annotations

from collections.abc import Iterable

from harness.errors import StoreError
from harness.schema import Decision, Record
from harness.store import Stored


def pinned_records(decision: Decision, stored: Iterable[Stored]) -> tuple[Record, ...]:
    """Return the records that `decision` pins, in its order.

    Raises StoreError if one is missing, or if its `record.json` is no longer what it was.
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
        records.append(each.record)
    return tuple(records)
