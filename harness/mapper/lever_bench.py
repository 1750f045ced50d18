"""What levers are tried with, and how their outcomes are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness import units
from harness.mapper.capacity import load_of, work_of
from harness.mapper.operating import Operating
from harness.mapper.option import make_option
from harness.mapper.terms import terms_of, usage_of
from harness.schema.brief import Brief
from harness.schema.decision import WorkloadDecision
from harness.schema.demand import Demand
from harness.schema.levers import LeverOutcome
from harness.schema.option import Option
from harness.schema.record import QualityCheck, Record
from harness.schema.target import Target
from harness.schema.workload import Workload

RECORDED = ("measured", "imported")
"""Evidence that is a record of a measurement, by this harness or another."""


@dataclass(frozen=True, slots=True)
class Served:
    """One workload with its decision, and per feasible target what it was made from."""

    workload: Workload
    decision: WorkloadDecision
    points: Mapping[str, Operating]
    streams: Mapping[str, Sequence[Record]]

    @property
    def demand(self) -> Demand:
        """The demand that was decided for."""
        return self.decision.demand


@dataclass(frozen=True, slots=True)
class Bench:
    """What levers are tried with: the brief, its catalog, and how a workload is decided."""

    brief: Brief
    workloads: Mapping[str, Workload]
    targets: Mapping[str, Target]
    decide: Callable[[Workload, Demand], Served]


def outcome_of(
    lever: str,
    what: str,
    today: Option,
    option: Option,
    formula: str,
    *,
    measured: bool,
    usd: float | None = None,
    **told: tuple[str, ...],
) -> LeverOutcome:
    """Return the outcome of a lever that leads to `option`; `usd` is its cost where it is more."""
    cost = option.cost_per_year_usd if usd is None else usd
    now = today.cost_per_year_usd
    known = all(each.evidence in RECORDED for each in (today, option))
    needs = told.get("needs", ())
    if option.slo_state == "unproven":
        needs = (*needs, f"a longer measurement of {option.target}: its SLO is not proven")
    return LeverOutcome(
        kind=lever,  # type: ignore[arg-type]
        what=what,
        today_usd_per_year=now,
        usd_per_year=cost,
        change=cost / now - 1 if now else None,
        target=option.target,
        units=option.replicas,
        evidence="measured" if measured and known else "projected",
        formula=formula,
        assumptions=told.get("assumptions", ()),
        quality=told.get("quality", ()),
        needs=needs,
        records=tuple(dict.fromkeys((today.record, option.record))),
    )


def unknown(
    lever: str, what: str, today: Option, formula: str, reason: str, *needs: str
) -> LeverOutcome:
    """Return the outcome of a lever of which no figure is known."""
    return LeverOutcome(
        kind=lever,  # type: ignore[arg-type]
        what=what,
        today_usd_per_year=today.cost_per_year_usd,
        formula=formula,
        needs=needs,
        reason=reason[:2000],
    )


def priced(
    bench: Bench, served: Served, target: str, demand: Demand, at: Operating | None = None
) -> Option:
    """Return `target` sized and priced for `demand`, as the decision does it."""
    brief, workload = bench.brief, served.workload
    work = work_of(workload)
    usage = usage_of(workload, demand, work)
    return make_option(
        bench.targets[target],
        at or served.points[target],
        load_of(demand, brief.economics.horizon_years),
        work,
        brief.economics,
        brief.economics.staff_usd_per_year / len(brief.workloads),
        brief.constraints.spare_units,
        terms=terms_of(bench.targets[target], usage, brief.economics),
        usage=usage,
        demand=demand,
    )


def quality_of(operating: Operating) -> tuple[str, ...]:
    """Return the checks of the quality gate of the record, each with its figure and limit."""
    return tuple(_check(check) for check in operating.record.quality)


def _check(check: QualityCheck) -> str:
    side = "at most" if check.better == "lower" else "at least"
    figure = units.number(check.value, check.reason)
    return f"{check.gate}: {check.metric} {figure}, {side} {units.number(check.limit)}"
