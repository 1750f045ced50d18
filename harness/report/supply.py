"""API, cloud, on premises and edge against one another: at which volume which of two is cheaper."""

from __future__ import annotations

from harness import units
from harness.mapper.uncertainty import volume_text
from harness.report import words
from harness.report.plot import Charted
from harness.report.view import WorkloadView
from harness.report.volume import numbered, turns
from harness.schema.base import Interval
from harness.schema.break_even import Crossing, KindBreakEven


def supply(view: WorkloadView) -> tuple[Charted, ...]:
    """Return the break-evens between kinds of supply as a table; empty with one kind only."""
    pairs = view.decision.break_evens
    if not pairs:
        return ()
    titles = {outcome.target: outcome.title for outcome in view.decision.outcomes}
    thumb, _, _ = pairs[0].rule_of_thumb.partition("; computed")
    numbers = {(turn.pair, turn.crossing): turn.number for turn in turns(view.decision)}
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
            rows=tuple(
                _row(
                    pair,
                    titles,
                    {at: number for (own, at), number in numbers.items() if own == index},
                )
                for index, pair in enumerate(pairs)
            ),
            told=("In words",),
        ),
    )


def _row(pair: KindBreakEven, titles: dict[str, str], numbers: dict[int, int]) -> tuple[str, ...]:
    first = words.kind(pair.kinds[0])
    return (
        f"{first[:1].upper()}{first[1:]} and {words.kind(pair.kinds[1])}",
        " and ".join(titles.get(name, name) for name in pair.targets),
        _turns(pair, numbers),
        _used(pair),
        units.percent(pair.drawn),
        pair.text,
    )


def _turns(pair: KindBreakEven, numbers: dict[int, int]) -> str:
    """Return the volumes at which the order turns, the first and the last with their intervals.

    `numbers` are those that the crossings have on the chart.
    """
    if not pair.crossings:
        low, high = (units.count(end) for end in pair.span)
        return f"nowhere from {low} to {high}"
    told = numbered(pair)
    shown = []
    for at in told:
        ends = pair.first if at == 0 else pair.last if at == pair.found - 1 else None
        number = f"{units.count(numbers[at])}: " if at in numbers else ""
        shown.append(f"{number}{_amount(pair.crossings[at].requests_per_month, ends)}")
    more = pair.found - len(told)
    if not more:
        return "; ".join(shown)
    rest = f"{units.count(more)} {'between' if len(told) > 1 else 'more'}"
    return f"{'; '.join(shown)}; and {rest}"


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
