"""Workloads x targets x scenarios to an ordered plan, with a reason for each skipped cell."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import plugins
from harness.adapters.coverage import refusal
from harness.adapters.http.prerequisites import lacking, unserved
from harness.data_files import digests
from harness.errors import HarnessError, SpecError
from harness.hardware import Detected
from harness.measure.profile import PROFILES
from harness.models.hub import on_hub, placed_if_there
from harness.schema import Target, Workload, content_hash
from harness.schema.record import Cell, Failure, ProfileName
from harness.schema.scenario import Burst, Scenario, Server, Trace

START_ESTIMATE_S = 6.0


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell of the plan.

    `skip` says why it will not be measured here; `data` is the folder that the workload's weight
    files are relative to. `unsupported` is known beforehand to end it: it runs all the same, and
    its record says so. `failure` is known beforehand too: its record says so without a run.
    """

    cell: Cell
    workload: Workload
    target: Target
    data: Path
    skip: str | None
    estimate_s: float
    unsupported: str | None = None
    failure: Failure | None = None


def make_plan(
    workloads: Sequence[tuple[Workload, Path]],
    targets: Sequence[Target],
    machine: Mapping[str, Detected],
    *,
    profile: ProfileName = "quick",
    seed: int = 0,
    scenarios: Sequence[str] = (),
    repeats: int = 1,
    cache: Path | None = None,
    failures: Mapping[str, Failure] | None = None,
) -> list[Planned]:
    """Return every cell `repeats` times: by workload, then scenario, then repeat, then target.

    Targets that are compared run close in time, so that slow changes of the machine hit all alike;
    every other repeat takes them in reverse (ABBA), so that a steady drift hits all alike too.
    `scenarios` keeps only those kinds (empty: all that a workload declares). `cache` has the models
    that are on the hub, once they are fetched; till then less is known of what is unsupported.
    `failures` says, by workload, why its cells fail beforehand: their models need not be pinned.
    """
    fails = failures or {}
    reasons = {target.name: missing(target, machine) for target in targets}
    refused = {
        (workload.name, target.name): unsupported(
            workload if cache is None else placed_if_there(workload, cache), target, data
        )
        for workload, data in workloads
        for target in targets
    }
    return [
        Planned(
            cell=make_cell(
                workload,
                target,
                scenario,
                profile=profile,
                seed=seed,
                repeat=repeat,
                files=digests(workload, scenario, data),
                fails=workload.name in fails,
            ),
            workload=workload,
            target=target,
            data=data,
            skip=reasons[target.name],
            estimate_s=(
                0.0
                if workload.name in fails
                else START_ESTIMATE_S
                if refused[workload.name, target.name]
                else _estimate(scenario, profile)
            ),
            unsupported=refused[workload.name, target.name],
            failure=fails.get(workload.name),
        )
        for workload, data in workloads
        for scenario in workload.scenarios
        if not scenarios or scenario.kind in scenarios
        for repeat in range(repeats)
        for target in (reversed(targets) if repeat % 2 else targets)
    ]


def make_cell(
    workload: Workload,
    target: Target,
    scenario: Scenario,
    *,
    profile: ProfileName,
    seed: int,
    repeat: int = 0,
    files: Mapping[str, str] | None = None,
    fails: bool = False,
) -> Cell:
    """Return the identity of a cell; its `id` is the hash of everything else in it.

    `files`: the sha256 of each file that the workload names. Raises SpecError for a model on the
    hub whose revision is no commit: it would be the same cell with other weights. A cell that
    `fails` beforehand has no figures of any weights, and may be unpinned.
    """
    model = on_hub(workload)
    if model is not None and model.commit is None and not fails:
        raise SpecError(
            f"{workload.name}: {model.source} on the hub may move, and is not pinned",
            hint="name a commit (40 hex digits) as 'revision', or pin it (harness.models.hub)",
        )
    identity = {
        "workload": workload.name,
        "workload_version": workload.version,
        "workload_hash": content_hash(workload),
        "target": target.name,
        "target_hash": content_hash(target),
        "scenario": scenario.model_dump(mode="json"),
        "profile": profile,
        "seed": seed,
        "repeat": repeat,
        "files": dict(files or {}),
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return Cell.model_validate({"id": hashlib.sha256(text.encode()).hexdigest()[:16], **identity})


def missing(target: Target, machine: Mapping[str, Detected]) -> str | None:
    """Return what this machine lacks to run `target`, and what to do; None if nothing is known."""
    try:
        adapter = plugins.adapter(target.runtime.adapter)
    except HarnessError as error:
        return str(error) if error.hint is None else f"{error} ({error.hint})"
    packages: str | Sequence[str] = getattr(adapter, "packages", ())
    for package in (packages,) if isinstance(packages, str) else packages:
        if not _is_installed(package):
            remedy = getattr(adapter, "install", f"install what holds the module {package}")
            return f"the package '{package}' is not installed ({remedy})"
    if target.server is not None and (needed := lacking(target.server)):
        return needed
    if target.runtime.device == "cuda":
        gpus = machine.get("gpu_count", Detected(None, reason="not detected"))
        if not gpus.value:
            return f"no NVIDIA GPU on this machine: {gpus.reason or 'none found'}"
    return None


def _is_installed(module: str) -> bool:
    """Return whether `module` can be found; what is within another imports that one."""
    try:
        return importlib.util.find_spec(module) is not None
    except Exception:  # the outer module is missing, or fails in a way of its own
        return False


def unsupported(workload: Workload, target: Target, data: Path) -> str | None:
    """Return why `target` is known to refuse `workload`; None if only the run will tell."""
    try:
        adapter = plugins.adapter(target.runtime.adapter)
    except HarnessError:
        return None
    if target.server is not None and (
        other := unserved(target.server, workload.task, workload.model.family)
    ):
        return other
    return refusal(adapter, target.runtime.adapter, workload, data)


def _estimate(scenario: Scenario, profile: ProfileName) -> float:
    """Return about how many seconds a cell takes, from the time boxes of its profile."""
    boxes = PROFILES[profile]
    if isinstance(scenario, Trace):
        return START_ESTIMATE_S + boxes.server_most_s
    if isinstance(scenario, Server | Burst):
        points = boxes.points(scenario) * boxes.server_most_s / 2
        if not scenario.load:
            points = min(points, boxes.search_s + boxes.server_most_s / 2)
        return START_ESTIMATE_S + boxes.least_s + points
    return START_ESTIMATE_S + (boxes.least_s + boxes.most_s) / 2
