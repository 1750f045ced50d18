"""A brief and what was measured, to a decision. Pure: same inputs, same bytes, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import harness
from harness import units
from harness.errors import SpecError
from harness.mapper.assumptions import assumptions
from harness.mapper.break_even import break_even
from harness.mapper.candidate import Candidate, candidate_of
from harness.mapper.capacity import load_of, work_of
from harness.mapper.choice import ranked, reason, separated
from harness.mapper.draws import Future
from harness.mapper.feasibility import rejections
from harness.mapper.flip import flips
from harness.mapper.operating import operating_point
from harness.mapper.option import make_option
from harness.mapper.queueing import sizing_of
from harness.mapper.standing import Standing, standing
from harness.mapper.tornado import swings
from harness.mapper.uncertainty import Contest, confidence, regrets
from harness.mapper.worth import worth_knowing
from harness.schema.brief import Brief, DemandOverride
from harness.schema.decision import (
    Decision,
    Odds,
    Option,
    RecordReference,
    Rejection,
    TargetOutcome,
    WorkloadDecision,
)
from harness.schema.record import Record
from harness.schema.target import Target
from harness.schema.workload import Demand, Workload

OLD_PRICE_SHARE = 0.75
"""Share of the age a price may have from which on it is worth a warning."""


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


@dataclass(frozen=True, slots=True)
class _Answer:
    decision: WorkloadDecision
    cited: tuple[Record, ...]
    warnings: tuple[str, ...]


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
    considered = [known_targets[name] for name in sorted(brief.targets or known_targets)]
    pinned = {stored.record.id: stored for stored in records}
    by_pair: dict[tuple[str, str], list[Record]] = {}
    for stored in pinned.values():
        cell = stored.record.cell
        by_pair.setdefault((cell.workload, cell.target), []).append(stored.record)

    asked = [
        (row, workload, demand_of(workload.demand, row.demand))
        for row, workload in ((row, known_workloads[row.workload]) for row in brief.workloads)
    ]
    answers = [
        _answer(brief, workload, demand, considered, by_pair, skipped or {})
        for _, workload, demand in asked
    ]
    decisions = tuple(answer.decision for answer in answers)
    cited = {record.id: record for answer in answers for record in answer.cited}
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
            *_price_warnings(brief, considered),
            *_machine_warnings(considered, list(cited.values())),
            *(warning for answer in answers for warning in answer.warnings),
        ),
    )


def demand_of(declared: Demand, override: DemandOverride) -> Demand:
    """Return the workload's demand with what the brief says in its place."""
    given = {name: value for name, value in override if value is not None}
    return declared.model_copy(update=given)


def _answer(
    brief: Brief,
    workload: Workload,
    demand: Demand,
    targets: Sequence[Target],
    by_pair: Mapping[tuple[str, str], list[Record]],
    skipped: Mapping[str, str],
) -> _Answer:
    work = work_of(workload)
    load = load_of(demand, brief.economics.horizon_years)
    staff = brief.economics.staff_usd_per_year / len(brief.workloads)
    spare = brief.constraints.spare_units
    found: list[Option] = []
    units_of: list[Candidate] = []
    outcomes: list[TargetOutcome] = []
    cited: list[Record] = []
    warnings: list[str] = []
    for target in targets:
        known = standing(workload, target, by_pair.get((workload.name, target.name), ()))
        skip = skipped.get(target.name)
        against = rejections(brief, workload, demand, target, known, work, skip)
        if not against:
            operating = operating_point(known.records, work.metric)
            assert operating is not None, "the rules let no target through without a throughput"
            option = make_option(target, operating, load, work, brief.economics, staff, spare)
            streams = [
                r
                for r in known.others
                if r.cell.scenario.kind == "single_stream" and r.verdict.state != "invalid"
            ]
            sizing = sizing_of(
                option.replicas - spare,
                spare,
                load.peak / brief.economics.utilisation_max,
                option.throughput.value / work.per_request,
                workload.slo,
                streams,
            )
            found.append(option.model_copy(update={"sizing": sizing}))
            units_of.append(
                candidate_of(target, operating, load, work, brief.economics, option.replicas)
            )
        cited += known.cited
        warnings += [f"{workload.name} on {target.name}: {text}" for text in _warnings(known)]
        outcomes.append(
            TargetOutcome(
                target=target.name,
                title=target.title,
                feasible=not against,
                rejections=against,
                records=tuple(dict.fromkeys(record.id for record in known.cited)),
            )
        )
    contest = Contest(
        candidates=tuple(units_of),
        future=Future(workload.name, demand, brief.uncertainty),
        utilisation_max=brief.economics.utilisation_max,
        spare=spare,
        staff_usd_per_year=staff,
    )
    odds = {
        state: contest.among([o.target for o in found if o.slo_state == state]).odds()
        for state in ("met", "unproven")
    }
    options = ranked(workload, found, regrets([*odds["met"], *odds["unproven"]]))
    behind = {option.target: option.rejection for option in options}
    outcomes = [_with_rule(outcome, behind) for outcome in outcomes]
    choice = options[0] if options else None
    runner_up = options[1] if len(options) > 1 else None
    warnings += _option_warnings(workload, options)
    decision = WorkloadDecision(
        workload=workload.name,
        title=workload.title,
        demand=demand,
        peak_rate=load.peak,
        mean_rate=load.mean,
        choice=choice,
        runner_up=runner_up,
        clear=separated(choice, runner_up) if choice and runner_up else None,
        reason=reason(workload, options, outcomes),
        options=options,
        outcomes=tuple(outcomes),
    )
    if choice is not None:
        decision = _weighed(decision, choice, contest, odds[choice.slo_state])
    return _Answer(decision, tuple(cited), tuple(warnings))


def _weighed(
    decision: WorkloadDecision, choice: Option, contest: Contest, odds: Sequence[Odds]
) -> WorkloadDecision:
    """Return `decision` with how sure `choice` is against those in `odds`, and what flips it."""
    rivals = contest.among([each.target for each in odds])
    second = next((each.target for each in odds if each.target != choice.target), None)
    complete = all(line.usd_per_year is not None for line in choice.cost_lines)
    return decision.model_copy(
        update={
            "confidence": confidence(choice, complete, odds, contest.future),
            "flips": flips(rivals, choice, decision.options, decision.outcomes),
            "swings": () if second is None else swings(rivals, choice.target, second),
            "break_even": break_even(rivals, odds),
            "measure_next": worth_knowing(rivals, odds),
        }
    )


def _with_rule(outcome: TargetOutcome, behind: Mapping[str, Rejection | None]) -> TargetOutcome:
    rule = behind.get(outcome.target)
    return outcome.model_copy(update={"rejections": (rule,)}) if rule else outcome


def _warnings(known: Standing) -> list[str]:
    found = list(known.warnings)
    if known.outdated and known.records:
        found.append(f"older records are left out (changed: {', '.join(known.outdated)})")
    return found


def _option_warnings(workload: Workload, options: Sequence[Option]) -> list[str]:
    found = []
    for option in options:
        texts = list(option.warnings)
        if option.verdict == "noisy":
            texts.append(f"noisy measurement: {'; '.join(option.verdict_reasons)}")
        if option.evidence != "measured":
            texts.append(f"figures are {option.evidence}, not measured by this harness")
        found += [f"{workload.name} on {option.target}: {text}" for text in texts]
    return found


def _price_warnings(brief: Brief, targets: Sequence[Target]) -> list[str]:
    """Return the prices that are nearly too old, or younger than the question."""
    limit = brief.constraints.max_price_age_days
    found = []
    for target in targets:
        if target.price is None:
            continue
        age = (brief.as_of - target.price.date).days
        if age < 0:
            found.append(
                f"{target.name}: the price of {target.price.date.isoformat()} is younger than the "
                f"brief, which is as of {brief.as_of.isoformat()}"
            )
        elif OLD_PRICE_SHARE * limit < age <= limit:
            found.append(f"{target.name}: the price is {age} days old; at most {limit} are allowed")
    return found


def _machine_warnings(targets: Sequence[Target], cited: Sequence[Record]) -> list[str]:
    """Return the targets whose chip is detected, where their records come from different CPUs."""
    detected = {t.name for t in targets if t.hardware.detect and t.hardware.kind == "cpu"}
    seen: dict[str, set[str]] = {}
    for record in cited:
        field = record.environment.get("cpu_model")
        if record.cell.target in detected and field is not None and field.value is not None:
            seen.setdefault(str(field.value), set()).add(record.cell.target)
    if len(seen) < 2:
        return []
    where = "; ".join(f"{model}: {', '.join(sorted(seen[model]))}" for model in sorted(seen))
    return [f"targets that take the CPU they find were measured on different ones ({where})"]


def _check(brief: Brief, workloads: Mapping[str, Workload], targets: Mapping[str, Target]) -> None:
    """Raise SpecError for names that are not in the catalog and for a PUE that cannot be."""
    for kind, names, known in (
        ("workload", [row.workload for row in brief.workloads], sorted(workloads)),
        ("target", list(brief.targets), sorted(targets)),
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
