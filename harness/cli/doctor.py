"""`harness doctor`: what this installation can measure here, what it cannot, and the remedy."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import click

import harness
from harness.catalog import DOCUMENT_OF, Catalog, load_document
from harness.cli.options import catalog_option, json_option, results_option
from harness.cli.output import echo, echo_json, one_line
from harness.errors import HarnessError, SpecError
from harness.hardware import Detected, detect
from harness.meters.base import Unmeasurable
from harness.plugins import Plugin, adapters, clashes, last_line, meter, meters
from harness.units import gigabytes, number, seconds

State = Literal["ok", "note", "missing", "warning", "broken"]

REQUIRED = ("numpy", "onnx", "onnxruntime", "pyarrow", "pydantic", "matplotlib")
OPTIONAL = {
    "torch": "torch",
    "openvino": "openvino",
    "lightgbm": "lightgbm",
    "xgboost-cpu": "xgboost",
    "onnxruntime-genai": "genai",
    "llama-cpp-python": "llama-cpp",
    "httptools": "http",
}
"""Packages that an extra of this distribution brings, by package."""

LEAST_FREE_BYTES = 2e9
BUSY_SHARE = 0.25
"""Of the cores: a machine with more load than this gives noisy figures."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. Only the state `broken` makes the command fail."""

    section: str
    name: str
    state: State
    text: str
    remedy: str | None = None


@click.command()
@catalog_option
@results_option
@json_option
@click.pass_context
def command(context: click.Context, catalog: Path | None, results: Path, as_json: bool) -> None:
    """Check this machine, the runtimes, the meters and the plugins.

    Exit status 1 if something is broken. What is merely missing, as a GPU or an optional runtime,
    is listed with what to do about it.
    """
    facts = detect()
    checks = [
        *_installation(),
        *_packages(),
        *_hardware(facts),
        *_machine(facts, results),
        *_meters(),
        *_plugins("adapter", adapters()),
        *_plugins("meter", meters()),
        *_catalog(catalog),
    ]
    if as_json:
        hardware = {name: asdict(fact) for name, fact in facts.items()}
        rows = [asdict(check) for check in checks]
        echo_json(
            {"schema": 1, "version": harness.__version__, "checks": rows, "hardware": hardware}
        )
    else:
        _print(checks)
    context.exit(1 if any(check.state == "broken" for check in checks) else 0)


def _print(checks: list[Check]) -> None:
    section = None
    for check in checks:
        if check.section != section:
            echo(f"{'' if section is None else chr(10)}{check.section}")
            section = check.section
        echo(f"  {check.state:<8} {one_line(check.name)}: {one_line(check.text)}")
        if check.remedy:
            echo(f"           -> {one_line(check.remedy)}")
    broken = sum(check.state == "broken" for check in checks)
    echo()
    echo(f"{broken} broken" if broken else "nothing is broken")


def _installation() -> Iterator[Check]:
    name = "installation"
    yield Check(
        name, "harness", "ok", f"{harness.__version__} from {Path(harness.__file__).parent}"
    )
    yield Check(name, "python", "ok", f"{platform.python_version()} ({sys.executable})")


def _packages() -> Iterator[Check]:
    for name in REQUIRED:
        version = _version(name)
        if version:
            yield Check("packages", name, "ok", version)
        else:
            remedy = "pip install accelerator-harness"
            yield Check("packages", name, "broken", "required, but not installed", remedy)
    for name, extra in OPTIONAL.items():
        version = _version(name)
        if version:
            yield Check("packages", name, "ok", version)
        else:
            remedy = f"pip install 'accelerator-harness[{extra}]'"
            yield Check("packages", name, "missing", "optional, not installed", remedy)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _hardware(facts: dict[str, Detected]) -> Iterator[Check]:
    for name, fact in facts.items():
        if name == "cpu_governor":
            continue
        if fact.value is None:
            state = "not known" if fact.applicable else "not applicable"
            yield Check("hardware", name, "note", f"{state}: {fact.reason}")
        else:
            yield Check("hardware", name, "ok", _fact(name, fact.value))


def _fact(name: str, value: str | int | float) -> str:
    if isinstance(value, float):
        return gigabytes(value) if name.endswith("_gb") else number(value)
    return str(value)


def _machine(facts: dict[str, Detected], results: Path) -> Iterator[Check]:
    """Check what disturbs measurements: the frequency governor, other load, the disk."""
    section = "machine"
    governor = facts["cpu_governor"]
    if governor.value is None:
        yield Check(section, "cpu governor", "note", f"not known: {governor.reason}")
    elif governor.value == "performance":
        yield Check(section, "cpu governor", "ok", "performance")
    else:
        text = f"{governor.value}: the clock rate follows the load, and figures with it"
        remedy = "sudo cpupower frequency-set -g performance"
        yield Check(section, "cpu governor", "warning", text, remedy)
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    busy = load > BUSY_SHARE * cores
    text = f"{number(load)} over the last minute, on {cores} cores"
    if busy:
        remedy = "wait until other work has ended; figures would be noisy"
        yield Check(section, "load", "warning", text, remedy)
    else:
        yield Check(section, "load", "ok", text)
    yield _disk(results)


def _disk(results: Path) -> Check:
    folder = results.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{gigabytes(free / 1e9)} free for {results}"
    if not os.access(folder, os.W_OK):
        return Check("machine", "disk", "broken", f"{folder} cannot be written", "use --results")
    if free < LEAST_FREE_BYTES:
        return Check("machine", "disk", "warning", text, "free some space, or use --results")
    return Check("machine", "disk", "ok", text)


def _meters() -> Iterator[Check]:
    """Probe every meter for whether it reads joules here; then what needs no probe."""
    seen = set()
    for plugin in meters():
        if plugin.name in seen:
            continue
        seen.add(plugin.name)
        yield _probed(plugin)
    text = "computed, for targets whose hardware states tdp_w, where no meter has joules"
    yield Check("meters", "model", "note", text)
    text = "a wall meter's log is joined after the run"
    yield Check("meters", "wall", "note", text, "harness import power LOG --run RUN")


def _probed(plugin: Plugin) -> Check:
    try:
        found = meter(plugin.name)
        info = found.probe()
        found.close()
    except HarnessError as error:
        return Check("meters", plugin.name, "broken", error.message, error.hint)
    except Exception as error:  # the contract says that probe never raises; a plugin may break it
        return Check("meters", plugin.name, "broken", f"probe() raised {last_line(error)}")
    if isinstance(info, Unmeasurable):
        return Check("meters", plugin.name, "missing", info.reason, info.remedy)
    text = (
        f"{info.boundary}: {', '.join(info.covers)}, {info.provenance}, "
        f"a value every {seconds(info.update_period_s)} (from {info.source})"
    )
    return Check("meters", plugin.name, "ok", text)


def _plugins(kind: str, plugins: list[Plugin]) -> Iterator[Check]:
    section = f"{kind}s registered"
    for plugin in plugins:
        text = f"{plugin.value} of {plugin.distribution}"
        error = plugin.load_error
        if error:
            remedy = f"repair or reinstall {plugin.distribution}"
            yield Check(section, plugin.name, "broken", f"{text}: {error}", remedy)
        else:
            yield Check(section, plugin.name, "ok", text)
    for name, group in clashes(plugins).items():
        owners = " and ".join(plugin.distribution for plugin in group)
        yield Check(section, name, "broken", f"registered twice: by {owners}", "uninstall one")


def _catalog(folder: Path | None) -> Iterator[Check]:
    try:
        catalog = Catalog.find(folder)
    except SpecError as error:
        yield Check("catalog", "--catalog", "broken", error.message, error.hint)
        return
    for name, reason in catalog.broken.items():
        yield Check("catalog", name, "broken", reason, "repair or reinstall the plugin")
    for origin in catalog.origins:
        yield Check("catalog", origin.name, "ok", str(origin.folder))
    for kind, model in DOCUMENT_OF.items():
        wrong = []
        entries = catalog.entries(kind)
        for entry in entries:
            try:
                load_document(entry.path, model)
            except SpecError:
                wrong.append(entry.name)
        text = f"{len(entries)} found"
        if wrong:
            text = f"{text}, of which cannot be read: {', '.join(wrong)}"
            yield Check("catalog", f"{kind}s", "broken", text, "harness validate")
        else:
            yield Check("catalog", f"{kind}s", "ok", text)
