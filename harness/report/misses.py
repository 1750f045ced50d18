"""How near a target is that was not chosen: the least change that lets it in, and what it costs."""

from __future__ import annotations

from harness import units
from harness.report import words
from harness.report.view import WorkloadView
from harness.schema.decision import TargetOutcome
from harness.schema.rejection import Rejection, Relaxation

MOST_CHEAPER = 3


def nearest(outcome: TargetOutcome) -> str:
    """Return the least change that lets a target in, or which rules bind; empty: none is known.

    The fields to change are left out: they stand under "targets not chosen".
    """
    if outcome.nearest is not None:
        return f"To let it in: {_relaxed(outcome.nearest, fields=False)}"
    if len(outcome.binding) > 1 and "not_measured" not in outcome.binding:
        rules = ", ".join(words.rule(code).lower() for code in outcome.binding)
        return f"No single change lets it in: {rules}"
    return ""


def remedy(rejection: Rejection) -> str:
    """Return what would change a rejection: what to do, and the least change of a limit."""
    told = [rejection.remedy] if rejection.remedy else []
    if rejection.relaxation is not None:
        told.append(_relaxed(rejection.relaxation))
    return "; or ".join(told) or "none recorded"


def changes(view: WorkloadView) -> tuple[str, ...]:
    """Return the nearest changes that would give an answer, where there is none."""
    titles = {outcome.target: outcome.title for outcome in view.decision.outcomes}
    return tuple(
        f"{_relaxed(each)}: {titles.get(each.of, each.of)}" for each in view.decision.relaxations
    )


def cheaper(view: WorkloadView) -> tuple[str, ...]:
    """Return which targets would cost less than the choice, and the rule that each breaks."""
    choice = view.decision.choice
    if choice is None:
        return ()
    found = []
    for outcome in view.decision.outcomes:
        cost = None if outcome.nearest is None else outcome.nearest.usd_per_year
        if outcome.feasible or cost is None or cost >= choice.cost_per_year_usd:
            continue
        rules = ", ".join(dict.fromkeys(words.rule(r.rule).lower() for r in outcome.rejections))
        found.append((cost, f"{outcome.title}, {units.usd(cost)} a year, is ruled out: {rules}"))
    texts = [text for _, text in sorted(found)]
    more = len(texts) - MOST_CHEAPER
    return (*texts[:MOST_CHEAPER], f"{units.count(more)} more") if more > 0 else tuple(texts)


def _relaxed(relaxation: Relaxation, *, fields: bool = True) -> str:
    text = relaxation.text
    if not fields and relaxation.changes:
        text = text.partition(f" ({relaxation.changes[0].field}:")[0]
    if relaxation.usd_per_year is not None:
        text += f"; then {units.usd(relaxation.usd_per_year)} a year"
    told = relaxation.exact or "measure" in text
    return text if told else f"{text}; measure it against that first"
