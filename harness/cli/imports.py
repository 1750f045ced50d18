"""`harness import`: joins what other instruments measured to the records, after the run."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import units
from harness.cli.options import json_option, results_option, there
from harness.cli.output import echo, echo_json, table
from harness.errors import SpecError

if TYPE_CHECKING:
    from harness.meters.wall_log import WallLog
    from harness.schema.power_import import LogFormat, PowerImport
    from harness.schema.record import EnergyReading, Record


def _share(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Return an uncertainty, written `1%` or `0.01`, as a share within (0, 1)."""
    if text is None:
        return None
    try:
        share = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise click.BadParameter(f"{text!r} is no uncertainty; write it as 1% or 0.01")
    return share


@click.group("import")
def command() -> None:
    """Join what other instruments measured to the records, after the run."""


@command.command("power")
@click.argument("logs", nargs=-1, required=True, metavar="LOG...", type=click.Path(path_type=Path))
@click.option("--run", "run", required=True, help="Run or record id (or the start of one).")
@click.option(
    "--format",
    "log_format",
    type=click.Choice(("ptd", "pdu")),
    help="ptd: SPEC PTDaemon's spl.txt; pdu: a CSV with a header.  [default: told by line 1]",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help="Zone of times without an offset: Europe/Berlin, UTC, +02:00.  [default: this machine's]",
)
@click.option("--day-first", is_flag=True, help="Dates of spl.txt are DD-MM-YYYY, not MM-DD-YYYY.")
@click.option("--time-column", metavar="NAME", help="Column of a CSV that holds the time.")
@click.option("--watts-column", metavar="NAME", help="Column of a CSV that holds the watts.")
@click.option(
    "--uncertainty",
    callback=_share,
    metavar="SHARE",
    help="The meter's own, at 95 %.  [default: ptd 1%, pdu 5%]",
)
@click.option("--uncertainty-source", metavar="TEXT", help="Where that is known from.")
@results_option
@json_option
def power(
    logs: tuple[Path, ...],
    run: str,
    log_format: LogFormat | None,
    timezone: str | None,
    day_first: bool,
    time_column: str | None,
    watts_column: str | None,
    uncertainty: float | None,
    uncertainty_source: str | None,
    results: Path,
    as_json: bool,
) -> None:
    """Join the LOG of a wall meter to the records of a run, by the wall clock.

    Several LOGs are the feeds of the one machine that was measured: their joules are added. The
    records stay as they are; the readings go to a document beside them, and reports show them.
    Exit status 1 if no point got joules.
    """
    from harness.measure.power_import import Sensor, import_power, save_import
    from harness.meters.wall_log import Columns, find_zone, read_wall_log
    from harness.store import new_ulid

    if uncertainty_source and uncertainty is None:
        raise click.UsageError("--uncertainty-source needs --uncertainty")
    zone = find_zone(timezone)
    columns = Columns(time_column, watts_column)
    read = [
        read_wall_log(path, log_format=log_format, zone=zone, day_first=day_first, columns=columns)
        for path in logs
    ]
    _refuse_twins(read)
    records = _records(run, results)
    document = import_power(
        new_ulid(),
        records,
        read,
        timezone or f"this machine's ({datetime.now().astimezone().tzname()})",
        Sensor(uncertainty, uncertainty_source),
    )
    got = sum(one.reading.joules is not None for one in document.readings)
    path = save_import(document, results) if got else None
    if as_json:
        tree = document.model_dump(mode="json")
        echo_json({"path": None if path is None else str(path), **tree})
    else:
        echo("\n".join(_text(document, [record for record, _ in records])))
        echo()
    if path is None:
        echo("error: the logs hold no energy for any point; nothing was written", err=True)
        echo("hint: check --timezone and --day-first against the times above", err=True)
        sys.exit(1)
    if not as_json:
        echo(f"import in {path}: {got} of {len(document.readings)} points have wall energy")
        echo("next: harness report, or harness map")


def _refuse_twins(logs: list[WallLog]) -> None:
    """Raise SpecError where two logs are the same, or could not be told apart by name."""
    for what in (Counter(log.sha256 for log in logs), Counter(log.path.stem for log in logs)):
        if any(count > 1 for count in what.values()):
            names = ", ".join(str(log.path) for log in logs)
            raise SpecError(
                f"two of the logs are the same or have the same name: {names}",
                hint="give each feed's log once, with a name of its own",
            )


def _records(run: str, results: Path) -> list[tuple[Record, str]]:
    """Return the records of `run` as they were stored, with their digests."""
    from harness.compare.sides import find_side
    from harness.store import Store

    store = Store(there(results))
    stored = {each.record.id: each for each in store.records()}
    for problem in store.problems:
        echo(f"warning: {problem}", err=True)
    side = find_side(run, [each.record for each in stored.values()])
    found = [(store.read(stored[r.id].folder).record, stored[r.id].sha256) for r in side.records]
    found = [(record, digest) for record, digest in found if record.points]
    if not found:
        raise SpecError(f"'{run}' has no record with measured points")
    return found


def _text(document: PowerImport, records: list[Record]) -> list[str]:
    lines = []
    for log in document.logs:
        dropped = ", ".join(f"{units.count(n)} {why}" for why, n in sorted(log.dropped.items()))
        lines.append(
            f"{log.name} ({log.format}): {units.count(log.samples)} samples, one every "
            f"{units.duration(log.period_s)}, {log.began_at:%Y-%m-%d %H:%M:%S} to "
            f"{log.ended_at:%Y-%m-%d %H:%M:%S} UTC" + (f"; dropped: {dropped}" if dropped else "")
        )
    lines.append(
        f"uncertainty of the meter {units.percent(document.sensor)}: {document.sensor_source}"
    )
    lines.append("")
    of = {record.id: record for record in records}
    rows = []
    for one in document.readings:
        point = of[one.record].points[one.point]
        began = "unknown" if one.began_at is None else f"{one.began_at:%Y-%m-%d %H:%M:%S}"
        load = "" if point.load is None else units.number(point.load)
        rows.append((of[one.record].cell.label, load, began, *_figures(one.reading)))
    header = ["cell", "load", "began (UTC)", "energy", "±", "mean power", "remarks"]
    return [*lines, table(rows, header=header)]


def _figures(reading: EnergyReading) -> tuple[str, str, str, str]:
    if reading.joules is None:
        return "not measured", "", "", reading.reason or ""
    watts = reading.joules / reading.duration_s
    return (
        units.joules(reading.joules),
        units.percent(reading.uncertainty),
        units.watts(watts),
        ", ".join(reading.flags),
    )
