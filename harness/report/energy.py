"""Energy in the report: what was metered, what a request takes, what a year of the fleet draws.

A figure is compared with another of the same boundary only, and never without its interval.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.report import words
from harness.report.view import Row, WorkloadView
from harness.schema.base import Interval
from harness.schema.costs import EnergyLine
from harness.schema.option import Option
from harness.schema.record import EnergyReading

PARTS = (
    ("Chip or module", ("chip", "module")),
    ("CPU package", ("package",)),
    ("Memory (DRAM)", ("dram",)),
    ("Node", ("node",)),
    ("Wall", ("wall",)),
)
"""The columns of the coverage table, and the boundaries that each stands for."""

MARKS = re.compile(r" \((?:modelled|simulated|modelled, simulated)\)$")
"""What the mapper puts behind the boundary of a figure that no meter read."""

NOT_KNOWN = "not known: "
FOLLOWS = "the facility energy is not known"
"""The basis of a line that is not known because another is not."""

MODELLED = "modelled*"
"""Stands behind every modelled figure in text; a bar bears the asterisk and is hatched."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a target's machine was metered: for each part a state and its words."""

    target: str
    parts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RequestRow:
    """What a request takes on a target, within which boundary, and against the choice."""

    row: Row
    figure: str
    modelled: bool
    boundary: str
    against: str


@dataclass(frozen=True, slots=True)
class YearLine:
    """A line of a fleet's year: its figure, or why there is none and what would give one."""

    name: str
    figure: str
    known: bool
    modelled: bool
    basis: str


def coverage(view: WorkloadView) -> tuple[Coverage, ...]:
    """Return what was metered on each target that has a point."""
    return tuple(
        Coverage(row.title, tuple(_covered(row.point.energy, names) for _, names in PARTS))
        for row in view.rows
        if row.point is not None
    )


def requests(view: WorkloadView) -> tuple[RequestRow, ...]:
    """Return what a request takes on each option; energy is no part of their order."""
    choice = view.decision.choice
    rows = []
    for row in view.rows:
        option = row.option
        if option is None:
            continue
        figure = option.energy_j_per_request
        text = units.NOT_MEASURED if figure is None else amount(figure, "J")
        rows.append(
            RequestRow(
                row=row,
                figure=text,
                modelled=is_modelled(option),
                boundary=option.energy_boundary or "–",
                against="the reference" if option is choice else against(option, choice),
            )
        )
    return tuple(rows)


def against(option: Option, choice: Option | None) -> str:
    """Return how the energy of a request on `option` stands to that on `choice`, or why not.

    Boundaries that differ include different parts of the machine: the comparison is refused.
    """
    if option.energy_j_per_request is None:
        return "not compared: not measured"
    if choice is None or choice.energy_j_per_request is None:
        return "not compared: that of the choice is not measured"
    if choice.target == option.target:
        return "the reference"
    first, second = boundary(option), boundary(choice)
    if first != second:
        return (
            f"not compared: metered at the {first} here and at the {second} for the choice, "
            "which include different parts of the machine"
        )
    own, other = option.energy_j_per_request, choice.energy_j_per_request
    doubt = "; modelled on at least one side" if is_modelled(option) or is_modelled(choice) else ""
    if _overlap(own, other):
        return f"not separated: the intervals overlap{doubt}"
    word = "less" if own.value < other.value else "more"
    if not other.value:
        return f"{word}; the intervals do not overlap{doubt}"
    share = units.percent(abs(own.value - other.value) / other.value)
    return f"{share} {word}; the intervals do not overlap{doubt}"


def year(option: Option) -> tuple[YearLine, ...]:
    """Return the lines of a year of the option's fleet; those that are not known as one, last."""
    rows = []
    unknown = []
    for line in option.energy_lines:
        if line.figure is not None:
            figure = amount(line.figure, line.unit)
            name = words.ENERGY_LINES[line.name]
            rows.append(YearLine(name, figure, True, line.modelled, line.basis))
        elif line.name == "electricity" and not line.remedy:
            rows.append(
                YearLine(
                    words.ENERGY_LINES[line.name],
                    "in the API's price" if option.kind == "api" else "in the rent",
                    False,
                    False,
                    line.basis,
                )
            )
        else:
            unknown.append(line)
    return (*rows, _unknown(unknown)) if unknown else tuple(rows)


def _unknown(lines: Sequence[EnergyLine]) -> YearLine:
    """Return lines without figures as one, each reason and each remedy once."""
    names = ", ".join(words.ENERGY_LINES[line.name].lower() for line in lines)
    reasons = dict.fromkeys(
        line.basis.removeprefix(NOT_KNOWN) for line in lines if line.basis != FOLLOWS
    )
    remedies = dict.fromkeys(line.remedy for line in lines if line.remedy)
    basis = "; ".join(reasons) or FOLLOWS
    basis += f". To know it: {'; '.join(remedies)}" if remedies else ""
    return YearLine(f"{names[:1].upper()}{names[1:]}", "not known", False, False, basis)


def year_in_short(option: Option) -> tuple[str, ...]:
    """Return the facility's energy and its emissions as short texts, for the first screen."""
    by_name: dict[str, EnergyLine] = {line.name: line for line in option.energy_lines}
    lines = [by_name[name] for name in ("facility_energy", "carbon") if name in by_name]
    found = [
        f"{amount(line.figure, line.unit, line.modelled)} a year"
        for line in lines
        if line.figure is not None
    ]
    unknown = [line.unit for line in lines if line.figure is None]
    return (*found, f"{' and '.join(unknown)} a year: not known") if unknown else tuple(found)


def boundary(option: Option) -> str:
    """Return the boundary of the option's energy without its marks: `package`."""
    return MARKS.sub("", option.energy_boundary or "boundary not stated")


def is_modelled(option: Option) -> bool:
    """Return whether the option's energy of a request comes from a model or a simulation."""
    return MARKS.search(option.energy_boundary or "") is not None


def amount(figure: Interval, unit: str, modelled: bool = False) -> str:
    """Return a figure with its interval, and a mark where it is modelled."""
    text = units.interval(figure.value, figure.low, figure.high, unit)
    return f"{text}, {MODELLED}" if modelled else text


def _covered(readings: Sequence[EnergyReading], names: Sequence[str]) -> tuple[str, str]:
    """Return the state of a part of the machine, and its words."""
    own = [r for r in readings if r.joules is not None and r.boundary in names]
    if not own:
        return "not_metered", "not metered"
    if all(r.provenance == "modelled" for r in own):
        return "modelled", "modelled"
    if all("simulated" in r.flags or r.provenance == "modelled" for r in own):
        return "modelled", "simulated"
    partial = all("partial_coverage" in r.flags for r in own)
    return ("partial", "in part") if partial else ("metered", "metered")


def _overlap(first: Interval, second: Interval) -> bool:
    """Return whether two intervals overlap; one without a bound overlaps all on that side."""
    if None in (first.low, first.high, second.low, second.high):
        return True
    assert first.low is not None
    assert first.high is not None
    assert second.low is not None
    assert second.high is not None
    return first.low <= second.high and second.low <= first.high
