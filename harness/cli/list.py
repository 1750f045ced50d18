"""`harness list`: what there is to measure, to measure on, and to measure with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from harness.catalog import DOCUMENT_OF, Catalog, Entry, Kind, load_document
from harness.cli.options import catalog_option, json_option
from harness.cli.output import echo, echo_json, table
from harness.errors import SpecError
from harness.plugins import Plugin, adapters, clashes, meters
from harness.schema import Brief, Document, Target, Workload
from harness.schema.target import DETECTED, Hardware, Price
from harness.units import usd

Row = dict[str, object]
WHATS = ("workloads", "targets", "briefs", "adapters", "meters")


@click.command()
@click.argument("what", type=click.Choice(WHATS), required=False)
@catalog_option
@json_option
def command(what: str | None, catalog: Path | None, as_json: bool) -> None:
    """List workloads, targets, briefs, adapters and meters, with where each comes from.

    A file that cannot be read is listed as broken; 'harness validate' says everything about it.
    """
    found = Catalog.find(catalog)
    tables: dict[str, Callable[[], list[Row]]] = {
        "workloads": lambda: _entries(found, "workload"),
        "targets": lambda: _entries(found, "target"),
        "briefs": lambda: _entries(found, "brief"),
        "adapters": lambda: _plugins("adapter", adapters()),
        "meters": lambda: _plugins("meter", meters()),
    }
    wanted = [what] if what else list(WHATS)
    rows = {name: tables[name]() for name in wanted}
    if as_json:
        echo_json([row for name in wanted for row in rows[name]])
        return
    for position, name in enumerate(wanted):
        if position:
            echo()
        echo(_section(name, rows[name]))
    for name, reason in found.broken.items():
        echo(f"warning: {name}: {reason}", err=True)


def _section(name: str, rows: list[Row]) -> str:
    """Return the table of `rows` under the heading `name`."""
    if not rows:
        return f"{name}: none"
    columns = [key for key in rows[0] if key not in ("kind", "path", "status", "problem")]
    cells = []
    for row in rows:
        shown = {key: str(row[key]) for key in columns}
        if row["status"] == "broken":
            first = str(row["problem"]).splitlines()[0]
            shown["title" if "title" in shown else "value"] = f"BROKEN: {first}"
        cells.append([shown[key] for key in columns])
    return table(cells, header=[name.upper() if key == "name" else key for key in columns])


def _entries(catalog: Catalog, kind: Kind) -> list[Row]:
    rivals = {group[0].name: group for group in catalog.rivals(kind)}
    return [_entry(catalog, entry, entry.name in rivals) for entry in catalog.entries(kind)]


def _entry(catalog: Catalog, entry: Entry, has_rivals: bool) -> Row:
    """Return the row of `entry`; what is wrong with it stands in `problem`."""
    details: Row = dict.fromkeys(COLUMNS[entry.kind], "")
    title, problem = "", None
    try:
        if has_rivals:
            catalog.entry(entry.kind, entry.name)
        document = load_document(entry.path, DOCUMENT_OF[entry.kind])
        details, title = _details(document), document.title
    except SpecError as error:
        problem = error.message
    return {
        "kind": entry.kind,
        "name": entry.name,
        **details,
        "origin": entry.origin,
        "title": title,
        "path": str(entry.path),
        "status": "broken" if problem else "ok",
        "problem": problem,
    }


COLUMNS: dict[Kind, tuple[str, ...]] = {
    "workload": ("task", "scenarios"),
    "target": ("adapter", "precision", "tier", "chip", "price"),
    "brief": ("as_of", "workloads"),
}


def _details(document: Document) -> Row:
    """Return what `COLUMNS` names, of one document."""
    if isinstance(document, Workload):
        scenarios = ", ".join(scenario.kind for scenario in document.scenarios)
        return {"task": document.task, "scenarios": scenarios}
    if isinstance(document, Target):
        return {
            "adapter": document.runtime.adapter,
            "precision": document.runtime.precision,
            "tier": document.site.tier,
            "chip": _chip(document.hardware),
            "price": price_text(document.price),
        }
    assert isinstance(document, Brief)
    names = ", ".join(part.workload for part in document.workloads)
    return {"as_of": document.as_of.isoformat(), "workloads": names}


def _chip(hardware: Hardware) -> str:
    """Return what a target runs on, with its vendor; where it takes the CPU it finds, this one."""
    from harness.hardware import cpu_model

    chips = f"{hardware.count} x " if hardware.count > 1 else ""
    if hardware.vendor == DETECTED and hardware.kind == "cpu":
        found = cpu_model()
        return f"{chips}{found.value or found.reason} (this machine)"
    known = hardware.chip.casefold().startswith(hardware.vendor.casefold())
    return f"{chips}{hardware.chip}" if known else f"{chips}{hardware.vendor} {hardware.chip}"


def price_text(price: Price | None) -> str:
    """Return a target's price in words."""
    if price is None:
        return "no price"
    if price.kind == "rent":
        return f"{usd(price.usd_per_hour)} per hour"
    if price.kind == "api":
        from harness.economics import api_rates

        return api_rates(price)
    return f"{usd(price.purchase_usd)} to buy"


def _plugins(kind: str, plugins: list[Plugin]) -> list[Row]:
    double = clashes(plugins)
    rows: list[Row] = []
    for plugin in plugins:
        problem = plugin.load_error
        if plugin.name in double:
            owners = " and ".join(rival.distribution for rival in double[plugin.name])
            problem = f"registered twice: by {owners}"
        rows.append(
            {
                "kind": kind,
                "name": plugin.name,
                "origin": plugin.distribution,
                "value": plugin.value,
                "status": "broken" if problem else "ok",
                "problem": problem,
            }
        )
    return rows
