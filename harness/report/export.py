"""A decision and its records as a folder of files that other programs and documents take in.

`decision.json`, `summary.md`, each table as CSV and Parquet, and `figures/`.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.client_table import client_table
from harness.report.fleet_tables import fleet_tables
from harness.report.made import make_folder
from harness.report.option_tables import option_tables
from harness.report.outlook_tables import outlook_tables
from harness.report.record_tables import record_tables
from harness.report.summary import summary
from harness.report.tables import Cell, Kind, Table, dictionary
from harness.report.view import workload_views
from harness.report.volume_table import volume_table
from harness.schema import Decision, Record

if TYPE_CHECKING:
    import pandas

DTYPES: dict[Kind, str] = {
    "text": "string",
    "number": "float64",
    "count": "Int64",
    "flag": "boolean",
}
FORMULA = re.compile(r"['\s]*[=+\-@＝＋－＠]")
"""How a text begins that a spreadsheet may take for a formula."""


def export(
    decision: Decision,
    records: Sequence[Record],
    folder: Path,
    *,
    command: str,
    figures: bool = True,
    progress: Callable[[str], None] = lambda name: None,
) -> tuple[str, ...]:
    """Write the export of `decision` as `folder`, whole or not at all; return its files' names.

    `records` are those that the decision names, in its order; `command` makes the export again.
    `progress` is told each file's name. Same arguments, same bytes, with the same versions of
    pandas, pyarrow and matplotlib. A folder that this made before is replaced as a whole; raises
    as `make_folder` does if it holds anything else.
    """
    return make_folder(
        folder, "harness export", _files(decision, records, command, figures), progress
    )


def decision_json(decision: Decision) -> str:
    """Return `decision` as the JSON text that `harness report` and `harness export` read."""
    return json.dumps(decision.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"


def csv_text(table: Table) -> str:
    """Return `table` as CSV (RFC 4180, but LF): what is not known is empty, numbers round-trip.

    A text that a spreadsheet would take for a formula gets an apostrophe before it; numbers, also
    negative ones, stay as they are.
    """
    safe = [
        {c.name: _neutral(row[c.name]) if c.kind == "text" else row[c.name] for c in table.columns}
        for row in table.rows
    ]
    text = _frame(Table(table.name, table.columns, tuple(safe))).to_csv(
        index=False, lineterminator="\n"
    )
    return str(text)


def parquet_bytes(table: Table) -> bytes:
    """Return `table` as Parquet: what is not known is null, texts are as they are in the table."""
    held = io.BytesIO()
    _frame(table).to_parquet(held, engine="pyarrow", index=False, compression="zstd")
    return held.getvalue()


def _files(
    decision: Decision, records: Sequence[Record], command: str, with_figures: bool
) -> Iterator[tuple[str, str | bytes]]:
    views = workload_views(decision, records)
    yield "decision.json", decision_json(decision)
    yield "summary.md", summary(decision, views, command=command)
    tables = (
        *option_tables(views),
        *outlook_tables(views),
        volume_table(views),
        *fleet_tables(decision.portfolio),
        *record_tables(decision, records),
        client_table(records),
    )
    for each in (*tables, dictionary(tables)):
        yield f"{each.name}.csv", csv_text(each)
        yield f"{each.name}.parquet", parquet_bytes(each)
    if with_figures:
        from harness.report.figures import figures

        for name, data in figures(views):
            yield f"figures/{name}", data


def _neutral(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def _frame(table: Table) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(
        {
            column.name: pandas.array(
                [row[column.name] for row in table.rows], dtype=DTYPES[column.kind]
            )
            for column in table.columns
        }
    )
