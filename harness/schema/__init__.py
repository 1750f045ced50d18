"""The documents of the harness as frozen models; `harness schema NAME` prints their JSON Schema."""

from __future__ import annotations

import hashlib
import json

from harness.schema.base import Document, Evidence, Fact, ScenarioKind, Spec, Task, Tier
from harness.schema.brief import Brief
from harness.schema.calibration import Calibration
from harness.schema.decision import Decision
from harness.schema.power_import import PowerImport
from harness.schema.record import EnergyReading, Metric, Point, Record
from harness.schema.target import Target
from harness.schema.workload import Workload

__all__ = [
    "DOCUMENTS",
    "Brief",
    "Calibration",
    "Decision",
    "Document",
    "EnergyReading",
    "Evidence",
    "Fact",
    "Metric",
    "Point",
    "PowerImport",
    "Record",
    "ScenarioKind",
    "Spec",
    "Target",
    "Task",
    "Tier",
    "Workload",
    "canonical_json",
    "content_hash",
]

DOCUMENTS: dict[str, type[Document]] = {
    "workload": Workload,
    "target": Target,
    "brief": Brief,
    "record": Record,
    "decision": Decision,
    "calibration": Calibration,
    "power-import": PowerImport,
}
"""The documents by the name that the command line uses."""


def canonical_json(spec: Spec) -> str:
    """Return `spec` as JSON with sorted keys and no white space: equal specs, equal text."""
    return json.dumps(
        spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False
    )


def content_hash(spec: Spec) -> str:
    """Return the sha256 (hex) of `spec`'s canonical JSON: its identity, whatever its file says."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()
