"""Levers whose other end is a record too: another precision, a smaller model, two models."""

from __future__ import annotations

import math

from harness import units
from harness.mapper.lever_bench import Bench, Served, outcome_of, priced, quality_of, unknown
from harness.mapper.terms import stack_of
from harness.schema.decision import TargetOutcome
from harness.schema.demand import Demand
from harness.schema.levers import LeverOutcome, Routing, SmallerModel
from harness.schema.option import Option
from harness.schema.target import Target
from harness.schema.workload import Workload


def quantised(bench: Bench, served: Served, today: Option) -> list[LeverOutcome]:
    """Return each variant of the chosen chip at another precision, as it was measured."""
    chosen = bench.targets[today.target]
    formula = "cost of the variant's fleet / cost of the choice, both at their own throughput"
    found = []
    for outcome in served.decision.outcomes:
        other = bench.targets[outcome.target]
        if not _variant(chosen, other):
            continue
        what = (
            f"{chosen.runtime.precision} to {other.runtime.precision} on {other.hardware.chip} "
            f"({other.name})"
        )
        option = next((o for o in served.decision.options if o.target == other.name), None)
        if option is None:
            found.append(
                unknown(
                    "quantisation",
                    what,
                    today,
                    formula,
                    f"{other.name} cannot be used: {_against(outcome)}",
                    *_remedies(outcome),
                )
            )
            continue
        differs = [
            f"{name} differs too: {first} and {second}"
            for name, first, second in (
                ("the adapter", chosen.runtime.adapter, other.runtime.adapter),
                ("the site", chosen.site.region, other.site.region),
            )
            if first != second
        ]
        found.append(
            outcome_of(
                "quantisation",
                what,
                today,
                option,
                formula,
                measured=True,
                assumptions=tuple(differs),
                quality=quality_of(served.points[other.name]),
                needs=("the quality figures accepted by whoever answers for the use",),
            )
        )
    if found:
        return found
    return [
        unknown(
            "quantisation",
            f"another precision than {chosen.runtime.precision} on {chosen.hardware.chip}",
            today,
            formula,
            "no other precision of this chip is among the targets",
            "a target with the same chip and another precision, measured",
        )
    ]


def _variant(chosen: Target, other: Target) -> bool:
    """Return whether `other` is the chosen chip at another precision."""
    first, second = chosen.hardware, other.hardware
    same = (first.vendor, first.chip, first.count) == (second.vendor, second.chip, second.count)
    return same and chosen.runtime.precision != other.runtime.precision


def smaller_model(bench: Bench, served: Served, today: Option, lever: SmallerModel) -> LeverOutcome:
    """Return the fleet that serves all requests with the smaller model."""
    other = bench.workloads[lever.smaller]
    what = f"the model of {other.name} for all requests"
    formula = "cost of its own best fleet at the same requests and peak / cost of the choice"
    found = bench.decide(other, served.demand)
    option = found.decision.choice
    if option is None:
        return unknown("smaller_model", what, today, formula, found.decision.reason)
    differs = _differences(served.workload, other)
    return outcome_of(
        "smaller_model",
        what,
        today,
        option,
        formula,
        measured=not differs,
        assumptions=differs,
        quality=quality_of(found.points[option.target]),
        needs=(_good_enough(other),),
    )


def routed(bench: Bench, served: Served, today: Option, lever: Routing) -> LeverOutcome:
    """Return two fleets: the choice's for what stays, the small model's best for the rest."""
    small = bench.workloads[lever.small]
    what = f"{units.percent(lever.share)} of the requests to the model of {small.name}"
    formula = (
        f"cost of {units.number(1 - lever.share)} of the requests on the choice + cost of "
        f"{units.number(lever.share)} on the best fleet of {small.name}, staff counted once"
    )
    stays, goes = (_part(served.demand, share) for share in (1 - lever.share, lever.share))
    found = bench.decide(small, goes)
    option = found.decision.choice
    if option is None:
        return unknown("routing", what, today, formula, found.decision.reason)
    large = priced(bench, served, today.target, stays)
    shared = {"staff"}
    if stack_of(bench.targets[option.target]) == stack_of(bench.targets[today.target]):
        shared.add("integration")
    twice = math.fsum(x.usd_per_year or 0.0 for x in option.cost_lines if x.name in shared)
    assumptions = [
        *_differences(served.workload, small),
        "the requests of both models come at the same hours, each model has units of its own, and "
        "the router costs nothing",
    ]
    if served.demand.agent is not None and served.demand.agent.slo is not None:
        assumptions.append("the promise on whole tasks is not held against the two together")
    return outcome_of(
        "routing",
        what,
        today,
        option,
        formula,
        measured=False,
        usd=large.cost_per_year_usd + option.cost_per_year_usd - twice,
        assumptions=tuple(assumptions),
        quality=quality_of(found.points[option.target]),
        needs=(
            "a router that tells which requests the small model answers well enough, measured",
            _good_enough(small),
        ),
    )


def _good_enough(other: Workload) -> str:
    return (
        f"proof that the answers of {other.name} are good enough: its gates compare it with its "
        "own reference, not with the model it stands for"
    )


def _differences(workload: Workload, other: Workload) -> tuple[str, ...]:
    """Return what has to be assumed because `other` was measured under something else."""
    found = []
    if workload.slo != other.slo:
        found.append(f"the throughput of {other.name} is at its own SLO, not at this workload's")
    if workload.inputs != other.inputs:
        found.append(f"the requests cost what those of {other.name} do, whose inputs differ")
    return tuple(found)


def _part(demand: Demand, share: float) -> Demand:
    """Return `share` of the requests of `demand`, at the same hours."""
    return demand.model_copy(
        update={
            "requests_per_month": demand.requests_per_month * share,
            "tasks_per_month": None,
            "agent": None,
            "burst": None,
        }
    )


def _against(outcome: TargetOutcome) -> str:
    return "; ".join(f"{r.rule}: {r.text}" for r in outcome.rejections)


def _remedies(outcome: TargetOutcome) -> tuple[str, ...]:
    return tuple(dict.fromkeys(r.remedy for r in outcome.rejections if r.remedy))
