"""`harness schema`: the format of a document, for editors and other programs."""

from __future__ import annotations

import click

from harness.cli.output import echo_json
from harness.schema import DOCUMENTS


@click.command()
@click.argument("name", type=click.Choice(sorted(DOCUMENTS)))
def command(name: str) -> None:
    """Print the JSON Schema of a workload, target, brief, record or decision."""
    schema = DOCUMENTS[name].model_json_schema(by_alias=True)
    echo_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
