"""`harness report`: the answer to a brief as HTML: one file to sign, or a folder of pages."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import catalog_option, results_option, there
from harness.cli.output import echo
from harness.errors import SpecError
from harness.files import write_whole

if TYPE_CHECKING:
    from harness.report.over_time import Columns
    from harness.schema import Decision, Record


@click.command("report")
@click.argument("question", metavar="BRIEF_OR_DECISION")
@results_option
@catalog_option
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR/",
    help="Where to write: - is standard output, a name that ends in / a folder with a page for "
    "each target and each record too, made anew if a report made it before.  "
    "[default: reports/BRIEF.html]",
)
def command(question: str, results: Path, catalog: Path | None, output: str | None) -> None:
    """Write the answer to BRIEF_OR_DECISION as one HTML file, or as a folder of pages.

    BRIEF_OR_DECISION is a brief (a name or a YAML file), answered from the records, or a decision
    (a JSON file of `harness map BRIEF -o FILE`), shown with the very records that it was made from.
    """
    from harness.report import render

    decision, records, shown = asked(question, results, catalog)
    again = f"harness report {shlex.quote(shown)}"
    if output is not None and (output.endswith(os.sep) or Path(output).is_dir()):
        _write_folder(decision, records, results, Path(output), again)
        return
    page = render(decision, records, command=again)
    if output == "-":
        click.echo(page.encode(), nl=False)
        return
    path = Path(output) if output else Path("reports") / f"{decision.brief.name}.html"
    write_whole(path, page, hint="name another file with -o")
    for warning in decision.warnings:
        echo(f"warning: {warning}", err=True)
    echo(f"report in {path}; next: open it in a browser, print it, or send it: it is one file")


def _write_folder(
    decision: Decision, records: Sequence[Record], results: Path, folder: Path, again: str
) -> None:
    """Write the report as `folder`; the targets' pages show every record in `results`."""
    from harness.measure.samples import read_parquet
    from harness.report.folder import pages, write_folder
    from harness.store import Store

    store = Store(results)
    stored = {each.record.id: each for each in store.records()}
    for problem in store.problems:
        echo(f"warning: {problem}", err=True)

    def samples(record: Record) -> Columns | None:
        path = stored[record.id].folder / "samples.parquet"
        return read_parquet(path) if path.is_file() else None

    made = pages(
        decision,
        records,
        samples=samples,
        history=[each.record for each in stored.values()],
        command=f"{again} -o {shlex.quote(folder.name)}/",
    )
    count = write_folder(made, folder, lambda name: echo(f"writing {name}", err=True))
    for warning in decision.warnings:
        echo(f"warning: {warning}", err=True)
    echo(f"{count} pages in {folder}; next: open {folder / 'index.html'} in a browser")


def asked(
    question: str, results: Path, catalog: Path | None
) -> tuple[Decision, tuple[Record, ...], str]:
    """Return the decision that `question` (brief or decision file) asks for, with its records.

    The last is how a command that names it writes it.
    """
    from harness.report import pinned_records
    from harness.store import Store

    if question.endswith(".json"):
        decision = read_decision(Path(question))
        shown = Path(question).name
    else:
        from harness.cli.map import answer

        decision = answer(question, results, catalog)
        shown = decision.brief.name
    return decision, pinned_records(decision, Store(there(results)).records()), shown


def read_decision(path: Path) -> Decision:
    """Return the decision in the JSON file at `path`; SpecError if there is none."""
    from pydantic import ValidationError

    from harness.schema import Decision

    try:
        return Decision.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise SpecError(
            f"{path}: not a decision: {f'{place}: ' if place else ''}{first['msg']}",
            hint="make one with: harness map BRIEF -o FILE",
        ) from error
