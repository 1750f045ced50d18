"""The report's tables as data: rows of named columns that a program or a spreadsheet can read.

A number that is not known is empty, never 0, and a column of its own says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.report.text import clip, visible
from harness.schema.base import Interval

Kind = Literal["text", "number", "count", "flag"]
Cell = str | float | int | bool | None
Row = Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, with the unit where all rows share one, its kind, and what it means."""

    name: str
    kind: Kind
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the same columns; `name` is that of its files."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def table(name: str, columns: Sequence[tuple[str, Kind, str]], rows: Sequence[Row]) -> Table:
    """Return a table of `rows`, whose texts are made harmless; a row must have each column once.

    Raises ValueError where a row has other columns, or in one of them a value of another kind.
    """
    declared = tuple(Column(*each) for each in columns)
    return Table(name, declared, tuple(_checked(name, declared, row) for row in rows))


def dictionary(tables: Sequence[Table]) -> Table:
    """Return a table that says what each column of `tables` means."""
    columns: tuple[tuple[str, Kind, str], ...] = (
        ("table", "text", "The table, which is the name of its files."),
        ("column", "text", "The column."),
        ("kind", "text", "text, number, count (whole number) or flag (True or False)."),
        ("meaning", "text", "What it holds, and when it is empty."),
    )
    rows = [
        {"table": each.name, "column": c.name, "kind": c.kind, "meaning": c.meaning}
        for each in tables
        for c in each.columns
    ]
    return table("columns", columns, rows)


def plain(text: str) -> str:
    """Return `text` on one line, cut, with control and reordering characters written out."""
    return clip(" ".join(visible(text).split()))


def joined(texts: Sequence[str]) -> str | None:
    """Return `texts` as one, each once; None if there are none."""
    return "; ".join(dict.fromkeys(texts)) or None


def spread(prefix: str, figure: Interval | None) -> dict[str, Cell]:
    """Return a figure as the three cells `PREFIX`, `PREFIX_low` and `PREFIX_high`."""
    return {
        prefix: None if figure is None else figure.value,
        f"{prefix}_low": None if figure is None else figure.low,
        f"{prefix}_high": None if figure is None else figure.high,
    }


def spread_columns(prefix: str, meaning: str) -> tuple[tuple[str, Kind, str], ...]:
    """Return the columns of `spread`."""
    return (
        (prefix, "number", meaning),
        (f"{prefix}_low", "number", "Its 95 % lower bound; empty: none is supported."),
        (f"{prefix}_high", "number", "Its 95 % upper bound; empty: none is supported."),
    )


def _checked(name: str, columns: Sequence[Column], row: Row) -> Row:
    if [column.name for column in columns] != list(row):
        raise ValueError(f"table '{name}' has a row with other columns: {', '.join(row)}")
    return {c.name: _cell(f"{name}.{c.name}", c.kind, row[c.name]) for c in columns}


def _cell(where: str, kind: Kind, value: Cell) -> Cell:
    if value is None:
        return None
    if isinstance(value, str):
        fits = kind == "text"
    elif isinstance(value, bool):
        fits = kind == "flag"
    else:
        fits = kind == "number" or (kind == "count" and isinstance(value, int))
    if not fits:
        raise ValueError(f"column '{where}' holds a {kind}, not {value!r}")
    if isinstance(value, str):
        return plain(value) or None
    return float(value) if kind == "number" else value
