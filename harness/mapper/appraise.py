"""One target appraised for one workload: the rules against it, or what a fleet of it would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.mapper.agentic import with_tasks
from harness.mapper.bill import Outlook, outlook
from harness.mapper.candidate import Candidate, candidate_of
from harness.mapper.capacity import Load, Work, load_of, replicas_for, work_of
from harness.mapper.declared import undeclared
from harness.mapper.dependence import not_one_queue
from harness.mapper.feasibility import DECLARED, rejections
from harness.mapper.fleet_rules import fleet_rules
from harness.mapper.operating import Operating, operating_point
from harness.mapper.option import make_option
from harness.mapper.power import UnitLoad
from harness.mapper.queueing import in_lots, sizing_of
from harness.mapper.relax import nearest
from harness.mapper.standing import Standing
from harness.mapper.terms import Terms, Usage, at_sites, price_age, price_rules, terms_of, usage_of
from harness.mapper.warnings import standing_warnings
from harness.schema.brief import Brief
from harness.schema.decision import TargetOutcome
from harness.schema.demand import Demand
from harness.schema.option import Option, Sizing
from harness.schema.record import Record
from harness.schema.rejection import Rejection
from harness.schema.target import Price, Target
from harness.schema.workload import Workload


@dataclass(frozen=True, slots=True)
class Question:
    """One workload of a brief with the buyer's demand, and what follows from them alone."""

    brief: Brief
    workload: Workload
    demand: Demand
    work: Work
    load: Load
    usage: Usage

    @classmethod
    def of(cls, brief: Brief, workload: Workload, demand: Demand) -> Question:
        """Return the question that `brief` asks of `workload`."""
        work = work_of(workload)
        return cls(
            brief,
            workload,
            demand,
            work,
            load_of(demand, brief.economics.horizon_years),
            usage_of(workload, demand, work),
        )

    @property
    def staff_usd_per_year(self) -> float:
        """The workload's part of the brief's staff."""
        return self.brief.economics.staff_usd_per_year / len(self.brief.workloads)

    @property
    def spare(self) -> int:
        """How many units stand by."""
        return self.brief.constraints.spare_units


@dataclass(frozen=True, slots=True)
class Fleet:
    """A target that no rule speaks against, as an option, and what its figures come from."""

    option: Option
    operating: Operating
    streams: tuple[Record, ...]
    candidate: Candidate
    outlook: Outlook


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What is found of one target: its outcome, and its `fleet` if it is feasible."""

    outcome: TargetOutcome
    cited: tuple[Record, ...]
    warnings: tuple[str, ...]
    fleet: Fleet | None


def appraise(asked: Question, target: Target, known: Standing, skipped: str | None) -> Appraisal:
    """Return what `known` of `target` answers; `skipped` is why the newest run left it out."""
    brief, work = asked.brief, asked.work
    against: tuple[Rejection, ...] = (
        *rejections(brief, asked.workload, asked.demand, target, known, work, skipped),
        *price_rules(target, asked.usage, asked.load),
    )
    unknown = undeclared(brief, asked.workload, target, known.records)
    option, fleet = None, None
    if target.price is not None and DECLARED.issuperset(each.rule for each in against):
        operating = operating_point(known.records, work.metric)
        assert operating is not None, "the rules let no target through without a throughput"
        terms = terms_of(target, asked.usage, brief.economics)
        option = make_option(
            target,
            operating,
            asked.load,
            work,
            brief.economics,
            asked.staff_usd_per_year,
            asked.spare,
            terms=terms,
            usage=asked.usage,
            demand=asked.demand,
        )
        share = max(option.replicas, 1)
        each_unit = UnitLoad(asked.load.mean / share, asked.load.peak / share)
        rules, of_fleet = fleet_rules(brief, target, option, operating, each_unit)
        option, late = with_tasks(option, operating, asked.demand)
        against, unknown = (*against, *rules, *late), [*unknown, *of_fleet]
        if not against:
            fleet = _fleet(asked, target, target.price, known, operating, terms, option)
    told = [*standing_warnings(known), *(() if against else unknown)]
    relaxation, binding = nearest(
        target.name, against, None if option is None else option.cost_per_year_usd
    )
    outcome = TargetOutcome(
        target=target.name,
        title=target.title,
        feasible=not against,
        rejections=against,
        nearest=relaxation,
        binding=binding,
        records=tuple(dict.fromkeys(record.id for record in known.cited)),
    )
    return Appraisal(
        outcome,
        tuple(known.cited),
        tuple(f"{asked.workload.name} on {target.name}: {text}" for text in told),
        fleet,
    )


def _fleet(
    asked: Question,
    target: Target,
    price: Price,
    known: Standing,
    operating: Operating,
    terms: Terms,
    option: Option,
) -> Fleet:
    economics = asked.brief.economics
    streams = tuple(
        record
        for record in known.others
        if record.cell.scenario.kind == "single_stream" and record.verdict.state != "invalid"
    )
    candidate = candidate_of(
        target, operating, asked.load, asked.work, economics, option.replicas, terms
    )
    ahead = outlook(
        candidate,
        price,
        asked.demand,
        economics,
        asked.spare,
        asked.staff_usd_per_year,
        terms.integration_usd,
    )
    update = {
        "sizing": None if terms.metered else _sizing(asked, price, terms, option, streams),
        "tco": ahead.tco(),
        "price_age": price_age(price, asked.brief),
    }
    return Fleet(option.model_copy(update=update), operating, streams, candidate, ahead)


def _sizing(
    asked: Question, price: Price, terms: Terms, option: Option, streams: Sequence[Record]
) -> Sizing:
    """Return how the units of `option` were counted."""
    work, planned = asked.work, asked.brief.economics.utilisation_max
    needed = terms.sites * replicas_for(
        asked.load.peak * work.per_request / terms.sites, option.throughput.value, planned
    )
    needed = min(needed, option.replicas)
    sizing = sizing_of(
        needed,
        option.replicas - needed,
        asked.load.peak / planned,
        option.throughput.value / work.per_request,
        asked.workload.slo,
        streams,
        not_one_queue(asked.workload, asked.demand),
    )
    return in_lots(at_sites(sizing, terms.sites), needed, option.replicas, asked.spare, price)
