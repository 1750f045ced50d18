"""What the options cost over the volume: the curves that the break-evens are crossings of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from harness.mapper.candidate import FloatArray, units_in
from harness.mapper.crossings import AFTER, BEFORE, WIDEST, steps
from harness.mapper.draws import planned
from harness.mapper.uncertainty import Contest
from harness.schema.break_even import KindBreakEven
from harness.schema.volume import VolumeCosts, VolumeLine

GRID = 25
"""Volumes from the lowest to the highest, six for each factor of ten; the planned is the middle."""

MOST_LINES = 5
MOST_STEPS = 12
"""Steps of a fleet with exact volumes; further ones add less than a tenth, and go by the grid."""


def volume_costs(
    contest: Contest, compared: Sequence[str], pairs: Sequence[KindBreakEven]
) -> VolumeCosts | None:
    """Return the yearly costs of the options `compared` and of those in `pairs`, five at most.

    From a hundredth of the planned volume to a hundred times it, with the planned volume, each
    crossing of `pairs` and the first steps of each fleet among the volumes. Figures have six
    significant digits, the planned volume all of them. None if no cost is whole.
    """
    complete = {c.target for c in contest.candidates if c.complete}
    asked = dict.fromkeys([*compared, *(name for pair in pairs for name in pair.targets)])
    names = [name for name in asked if name in complete][:MOST_LINES]
    if not names:
        return None
    rivals = contest.among(names)
    volume = rivals.future.demand.requests_per_month
    factors = [
        _factors(changes, [c / volume for c in _crossings(pairs, name)])
        for name, changes in zip(names, _changes(rivals), strict=True)
    ]
    every = np.concatenate(factors)
    cases = planned(rivals.candidates, rivals.future.demand, every)
    costs = rivals.costs(cases)
    fleets = units_in(rivals.candidates, cases, rivals.utilisation_max, rivals.spare)
    lines, start = [], 0
    for row, name in enumerate(names):
        part = slice(start, start + len(factors[row]))
        start = part.stop
        lines.append(_line(name, volume, every[part], fleets[row, part], costs[row, part]))
    return VolumeCosts(
        planned=volume,
        lines=tuple(lines),
        left_out=tuple(name for name in asked if name not in complete),
    )


def _crossings(pairs: Sequence[KindBreakEven], target: str) -> Iterable[float]:
    """Yield the volumes at which `target` costs what another one does."""
    for pair in pairs:
        if target in pair.targets:
            yield from (crossing.requests_per_month for crossing in pair.crossings)


def _changes(rivals: Contest) -> list[FloatArray]:
    """Return, by candidate, the first volume factors at which its number of units does change.

    Units that are sold in lots are not added at every step.
    """
    found = []
    for row, inside in enumerate(steps(rivals)):
        counts = [
            units_in(
                rivals.candidates,
                planned(rivals.candidates, rivals.future.demand, inside * side),
                rivals.utilisation_max,
                rivals.spare,
            )[row]
            for side in (BEFORE, AFTER)
        ]
        found.append(inside[counts[0] != counts[1]][:MOST_STEPS])
    return found


def _factors(changes: FloatArray, crossed: Sequence[float]) -> FloatArray:
    """Return the factors to look at: a grid, and both sides of each step and crossing."""
    grid = np.geomspace(1 / WIDEST, WIDEST, GRID)
    grid[GRID // 2] = 1.0
    sides = np.concatenate([changes, np.array(crossed)])
    found: FloatArray = np.unique(np.concatenate([grid, sides * BEFORE, sides * AFTER]))
    return found


def _line(
    name: str, volume: float, factors: FloatArray, fleet: FloatArray, costs: FloatArray
) -> VolumeLine:
    """Return the line of `name`, each point once; the planned `volume` is not rounded."""
    points = dict.fromkeys(
        (volume if factor == 1.0 else _round(volume * factor), round(units), _round(usd))
        for factor, units, usd in zip(factors, fleet, costs, strict=True)
    )
    return VolumeLine(
        target=name,
        requests_per_month=tuple(at for at, _, _ in points),
        units=tuple(units for _, units, _ in points),
        usd_per_year=tuple(usd for _, _, usd in points),
    )


def _round(value: float) -> float:
    return float(f"{value:.6g}")
