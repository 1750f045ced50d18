"""What the command line does and says about models that are on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from harness import units
from harness.cli.output import echo
from harness.errors import PrerequisiteError, StoreError
from harness.models.hub import Missing, fetch, missing, on_hub, pinned
from harness.models.hub_client import HubFile
from harness.plan import Planned
from harness.schema import Workload
from harness.schema.record import Failure


def fetch_models(workloads: Iterable[Workload], cache: Path) -> None:
    """Bring the models of `workloads`, which are pinned, into the cache; tell of each file."""
    for workload in {each.name: each for each in workloads}.values():
        model = on_hub(workload)
        if model is None:
            continue
        source = f"{workload.name}: {model.source}"

        def tell(file: HubFile, source: str = source) -> None:
            size = units.data(file.size_bytes, "the hub does not say its size")
            echo(f"fetching {source}: {file.name} ({size}) ...", err=True)

        fetch(model, workload.task, cache, tell)


def pinned_if_reached(workload: Workload, cache: Path) -> tuple[Workload, Failure | None]:
    """Return `workload` pinned; or as it is, and how its cells fail, if its model cannot be had.

    SpecError if the hub has no such model: then the workload is wrong.
    """
    try:
        return pinned(workload, cache), None
    except (PrerequisiteError, StoreError) as error:
        return workload, _failure(error)


def fetched(plan: Sequence[Planned], cache: Path) -> list[Planned]:
    """Bring the models of what will be measured into the cache, and return the plan.

    Cells whose model cannot be had fail in it. SpecError if a model cannot be built: then the
    workload is wrong.
    """
    failures = {}
    due = (each for each in plan if each.skip is None and each.failure is None)
    for workload in {each.workload.name: each.workload for each in due}.values():
        try:
            fetch_models([workload], cache)
        except (PrerequisiteError, StoreError) as error:
            failures[workload.name] = _failure(error)
    return [
        replace(each, failure=failures[each.workload.name], estimate_s=0.0)
        if each.workload.name in failures
        else each
        for each in plan
    ]


def _failure(error: PrerequisiteError | StoreError) -> Failure:
    return Failure(kind="prerequisite", message=error.message, hint=error.hint)


def looked_up(workload: Workload, cache: Path) -> Workload:
    """Return `workload` pinned to what its branch or tag stands for now, and say which commit.

    Where the hub cannot be asked, it is what it stood for when it was last looked up.
    """
    model = on_hub(workload)
    if model is None or model.commit is not None:
        return workload
    try:
        found = pinned(workload, cache, again=True)
    except PrerequisiteError as error:
        found = pinned(workload, cache)
        echo(f"{error.message}; taken as it was last looked up", err=True)
    now = on_hub(found)
    assert now is not None
    echo(f"{workload.name}: {model.source} is commit {now.commit}", err=True)
    return found


def to_fetch(workloads: Iterable[Workload], cache: Path) -> dict[str, Missing]:
    """Return, by the name of the workload, the models that a run fetches first."""
    found = {}
    for workload in workloads:
        model = on_hub(workload)
        if model is not None and workload.name not in found and (lacks := missing(model, cache)):
            found[workload.name] = lacks
    return found


def fetch_in_words(name: str, lacks: Missing) -> str:
    """Return what a run of the workload `name` fetches first, in a sentence."""
    size = units.data(lacks.size_bytes, lacks.reason)
    return f"{name}: fetches the model {lacks.model.source} first: {size}"
