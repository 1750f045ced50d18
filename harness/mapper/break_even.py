"""Renting against buying, and each kind of supply against each: where the cheaper one changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from harness import units
from harness.mapper.candidate import Candidate
from harness.mapper.crossings import Crossings, crossings
from harness.mapper.uncertainty import Contest, volume_text
from harness.schema.break_even import BreakEven, KindBreakEven
from harness.schema.confidence import Odds
from harness.schema.option import OptionKind

RULE_OF_THUMB = (0.6, 0.7)
"""Utilisation above which buying is said to pay (I. Ivchenko, doi 10.5281/zenodo.18678386)."""

THUMB_SOURCE = "I. Ivchenko, doi 10.5281/zenodo.18678386"

KINDS: dict[OptionKind, str] = {
    "api": "API",
    "cloud": "cloud",
    "on_premises": "on premises",
    "edge": "edge",
}
"""The kinds of supply in words, those that ask for less to be owned first."""


def break_even(contest: Contest, odds: Sequence[Odds]) -> BreakEven | None:
    """Return where renting and buying units cost the same; None without an option of each kind.

    The option of each kind is the one with the least expected regret. A purchase whose energy is
    not known cannot be compared: None.
    """
    kinds: dict[bool, Candidate] = {}
    for candidate in _complete(contest, odds):
        if not candidate.metered:
            kinds.setdefault(candidate.rented, candidate)
    if len(kinds) < 2:
        return None
    names = (kinds[True].target, kinds[False].target)
    found = crossings(contest.among(names))
    thumb = f"{units.percent(RULE_OF_THUMB[0])}-{units.percent(RULE_OF_THUMB[1])}"
    return BreakEven(
        rented=names[0],
        purchased=names[1],
        span=found.span,
        crossings=found.listed,
        found=found.found,
        first=found.first,
        last=found.last,
        drawn=found.drawn,
        always=found.always,
        text=_text(
            found, names, "the purchased units", f"; the rule of thumb is {thumb} utilisation"
        ),
    )


def break_evens(contest: Contest, odds: Sequence[Odds]) -> tuple[KindBreakEven, ...]:
    """Return where API, cloud, on premises and edge cost the same, in pairs.

    Of each kind the option with the least expected regret stands for it, if its cost is whole.
    """
    best: dict[OptionKind, Candidate] = {}
    for candidate in _complete(contest, odds):
        best.setdefault(candidate.kind, candidate)
    found = []
    for kinds in combinations([kind for kind in KINDS if kind in best], 2):
        names = (best[kinds[0]].target, best[kinds[1]].target)
        pair = crossings(contest.among(names))
        found.append(
            KindBreakEven(
                kinds=kinds,
                targets=names,
                span=pair.span,
                crossings=pair.listed,
                found=pair.found,
                first=pair.first,
                last=pair.last,
                utilisation=pair.utilisation,
                drawn=pair.drawn,
                always=pair.always,
                rule_of_thumb=rule_of_thumb(pair),
                text=f"{KINDS[kinds[0]]} or {KINDS[kinds[1]]}: "
                + _text(pair, names, f"the units of {names[1]}", ""),
            )
        )
    return tuple(found)


def rule_of_thumb(found: Crossings) -> str:
    """Return the rule of thumb with its source, and how the computed utilisation compares."""
    low, high = RULE_OF_THUMB
    text = (
        f"units of one's own are said to pay from {units.percent(low)}-{units.percent(high)} "
        f"utilisation on ({THUMB_SOURCE})"
    )
    if found.end is None:
        return f"{text}; computed: no crossing at the planned figures"
    computed = found.end.utilisation
    side = "below it" if computed < low else "above it" if computed > high else "within it"
    return f"{text}; computed: {units.percent(computed)}, {side}"


def _complete(contest: Contest, odds: Sequence[Odds]) -> list[Candidate]:
    """Return the candidates whose cost is whole, least expected regret first."""
    by_name = {c.target: c for c in contest.candidates}
    return [c for c in (by_name[each.target] for each in odds) if c.complete]


def _text(found: Crossings, names: tuple[str, str], owned: str, rule: str) -> str:
    """Return the break-even in words; `owned` are the units whose utilisation is told."""
    ends = " and ".join(volume_text(v) for v in found.span)
    if found.end is None:
        wins = f"{found.always} is cheaper"
        if found.tied:
            wins = "the two cost the same"
            if found.always is not None:
                dearer = names[0] if found.always == names[1] else names[1]
                wins = f"{found.always} costs as much as {dearer} or less"
        text = (
            f"at the planned figures {wins} at every volume between {ends} requests a month, "
            f"whatever the utilisation{rule}"
        )
        if found.drawn:
            text += f"; {units.percent(found.drawn)} of the draws have a crossing"
        return text
    cheaper = found.end.cheaper_above
    other = names[0] if cheaper == names[1] else names[1]
    text = (
        f"{cheaper} costs less than {other} from "
        f"{volume_text(found.end.requests_per_month)} requests a month on"
    )
    if found.last is not None and found.last.low is not None and found.last.high is not None:
        text += f" ({volume_text(found.last.low)} to {volume_text(found.last.high)})"
    text += f", where {owned} are used to {units.percent(found.end.utilisation)}{rule}"
    if found.found > 1:
        start = volume_text(found.listed[0].requests_per_month)
        text += f"; from {start} on the order turns {units.count(found.found)} times"
    if found.drawn < 1:
        text += f"; {units.percent(found.drawn)} of the draws have a crossing"
    return text
