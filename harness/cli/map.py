"""`harness map`: a brief and the records to the target to buy for each workload, and why."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import units
from harness.cli.horizon_text import horizon_text
from harness.cli.misses import front_lines, miss_lines
from harness.cli.options import catalog_option, json_option, results_option, same_place, there
from harness.cli.output import echo, echo_json, table
from harness.errors import SpecError
from harness.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from harness.catalog import Catalog
    from harness.schema import Target
    from harness.schema.base import Interval
    from harness.schema.confidence import Odds
    from harness.schema.costs import EnergyLine
    from harness.schema.decision import Decision, WorkloadDecision
    from harness.schema.option import Option
    from harness.schema.rejection import Rejection


@click.command("map")
@click.argument("brief")
@results_option
@catalog_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the decision as JSON; - is standard output.",
)
@json_option
def command(
    brief: str, results: Path, catalog: Path | None, output: Path | None, as_json: bool
) -> None:
    """Answer BRIEF (a name or a YAML file) from the records.

    First the answer in short, two lines for each workload. Then for each in full: the target to
    take, the runner-up, the cost, and for every other target the rule that speaks against it. Exit
    status 1 if a workload has no target that can serve it.
    """
    decision = answer(brief, results, catalog)
    text = not as_json and str(output) != "-"
    if text:
        from harness.cli.verdict_text import verdict_lines

        echo("\n".join(verdict_lines(decision)))
        echo()
    for problem in decision.warnings:
        echo(f"warning: {problem}", err=True)
    if not text:
        echo_json(decision.model_dump(mode="json"))
    else:
        for each in decision.workloads:
            echo("\n".join(_text(each)))
            echo()
        if decision.portfolio is not None:
            from harness.cli.portfolio_text import portfolio_text

            echo("\n".join(portfolio_text(decision.portfolio)))
            echo()
    if output is not None and str(output) != "-":
        _write(decision, output)
    if text:
        if output is not None:
            echo(f"decision in {output}")
        echo(f"next: harness report {shlex.quote(brief)}{same_place()}")
    if any(each.choice is None for each in decision.workloads):
        sys.exit(1)


def answer(brief_name: str, results: Path, catalog: Path | None) -> Decision:
    """Return the decision for a brief (name or YAML file) from the records under `results`.

    Records and targets that cannot be read become warnings of the decision; a target that the brief
    names, and the brief itself, must be readable: SpecError.
    """
    from harness.catalog import Catalog
    from harness.cli.brief_check import load_brief
    from harness.execute.ledger import skipped
    from harness.mapper import decide
    from harness.schema.levers import other_workloads
    from harness.store import Store

    found = Catalog.find(catalog)
    brief = load_brief(brief_name, found)
    names = [row.workload for row in brief.workloads]
    names += [name for lever in brief.levers for name in other_workloads(lever).values()]
    workloads = [found.workload(name) for name in dict.fromkeys(names)]
    problems: list[str] = []
    store = Store(there(results))
    records = list(store.records())
    if not records:
        echo(f"warning: no record in {results}", err=True)
    if brief.targets:
        targets = [found.target(name) for name in brief.targets]
    else:
        named = {stored.record.cell.target for stored in records}
        named.update(offer.target for offer in brief.offers)
        targets, problems = _targets(found, named)
    return decide(
        brief,
        workloads,
        targets,
        records,
        problems=[*problems, *store.problems],
        skipped=skipped(results),
    )


def _targets(catalog: Catalog, named: Collection[str]) -> tuple[list[Target], list[str]]:
    """Return the catalog's targets, and what is wrong with those that cannot be read.

    Those that run only when asked for by name are left out unless they are `named`.
    """
    targets, problems = [], []
    for entry in catalog.targets():
        if entry.opt_in and entry.name not in named:
            continue
        try:
            targets.append(catalog.target(entry.name))
        except SpecError as error:
            problems.append(f"target {entry.name}: {error.message}")
    return targets, problems


def _write(decision: Decision, path: Path) -> None:
    from harness.report.export import decision_json

    write_whole(path, decision_json(decision))


def _text(answer: WorkloadDecision) -> list[str]:
    """Return the answer for one workload: the reason, the options, the targets ruled out."""
    lines = [f"{answer.workload}: {answer.title}", f"  {answer.reason}"]
    peak = units.rate(answer.peak_rate, "requests/s")
    lines.append(f"  demand: {peak} in the busiest hour of the first year")
    if answer.clear is False:
        lines.append("  not clear: the figures do not separate the choice from the runner-up")
    if answer.confidence is not None:
        lines.append(f"  how sure: {answer.confidence.reason}")
    if answer.options:
        header = [
            "",
            "target",
            "no other is cheaper",
            "regret",
            f"per {answer.options[0].cost_unit}",
            "at full load",
            "a year",
            "units",
            "SLO",
            "energy per request",
            "evidence",
        ]
        odds = {} if answer.confidence is None else {o.target: o for o in answer.confidence.odds}
        rows = [
            _row(place, option, odds.get(option.target))
            for place, option in enumerate(answer.options)
        ]
        lines += ["", *_indented(table(rows, header=header))]
        lines += [f"  {line}" for line in _unmeasured(answer.options)]
        if year := _footprint(answer.options):
            lines += ["", *_indented(year)]
    if answer.choice is not None and answer.choice.sizing is not None:
        sizing = answer.choice.sizing
        counted = f"{units.count(sizing.needed)} needed and {units.count(sizing.spare)} spare"
        lines.append(f"  units of {answer.choice.target}: {counted}; {sizing.basis}")
    lines += _tasks(answer.choice)
    if answer.burst is not None:
        lines.append(f"  burst: {answer.burst.text}")
    if answer.flips:
        lines += ["", "  what would change this answer", *(f"  - {f.text}" for f in answer.flips)]
    if answer.measure_next:
        told = (f"  - {worth.text}" for worth in answer.measure_next)
        lines += ["", "  what is worth finding out before signing", *told]
    if answer.break_even is not None:
        lines.append(f"  rent or buy: {answer.break_even.text}")
    if answer.break_evens:
        thumb = answer.break_evens[0].rule_of_thumb.partition(";")[0]
        told = (f"  - {pair.text}" for pair in answer.break_evens)
        lines += ["", "  kinds of supply over the volume", *told, f"    beside it: {thumb}"]
    if years := horizon_text(answer.options):
        lines += ["", *_indented(years)]
    if top := _swings(answer):
        lines += ["", *_indented(top)]
    lines += _levers(answer)
    lines += front_lines(answer)
    ruled_out = [
        [outcome.target, rejection.rule, _with_remedy(rejection)]
        for outcome in answer.outcomes
        if not outcome.feasible
        for rejection in outcome.rejections
    ]
    if ruled_out:
        header = ["ruled out", "rule", "why, and what may change it"]
        lines += ["", *_indented(table(ruled_out, header=header))]
    lines += miss_lines(answer)
    return lines


def _tasks(choice: Option | None) -> list[str]:
    """Return how long the tasks of an agent take on the choice, and what one of them costs."""
    if choice is None or choice.task is None:
        return []
    task = choice.task
    each = "one after another" if task.order == "sequential" else "at once"
    figures = [f"mean {units.seconds(task.mean_s)}"]
    for quantile in task.quantiles:
        figure = units.seconds(quantile.value_s) if quantile.reason is None else quantile.reason
        figures.append(f"p{quantile.percentile:g} {figure}")
    text = f"  a task of {units.count(task.calls_per_task)} calls {each}: {', '.join(figures)}"
    if task.slo is not None:
        text += f"; {task.state}: p{task.slo.percentile:g} <= {units.seconds(task.slo.limit_s)}"
    if choice.cost_per_task_usd is not None:
        text += f"; {units.usd(choice.cost_per_task_usd.value)} a task"
    return [text, f"    {task.basis}"]


def _levers(answer: WorkloadDecision) -> list[str]:
    """Return what each declared lever would do to the yearly cost, and how that is known."""
    if not answer.levers:
        return []
    lines = ["", "  what else could be done (the choice stays)"]
    for lever in answer.levers:
        name = lever.kind.replace("_", " ")
        if lever.usd_per_year is None or lever.today_usd_per_year is None:
            lines.append(f"  - {name}: {lever.what}: {lever.reason}")
        else:
            saved = lever.today_usd_per_year - lever.usd_per_year
            turn = "less" if saved > 0 else "more"
            difference = f"{units.usd(abs(saved))} {turn}" if saved else "the same"
            lines.append(
                f"  - {name}: {lever.what}: {units.usd(lever.usd_per_year)} a year, {difference} "
                f"({lever.evidence}: {lever.formula})"
            )
        lines += [f"    quality of {check}" for check in lever.quality]
        if lever.assumptions:
            lines.append(f"    assumed: {'; '.join(lever.assumptions)}")
        if lever.needs:
            lines.append(f"    needs: {'; '.join(lever.needs)}")
    return lines


def _swings(answer: WorkloadDecision, most: int = 5) -> str:
    """Return what moves the lead over the runner-up most; empty: nothing is uncertain."""
    if not answer.swings:
        return ""
    header = ["input, the others varying", "5 % value", "95 % value", "lead at 5 %", "at 95 %", ""]
    rows = [
        [
            swing.input,
            *(
                units.percent(end) if swing.unit == "share" else units.quantity(end, swing.unit)
                for end in (swing.low, swing.high)
            ),
            f"{units.usd(swing.usd_per_year_at_low)} a year",
            f"{units.usd(swing.usd_per_year_at_high)} a year",
            "turns the order" if swing.turns else "",
        ]
        for swing in answer.swings[:most]
    ]
    return table(rows, header=header)


def _unmeasured(options: Sequence[Option]) -> list[str]:
    """Return why energy was not measured and what would enable it, the targets of a reason in one.

    No option is ranked by its energy, measured or not.
    """
    targets: dict[tuple[str, str | None], list[str]] = {}
    for option in options:
        if option.energy_j_per_request is None:
            why = option.energy_reason or "no reason given", option.energy_remedy
            targets.setdefault(why, []).append(option.target)
    return [
        f"energy {units.NOT_MEASURED} on {', '.join(names)}: {reason}"
        f"{f' -> {remedy}' if remedy else ''}"
        for (reason, remedy), names in targets.items()
    ]


def _footprint(options: Sequence[Option]) -> str:
    """Return a year of each fleet, its energy, electricity and carbon apart; empty: none is known.

    Below stands why a facility's energy is not known.
    """
    header = ["a year of the fleet", "facility energy", "electricity", "emitted", "making it"]
    names = ("facility_energy", "electricity", "carbon", "embodied_carbon")
    rows, unknown = [], []
    for option in options:
        lines: dict[str, EnergyLine] = {line.name: line for line in option.energy_lines}
        rows.append([option.target, *(_line(lines.get(name)) for name in names)])
        facility = lines.get("facility_energy")
        if facility is not None and facility.figure is None:
            remedy = f" -> {facility.remedy}" if facility.remedy else ""
            unknown.append(f"facility energy of {option.target} {facility.basis}{remedy}")
    if all(line.figure is None for option in options for line in option.energy_lines):
        return ""
    return "\n".join([table(rows, header=header), *unknown])


def _line(line: EnergyLine | None) -> str:
    if line is None or line.figure is None:
        in_rent = line is not None and line.name == "electricity" and line.remedy is None
        if line is not None and line.basis.startswith("in the API's price"):
            return "in the API's price"
        return "in the rent" if in_rent else "not known"
    figure = line.figure
    text = units.interval(figure.value, figure.low, figure.high, line.unit)
    return f"{text} modelled" if line.modelled else text


def _with_remedy(rejection: Rejection) -> str:
    return f"{rejection.text} -> {rejection.remedy}" if rejection.remedy else rejection.text


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _row(place: int, option: Option, odds: Odds | None) -> list[str]:
    from harness.mapper.choice import cost_text, unknown_lines
    from harness.mapper.operating import tightest

    check = tightest(option.slo)
    year = units.usd(option.cost_per_year_usd)
    if missing := unknown_lines(option):
        year += f" without {missing}"
    return [
        {0: "choice", 1: "runner-up"}.get(place, ""),
        option.target,
        units.percent(None if odds is None else odds.p_best, units.DASH),
        units.percent(None if odds is None else odds.regret_share, units.DASH),
        cost_text(option.cost_per_unit_usd),
        cost_text(option.cost_per_unit_full_usd),
        year,
        "as used" if option.kind == "api" else units.count(option.replicas),
        f"{option.slo_state}: p{check.limit.percentile:g} {check.limit.metric} "
        f"{units.seconds(check.value_s)} of {units.seconds(check.limit.limit_s)}",
        _energy(option.energy_j_per_request, option.energy_boundary),
        option.evidence if option.verdict == "valid" else f"{option.evidence}, {option.verdict}",
    ]


def _energy(figure: Interval | None, boundary: str | None) -> str:
    if figure is None:
        return units.NOT_MEASURED
    return f"{units.interval(figure.value, figure.low, figure.high, 'J')} {boundary}"
