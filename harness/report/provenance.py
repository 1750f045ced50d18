"""Where the figures come from: the machines, the software and the records, as rows of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import units
from harness.mapper.makers import found_cpu
from harness.report.text import clip
from harness.schema import Decision, Record
from harness.schema.decision import RecordReference
from harness.schema.record import EnvironmentField
from harness.schema.target import DETECTED, Target

MOST_VALUES = 3
LONGEST_FACT = 200
APART = ("client", "fallbacks", "left_running", "operators")
"""What a session said that has a place of its own."""


@dataclass(frozen=True, slots=True)
class Software:
    """What ran on a target: the chips, the runtime, and what the runtime said about itself."""

    target: str
    hardware: str
    runtime: str
    facts: tuple[tuple[str, str], ...]


def software(records: Sequence[Record]) -> tuple[Software, ...]:
    """Return a row for each distinct (target, session) of `records`, in their order."""
    rows: dict[Software, None] = {}
    for record in records:
        target = record.target
        facts = tuple(
            (name.replace("_", " "), clip(told(value), LONGEST_FACT))
            for name, value in sorted(record.session.items())
            if name not in APART
        )
        rows.setdefault(Software(target.title, _hardware(record), runtime(target), facts))
    return tuple(rows)


def environment(records: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    """Return each fact of the machines with its value, or its values where they differ."""
    names = dict.fromkeys(name for record in records for name in record.environment)
    rows = []
    for name in names:
        fields = [r.environment[name] for r in records if name in r.environment]
        rows.append((name.replace("_", " "), _values(fields)))
    return tuple(rows)


def calibrations(records: Sequence[Record]) -> str:
    """Return of how many records the machine's calibration was current, doubtful or missing."""
    held = [record.environment.get("calibration") for record in records]
    values = [None if field is None else field.value for field in held]
    current = sum(value == "current" for value in values)
    doubtful = sum(value is not None for value in values) - current
    every = units.count(len(values))
    text = f"The machine's calibration was current for {units.count(current)} of {every} records"
    text += f", doubtful for {units.count(doubtful)}" if doubtful else ""
    missing = len(values) - current - doubtful
    return f"{text}{f', and missing for {units.count(missing)}' if missing else ''}."


def pins(
    decision: Decision, records: Mapping[str, Record]
) -> tuple[tuple[Record, RecordReference], ...]:
    """Return each record that the decision names with how it is pinned, in the decision's order."""
    return tuple((records[pin.id], pin) for pin in decision.records)


def _hardware(record: Record) -> str:
    hardware = record.target.hardware
    chips = f"{units.count(hardware.count)} × " if hardware.count > 1 else ""
    return f"{chips}{hardware.chip} ({vendor(record)})"


def vendor(record: Record) -> str:
    """Return who makes the chip; of a CPU that the target found, the name that it gave itself."""
    declared = record.target.hardware.vendor
    if declared != DETECTED:
        return declared
    found = found_cpu(record.target, record)
    return f"{DETECTED}, but its name was not told" if found is None else f"{DETECTED}: {found}"


def runtime(target: Target) -> str:
    """Return the software of a target: its adapter, precision, device and options."""
    own = target.runtime
    options = "".join(f", {name} {told(value)}" for name, value in sorted(own.options.items()))
    return f"{own.adapter}, {own.precision} on {own.device}{options}"


def _values(fields: Sequence[EnvironmentField]) -> str:
    """Return the distinct values; of many different numbers only the range."""
    amounts = [f.value for f in fields if isinstance(f.value, int | float)]
    distinct = dict.fromkeys(field_text(f) for f in fields)
    if len(distinct) > MOST_VALUES and len(amounts) == len(fields):
        low, high = told(min(amounts)), told(max(amounts))
        return f"{low} to {high} over {units.count(len(fields))} records"
    return "; ".join(distinct)


def field_text(field: EnvironmentField) -> str:
    """Return a fact of the machine, or why there is none."""
    return told(field.value) if field.value is not None else _absence(field)


def _absence(field: EnvironmentField) -> str:
    if field.not_applicable is not None:
        return f"none: {field.not_applicable}"
    return f"unavailable: {field.unavailable or 'no reason given'}"


def told(value: object) -> str:
    """Return what a runtime or a machine said about itself, in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return units.count(value)
    if isinstance(value, float):
        return units.number(value)
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {told(each)}" for name, each in sorted(value.items()))
    if isinstance(value, list | tuple):
        return ", ".join(told(each) for each in value) or "none"
    return str(value)
