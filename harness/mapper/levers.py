"""What declared levers would do to the yearly cost of a choice, and how that is known.

A lever never changes the choice. Where records stand at both ends its figure is measured, else
projected by a formula that is told with it. Formulas and examples: docs/demand.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.mapper.lever_bench import Bench, Served
from harness.mapper.lever_caches import other_demand, prefix_cached
from harness.mapper.lever_models import quantised, routed, smaller_model
from harness.schema.levers import (
    Lever,
    LeverOutcome,
    PrefixCaching,
    Quantisation,
    Routing,
    SmallerModel,
)


def lever_outcomes(bench: Bench, served: Served) -> tuple[LeverOutcome, ...]:
    """Return what each lever of the brief on this workload would do, in the brief's order."""
    return tuple(
        outcome
        for lever in bench.brief.levers
        if lever.workload == served.workload.name
        for outcome in _outcomes(bench, served, lever)
    )


def _outcomes(bench: Bench, served: Served, lever: Lever) -> Sequence[LeverOutcome]:
    today = served.decision.choice
    if today is None:
        return [
            LeverOutcome(
                kind=lever.kind,
                what=f"{lever.kind.replace('_', ' ')} of {lever.workload}",
                formula="cost with the lever / cost of the choice",
                reason="no target can be chosen today, so there is nothing to compare with",
            )
        ]
    if isinstance(lever, Quantisation):
        return quantised(bench, served, today)
    if isinstance(lever, SmallerModel):
        return [smaller_model(bench, served, today, lever)]
    if isinstance(lever, PrefixCaching):
        return [prefix_cached(bench, served, today, lever)]
    if isinstance(lever, Routing):
        return [routed(bench, served, today, lever)]
    return [other_demand(bench, served, today, lever)]
