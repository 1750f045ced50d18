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
    found = next((cpu for record in records if (cpu := found_cpu(target, record))), None)
    return hardware.vendor if found is None and hardware.vendor != DETECTED else found


def found_cpu(target: Target, record: Record) -> str | None:
    """Return the name that the CPU gave itself; None if `target` is none or it was not told."""
    field = record.environment.get("cpu_model")
    if target.hardware.kind != "cpu" or field is None or field.value is None:
        return None
    return str(field.value)


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
