"""What would have to change for a target to come in: of one rule, of a pair, of a whole brief."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

from harness import units
from harness.schema.brief import Brief
from harness.schema.decision import TargetOutcome
from harness.schema.demand import Agent
from harness.schema.rejection import Change, Rejection, Relaxation
from harness.schema.target import Target

Value = float | bool | str | tuple[str, ...] | None
Changed = tuple[str, Value, Value]
"""A field, its present value, and the one that is needed."""

BRIEF_FIELDS = ("constraints.", "demand.")
MEASURE = ", and measure against that"
"""How the words of a change end that was not measured; said once of several together."""
MOST_SHOWN = 5


def margin_below(number: float, limit: float) -> float | None:
    """Return (limit - number) / limit of a figure that must stay below; None at a limit of 0."""
    return (limit - number) / limit if limit else None


def margin_above(number: float, limit: float) -> float | None:
    """Return (number - limit) / limit of a figure that must stay above; None at a limit of 0."""
    return (number - limit) / limit if limit else None


def rejection(
    rule: str,
    target: Target,
    text: str,
    changes: Sequence[Changed],
    words: str,
    *,
    number: float | None = None,
    limit: float | None = None,
    margin: float | None = None,
    unit: str | None = None,
    remedy: str | None = None,
) -> Rejection:
    """Return the rule against `target` with the `changes`, in `words`, that would satisfy it.

    Without changes nothing that is declared would, and there is no relaxation.
    """
    return Rejection(
        rule=rule,  # type: ignore[arg-type]
        text=cut(text),
        number=number,
        limit=limit,
        margin=margin,
        unit=unit,
        remedy=remedy,
        relaxation=relaxation(rule, target.name, changes, words) if changes else None,
    )


def relaxation(rule: str, target: str, changes: Sequence[Changed], words: str) -> Relaxation:
    """Return the relaxation of `rule` by `changes`; exact where they are all of the brief."""
    made = tuple(Change(field=f, present=p, needed=n) for f, p, n in changes)
    return Relaxation(
        rule=rule,
        of=target,
        changes=made,
        exact=all(change.field.startswith(BRIEF_FIELDS) for change in made),
        share=_share(made),
        text=cut(f"{words} ({'; '.join(map(change_text, made))})"),
    )


def change_text(change: Change) -> str:
    """Return a change as text: `constraints.budget_usd_per_year 1,000 -> 1,235`."""
    present, needed = change.present, change.needed
    if _is_number(present) and _is_number(needed):
        needed = rounded(needed, up=needed > present)
    return f"{change.field}: {_value(present)} -> {_value(needed)}"


def _is_number(value: Value) -> TypeGuard[float]:
    return isinstance(value, float) and not isinstance(value, bool)


def nearest(
    target: str, against: Sequence[Rejection], usd_per_year: float | None = None
) -> tuple[Relaxation | None, tuple[str, ...]]:
    """Return the one relaxation that lets `target` in, or the rules that bind.

    There is one where a single rule speaks against the target and a specification can satisfy it;
    several limits of that rule have to change together.
    """
    rules = tuple(dict.fromkeys(each.rule for each in against))
    found = [each.relaxation for each in against if each.relaxation is not None]
    if len(rules) != 1 or len(found) != len(against):
        return None, tuple(rules)
    if len(found) == 1:
        return found[0].model_copy(update={"usd_per_year": usd_per_year}), ()
    changes: dict[str, Changed] = {}
    for change in (change for each in found for change in each.changes):
        known = changes.get(change.field)
        if known is None or _farther(change.needed, known):
            changes[change.field] = (change.field, change.present, change.needed)
    kept = set(changes.values())
    said = [
        each.text.partition(" (")[0]
        for each in found
        if any((c.field, c.present, c.needed) in kept for c in each.changes)
    ]
    words = "; ".join(dict.fromkeys(text.removesuffix(MEASURE) for text in said))
    if any(text.endswith(MEASURE) for text in said):
        words += MEASURE
    whole = relaxation(rules[0], target, list(changes.values()), words)
    return whole.model_copy(update={"usd_per_year": usd_per_year}), ()


def _farther(needed: Value, known: Changed) -> bool:
    """Whether `needed` is farther from the present number than what is known to be needed."""
    _, present, before = known
    if not (_is_number(present) and _is_number(before) and _is_number(needed)):
        return False
    return abs(needed - present) > abs(before - present)


def relaxations(outcomes: Sequence[TargetOutcome]) -> tuple[Relaxation, ...]:
    """Return the changes that make a target feasible where none is, the nearest first.

    Of one rule where one is enough for any target, else of as few together as there are. First
    those that are exact, then those that change a number, by the share of the present value; of
    those on lists the target that costs least. Of equal changes the cheapest target stays.
    """
    single = [outcome.nearest for outcome in outcomes if outcome.nearest is not None]
    found: dict[tuple[Change, ...], Relaxation] = {}
    for each in single or _fewest(outcomes):
        known = found.get(each.changes)
        if known is None or _order(each) < _order(known):
            found[each.changes] = each
    return tuple(sorted(found.values(), key=_order)[:MOST_SHOWN])


def _fewest(outcomes: Sequence[TargetOutcome]) -> list[Relaxation]:
    """Return what several rules take together, of the targets that the fewest rules bind."""
    found = [
        outcome
        for outcome in outcomes
        if outcome.binding and all(each.relaxation is not None for each in outcome.rejections)
    ]
    least = min((len(outcome.binding) for outcome in found), default=0)
    return [_together(outcome) for outcome in found if len(outcome.binding) == least]


def _together(outcome: TargetOutcome) -> Relaxation:
    parts = [each.relaxation for each in outcome.rejections if each.relaxation is not None]
    shares = [each.share for each in parts if each.share is not None]
    return Relaxation(
        rule=" and ".join(outcome.binding),
        of=outcome.target,
        changes=tuple(change for each in parts for change in each.changes),
        exact=all(each.exact for each in parts),
        share=max(shares) if len(shares) == len(parts) else None,
        text=cut(", and ".join(each.text for each in parts)),
    )


def _order(each: Relaxation) -> tuple[bool, bool, float, float, str]:
    cost = float("inf") if each.usd_per_year is None else each.usd_per_year
    return (not each.exact, each.share is None, each.share or 0.0, cost, each.of)


def relaxed(brief: Brief, workload: str, change: Relaxation, agent: Agent | None = None) -> Brief:
    """Return `brief` with the changes of an exact relaxation for `workload` made.

    `agent` is that of the workload's own demand, which the brief states whole where it changes its
    promise. ValueError if a change is not of the brief, or is of an agent that is not known.
    """
    tree = brief.model_dump(mode="json")
    for each in change.changes:
        section, *way = each.field.split(".")
        if section == "constraints":
            _put(tree["constraints"], way, each.needed)
        elif section == "demand":
            for row in tree["workloads"]:
                if row["workload"] == workload:
                    if way[0] == "agent" and row["demand"].get("agent") is None and agent:
                        row["demand"]["agent"] = agent.model_dump(mode="json")
                    _put(row["demand"], way, each.needed)
        else:
            raise ValueError(f"{each.field} is not a field of the brief")
    return Brief.model_validate(tree)


def _put(tree: dict[str, object], way: Sequence[str], value: Value) -> None:
    for name in way[:-1]:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            raise ValueError(f"the brief has no '{name}' of which to change '{way[-1]}'")
        tree = inner
    tree[way[-1]] = value


def _share(changes: Sequence[Change]) -> float | None:
    """Return the largest change of a number over its present value; None if one is no number."""
    shares = []
    for change in changes:
        present, needed = change.present, change.needed
        if not _is_number(present) or not _is_number(needed) or not present:
            return None
        shares.append(abs(needed / present - 1))
    return max(shares, default=None)


def _value(value: Value) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return value if isinstance(value, str) else units.number(value)


def rounded(value: float, up: bool) -> float:
    """Return `value` at the three digits that are shown, on the side that still lets in."""
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value else 1.0
    steps = value / min(step, 1.0)
    whole = math.ceil(steps - 1e-9) if up else math.floor(steps + 1e-9)
    return whole * min(step, 1.0)


def cut(text: str) -> str:
    """Return `text` at a length that a document takes."""
    return text if len(text) <= 2000 else f"{text[:1999]}…"
