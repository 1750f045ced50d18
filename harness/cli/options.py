"""The options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from harness.errors import SpecError

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


def there(results: Path) -> Path:
    """Return the results folder that a command reads; SpecError if there is none."""
    if not results.is_dir():
        raise SpecError(
            f"there is no results folder {results}",
            hint="measure first with: harness run; or name the folder with --results",
        )
    return results


def same_place() -> str:
    """Return `--catalog` and `--results` as this call has them, for after a command named next."""
    context = click.get_current_context()
    given = [
        f" --{name} {shlex.quote(str(context.params[name]))}"
        for name in ("catalog", "results")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    return "".join(given)
