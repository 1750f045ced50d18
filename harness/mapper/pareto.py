"""Which options are good at something: the front over cost, latency, energy and lead time.

An option leaves the front only where another is no worse in everything, even at the ends of the
90 % intervals. What is not known counts as worst, never as best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness import units
from harness.mapper.feasibility import limit_text
from harness.mapper.operating import Operating, tightest
from harness.schema.base import Interval
from harness.schema.decision import ParetoAxis, ParetoPoint
from harness.schema.option import Option
from harness.schema.target import Target
from harness.schema.workload import SloLimit

TO_90 = 1.644854 / 1.959964
"""What a 90 % interval is wide of a 95 % one."""

Sides = tuple[tuple[str | None, float, float] | None, ...]
"""For each axis its basis and the ends of its 90 % interval."""


def pareto(
    options: Sequence[Option],
    targets: Mapping[str, Target],
    operating: Mapping[str, Operating],
) -> tuple[ParetoPoint, ...]:
    """Return `options` in their order as points of the front, or by whom they are dominated.

    The latency is that of the promise that the first option comes nearest to breaking.
    """
    if not options:
        return ()
    limit = tightest(options[0].slo).limit
    axes = {o.target: _axes(o, targets[o.target], operating[o.target], limit) for o in options}
    sides = {name: sides_of(own) for name, own in axes.items()}
    found = []
    for option in options:
        own = axes[option.target]
        better = tuple(
            other
            for other, theirs in sides.items()
            if other != option.target and dominates(theirs, sides[option.target])
        )
        found.append(
            ParetoPoint(target=option.target, axes=own, on_front=not better, dominated_by=better)
        )
    return tuple(found)


def sides_of(axes: Sequence[ParetoAxis]) -> Sides:
    """Return each axis as what it is measured by and its 90 % interval; None: it is not known."""
    return tuple(None if a.figure is None else (a.basis, *box(a.figure)) for a in axes)


def dominates(first: Sides, second: Sides) -> bool:
    """Whether `first` is no worse than `second` in all, and better in one, over whole intervals.

    An axis that neither knows is left out; what only `second` lacks, `first` is better in. Energies
    of different boundaries do not compare, so neither dominates.
    """
    better = False
    for one, other in zip(first, second, strict=True):
        if one is None:
            if other is not None:
                return False
            continue
        if other is None:
            better = True
            continue
        if one[0] != other[0] or one[2] > other[1]:
            return False
        better = better or one[1] < other[2]
    return better


def box(figure: Interval) -> tuple[float, float]:
    """Return the 90 % interval of a figure with 95 % bounds; infinite where there is no bound."""
    low = -math.inf if figure.low is None else figure.value + (figure.low - figure.value) * TO_90
    high = math.inf if figure.high is None else figure.value + (figure.high - figure.value) * TO_90
    return low, high


def _axes(
    option: Option, target: Target, operating: Operating, limit: SloLimit
) -> tuple[ParetoAxis, ...]:
    return (
        ParetoAxis(
            name="cost", unit=f"USD per {option.cost_unit}", figure=option.cost_per_unit_usd
        ),
        _latency(operating, limit),
        ParetoAxis(
            name="energy",
            unit="J per request",
            figure=option.energy_j_per_request,
            basis=option.energy_boundary,
            reason=None
            if option.energy_j_per_request is not None
            else option.energy_reason or units.NOT_MEASURED,
        ),
        _lead_time(target),
    )


def _latency(operating: Operating, limit: SloLimit) -> ParetoAxis:
    """Return the promised quantile at the operating point, the widest of the repeats' intervals."""
    name = f"{limit.metric}_s.p{limit.percentile:g}"
    check = next((each for each in operating.slo if each.limit == limit), None)
    value = None if check is None else check.value_s
    if check is None or value is None:
        return ParetoAxis(
            name="latency", unit="s", figure=None, reason=f"{limit_text(limit)} has no value"
        )
    lows = [metric.low for p in operating.points if (metric := p.metrics.get(name)) is not None]
    known = [low for low in lows if low is not None]
    return ParetoAxis(
        name="latency",
        unit="s",
        figure=Interval(
            value=value,
            low=min(known) if known and len(known) == len(operating.points) else None,
            high=check.high_s,
        ),
        basis=f"p{limit.percentile:g} {limit.metric}",
    )


def _lead_time(target: Target) -> ParetoAxis:
    weeks = None if target.price is None else target.price.lead_time_weeks
    return ParetoAxis(
        name="lead_time",
        unit="weeks",
        figure=None if weeks is None else Interval(value=weeks, low=weeks, high=weeks),
        reason="its price states no lead time" if weeks is None else None,
    )
