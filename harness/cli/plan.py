"""`harness plan`: what `harness run` would measure, what it would skip and why, and how long."""

from __future__ import annotations

from pathlib import Path

import click

from harness import units
from harness.catalog import Catalog
from harness.cli.hub import fetch_in_words, to_fetch
from harness.cli.options import catalog_option, json_option
from harness.cli.output import echo, echo_json, table
from harness.cli.run import cache_folder, plan_of, selection
from harness.execute.ledger import Options
from harness.models.hub import Missing
from harness.plan import Planned
from harness.schema.tasks import in_words


@click.command("plan")
@selection
@catalog_option
@json_option
def command(
    workloads: tuple[str, ...],
    targets: tuple[str, ...],
    scenarios: tuple[str, ...],
    profile: str,
    seed: int,
    repeats: int,
    catalog: Path | None,
    as_json: bool,
) -> None:
    """Show which cells would run here, in order, and which are skipped and why."""
    options = Options(workloads, targets, scenarios, profile, seed, repeats)
    cells = plan_of(Catalog.find(catalog), options)
    due = [c for c in cells if c.skip is None and c.failure is None]
    fetched = to_fetch((c.workload for c in due), cache_folder())
    if as_json:
        echo_json(
            [
                {
                    "cell": planned.cell.id,
                    "workload": planned.cell.workload,
                    "target": planned.cell.target,
                    "scenario": planned.cell.scenario.kind,
                    "repeat": planned.cell.repeat,
                    "skip": planned.skip or _failing(planned),
                    "unsupported": planned.unsupported,
                    "estimate_s": planned.estimate_s,
                    "calls": in_words(planned.workload.agent, planned.workload.turns),
                    "fetch": _fetch(fetched.get(planned.cell.workload)),
                }
                for planned in cells
            ]
        )
        return
    rows = [
        [str(number), planned.cell.label, units.duration(planned.estimate_s)]
        for number, planned in enumerate(due, 1)
    ]
    if rows:
        echo(table(rows, header=["#", "cell", "about"]))
    together = {
        f"{c.workload.name}: {words}"
        for c in cells
        if (words := in_words(c.workload.agent, c.workload.turns))
    }
    for line in sorted(together):
        echo(line)
    for name, lacks in fetched.items():
        echo(fetch_in_words(name, lacks))
    for target, reason in sorted({(c.target.name, c.skip) for c in cells if c.skip}):
        echo(f"skipped {target}: {reason}")
    failing = {(c.workload.name, _failing(c)) for c in cells if c.failure and not c.skip}
    for workload, why in sorted(failing):
        echo(f"skipped {workload}: {why}")
    refused = {
        f"{c.cell.workload}@{c.target.name}: unsupported: {c.unsupported}"
        for c in due
        if c.unsupported
    }
    for line in sorted(refused):
        echo(line)
    total = sum(c.estimate_s for c in due)
    echo(f"{len(rows)} cells, about {units.duration(total)}" if rows else "nothing would run here")


def _failing(planned: Planned) -> str | None:
    """Return why the cell fails beforehand and what to do; None if it does not."""
    failure = planned.failure
    if failure is None:
        return None
    return failure.message if failure.hint is None else f"{failure.message} ({failure.hint})"


def _fetch(lacks: Missing | None) -> dict[str, object] | None:
    """Return what a run fetches from the hub first, for programs; None if it is all here."""
    if lacks is None:
        return None
    model = lacks.model
    return {
        "hub": model.hub,
        "revision": model.revision,
        "bytes": lacks.size_bytes,
        "reason": lacks.reason,
    }
