"""`harness power TARGET`: what the meters of a target's device read now, until it is stopped."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from harness import units
from harness.catalog import Catalog
from harness.cli.options import catalog_option
from harness.cli.output import echo, one_line
from harness.errors import PrerequisiteError
from harness.measure.energy import IMPORT_REMEDY, Energy
from harness.meters.base import MeterInfo
from harness.schema.target import Target

LEAST_INTERVAL_S = 0.1
COLUMN = 18


@click.command("power")
@click.argument("target")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Stop after N seconds.  [default: until Ctrl-C]",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=LEAST_INTERVAL_S),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds from reading to reading.",
)
@catalog_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def command(
    target: str, seconds: float | None, interval: float, catalog: Path | None, as_json: bool
) -> None:
    """Show the power that TARGET's device draws now, by every meter that reads it here.

    Boundaries stand side by side and are never added. Meters that do not work are listed with the
    reason and what to do. Exit status 3 if none works.
    """
    document = Catalog.find(catalog).target(target)
    with contextlib.closing(Energy(document)) as energy:
        show = _Lines() if as_json else _Table()
        show.begin(document, energy)
        if not energy.meters:
            raise PrerequisiteError(
                f"no meter reads the device of {document.name} here",
                hint=f"see above what each needs; or {IMPORT_REMEDY}",
            )
        try:
            for elapsed_s in _ticks(interval, math.inf if seconds is None else seconds):
                show.reading(elapsed_s, energy.watts())
        finally:
            show.end()


def _ticks(interval_s: float, seconds: float) -> Iterator[float]:
    """Yield the time since the first reading, now and then every interval, before `seconds`."""
    began_s = time.monotonic()
    elapsed_s = 0.0
    while elapsed_s < seconds:
        yield elapsed_s
        # A reading that took longer than an interval costs the next one, it does not delay all.
        due_s = (math.floor((time.monotonic() - began_s) / interval_s) + 1) * interval_s
        if due_s >= seconds:
            return
        time.sleep(max(0.0, began_s + due_s - time.monotonic()))
        elapsed_s = time.monotonic() - began_s


class _Lines:
    """JSON, one object a line: the meters, then the readings."""

    def begin(self, target: Target, energy: Energy) -> None:
        self._print(
            {
                "schema": 1,
                "target": target.name,
                "meters": [
                    {
                        "meter": info.name,
                        "boundary": info.boundary,
                        "covers": info.covers,
                        "provenance": info.provenance,
                        "source": info.source,
                        "update_period_s": info.update_period_s,
                        "simulated": info.simulated,
                    }
                    for info in energy.meters
                ],
                "missing": [
                    {"meter": name, "reason": why.reason, "remedy": why.remedy}
                    for name, why in energy.missing
                ],
            }
        )

    def reading(self, elapsed_s: float, watts: dict[str, float | str]) -> None:
        self._print(
            {
                "at": datetime.now(UTC).isoformat(),
                "elapsed_s": round(elapsed_s, 3),
                "watts": {n: w if isinstance(w, float) else None for n, w in watts.items()},
                "reasons": {n: w for n, w in watts.items() if isinstance(w, str)},
            }
        )

    def end(self) -> None:
        """Leave nothing open."""

    def _print(self, value: object) -> None:
        click.echo(json.dumps(value, allow_nan=False))
        sys.stdout.flush()


class _Table:
    """A line a reading; on a terminal one line that changes. Then the mean and the extremes."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._seen: dict[str, list[float]] = {}

    def begin(self, target: Target, energy: Energy) -> None:
        echo(f"power of {target.name}: {one_line(target.title)}")
        for info in energy.meters:
            echo(f"  {one_line(info.name)}: {one_line(_reads(info))}")
            self._seen[info.name] = []
        for name, why in energy.missing:
            echo(f"  {one_line(name)}: does not read here: {one_line(why.reason)}")
            echo(f"    -> {one_line(why.remedy)}")
        if energy.meters:
            echo()
            echo(_row("", [f"{info.name} ({info.boundary})" for info in energy.meters]))

    def reading(self, elapsed_s: float, watts: dict[str, float | str]) -> None:
        cells = []
        for name, found in watts.items():
            if isinstance(found, float):
                self._seen[name].append(found)
            cells.append(units.watts(found) if isinstance(found, float) else one_line(found))
        line = _row(units.duration(elapsed_s), cells)
        if self._terminal:
            click.echo(f"\r\x1b[2K{line[:110]}", nl=False)
        else:
            echo(line)
        sys.stdout.flush()

    def end(self) -> None:
        if not any(self._seen.values()):
            return
        if self._terminal:
            echo()
        for title, value in (("mean", _mean), ("lowest", min), ("highest", max)):
            cells = [
                units.watts(value(seen)) if seen else "no reading" for seen in self._seen.values()
            ]
            echo(_row(title, cells))


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _reads(info: MeterInfo) -> str:
    simulated = ", simulated" if info.simulated else ""
    return (
        f"{info.boundary}, {', '.join(info.covers)}, "
        f"a value every {units.seconds(info.update_period_s)}{simulated}"
    )


def _row(title: str, cells: list[str]) -> str:
    return "  ".join([title.rjust(10), *(cell.rjust(COLUMN) for cell in cells)]).rstrip()
