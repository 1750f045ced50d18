"""The front and the nearest misses of a workload, as lines for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import units

if TYPE_CHECKING:
    from harness.schema.decision import WorkloadDecision


def front_lines(answer: WorkloadDecision) -> list[str]:
    """Return who is on the front and who is behind whom; nothing with fewer than two options."""
    if len(answer.pareto) < 2:
        return []
    known = [
        axis.name.replace("_", " ")
        for number, axis in enumerate(answer.pareto[0].axes)
        if any(point.axes[number].figure is not None for point in answer.pareto)
    ]
    front = [point.target for point in answer.pareto if point.on_front]
    behind = [
        f"{point.target} (behind {', '.join(point.dominated_by)})"
        for point in answer.pareto
        if not point.on_front
    ]
    text = f"  best in some way, by {', '.join(known)}: {', '.join(front)}"
    return [f"{text}; not: {', '.join(behind)}" if behind else text]


def miss_lines(answer: WorkloadDecision) -> list[str]:
    """Return the least change that lets each target in, the nearest for the whole first.

    Targets that were not measured are left out of those that several rules bind: there may be more.
    """
    lines = []
    if answer.relaxations:
        lines += ["", "  the nearest changes that would give an answer"]
        for each in answer.relaxations:
            cost = "" if each.usd_per_year is None else f", {units.usd(each.usd_per_year)} a year"
            check = "" if each.exact else "; measure it against that first"
            lines.append(f"  - {each.text}: {each.of}{cost}{check}")
    shown = {each.of for each in answer.relaxations}
    near = [
        f"  - {outcome.target}: {outcome.nearest.text}"
        for outcome in answer.outcomes
        if outcome.nearest is not None and outcome.target not in shown
    ]
    if near:
        lines += ["", "  what would let a target in", *near]
    several = [
        f"  - {outcome.target}: {', '.join(outcome.binding)}"
        for outcome in answer.outcomes
        if len(outcome.binding) > 1 and "not_measured" not in outcome.binding
    ]
    if several:
        lines += ["", "  where several rules bind together", *several]
    return lines
