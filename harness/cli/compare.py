"""`harness compare`: what differs between two targets, runs or records, and how sure that is."""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import units
from harness.cli.options import json_option, results_option, there
from harness.cli.output import echo, echo_json, table
from harness.errors import SpecError

if TYPE_CHECKING:
    from harness.compare import Compared, ComparedCell, Comparison, Side
    from harness.compare.within import Rows
    from harness.schema import Record
    from harness.store import Store

WITHIN_WARNING = (
    "within-run noise: 95 % interval of the change from the requests (of a task's figures: the "
    "tasks) of these runs alone; "
    "other runs may differ by more"
)
MOST_PERCENT = 10.0
"""The ratio from which on a change is written as a factor."""


def _share(context: click.Context, parameter: click.Parameter, text: str) -> float:
    """Return a relative change, written `2%` or `0.02`, as a share within (0, 1)."""
    try:
        share = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no change; write it as 2% or 0.02") from None
    if not 0 < share < 1:
        raise click.BadParameter(f"{text} is not between 0 and 100 %")
    return share


@click.command("compare")
@click.argument("base")
@click.argument("new")
@click.option("-w", "--workload", help="Compare this workload only.")
@click.option("-s", "--scenario", help="Compare this scenario only.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Metric as the record names it; repeatable.  [default: the percentiles of the SLO, the "
    "throughput (server: at the SLO), the energy per request]",
)
@click.option(
    "--threshold",
    callback=_share,
    default="2%",
    show_default=True,
    metavar="CHANGE",
    help="The change that does not matter.",
)
@results_option
@json_option
def command(
    base: str,
    new: str,
    workload: str | None,
    scenario: str | None,
    metrics: tuple[str, ...],
    threshold: float,
    results: Path,
    as_json: bool,
) -> None:
    """Compare NEW with BASE: targets, run or record ids (or the start of one), or folders.

    A folder is that of a record, or a results folder. Runs repeated with `harness run --repeats`
    are compared run by run; fewer than three a side get no verdict. Exit status 1 if NEW is worse
    than BASE by more than the threshold, or cannot do what BASE can.
    """
    from harness.compare import compare

    folders: dict[str, Path] = {}
    sides = _sides(base, new, results, folders)
    answer = compare(
        *sides,
        workload=workload,
        scenario=scenario,
        metrics=metrics,
        threshold=threshold,
        samples_of=lambda record: _samples(folders.get(record.id)),
    )
    if not answer.cells:
        reasons = "; ".join(f"{r.workload}/{r.scenario}: {r.reason}" for r in answer.refused)
        raise SpecError(f"'{base}' and '{new}' cannot be compared: {reasons}")
    if as_json:
        echo_json(
            {
                **dataclasses.asdict(answer),
                "only_one_side": answer.only_one_side,
                "regressions": answer.regressions,
            },
        )
    else:
        echo("\n".join(_text(answer)))
    if answer.regressions:
        sys.exit(1)
    if not any(cell.metrics for cell in answer.cells):
        raise SpecError(
            f"no figure of '{base}' and '{new}' could be compared",
            hint="the answer says why of each; a base without usable runs guards nothing",
        )


@functools.lru_cache(maxsize=16)
def _samples(folder: Path | None) -> Rows | None:
    """Return the samples that the record in `folder` kept; None if it kept none."""
    from harness.measure.samples import read_parquet

    path = None if folder is None else folder / "samples.parquet"
    return read_parquet(path) if path is not None and path.is_file() else None


def _sides(base: str, new: str, results: Path, folders: dict[str, Path]) -> tuple[Side, Side]:
    """Return what the names stand for, and write into `folders` where each record lies."""
    from harness.compare import find_side
    from harness.store import Store

    stored: list[Record] | None = None
    sides = []
    for name in (base, new):
        path = Path(name)
        if (path / "record.json").is_file() or (path / "runs").is_dir():
            sides.append(_folder(name, path, folders))
            continue
        if "/" in name:
            raise SpecError(
                f"{name} is no folder of a record or of results"
                if path.is_dir()
                else f"there is no folder {name}",
                hint="a results folder is what harness run wrote to: results/, or its --results",
            )
        if stored is None:
            store = Store(there(results))
            stored = _read(store, folders)
            for problem in store.problems:
                echo(f"warning: {problem}", err=True)
        sides.append(find_side(name, stored))
    return sides[0], sides[1]


def _read(store: Store, folders: dict[str, Path]) -> list[Record]:
    found = list(store.records())
    folders.update((each.record.id, each.folder) for each in found)
    return [each.record for each in found]


def _folder(name: str, path: Path, folders: dict[str, Path]) -> Side:
    """Return the record in `path`, or all records of the results folder that it is."""
    from harness.compare import Side
    from harness.store import Store

    if (path / "record.json").is_file():
        one = Store(path).read(path.resolve())
        folders[one.record.id] = one.folder
        return Side(name, (one.record,))
    store = Store(path)
    records = tuple(_read(store, folders))
    for problem in store.problems:
        echo(f"warning: {problem}", err=True)
    if not records:
        raise SpecError(f"{name} holds no record that can be read")
    return Side(name, records)


def _text(answer: Comparison) -> list[str]:
    slight = units.percent(answer.threshold)
    lines = [f"{answer.new} against {answer.base}; a change of {slight} or less counts as none"]
    for cell in answer.cells:
        lines += ["", *_cell(cell)]
    for refused in answer.refused:
        lines += ["", f"{refused.workload}/{refused.scenario}: not compared: {refused.reason}"]
    if answer.only_one_side:
        lines += ["", f"not compared: {', '.join(answer.only_one_side)}"]
    lines.append("")
    if answer.regressions:
        lines += [f"worse: {text}" for text in answer.regressions]
    else:
        lines.append(f"nothing is proven worse by more than {slight}")
    lacking = sorted({m.lacks for cell in answer.cells for m in cell.metrics if m.lacks})
    if lacking:
        lines.append(f"next: harness run --repeats 5 ({'; '.join(lacking)})")
    return lines


def _cell(cell: ComparedCell) -> list[str]:
    how = "paired by repeat" if cell.paired else "not paired"
    targets = (
        f"{cell.new_target} against {cell.base_target}"
        if cell.new_target != cell.base_target
        else cell.new_target
    )
    lines = [
        f"{cell.workload}/{cell.scenario}, {targets}: "
        f"{cell.new_runs} against {cell.base_runs} run(s), {how}"
    ]
    if cell.metrics:
        header = ["metric", "base", "new", "change (95 % interval)", "p", "verdict"]
        rows = [_row(each) for each in cell.metrics]
        if any(each.within is not None for each in cell.metrics):
            header.append("within-run noise")
            rows = [[*row, _within(each)] for row, each in zip(rows, cell.metrics, strict=True)]
            lines.append(f"  {WITHIN_WARNING}")
        lines += [f"  {line.rstrip()}" for line in table(rows, header=header).splitlines()]
    lines += [f"  {each.metric}: not compared: {each.reason}" for each in cell.missing]
    lines += [f"  lost: {text}" for text in cell.lost]
    lines += [f"  note: {text}" for text in cell.notes]
    return lines


def _row(each: Compared) -> list[str]:
    name = each.metric if each.load is None else f"{each.metric} at load {each.load:.3g}"
    if each.resolution:
        name += f" (searched in steps of {units.percent(each.resolution)})"
    difference = each.difference
    low, high = difference.low, difference.high
    as_factor = max(difference.ratio, high or 0.0) >= MOST_PERCENT
    change = _change(difference.ratio, as_factor)
    if low is not None and high is not None:
        change += f" ({_change(low, as_factor)} to {_change(high, as_factor)})"
    p = "" if each.p_adjusted is None else _p_text(each.p_adjusted)
    return [
        name,
        units.quantity(each.base, each.unit),
        units.quantity(each.new, each.unit),
        change,
        p,
        each.outcome,
    ]


def _within(each: Compared) -> str:
    """Return the change's interval within the runs, or why there is none."""
    within = each.within
    if within is None:
        return f"none: {each.without_within}" if each.without_within else ""
    if within.low is None or within.high is None:
        return within.reason or ""
    as_factor = max(within.value, within.high) >= MOST_PERCENT
    return f"{_change(within.low, as_factor)} to {_change(within.high, as_factor)}"


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _change(ratio: float, as_factor: bool) -> str:
    """Return a ratio as a signed change, 1.051 as `+5.1 %`, or as a factor, 12.3 as `x 12.3`."""
    return f"x {units.number(ratio)}" if as_factor else f"{(ratio - 1) * 100:+.1f} %"
