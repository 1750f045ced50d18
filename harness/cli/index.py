"""`harness index`: the list of records in a results folder, kept in a cache that can be remade."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from harness.cli.options import json_option, results_option
from harness.cli.output import echo, echo_json, table
from harness.store import Store


@click.command("index")
@click.option("--rebuild", is_flag=True, help="Make the index again from the records.")
@results_option
@json_option
def command(rebuild: bool, results: Path, as_json: bool) -> None:
    """List the records of a results folder; exit 1 if one of them cannot be read."""
    store = Store(results)
    rows = store.rows(rebuild=rebuild)
    if as_json:
        echo_json([dataclasses.asdict(row) for row in rows])
    elif rows:
        echo(
            table(
                [
                    [r.id, r.workload, r.target, r.scenario, r.status, r.verdict, r.started_at[:19]]
                    for r in rows
                ],
                header=["record", "workload", "target", "scenario", "status", "verdict", "started"],
            )
        )
    else:
        echo(f"no records in {results}", err=True)
    for problem in store.problems:
        echo(f"warning: {problem}", err=True)
    if store.problems:
        sys.exit(1)
