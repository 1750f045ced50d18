"""What the options cost over the volume: a chart of steps, its turns numbered, and its table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness import units
from harness.mapper.uncertainty import volume_text
from harness.report.charts import CurveChart, Numbered
from harness.report.frame import Tick, from_left, from_top, place, x_at
from harness.report.horizon import named, remarks
from harness.report.labelled import Named, Series, labelled
from harness.report.option_tables import cost_is_modelled
from harness.report.plot import Charted
from harness.report.scale import Scale
from harness.report.text import clip
from harness.report.view import Row, WorkloadView
from harness.schema.break_even import Crossing, KindBreakEven
from harness.schema.decision import WorkloadDecision
from harness.schema.volume import VolumeCosts, VolumeLine

MOST_TURNS = 3
"""Of a pair that turns more often, the first and the last turn are numbered."""

SAME_VOLUME = 1e-5
"""Relative difference of two volumes that is the rounding of the decision."""

STRAIGHT = 0.15
"""Points that lie this near to the line past them are not drawn: a fifth of a pixel."""

TURNED = (("ring", "another kind becomes cheaper: numbered as in the table of turns"),)
LONGEST_TICK = 1e6
SIZES = ((1.0, ""), (1e3, "thousand "), (1e6, "million "))
"""What dollars are counted in, so that a number fits beside the axis."""

NUMBER_WIDTH, NUMBER_HEIGHT = 12.0, 10.0
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that is numbered on the chart: that of a pair of kinds, and the cost there."""

    number: int
    pair: int
    crossing: int
    requests_per_month: float
    usd_per_year: float


def volume(view: WorkloadView) -> tuple[Charted, ...]:
    """Return the cost of the first year over the volume; empty where the decision has none."""
    costs = view.decision.volume_costs
    rows = {row.outcome.target: row for row in view.rows}
    options = {name for name, row in rows.items() if row.option is not None}
    if costs is None or not options.issuperset(line.target for line in costs.lines):
        return ()
    shown = [(rows[line.target], line) for line in costs.lines]
    return (
        Charted(
            heading="Cost against volume",
            caption=f"Cost of the first year by volume, {view.decision.title}",
            plot=None,
            legend=(("upright", "planned volume"), *(TURNED if turns(view.decision) else ())),
            note=_note(costs, rows, shown),
            heads=(("Requests a month", False), *((named(row), True) for row, _ in shown)),
            rows=tuple(_rows(costs)),
            curves=_chart(view.decision, view.key, costs, shown),
        ),
    )


def turns(decision: WorkloadDecision) -> tuple[Turn, ...]:
    """Return the turns that are numbered, in the order of the pairs; empty without a chart.

    Of a pair they are all of at most three; else the first, and the last if it is told.
    """
    if decision.volume_costs is None:
        return ()
    lines = {line.target: line for line in decision.volume_costs.lines}
    found: list[Turn] = []
    for index, pair in enumerate(decision.break_evens):
        both = [lines[name] for name in pair.targets if name in lines]
        for at in numbered(pair) if len(both) == len(pair.targets) else ():
            crossing = pair.crossings[at]
            usd = _cost_at(crossing, both)
            found.append(Turn(len(found) + 1, index, at, crossing.requests_per_month, usd))
    return tuple(found)


def numbered(pair: KindBreakEven) -> tuple[int, ...]:
    """Return which of the crossings of `pair` are told one by one."""
    count = len(pair.crossings)
    if pair.found <= MOST_TURNS:
        return tuple(range(count))
    return (0, count - 1) if pair.found == count else (0,)


def _cost_at(crossing: Crossing, both: Sequence[VolumeLine]) -> float:
    """Return what both cost at `crossing`; where one has a step there, it passes the other."""
    costs = [_near(line, crossing.requests_per_month) for line in both]
    level = min(costs, key=lambda each: max(each) - min(each))
    return math.fsum(level) / len(level)


def _near(line: VolumeLine, at: float) -> list[float]:
    """Return the costs of `line` at the volume `at`, or at the one nearest to it."""
    known = list(zip(line.requests_per_month, line.usd_per_year, strict=True))
    here = [usd for volume, usd in known if abs(volume / at - 1) <= SAME_VOLUME]
    return here or [min(known, key=lambda point: abs(math.log(point[0] / at)))[1]]


def _decades(costs: VolumeCosts) -> tuple[float, ...]:
    """Return the planned volume, and a tenth, a hundredth, ten and a hundred times of it."""
    return tuple(costs.planned * factor for factor in (0.01, 0.1, 1.0, 10.0, 100.0))


def _at(line: VolumeLine, volume: float) -> int:
    """Return which point of `line` is at `volume`, or nearest to it."""
    known = range(len(line.units))
    return min(known, key=lambda i: abs(math.log(line.requests_per_month[i] / volume)))


def _rows(costs: VolumeCosts) -> Iterator[tuple[str, ...]]:
    for volume in _decades(costs):
        planned = ", planned" if volume == costs.planned else ""
        at = [(line, _at(line, volume)) for line in costs.lines]
        yield (f"{volume_text(volume)}{planned}", *(_cell(line, index) for line, index in at))


def _cell(line: VolumeLine, index: int) -> str:
    count = line.units[index]
    fleet = f" for {units.count(count)} unit{'' if count == 1 else 's'}" if count else ""
    return f"{units.usd(line.usd_per_year[index])}{fleet}"


def _note(costs: VolumeCosts, rows: dict[str, Row], shown: Sequence[tuple[Row, VolumeLine]]) -> str:
    note = (
        "All else as planned; whether the rules let a target in is known at the planned volume "
        "only. A step is one more unit, or lot of units; of large fleets a line joins the volumes "
        "looked at."
    )
    if any(row.remark for row, _ in shown):
        note += (
            " Hollow marks: noisy, or not measured by this harness; a dashed line: not measured by "
            f"it.{remarks(row for row, _ in shown)}"
        )
    modelled = [row.title for row, _ in shown if row.option and cost_is_modelled(row.option)]
    if modelled:
        note += f" With modelled* energy: {', '.join(modelled)}."
    left = [rows[name].title for name in costs.left_out if name in rows]
    if left:
        note += f" Not drawn, since a part of the cost is not known: {', '.join(left)}."
    return note


def _chart(
    decision: WorkloadDecision,
    key: str,
    costs: VolumeCosts,
    shown: Sequence[tuple[Row, VolumeLine]],
) -> CurveChart:
    across = Scale.spanning(v for _, line in shown for v in line.requests_per_month)
    up = Scale.spanning(usd for _, line in shown for usd in line.usd_per_year)
    name, ticks = _dollars(up)
    chart = labelled(
        f"{key}-volume",
        f"Cost of the first year of {decision.title} against its volume",
        Named("Requests a month", across, tuple((t, units.count(t)) for t in across.ticks())),
        Named(name, up, ticks),
        [_series(row, line, costs, across, up) for row, line in shown],
    )
    return replace(
        chart,
        upright=Tick(x_at(across, costs.planned), "planned"),
        numbered=tuple(_numbered(turns(decision), across, up)),
    )


def _dollars(up: Scale) -> tuple[str, tuple[tuple[float, str], ...]]:
    """Return the name of the axis and its numbers, in thousands or millions if they are long."""
    fitting = [each for each in SIZES if up.high / each[0] <= LONGEST_TICK]
    size, word = fitting[0] if fitting else SIZES[-1]
    return f"First year, {word}USD", tuple((t, units.bare(t / size)) for t in up.ticks())


def _series(row: Row, line: VolumeLine, costs: VolumeCosts, across: Scale, up: Scale) -> Series:
    option = row.option
    assert option is not None
    marked = {_at(line, volume) for volume in _decades(costs)}
    every = list(zip(line.requests_per_month, line.usd_per_year, strict=True))
    kept = _straightened([(from_left(across, v), from_top(up, usd)) for v, usd in every], marked)
    told = ", ".join(
        f"{units.usd(line.usd_per_year[i])} at {volume_text(line.requests_per_month[i])}"
        for i in sorted(marked)[::2]
    )
    return Series(
        label=row.title,
        standing=row.standing,
        points=tuple(every[i] for i in kept),
        marked=tuple(kept.index(i) for i in sorted(marked)),
        told=f"{clip(named(row), 60)}: {told}",
        hollow=bool(row.remark),
        dashed=option.evidence != "measured",
    )


def _straightened(points: Sequence[Point], needed: set[int]) -> list[int]:
    """Return which of `points` (rising to the right) keep the line as it is drawn."""
    kept = [0]
    for index in range(1, len(points) - 1):
        between = points[kept[-1] + 1 : index + 1]
        if index in needed or not _on_line(points[kept[-1]], points[index + 1], between):
            kept.append(index)
    return [*kept, len(points) - 1]


def _on_line(start: Point, end: Point, between: Sequence[Point]) -> bool:
    """Return whether the points between are on the line from `start` to `end`, as one sees it."""
    wide, high = end[0] - start[0], end[1] - start[1]
    length = math.hypot(wide, high)
    if not length:
        return True
    return all(
        abs(wide * (y - start[1]) - high * (x - start[0])) <= STRAIGHT * length for x, y in between
    )


def _numbered(found: Sequence[Turn], across: Scale, up: Scale) -> Iterator[Numbered]:
    """Yield the turns, each with its number above it and none upon another."""
    taken: list[Point] = []
    for turn in found:
        x, y = from_left(across, turn.requests_per_month), from_top(up, turn.usd_per_year)
        label = (x, y - 7)
        while any(
            abs(label[0] - other[0]) < NUMBER_WIDTH and abs(label[1] - other[1]) < NUMBER_HEIGHT
            for other in taken
        ):
            label = (label[0], label[1] - NUMBER_HEIGHT)
        taken.append(label)
        yield Numbered(place(x), place(y), place(label[0]), place(label[1]), str(turn.number))
