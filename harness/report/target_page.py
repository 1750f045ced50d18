"""The page of one target: every workload on it, what it is, what it costs, and its records."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness import units
from harness.report import provenance
from harness.report.ceiling import Ceiling, ceiling
from harness.report.history import histories
from harness.report.links import Links
from harness.report.operators import compiler_gap
from harness.report.prices import prices
from harness.report.templating import environment, read
from harness.report.view import Row, WorkloadView
from harness.schema import Decision, Record
from harness.schema.base import Fact
from harness.schema.target import Target

NOT_STATED = "not stated"
FACTS = (
    ("memory_gb", "Memory", "GB"),
    ("bandwidth_gb_per_s", "Memory bandwidth", "GB/s"),
    ("fp32_tflops", "Arithmetic rate, fp32", "TFLOP/s"),
    ("bf16_dense_tflops", "Arithmetic rate, bf16, dense", "TFLOP/s"),
    ("int8_dense_tops", "Arithmetic rate, int8, dense", "TOP/s"),
    ("tdp_w", "Declared power of one chip", "W"),
    ("host_power_w", "Power of the rest of the machine, one sale unit", "W"),
    ("embodied_kgco2e", "Emitted for making one sale unit", "kgCO2e"),
)


@dataclass(frozen=True, slots=True)
class FactRow:
    """A fact of the hardware in words; `source` and `day` are empty where nothing is stated."""

    name: str
    value: str
    source: str
    day: str


@dataclass(frozen=True, slots=True)
class Part:
    """The target's row of one workload; the view holds no other row."""

    view: WorkloadView
    row: Row


def target_names(decision: Decision) -> tuple[str, ...]:
    """Return the targets that the decision considered, in its order, each once."""
    every = (outcome.target for answer in decision.workloads for outcome in answer.outcomes)
    return tuple(dict.fromkeys(every))


def render_target(
    decision: Decision,
    views: Sequence[WorkloadView],
    records: Sequence[Record],
    name: str,
    *,
    links: Links,
    command: str,
    history: Sequence[Record] = (),
) -> str:
    """Return the page of the target `name` as one HTML file.

    `views` and `records` are those of the decision. `history` are all of this target that there
    are, also such as the decision does not name; without it the page shows the decision's own.
    """
    parts = tuple(
        Part(dataclasses.replace(view, rows=(row,)), row)
        for view in views
        for row in view.rows
        if row.outcome.target == name
    )
    own = [record for record in records if record.cell.target == name]
    every = [record for record in history if record.cell.target == name] or own
    by_id = {record.id: record for record in own}
    newest = max(own, key=lambda record: (record.started_at, record.id), default=None)
    alone = [part.view for part in parts]
    target = None if newest is None else newest.target
    template = environment().get_template("target.html.j2")
    return template.render(
        style=Markup(read("style.css")),
        links=links,
        decision=decision,
        name=name,
        title=parts[0].row.title if parts else name,
        target=target,
        vendor="" if newest is None else provenance.vendor(newest),
        parts=parts,
        facts=() if target is None else hardware_facts(target),
        runtime="" if target is None else provenance.runtime(target),
        price=prices(alone, decision.brief.as_of),
        gaps=compiler_gap(alone),
        ceilings=_ceilings(parts),
        software=provenance.software(own),
        environment=provenance.environment(own),
        pins=[(by_id[pin.id], pin) for pin in decision.records if pin.id in by_id],
        histories=histories(every),
        unused=_number({each.id for each in every} - by_id.keys()),
        command=command,
    )


def hardware_facts(target: Target) -> tuple[FactRow, ...]:
    """Return every fact that a target's hardware may have, also those that are not stated."""
    rows = []
    for field, name, unit in FACTS:
        fact: Fact | None = getattr(target.hardware, field)
        if fact is None:
            rows.append(FactRow(name, NOT_STATED, "", ""))
        else:
            value = units.quantity(fact.value, unit)
            rows.append(FactRow(name, value, fact.source, fact.date.isoformat()))
    return tuple(rows)


def _number(ids: Collection[str]) -> str:
    return units.count(len(ids)) if ids else ""


def _ceilings(parts: Iterable[Part]) -> list[tuple[Part, Ceiling]]:
    return [
        (part, ceiling(part.row.title, part.row.outcome.target, part.row.record))
        for part in parts
        if part.row.record is not None and part.row.point is not None
    ]
