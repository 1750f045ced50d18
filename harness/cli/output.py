"""What commands print: escaped, so that text from a file cannot steer the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import click

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters but for tab and line feed, and those that reorder or break lines."""


def escape(text: str) -> str:
    r"""Return `text` with control and reordering characters written out, as in `\x1b`."""
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def echo(text: str = "", *, err: bool = False) -> None:
    """Print `text`, escaped, to standard output, or with `err` to standard error."""
    click.echo(escape(text), err=err)


def echo_json(value: object) -> None:
    """Print `value` as indented JSON in ASCII. NaN and infinity are refused: ValueError."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def one_line(text: str) -> str:
    """Return `text` escaped and on one line, for a cell of a table."""
    return " ".join(escape(text).split())


def table(rows: Sequence[Sequence[str]], *, header: Sequence[str]) -> str:
    """Return `rows` under `header` as columns of aligned text; the last column is not padded."""
    cells = [[one_line(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
