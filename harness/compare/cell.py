"""One workload and scenario on both sides: metric by metric, with what a reader must know."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from harness import units
from harness.compare.comparison import Compared, ComparedCell, Missing
from harness.compare.sides import CellKey, unusable
from harness.compare.within import SamplesOf, Windows, why_none, within_runs
from harness.difference import fewer_p, paired, unpaired
from harness.schema.record import Metric, Point, Record
from harness.schema.scenario import Server

SIGNIFICANCE = 0.05
RUNS_FOR_VERDICT = 3
THROUGHPUT = "throughput_requests_per_s"
ENERGY = "energy_j_per_request@"
VARYING = frozenset({"load_average_1_min", "cpu_current_mhz"})
"""Facts of the environment that differ between any two runs."""


def compare_cell(
    key: CellKey,
    base: Sequence[Record],
    new: Sequence[Record],
    metrics: Sequence[str],
    samples_of: SamplesOf,
) -> ComparedCell:
    """Return what the runs of a cell show, without verdicts: those depend on all cells together.

    Failed and invalid runs are left out and named. Runs that were interleaved in one run are paired
    by their repeat. `metrics` empty: those that the workload is judged by.
    """
    notes: list[str] = []
    lost: list[str] = []
    usable: list[list[Record]] = []
    for name, side in (("base", base), ("new", new)):
        good = [r for r in side if unusable(r) is None]
        usable.append(good)
        if dropped := [r for r in side if r not in good]:
            reasons = "; ".join(sorted({unusable(r) or "" for r in dropped}))
            notes.append(f"{name}: {len(dropped)} of {len(side)} runs left out: {reasons}")
    first, second = usable
    if first and not second:
        lost.append("the new side has no usable run")
    elif len(second) < RUNS_FOR_VERDICT <= min(len(first), len(new)):
        lost.append(
            f"the new side has {len(second)} usable of {len(new)} runs, too few for a verdict"
        )
    if first and second:
        lost += _lost(first, second)
        notes += _changes(first, second)
    is_paired = False
    repeats = {r.cell.repeat for r in first} & {r.cell.repeat for r in second}
    if first and second and first[0].run == second[0].run and repeats:
        is_paired = True
        for side in (first, second):
            side[:] = [r for r in side if r.cell.repeat in repeats]
    compared: list[Compared] = []
    missing: list[Missing] = []
    windows = Windows(samples_of)
    for name in metrics or _default_metrics((*first, *second)):
        one = (
            _compare_metric(name, first, second, is_paired, windows)
            if first and second
            else Missing(name, "one side has no usable run")
        )
        if isinstance(one, Missing):
            missing.append(one)
        else:
            compared.append(one)
    return ComparedCell(
        workload=key[0],
        scenario=key[1],
        base_target=base[0].cell.target,
        new_target=new[0].cell.target,
        base_runs=len(first),
        new_runs=len(second),
        paired=is_paired,
        metrics=tuple(compared),
        missing=tuple(missing),
        lost=tuple(lost),
        notes=tuple(notes),
    )


def _lost(base: Sequence[Record], new: Sequence[Record]) -> list[str]:
    lost = []
    if all(r.quality_passed for r in base) and not all(r.quality_passed for r in new):
        lost.append("the new side does not pass the quality gate, the base does")
    kept = [sum(r.headline is not None for r in side) for side in (base, new)]
    if kept[0] and not kept[1]:
        lost.append("the new side keeps the SLO at no load, the base does")
    elif fewer_p(kept[0], len(base), kept[1], len(new)) <= SIGNIFICANCE:
        lost.append(
            f"{len(new) - kept[1]} of {len(new)} runs of the new side keep the SLO at no load, "
            f"{len(base) - kept[0]} of {len(base)} of the base"
        )
    whole = [sum(not _failing(r) for r in side) for side in (base, new)]
    if fewer_p(whole[0], len(base), whole[1], len(new)) <= SIGNIFICANCE:
        lost.append(
            f"requests fail in {len(new) - whole[1]} of {len(new)} runs of the new side (up to "
            f"{units.percent(max(map(_failing, new)))} of them), "
            f"in {len(base) - whole[0]} of {len(base)} of the base"
        )
    return lost


def _failing(record: Record) -> float:
    """Return the share of the requests that failed at the headline."""
    point = record.headline_point
    return point.failed / point.requests if point is not None and point.requests else 0.0


def _changes(base: Sequence[Record], new: Sequence[Record]) -> list[str]:
    """Return what marks the figures: noisy runs, and what changed beside what is compared."""
    notes = []
    for name, side in (("base", base), ("new", new)):
        noisy = [r for r in side if r.verdict.state == "noisy"]
        if noisy:
            codes = sorted({reason.code for r in noisy for reason in r.verdict.reasons})
            notes.append(f"{name}: {len(noisy)} of {len(side)} runs noisy ({', '.join(codes)})")
        unproven = sum(r.headline_point is not None and _is_unproven(r) for r in side)
        if unproven:
            notes.append(f"{name}: the SLO is unproven in {unproven} of {len(side)} runs")
    if {r.cell.seed for r in base} != {r.cell.seed for r in new}:
        notes.append("the seeds differ: other arrivals, other order of inputs")
    if base[0].cell.target == new[0].cell.target and _only({r.cell.target_hash for r in base}) != (
        _only({r.cell.target_hash for r in new})
    ):
        notes.append("the target's declaration differs")
    facts: dict[str, Callable[[Record], object]] = {
        "harness version": lambda r: r.harness_version,
        **{
            name: lambda r, name=name: (  # type: ignore[misc]
                r.environment[name].value if name in r.environment else None
            )
            for name in sorted({name for r in (*base, *new) for name in r.environment} - VARYING)
        },
    }
    changed = []
    for name, of in facts.items():
        before, after = _only({of(r) for r in base}), _only({of(r) for r in new})
        if None not in (before, after) and before != after:
            changed.append(f"{name} {before} -> {after}")
    if changed:
        notes.append(f"also changed: {', '.join(changed)}")
    return notes


def _is_unproven(record: Record) -> bool:
    point = record.headline_point
    return point is not None and point.slo_state == "unproven"


def _only(values: set[object] | set[str]) -> object:
    return next(iter(values)) if len(values) == 1 else None


def _default_metrics(records: Sequence[Record]) -> list[str]:
    if not records:
        return []
    names = []
    if records[0].cell.scenario.kind != "offline":
        names = [f"{s.metric}_s.p{s.percentile:g}" for s in records[0].workload.slo]
    names.append(THROUGHPUT)
    boundaries = {
        name
        for r in records
        for point in r.points
        for name in point.metrics
        if name.startswith(ENERGY)
    }
    # Without any energy the missing figure is named, with the meter's reason.
    energy = sorted(boundaries) or [ENERGY.rstrip("@")]
    return list(dict.fromkeys([*names, *energy]))


def _is_at_headline(metric: str) -> bool:
    """Return whether a metric is that of the headline; the others are compared at one load."""
    return metric.startswith(("throughput_", "goodput_"))


def _is_searched(record: Record) -> bool:
    scenario = record.cell.scenario
    return isinstance(scenario, Server) and not scenario.load


def _step_above(records: Sequence[Record]) -> float | None:
    """Return how far the load above the headline is from it, relative, as a mean over the runs.

    The capacity lies between the two. None if a run kept the SLO at its highest load.
    """
    steps = []
    for record in records:
        point = record.headline_point
        if point is None or point.load is None:
            return None
        above = [
            p.load
            for p in record.points
            if p.load is not None and p.load > point.load and not p.client_bound
        ]
        if not above:
            return None
        steps.append(min(above) / point.load)
    return _geometric_mean(steps) - 1


def _common_load(records: Sequence[Record]) -> float | None:
    """Return the highest load that every run measured and at which none missed the SLO.

    Without one, the lowest that every run measured; None where a record has one point only. Points
    at which the client was the limit say nothing of the target.
    """
    loads = [
        {p.load: p.slo_state for p in r.points if p.load is not None and not p.client_bound}
        for r in records
    ]
    common = sorted(set.intersection(*(set(each) for each in loads)))
    good = [load for load in common if all(each[load] != "missed" for each in loads)]
    return good[-1] if good else common[0] if common else None


def _point(record: Record, load: float | None) -> Point | None:
    if load is None:
        return record.headline_point
    return next((p for p in record.points if p.load == load), None)


def _compare_metric(
    name: str,
    base: Sequence[Record],
    new: Sequence[Record],
    is_paired: bool,
    windows: Windows,
) -> Compared | Missing:
    load = None if _is_at_headline(name) else _common_load((*base, *new))
    if (
        load is None
        and not _is_at_headline(name)
        and any(p.load is not None for p in base[0].points)
    ):
        return Missing(name, "the two sides were not measured at a common load")
    found: list[list[Metric]] = []
    taken: list[list[tuple[Record, Point]]] = []
    for side_name, side in (("base", base), ("new", new)):
        values: list[Metric] = []
        points: list[tuple[Record, Point]] = []
        reasons: list[str] = []
        for record in side:
            point = _point(record, load)
            if point is None:
                reasons.append("the SLO holds at no load")
            elif (metric := point.metrics.get(name)) is None:
                reasons.append(_why_absent(name, record, point))
            elif metric.value is None:
                reasons.append(metric.reason or "not measured")
            elif metric.value <= 0:
                reasons.append("a figure of 0 has no ratio")
            else:
                values.append(metric)
                points.append((record, point))
        # Leaving out the runs without a figure would leave out the slowest first.
        if reasons:
            kinds = "; ".join(sorted(set(reasons)))
            return Missing(name, f"{len(reasons)} of {len(side)} runs of {side_name}: {kinds}")
        found.append(values)
        taken.append(points)
    shapes = {(m.unit, m.better) for side in found for m in side}
    if len(shapes) > 1:
        return Missing(name, "the two sides state it in different units")
    if name.startswith("energy_") and (unlike := _unlike_energy(name, taken)):
        return Missing(name, unlike)
    (unit, better) = next(iter(shapes))
    first, second = ([m.value for m in side if m.value is not None] for side in found)
    resolution, at_least = 0.0, False
    if _is_at_headline(name) and _is_searched(base[0]):
        means = _geometric_mean(first), _geometric_mean(second)
        lower, upper = (base, new) if means[0] < means[1] else (new, base)
        step, at_least = _step_above(lower), _step_above(upper) is None
        if step is None:
            return Missing(
                name,
                f"{'base' if lower is base else 'new'} kept the SLO at the highest load measured: "
                "it can do more than its figure says",
            )
        resolution = max(step, _step_above(upper) or 0.0)
    difference = paired(first, second) if is_paired else unpaired(first, second)
    within = within_runs(name, taken[0], taken[1], windows)
    return Compared(
        metric=name,
        unit=unit,
        better=better,
        load=load,
        base=_geometric_mean(first),
        new=_geometric_mean(second),
        difference=difference,
        resolution=resolution,
        at_least=at_least,
        p_equivalent=None,
        p_adjusted=None,
        outcome="indicative",
        lacks=None,
        within=within,
        without_within=None if within is not None else why_none(name, base, new, windows),
    )


def _unlike_energy(name: str, sides: Sequence[Sequence[tuple[Record, Point]]]) -> str | None:
    """Return why joules within the same boundary do not mean the same; None if they do."""
    boundary = name.partition("@")[2]
    kinds: list[str] = []
    for side in sides:
        readings = [
            next((e for e in point.energy if e.boundary == boundary and e.joules is not None), None)
            for _, point in side
        ]
        known = [reading for reading in readings if reading is not None]
        words = []
        if any(each.provenance == "modelled" for each in known):
            words.append("modelled")
        if any("simulated" in each.flags for each in known):
            words.append("simulated")
        if any("partial_coverage" in each.flags for each in known):
            words.append("metered in part")
        kinds.append(" and ".join(words) or "metered")
    if kinds[0] == kinds[1]:
        return None
    return f"energy at the {boundary} is {kinds[0]} on the base side and {kinds[1]} on the new side"


def _why_absent(name: str, record: Record, point: Point) -> str:
    if name.startswith(ENERGY.rstrip("@")):
        others = sorted(n.partition("@")[2] for n in point.metrics if n.startswith(ENERGY))
        if others:
            return f"energy was metered at another boundary ({', '.join(others)})"
        return next((e.reason for e in point.energy if e.reason), "energy was not metered")
    return f"{record.cell.scenario.kind} has no such metric"


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(math.log(v) for v in values) / len(values))
