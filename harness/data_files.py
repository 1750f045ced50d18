"""The files that a workload names, by content: another content is another measurement."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from harness.files import sha256_of
from harness.schema import Workload
from harness.schema.workload import (
    FraudQuality,
    ReferenceAgreement,
    Scenario,
    SpeechQuality,
    Trace,
)


def named_files(workload: Workload, scenario: Scenario) -> tuple[str, ...]:
    """Return the files that `workload` reads in `scenario`, as it names them, sorted.

    The weights, what its quality gates are scored on, and a trace.
    """
    names = {workload.model.weights}
    for gate in workload.quality:
        if isinstance(gate, FraudQuality | ReferenceAgreement):
            continue
        names |= {gate.model.weights, gate.audio if isinstance(gate, SpeechQuality) else gate.text}
    if isinstance(scenario, Trace):
        names.add(scenario.file)
    return tuple(sorted(name for name in names if name is not None))


def digests(workload: Workload, scenario: Scenario, data: Path) -> dict[str, str]:
    """Return the sha256 (hex) of each of the `named_files`, which are relative to `data`.

    One that cannot be read is left out: its cell fails, and says why. A file is read once, until
    its size or its time of change is another.
    """
    found = {}
    for name in named_files(workload, scenario):
        path = data / name
        try:
            state = path.stat()
            found[name] = _digest(path.absolute(), state.st_size, state.st_mtime_ns)
        except OSError:
            continue
    return found


@cache
def _digest(path: Path, size: int, changed_ns: int) -> str:
    return sha256_of(path)
