"""What goes into a cell's process and what comes out: JSON only, never pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from harness.measure.patience import longest_wait_s
from harness.schema.base import Spec
from harness.schema.record import (
    Cell,
    EnergyProfile,
    EnvironmentField,
    Failure,
    Metric,
    Point,
    QualityCheck,
    Roofline,
    Verdict,
)
from harness.schema.target import Target
from harness.schema.workload import Workload

MEMORY_MARKS = (
    "memoryerror",
    "out of memory",
    "can't allocate memory",
    "bad_alloc",
    "cannot allocate",
    "unable to allocate",
)
"""What runtimes write when memory runs out, in lower case."""


def tells_of_lost_memory(text: str) -> bool:
    """Return whether what a cell wrote says that memory ran out."""
    lower = text.lower()
    return any(mark in lower for mark in MEMORY_MARKS)


class Job(Spec):
    """All that a cell's process is told.

    `data` is the folder that the workload's weight files are relative to, `cache` holds built
    models and reference outputs, `folder` receives `samples.parquet`. `memory_bytes` caps the
    address space of the process (None: no cap). `limit_s` caps each phase's limit (None: the
    profile's own limits).
    """

    cell: Cell
    workload: Workload
    target: Target
    data: Path
    cache: Path
    folder: Path
    memory_bytes: int | None = None
    limit_s: float | None = None

    @property
    def longest_wait_s(self) -> float:
        """After how long without an answer a query is lost."""
        return longest_wait_s(self.workload, self.target)


class Result(Spec):
    """What a cell that ran to its end reports."""

    phases_s: dict[str, float]
    session: dict[str, Any]
    points: tuple[Point, ...]
    headline: int | None
    capacity: Metric | None = None
    energy: EnergyProfile | None = None
    quality: tuple[QualityCheck, ...]
    verdict: Verdict
    environment: dict[str, EnvironmentField]
    roofline: Roofline | None = None


class Reporter:
    """Writes events as JSON lines to a file descriptor of their own, apart from stdout."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def _write(self, event: dict[str, Any]) -> None:
        data = (json.dumps(event, allow_nan=False) + "\n").encode()
        while data:
            data = data[os.write(self._descriptor, data) :]

    def phase(self, name: str, limit_s: float) -> None:
        """Say what begins, and after how long without a further event it counts as hung."""
        self._write({"event": "phase", "name": name, "limit_s": limit_s})

    def note(self, text: str) -> None:
        """Say what has been found so far."""
        self._write({"event": "note", "text": text})

    def failure(self, failure: Failure) -> None:
        """Say how the cell failed; nothing follows."""
        self._write({"event": "failure", "failure": failure.model_dump(mode="json")})

    def result(self, result: Result) -> None:
        """Say what was measured; nothing follows."""
        self._write({"event": "result", "result": result.model_dump(mode="json")})
