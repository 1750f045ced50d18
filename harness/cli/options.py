"""The options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def catalog_option(function: F) -> F:
    """Add `--catalog DIR`, passed as `catalog: Path | None`."""
    return click.option(
        "--catalog",
        type=click.Path(path_type=Path),
        metavar="DIR",
        envvar="HARNESS_CATALOG",
        help="Folder with workloads/, targets/ or briefs/ that win over the built-in ones.",
    )(function)


def results_option(function: F) -> F:
    """Add `--results DIR`, passed as `results: Path`."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        envvar="HARNESS_RESULTS",
        default=Path("results"),
        show_default="$HARNESS_RESULTS or ./results",
        help="Folder that holds the records.",
    )(function)


def json_option(function: F) -> F:
    """Add `--json`, passed as `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
