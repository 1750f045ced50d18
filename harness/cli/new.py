"""`harness new target`: a served target's file, filled in from the template and checked."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import get_args

import click

from harness.catalog import Catalog
from harness.cli.output import echo
from harness.documents import validate
from harness.errors import SpecError
from harness.files import write_whole
from harness.schema import Target
from harness.schema.base import Precision, Tier
from harness.schema.server import Protocol
from harness.yaml_reader import display_name, parse_yaml

TEMPLATE = "_served_template.yaml"
KINDS = ("cpu", "gpu", "npu", "asic", "fpga")
NOT_STATED = "not stated"
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 ._/-]*[A-Za-z0-9]")
WORDS = ("true", "false", "null")
DESCRIPTION = re.compile(r"^description: .*\n(?: .*\n)*", re.MULTILINE)
COMMENT_AT = 36


@click.group()
def command() -> None:
    """Write a new file from a template."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the command line says of a served target. `settings`: further keys of `server`."""

    name: str
    server: str
    protocol: str
    model: str
    chip: str
    vendor: str
    kind: str
    count: int
    precision: str
    tier: str
    region: str
    jurisdiction: str
    usd_per_hour: float | None
    price_source: str | None
    settings: tuple[tuple[str, str], ...]


@command.command("target")
@click.argument("name")
@click.option("--server", required=True, metavar="URL", help="Base URL, as docs/served.md says.")
@click.option("--protocol", required=True, type=click.Choice(get_args(Protocol)))
@click.option("--model", required=True, help="The name that the server knows it by.")
@click.option("--chip", required=True, help="The chip that serves.")
@click.option("--kind", required=True, type=click.Choice(KINDS), help="What kind of chip.")
@click.option("--precision", required=True, type=click.Choice(get_args(Precision)))
@click.option("--vendor", default=NOT_STATED, show_default=True)
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="Chips.")
@click.option("--tier", type=click.Choice(get_args(Tier)), default="cloud", show_default=True)
@click.option("--region", default=NOT_STATED, show_default=True)
@click.option("--jurisdiction", default="not-stated", show_default=True, help="As in: us, eu.")
@click.option("--usd-per-hour", type=float, help="Rent of one instance.  [default: no price]")
@click.option("--price-source", help="Where the price is from; goes with --usd-per-hour.")
@click.option("--api-key-env", metavar="NAME", help="The variable that holds the key.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=YAML", help="Another key of 'server'."
)
@click.option(
    "--catalog",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    envvar="HARNESS_CATALOG",
    default=Path(),
    help="Folder whose targets/ gets the file.  [default: $HARNESS_CATALOG or .]",
)
def target(
    name: str, api_key_env: str | None, settings: tuple[str, ...], catalog: Path, **given: object
) -> None:
    """Write targets/NAME.yaml for hardware behind a server. An existing file is left as it is.

    What is not stated here stays open in the file: without a price a target can be measured, but
    not chosen.
    """
    if not NAME.fullmatch(name):
        raise click.UsageError(f"{name!r} is no name: words of a-z and 0-9 joined by '-'")
    if (given["usd_per_hour"] is None) != (given["price_source"] is None):
        raise click.UsageError("--usd-per-hour and --price-source go together")
    keys = [_setting(each) for each in settings]
    if api_key_env:
        keys.append(("api_key", f"{{env: {quoted(api_key_env)}}}"))
    answers = Answers(name=name, settings=tuple(keys), **given)  # type: ignore[arg-type]
    path = catalog / "targets" / f"{name}.yaml"
    if path.exists():
        raise SpecError(f"{display_name(path)} is there already", hint="choose another name")
    text = served_target(_template(), answers, date.today())
    validate(parse_yaml(text.encode(), display_name(path)), Target)
    write_whole(path, text)
    _tell(path, catalog, answers)


def served_target(template: str, answers: Answers, today: date) -> str:
    """Return `template` with the answers in it, its own examples of prices taken out.

    Raises SpecError for a key of `server` that the template does not have.
    """
    price = template.index("\n# Optional; without a price")
    body = template[template.index("schema: 1") : price]
    text = (
        f"# A served target. Keys: targets/{TEMPLATE}; figures and rules: docs/served.md.\n{body}"
    )
    text = DESCRIPTION.sub(
        "description: >-\n  Behind a server; what lies between it and the harness is not stated.\n",
        text,
        count=1,
    )
    values = {
        "name": quoted(answers.name),
        "title": quoted(f"{answers.chip}, its server"),
        "chip": quoted(answers.chip),
        "vendor": quoted(answers.vendor),
        "kind": answers.kind,
        "count": str(answers.count),
        "precision": answers.precision,
        "url": quoted(answers.server),
        "protocol": answers.protocol,
        "model": quoted(answers.model),
        "tier": answers.tier,
        "region": quoted(answers.region),
        "jurisdiction": quoted(answers.jurisdiction),
    }
    for key, value in values.items():
        text = _put(text, key, value, "")
    for key, value in answers.settings:
        text = _put(text, key, value, "# ")
    if answers.usd_per_hour is None:
        return text + (
            "\n# Without a price the target can be measured, but not chosen.\n"
            "# price:\n"
            "#   kind: rent                    # or purchase: see targets/_template.yaml\n"
            "#   sale_unit: 1 instance\n"
            "#   usd_per_hour: ...\n"
            "#   source: ...\n"
            "#   date: ...\n"
        )
    return text + (
        "\nprice:\n"
        "  kind: rent\n"
        "  sale_unit: 1 instance\n"
        f"  usd_per_hour: {answers.usd_per_hour!r}\n"
        f"  source: {quoted(answers.price_source or '')}\n"
        f"  date: {today.isoformat()}\n"
    )


def quoted(text: str) -> str:
    """Return `text` as YAML reads it back: plain where it can be, else in double quotes."""
    return text if PLAIN.fullmatch(text) and text.lower() not in WORDS else json.dumps(text)


def _put(text: str, key: str, value: str, mark: str) -> str:
    """Return `text` with `value` at its first `key`, which `mark` hides; the comment stays."""
    line = re.compile(rf"^( *){mark}{re.escape(key)}: [^#\n]*(#[^\n]*)?$", re.MULTILINE)
    found = line.search(text)
    if found is None:
        raise SpecError(
            f"'{key}' is no optional key of 'server' in {TEMPLATE}, or is set twice",
            hint="`harness schema target` prints all keys; write it into the file",
        )
    filled = f"{found[1]}{key}: {value}"
    if found[2]:
        filled = f"{filled:<{COMMENT_AT - 1}} {found[2]}"
    return f"{text[: found.start()]}{filled}{text[found.end() :]}"


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[a-z_]+", key) or not value or "\n" in value:
        # Not shown: it may hold a key.
        raise click.UsageError("a --set is not KEY=YAML, as in --set end_mark=finish_reason")
    return key, value


def _template() -> str:
    for origin in Catalog.find().origins:
        path = origin.folder / "targets" / TEMPLATE
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise SpecError(f"no {TEMPLATE} in the catalog", hint="install the package again")


def _tell(path: Path, catalog: Path, answers: Answers) -> None:
    echo(f"wrote {display_name(path)}")
    open_ = [
        name
        for name, value in (
            ("vendor", answers.vendor),
            ("region", answers.region),
            ("jurisdiction", answers.jurisdiction.replace("-", " ")),
            ("price", NOT_STATED if answers.usd_per_hour is None else ""),
        )
        if value == NOT_STATED
    ]
    if open_:
        echo(f"not stated: {', '.join(open_)}; edit the file before you decide by it", err=True)
    seen = any(entry.path.resolve() == path.resolve() for entry in Catalog.find().targets())
    where = "" if seen else f" --catalog {catalog}"
    echo(f"next: harness plan -t {answers.name}{where}", err=True)
