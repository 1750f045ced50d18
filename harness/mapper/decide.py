"""A brief and what was measured, to a decision. Pure: same inputs, same bytes, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import harness
from harness import units
from harness.errors import SpecError
from harness.mapper.answer import Answer, answer
from harness.mapper.appraise import Question, appraise
from harness.mapper.assumptions import assumptions
from harness.mapper.declared import unpriced
from harness.mapper.demand import demand_of
from harness.mapper.lever_bench import Bench, Served
from harness.mapper.levers import lever_outcomes
from harness.mapper.portfolio.market import Offered
from harness.mapper.portfolio.plan import shared_fleet
from harness.mapper.standing import standing
from harness.mapper.warnings import machine_warnings, price_warnings
from harness.schema.brief import Brief
from harness.schema.decision import Decision, RecordReference
from harness.schema.demand import Demand
from harness.schema.levers import other_workloads
from harness.schema.record import Record
from harness.schema.target import Target
from harness.schema.workload import Workload


class PinnedRecord(Protocol):
    """A record and the sha256 of its `record.json`, as the store hands it out."""

    @property
    def record(self) -> Record:
        """The record."""

    @property
    def imports(self) -> dict[str, str]:
        """The power imports joined to the record: ids with the sha256 of their file."""

    @property
    def sha256(self) -> str:
        """The digest that pins it."""


def decide(
    brief: Brief,
    workloads: Iterable[Workload],
    targets: Iterable[Target],
    records: Iterable[PinnedRecord],
    *,
    problems: Sequence[str] = (),
    skipped: Mapping[str, str] | None = None,
) -> Decision:
    """Return the answer to `brief`: for each of its workloads a choice, or why there is none.

    `workloads` and `targets` are the catalog's; the brief's own `targets` narrow them down. Every
    target considered has exactly one outcome for each workload. `problems` names what could not be
    read, and becomes a warning; `skipped` says why the newest run left out a target.
    SpecError if the brief names what is not there.
    """
    known_workloads = {workload.name: workload for workload in workloads}
    known_targets = {target.name: target for target in targets}
    _check(brief, known_workloads, known_targets)
    considered = [
        brief.offered(known_targets[name]) for name in sorted(brief.targets or known_targets)
    ]
    pinned = {stored.record.id: stored for stored in records}
    by_pair: dict[tuple[str, str], list[Record]] = {}
    for stored in pinned.values():
        cell = stored.record.cell
        by_pair.setdefault((cell.workload, cell.target), []).append(stored.record)

    asked = [
        (row, workload, demand_of(workload.demand, row.demand, _asking(brief, row.workload)))
        for row, workload in ((row, known_workloads[row.workload]) for row in brief.workloads)
    ]

    def answered(workload: Workload, demand: Demand) -> Answer:
        question = Question.of(brief, workload, demand)
        found = []
        for target in considered:
            known = standing(workload, target, by_pair.get((workload.name, target.name), ()))
            found.append(appraise(question, target, known, (skipped or {}).get(target.name)))
        return answer(question, considered, found)

    answers = [answered(workload, demand) for _, workload, demand in asked]
    aside: list[Answer] = []
    if brief.levers:

        def tried(workload: Workload, demand: Demand) -> Served:
            aside.append(answered(workload, demand))
            return aside[-1].served(workload)

        bench = Bench(brief, known_workloads, {t.name: t for t in considered}, tried)
        answers = [
            each.with_levers(lever_outcomes(bench, each.served(workload)))
            for each, (_, workload, _) in zip(answers, asked, strict=True)
        ]
    decisions = tuple(each.decision for each in answers)
    cited = {record.id: record for each in (*answers, *aside) for record in each.cited}
    return Decision(
        schema=1,
        brief=brief,
        harness_version=harness.__version__,
        workloads=decisions,
        assumptions=assumptions(brief, asked, considered, decisions),
        records=tuple(
            RecordReference(
                id=i,
                label=cited[i].cell.label,
                sha256=pinned[i].sha256,
                imports=pinned[i].imports,
            )
            for i in sorted(cited)
        ),
        warnings=(
            *(f"not read: {problem}" for problem in problems),
            *price_warnings(brief, considered),
            *unpriced(considered),
            *machine_warnings(considered, list(cited.values())),
            *(warning for each in answers for warning in each.warnings),
        ),
        portfolio=None
        if brief.portfolio is None
        else shared_fleet(
            brief,
            brief.portfolio,
            [Offered(each.decision, each.candidates) for each in answers],
            {target.name: target for target in considered},
        ),
    )


def _asking(brief: Brief, workload: str) -> str:
    return f"brief {brief.name}, demand of {workload}"


def _of_levers(brief: Brief) -> set[str]:
    return {name for lever in brief.levers for name in other_workloads(lever).values()}


def _check(brief: Brief, workloads: Mapping[str, Workload], targets: Mapping[str, Target]) -> None:
    """Raise SpecError for names that are not in the catalog and for a PUE that cannot be."""
    for kind, names, known in (
        ("workload", [row.workload for row in brief.workloads], sorted(workloads)),
        ("workload", sorted(_of_levers(brief)), sorted(workloads)),
        ("target", list(brief.targets), sorted(targets)),
        ("target", [offer.target for offer in brief.offers], sorted(targets)),
    ):
        missing = [name for name in names if name not in known]
        if missing:
            raise SpecError(
                f"brief {brief.name}: unknown {kind} {', '.join(missing)}",
                hint=f"there are: {', '.join(known) or 'none'}",
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SpecError(f"brief {brief.name}: names the {kind} {', '.join(twice)} twice")
    pue = brief.economics.pue.value
    if pue < 1:
        raise SpecError(
            f"brief {brief.name}: economics.pue is {units.number(pue)}",
            hint="PUE is facility power / IT power, at least 1",
        )
