"""API, cloud, on premises and edge against one another: at which volume which of two is cheaper."""

from __future__ import annotations

from harness import units
from harness.mapper.uncertainty import volume_text
from harness.report import words
from harness.report.plot import Charted
from harness.report.view import WorkloadView
from harness.schema.decision import Crossing, Interval, KindBreakEven

MOST_CROSSINGS = 3


def supply(view: WorkloadView) -> tuple[Charted, ...]:
    """Return the break-evens between kinds of supply as a table; empty with one kind only."""
    pairs = view.decision.break_evens
    if not pairs:
        return ()
    titles = {outcome.target: outcome.title for outcome in view.decision.outcomes}
    thumb, _, _ = pairs[0].rule_of_thumb.partition("; computed")
    return (
        Charted(
            heading="API, cloud, on premises or edge: the volume at which it turns",
            caption=f"Break-even of each pair of kinds, {view.decision.title}",
            plot=None,
            legend=(),
            note=f"By the best option of each kind. Beside it, as a rule of thumb: {thumb}.",
            heads=(
                ("Between", False),
                ("Best of each", False),
                ("Turns at, requests a month", True),
                ("Utilisation there", True),
                ("Draws in which it turns", True),
                ("In words", False),
            ),
            rows=tuple(_row(pair, titles) for pair in pairs),
            told=("In words",),
        ),
    )


def _row(pair: KindBreakEven, titles: dict[str, str]) -> tuple[str, ...]:
    first = words.kind(pair.kinds[0])
    return (
        f"{first[:1].upper()}{first[1:]} and {words.kind(pair.kinds[1])}",
        " and ".join(titles.get(name, name) for name in pair.targets),
        _turns(pair),
        _used(pair),
        units.percent(pair.drawn),
        pair.text,
    )


def _turns(pair: KindBreakEven) -> str:
    """Return the volumes at which the order turns, the first and the last with their intervals."""
    if not pair.crossings:
        low, high = (units.count(end) for end in pair.span)
        return f"nowhere from {low} to {high}"
    shown = [_amount(each.requests_per_month, None) for each in pair.crossings]
    if pair.first is not None:
        shown[0] = _amount(pair.crossings[0].requests_per_month, pair.first)
    if pair.last is not None and pair.found == len(shown) > 1:
        shown[-1] = _amount(pair.crossings[-1].requests_per_month, pair.last)
    if pair.found <= MOST_CROSSINGS:
        return "; ".join(shown)
    return f"{shown[0]}; and {units.count(pair.found - 1)} more"


def _amount(requests: float, interval: Interval | None) -> str:
    text = volume_text(requests)
    if interval is None or interval.low is None or interval.high is None:
        return text
    return f"{text} ({volume_text(interval.low)} to {volume_text(interval.high)})"


def _used(pair: KindBreakEven) -> str:
    """Return how busy the units of the second kind are at the last turn."""
    if not pair.crossings:
        return "does not apply"
    at: Crossing = pair.crossings[-1]
    found = pair.utilisation
    if found is None:
        return units.percent(at.utilisation)
    return units.interval(at.utilisation, found.low, found.high, "share")
