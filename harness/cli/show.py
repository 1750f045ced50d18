"""`harness show`: one workload, target, brief or record, whole."""

from __future__ import annotations

import re
from pathlib import Path

import click

from harness.catalog import DOCUMENT_OF, Catalog, Entry, Kind
from harness.cli.options import catalog_option, json_option, results_option
from harness.cli.output import echo, echo_json
from harness.documents import did_you_mean, load
from harness.errors import SpecError
from harness.schema import Target
from harness.schema.target import DETECTED
from harness.yaml_reader import display_name, shown

KINDS: tuple[Kind, ...] = ("workload", "target", "brief")
RECORD = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
"""What a record is called: its ULID, which no name of a document can be."""


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), help="What NAME is, where several share it.")
@catalog_option
@results_option
@json_option
def command(
    name: str, kind: Kind | None, catalog: Path | None, results: Path, as_json: bool
) -> None:
    """Show the workload, target or brief called NAME, with its defaults filled in.

    NAME may also be the id of a record, or its folder: its verdict and figures, with what they can
    support. --json has all of it but the histograms.
    """
    folder = _record_of(name, results)
    if folder is not None:
        _show_record(folder, as_json)
        return
    entry = _find(Catalog.find(catalog), name, kind)
    document = load(entry.path, DOCUMENT_OF[entry.kind]).document
    tree = document.model_dump(mode="json")
    if as_json:
        echo_json({"kind": entry.kind, "origin": entry.origin, "path": str(entry.path), **tree})
        return
    echo(f"{entry.kind} {entry.name} ({entry.origin}: {display_name(entry.path)})")
    echo()
    echo("\n".join(_lines(tree)))
    if isinstance(document, Target) and document.hardware.vendor == DETECTED:
        from harness.hardware import cpu_model

        found = cpu_model()
        echo()
        echo(f"detected on this machine: {found.value or found.reason}")


def _record_of(name: str, results: Path) -> Path | None:
    """Return the folder of the record called `name`; None if it is not a record's name.

    SpecError if it is, and there is none; or if `name` is a folder that holds none.
    """
    if (Path(name) / "record.json").is_file():
        return Path(name)
    hint = "'harness index' lists the records"
    if RECORD.fullmatch(name):
        found = sorted(results.glob(f"runs/*/*/*/{name}/record.json"))
        if found:
            return found[0].parent
        raise SpecError(f"no record {name} in {results}", hint=f"{hint}; say where: --results DIR")
    if "/" in name and Path(name).is_dir():
        raise SpecError(f"{name}: a folder without record.json", hint=hint)
    return None


def _show_record(folder: Path, as_json: bool) -> None:
    from harness.cli.record_text import record_lines
    from harness.store import Store

    results = _results_of(folder.resolve())
    store = Store(results or folder)
    stored = store.read(folder.resolve())
    if results is not None:
        stored = store.with_imports(stored)
    for problem in store.problems:
        echo(f"warning: not read: {problem}", err=True)
    if as_json:
        tree = stored.record.model_dump(mode="json", exclude={"points": {"__all__": {"latency"}}})
        echo_json({"kind": "record", "path": str(folder), "imports": stored.imports, **tree})
        return
    echo("\n".join(record_lines(stored.record, stored.imports)))


def _results_of(folder: Path) -> Path | None:
    """Return the results folder that holds the record in `folder`; None if it stands alone."""
    above = folder.parents
    return above[4] if len(above) > 4 and above[3].name == "runs" else None


def _find(catalog: Catalog, name: str, kind: Kind | None) -> Entry:
    """Return the one entry called `name`; SpecError if there is none, or one in several kinds."""
    if kind is not None:
        return catalog.entry(kind, name)
    names = {each: [entry.name for entry in catalog.entries(each)] for each in KINDS}
    holders = [each for each in KINDS if name in names[each]]
    if len(holders) > 1:
        message = f"{shown(name)} is the name of a {' and of a '.join(holders)}"
        raise SpecError(message, hint=f"say which: --kind {holders[0]}")
    if not holders:
        close = did_you_mean(name, [each for known in names.values() for each in known])
        hint = f"{close + ' ' if close else ''}'harness list' names all"
        raise SpecError(f"no workload, target or brief is called {shown(name)}", hint=hint)
    return catalog.entry(holders[0], name)


def _lines(value: object, indent: str = "") -> list[str]:
    """Return `value` as indented text: one line for each key, `-` before each entry of a list."""
    lines = []
    if isinstance(value, dict):
        for key, part in value.items():
            if _is_nested(part):
                lines += [f"{indent}{key}:", *_lines(part, f"{indent}  ")]
            else:
                lines.append(f"{indent}{key}: {_scalar(part)}")
    elif isinstance(value, list):
        for part in value:
            if _is_nested(part):
                first, *rest = _lines(part, f"{indent}  ")
                lines += [f"{indent}- {first.strip()}", *rest]
            else:
                lines.append(f"{indent}- {_scalar(part)}")
    return lines


def _is_nested(value: object) -> bool:
    return isinstance(value, dict | list) and bool(value)


def _scalar(value: object) -> str:
    """Return a value on one line; numbers as they are declared, not rounded."""
    if value is None:
        return "not given"
    if isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.10g}" if abs(value) < 1e15 else repr(value)
    return " ".join(str(value).split())
