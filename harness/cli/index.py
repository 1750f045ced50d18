"""`harness index`: the list of records in a results folder, kept in a cache that can be remade."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from harness import units
from harness.cli.options import json_option, results_option, there
from harness.cli.output import echo, echo_json, table
from harness.store import Row, Store


@click.command("index")
@click.option("--rebuild", is_flag=True, help="Make the index again from the records.")
@results_option
@json_option
def command(rebuild: bool, results: Path, as_json: bool) -> None:
    """List the records of a results folder; exit 1 if one of them cannot be read."""
    store = Store(there(results))
    rows = store.rows(rebuild=rebuild)
    if as_json:
        echo_json([dataclasses.asdict(row) for row in rows])
    elif rows:
        echo(
            table(
                [_cells(row) for row in rows],
                header=["record", "workload", "target", "scenario", "status", "verdict", "started"],
            )
        )
    else:
        echo(f"no records in {results}", err=True)
    for problem in store.problems:
        echo(f"warning: {problem}", err=True)
    if store.problems:
        sys.exit(1)


def _cells(row: Row) -> list[str]:
    """Return the line of a record; one without figures has none that a verdict could be on."""
    verdict = row.verdict if row.status == "ok" else units.DASH
    named = [row.id, row.workload, row.target, row.scenario, row.status]
    return [*named, verdict, row.started_at[:19]]
