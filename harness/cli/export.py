"""`harness export`: the answer to a brief as tables, figures and a summary for other documents."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from harness.cli.options import catalog_option, results_option
from harness.cli.output import echo


@click.command("export")
@click.argument("question", metavar="BRIEF_OR_DECISION")
@results_option
@catalog_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder to make, or to make again; one that holds anything else is refused.  "
    "[default: reports/BRIEF]",
)
@click.option("--no-figures", is_flag=True, help="Leave figures/ out: quicker by seconds.")
def command(
    question: str, results: Path, catalog: Path | None, output: Path | None, no_figures: bool
) -> None:
    """Write the answer to BRIEF_OR_DECISION as tables, figures and a summary.

    BRIEF_OR_DECISION is as for `harness report`. DIR gets decision.json; summary.md for a pull
    request; tables of the options, rules, costs, break-evens, front, levers, shared fleet, points,
    energy and records, each as CSV and Parquet; columns.csv, which says what each column means; and
    figures/ as SVG and PNG; and SHA256SUMS, by which the folder is known when it is made again.
    """
    from harness.cli.report import asked
    from harness.report.export import export

    decision, records, shown = asked(question, results, catalog)
    folder = output or Path("reports") / decision.brief.name
    names = export(
        decision,
        records,
        folder,
        command=f"harness export {shlex.quote(shown)}",
        figures=not no_figures,
        progress=lambda name: echo(f"writing {name}", err=True),
    )
    for warning in decision.warnings:
        echo(f"warning: {warning}", err=True)
    done = f"{len(names)} files and their sums in {folder}"
    echo(f"{done}; next: paste summary.md, or open options.csv")
