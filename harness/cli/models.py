"""`harness models`: the models that are built into the cache, and those that are trained."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from harness import units
from harness.catalog import Catalog
from harness.cli.hub import fetch_models, looked_up
from harness.cli.options import catalog_option, json_option
from harness.cli.output import echo, echo_json, table
from harness.cli.run import cache_folder
from harness.errors import HarnessError, PrerequisiteError, SpecError, StoreError, UnsupportedError
from harness.files import write_whole
from harness.models.build import build_model
from harness.models.cache import Artefact, artefacts, remove
from harness.models.hub import folder_name, on_hub, placed, placed_if_there
from harness.models.model import Declared, Model
from harness.schema import Workload
from harness.schema.base import Task
from harness.schema.quality import SpeechQuality, TextQuality

UNUSED = "no workload here"
STANDARD_ERROR = 2


@dataclass(frozen=True, slots=True)
class Training:
    """How a trained model is made: its script, what the script needs, and what it writes."""

    module: str
    packages: tuple[str, ...]
    commands: tuple[str, ...]
    files: tuple[str, ...]


TRAININGS = {
    "fraud": Training("train_fraud", ("lightgbm", "torch"), (), ("fraud.safetensors",)),
    "text": Training("train_text", ("torch",), (), ("bytes-llama.safetensors",)),
    "speech": Training(
        "train_speech",
        ("torch",),
        ("espeak-ng",),
        ("digits-whisper.safetensors", "digits-heldout.safetensors"),
    ),
}


@click.group("models")
def command() -> None:
    """List, build, train and clear the workloads' models."""


@command.command("list")
@catalog_option
@json_option
def list_(catalog: Path | None, as_json: bool) -> None:
    """List what the cache holds: size, age, and which workloads it is for."""
    cache, now = cache_folder(), datetime.now(UTC)
    users = _users(Catalog.find(catalog), cache)
    found = artefacts(cache)
    if as_json:
        rows = [
            {
                "path": str(each.path),
                "kind": each.kind,
                "bytes": each.size_bytes,
                "made_at": each.made_at.isoformat(),
                "used_by": users.get(each.folder or "", []),
            }
            for each in found
        ]
        echo_json({"cache": str(cache), "artefacts": rows})
        return
    cells = [
        [
            str(each.path.relative_to(cache)),
            units.data(each.size_bytes),
            units.duration(max(0.0, (now - each.made_at).total_seconds())),
            _purpose(each, users),
        ]
        for each in found
    ]
    if cells:
        echo(table(cells, header=["ARTEFACT", "size", "age", "for"]))
        echo()
    echo(f"{_total(found)} in {cache}")


@command.command()
@click.argument("name")
@catalog_option
def build(name: str, catalog: Path | None) -> None:
    """Build the models of workload NAME into the cache: weights and ONNX files, gates included.

    A model on the Hugging Face hub is fetched; a branch or tag is looked up again.
    """
    found, cache = Catalog.find(catalog), cache_folder()
    workload, data = looked_up(found.workload(name), cache), found.data_folder(name)
    fetch_models([workload], cache)
    workload = placed(workload, cache)
    for place, architecture in _architectures(workload):
        echo(f"building {place} ({architecture.family}) ...", err=True)
        model = build_model(architecture, workload.task, cache=cache, data=data)
        model.weights()
        for dialect in ("standard", "portable"):
            try:
                model.onnx(dialect)
            except UnsupportedError as error:
                echo(f"no {dialect} ONNX file: {error.message}", err=True)
        echo(f"{place}: {units.count(model.parameters)} parameters in {model.folder}")
    echo(f"next: harness run -w {name}")


@command.command()
@click.argument("name", type=click.Choice(sorted(TRAININGS)))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder for the weights; made if need be.",
)
@click.option("--steps", type=click.IntRange(1), help="Steps of training, for text and speech.")
@click.option("--overwrite", is_flag=True, help="Replace files that are in DIR already.")
def train(name: str, out: Path, steps: int | None, overwrite: bool) -> None:
    """Train a quality gate's model again: fraud, text or speech. Takes minutes.

    Needs the extras train and torch, for speech also espeak-ng. Files appear in DIR when the
    training is over, whole.
    """
    training = TRAININGS[name]
    if steps is not None and name == "fraud":
        raise click.UsageError("--steps is for text and speech: fraud trains a fixed number")
    there = [file for file in training.files if (out / file).exists()]
    if there and not overwrite:
        raise StoreError(
            f"{out} has {' and '.join(there)} already",
            hint="name another folder with --out, or say --overwrite",
        )
    _check(name, training)
    with TemporaryDirectory(prefix="harness-train-") as folder:
        script = f"harness.models.training.{training.module}"
        arguments = [sys.executable, "-m", script, "--output", folder]
        if steps is not None:
            arguments += ["--steps", str(steps)]
        echo(f"training {name}, some minutes ...", err=True)
        # What it prints is progress.
        ended = subprocess.run(arguments, stdout=STANDARD_ERROR, check=False)
        if ended.returncode:
            raise HarnessError(f"the training ended with status {ended.returncode}; see above")
        for file in training.files:
            write_whole(out / file, (Path(folder) / file).read_bytes())
            echo(f"wrote {out / file}")
    echo("next: name the file as 'weights' in a workload beside it, or compare it with the old one")


@command.command()
@click.option("--unused", is_flag=True, help="Only what no workload of the catalog is built from.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@catalog_option
def clear(unused: bool, yes: bool, catalog: Path | None) -> None:
    """Remove what the cache holds; the next run builds again what it needs. Asks before."""
    cache = cache_folder()
    found = artefacts(cache)
    if unused:
        users = _users(Catalog.find(catalog), cache)
        found = [each for each in found if each.folder and each.folder not in users]
    if not found:
        echo(f"nothing to remove in {cache}")
        return
    if not yes:
        click.confirm(f"remove {_total(found)} from {cache}?", abort=True, err=True)
    removed = [each for each in found if remove(each)]
    for each in found:
        if each not in removed:
            echo(f"left, as it is being built: {each.path}", err=True)
    echo(f"removed {_total(removed)} from {cache}")


def _architectures(workload: Workload) -> Iterator[tuple[str, Declared]]:
    """Yield each model that `workload` runs, with its place in the workload in words."""
    yield f"{workload.name}, the model", workload.model
    for gate in workload.quality:
        if isinstance(gate, TextQuality | SpeechQuality):
            yield f"{workload.name}, gate {gate.kind}", gate.model


def _users(catalog: Catalog, cache: Path) -> dict[str, list[str]]:
    """Return, by the name of a model's folder, what it is for; broken workloads use nothing."""
    users: dict[str, list[str]] = defaultdict(list)
    for entry in catalog.workloads():
        with suppress(SpecError):
            workload = catalog.workload(entry.name)
            data = catalog.data_folder(entry)
            if model := on_hub(workload):
                users[folder_name(model)].append(f"{workload.name}, the model")
                workload = placed_if_there(workload, cache)
            for place, architecture in _architectures(workload):
                users[_model(architecture, workload.task, cache, data).folder.name].append(place)
    return dict(users)


def _model(architecture: Declared, task: Task, cache: Path, data: Path) -> Model:
    return build_model(architecture, task, cache=cache, data=data)


def _purpose(each: Artefact, users: dict[str, list[str]]) -> str:
    if each.kind == "reference":
        return "quality gates: what the reference computes"
    if each.kind == "ceilings":
        return "roofline: what this machine can do"
    if each.kind == "left over":
        return "nothing: left by a build that was ended, or being built"
    return "; ".join(users.get(each.folder or "", [UNUSED]))


def _total(found: list[Artefact]) -> str:
    size = units.data(sum(each.size_bytes for each in found))
    return f"{units.count(len(found))} artefact{'' if len(found) == 1 else 's'} ({size})"


def _check(name: str, training: Training) -> None:
    """Raise PrerequisiteError unless all that the training needs is there."""
    packages = [each for each in training.packages if importlib.util.find_spec(each) is None]
    if packages:
        raise PrerequisiteError(
            f"training {name} needs {' and '.join(packages)}",
            hint="pip install 'accelerator-harness[train,torch]'",
        )
    for each in training.commands:
        if shutil.which(each) is None:
            raise PrerequisiteError(
                f"training {name} needs the command {each}", hint=f"apt-get install {each}"
            )
