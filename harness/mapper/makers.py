"""Who makes a target's chip, also where the target takes the CPU that it finds."""

from __future__ import annotations

from collections.abc import Sequence

from harness.schema.record import Record
from harness.schema.target import DETECTED, Target

MARKS = ("(r)", "(tm)")


def maker_of(target: Target, records: Sequence[Record]) -> str | None:
    """Return who makes the chip; of one that is detected the model that was found, or None."""
    hardware = target.hardware
    if not hardware.detect:
        return hardware.vendor
    for record in records:
        field = record.environment.get("cpu_model")
        if hardware.kind == "cpu" and field is not None and field.value is not None:
            return str(field.value)
    return None if hardware.vendor == DETECTED else hardware.vendor


def vendor_of(target: Target, record: Record) -> str:
    """Return the vendor's name alone: of a CPU that was found the first word of its model.

    "detected" where nobody says whose it is.
    """
    vendor = target.hardware.vendor
    if vendor != DETECTED:
        return vendor
    words = (maker_of(target, (record,)) or DETECTED).split()
    first = words[0] if words else DETECTED
    for mark in MARKS:
        if first.casefold().endswith(mark):
            first = first[: -len(mark)]
    return first


def is_by(name: str, maker: str) -> bool:
    """Whether `maker`, a name or a chip's whole model, is or begins with the name `name`."""
    return name.casefold() in (maker.casefold(), *maker.casefold().replace("(r)", "").split())
