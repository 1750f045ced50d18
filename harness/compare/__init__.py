"""Two sets of records to what differs between them, how sure that is, and what it is worth.

`compare(base, new)`: ratios are of the new side to the base. The unit of evidence is the run, never
the request, so one run against one run gets no verdict. Rules and formulas: docs/compare.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.compare.cell import RUNS_FOR_VERDICT, SIGNIFICANCE, compare_cell
from harness.compare.comparison import Compared, ComparedCell, Comparison, Missing, Outcome, Refused
from harness.compare.sides import (
    Side,
    by_cell,
    find_side,
    incomparable,
    label,
    listed,
    newest_runs,
    of_newest_declaration,
)
from harness.compare.within import SamplesOf
from harness.difference import adjusted
from harness.errors import SpecError

__all__ = [
    "Compared",
    "ComparedCell",
    "Comparison",
    "Missing",
    "Outcome",
    "Refused",
    "Side",
    "compare",
    "find_side",
]

THRESHOLD = 0.02
RUNS_ADVISED = 5


def compare(
    base: Side,
    new: Side,
    *,
    workload: str | None = None,
    scenario: str | None = None,
    metrics: Sequence[str] = (),
    threshold: float = THRESHOLD,
    samples_of: SamplesOf = lambda record: None,
) -> Comparison:
    """Return how `new` differs from `base`, cell by cell and metric by metric.

    A cell's runs are those of the newest run that holds both sides, else of each side's newest.
    `metrics` names what to compare instead of the default: the percentiles that the SLO promises,
    the throughput (of `server`: at the SLO) and the energy per request. `threshold` is the relative
    change that does not matter. `samples_of` returns a record's samples, from which the noise
    within the runs is told beside. Raises SpecError if the sides have no cell in common.
    """
    with_target = any(len({r.cell.target for r in side.records}) > 1 for side in (base, new))
    of_base, of_new = (by_cell(s.records, with_target, workload, scenario) for s in (base, new))
    common = [key for key in of_base if key in of_new]
    if not common:
        raise SpecError(
            f"'{base.name}' and '{new.name}' have no workload and scenario in common",
            hint=f"{base.name}: {listed(of_base)}; {new.name}: {listed(of_new)}",
        )
    cells: list[ComparedCell] = []
    refused: list[Refused] = []
    for key in sorted(common):
        everything = newest_runs(of_base[key], of_new[key])
        first, second = chosen = tuple(of_newest_declaration(each) for each in everything)
        reason = incomparable(first, second)
        if reason is None:
            cell = compare_cell(key, first, second, metrics, samples_of)
            earlier = tuple(
                f"{name}: {_runs(len(whole) - len(kept))} left out: declared otherwise before the "
                "run was resumed"
                for name, whole, kept in zip(("base", "new"), everything, chosen, strict=True)
                if len(kept) < len(whole)
            )
            cells.append(replace(cell, notes=(*earlier, *cell.notes)))
        else:
            refused.append(Refused(key[0], key[1], reason))
    return Comparison(
        base=base.name,
        new=new.name,
        threshold=threshold,
        cells=_judged(cells, threshold),
        refused=tuple(refused),
        only_in_base=tuple(label(key) for key in sorted(of_base.keys() - of_new.keys())),
        only_in_new=tuple(label(key) for key in sorted(of_new.keys() - of_base.keys())),
    )


def _judged(cells: Sequence[ComparedCell], threshold: float) -> tuple[ComparedCell, ...]:
    """Return the cells with the verdict of every metric, given all comparisons together."""
    tested: list[Compared] = []
    p_values: list[float] = []
    for each in (each for cell in cells for each in cell.metrics):
        p = each.difference.p_beyond(each.resolution)
        if each.difference.runs >= RUNS_FOR_VERDICT and p is not None:
            tested.append(each)
            p_values.append(p)
    p_adjusted = dict(zip(map(id, tested), adjusted(p_values), strict=True))
    return tuple(
        replace(
            cell,
            metrics=tuple(
                _judge(each, p_adjusted.get(id(each)), threshold) for each in cell.metrics
            ),
        )
        for cell in cells
    )


def _judge(compared: Compared, p_adjusted: float | None, threshold: float) -> Compared:
    difference = compared.difference
    runs = difference.runs
    lacks = None
    if runs < RUNS_FOR_VERDICT:
        lacks = f"{_runs(runs)} a side; a verdict needs {RUNS_FOR_VERDICT}, {RUNS_ADVISED} advised"
    elif runs < RUNS_ADVISED:
        lacks = f"{_runs(runs)} a side; {RUNS_ADVISED} advised"
    if p_adjusted is None:
        return replace(compared, lacks=lacks)
    p_equivalent = (
        None if compared.at_least else difference.p_equivalent(threshold, compared.resolution)
    )
    differs = p_adjusted <= SIGNIFICANCE and (difference.p_exact or 0.0) <= SIGNIFICANCE
    outcome: Outcome = "inconclusive"
    if p_equivalent is not None and p_equivalent <= SIGNIFICANCE:
        outcome = "equivalent"
    elif differs:
        lower = difference.mean_log < 0
        outcome = "better" if lower == (compared.better == "lower") else "worse"
    return replace(
        compared, p_adjusted=p_adjusted, p_equivalent=p_equivalent, outcome=outcome, lacks=lacks
    )


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
