"""Runs a plan cell by cell: each in its own process, each leaving one record, whatever happens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import psutil

from harness import __version__
from harness.execute.ledger import Ledger
from harness.execute.process import Ending, run_cell
from harness.files import sha256_of
from harness.measure.calibrate import latest, standing
from harness.measure.environment import capture
from harness.measure.job import Job
from harness.plan import Planned
from harness.schema import Record
from harness.schema.record import Verdict
from harness.store import Draft, Store, Stored

MEMORY_SHARE = 0.9


class Progress(Protocol):
    """Told what a run is doing; shows it, or not."""

    def start(self, number: int, total: int, planned: Planned, left_s: float) -> None:
        """Hear that cell `number` of `total` begins; it and the rest may take `left_s` seconds."""

    def event(self, event: dict[str, Any]) -> None:
        """Hear what the running cell reports."""

    def end(self, planned: Planned, stored: Stored, spent_s: float) -> None:
        """Hear that the cell has left its record."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run left: its records, newest last, and the cells that were there already."""

    stored: tuple[Stored, ...]
    already: int


def run_plan(
    plan: Sequence[Planned],
    store: Store,
    ledger: Ledger,
    cache: Path,
    progress: Progress,
    limit_s: float | None = None,
) -> Finished:
    """Measure every cell of `plan` that is not skipped and has no record of this run yet.

    The caller holds the store's lock. On KeyboardInterrupt the running cell is given up without a
    record, everything before it is kept, and the exception goes on.
    """
    done = {s.record.cell.id for s in store.records() if s.record.run == ledger.run}
    due = [planned for planned in plan if planned.skip is None]
    todo = [planned for planned in due if planned.cell.id not in done]
    stored: list[Stored] = []
    for place, planned in enumerate(todo):
        left_s = sum(each.estimate_s for each in todo[place:])
        progress.start(1 + place + len(due) - len(todo), len(due), planned, left_s)
        ledger.append("start", cell=planned.cell.id)
        start = time.monotonic()
        one = measure_cell(planned, store, ledger.run, cache, progress, limit_s)
        stored.append(one)
        ledger.append("end", cell=planned.cell.id, record=one.record.id, status=one.record.status)
        progress.end(planned, one, time.monotonic() - start)
    ledger.append("finish")
    return Finished(tuple(stored), len(due) - len(todo))


def measure_cell(
    planned: Planned,
    store: Store,
    run: str,
    cache: Path,
    progress: Progress,
    limit_s: float | None = None,
) -> Stored:
    """Run one cell's process and store its record, measured or failed.

    `limit_s` caps how long each phase may take; None leaves the profile's limits. A cell whose
    failure is known beforehand gets no process.
    """
    draft = store.draft()
    try:
        started = datetime.now(UTC)
        if planned.failure is None:
            job = Job(
                cell=planned.cell,
                workload=planned.workload,
                target=planned.target,
                data=planned.data,
                cache=cache,
                folder=draft.folder,
                memory_bytes=_memory_limit(planned),
                limit_s=limit_s,
            )
            ending = run_cell(job, progress.event)
        else:
            ending = Ending(None, planned.failure)
        return draft.commit(_record(planned, draft, store.root, run, started, ending))
    except BaseException:
        draft.discard()
        raise


def _memory_limit(planned: Planned) -> int | None:
    """Return the address space a CPU cell may take; drivers of other devices reserve far more."""
    if planned.target.runtime.device != "cpu":
        return None
    return int(psutil.virtual_memory().total * MEMORY_SHARE)


def _record(
    planned: Planned, draft: Draft, results: Path, run: str, started: datetime, ending: Ending
) -> Record:
    result = ending.result
    if result is None:
        # A cell that failed leaves no samples that anything could be computed from.
        for path in draft.folder.iterdir():
            with contextlib.suppress(OSError):
                path.unlink()
    failure = ending.failure
    status = "ok"
    if failure is not None:
        status = "unsupported" if failure.kind == "unsupported" else "failed"
    environment = result.environment if result else capture()
    calibration = latest(results, environment)
    environment = {**environment, "calibration": standing(calibration, environment, started)}
    return Record(
        schema=1,
        id=draft.id,
        run=run,
        cell=planned.cell,
        workload=planned.workload,
        target=planned.target,
        evidence="measured",
        status=status,  # type: ignore[arg-type]
        failure=failure,
        started_at=started,
        ended_at=datetime.now(UTC),
        phases_s=result.phases_s if result else {},
        session=_session(ending),
        points=result.points if result else (),
        headline=result.headline if result else None,
        capacity=result.capacity if result else None,
        energy=result.energy if result else None,
        quality=result.quality if result else (),
        verdict=result.verdict if result else Verdict(state="invalid"),
        environment=environment,
        harness_version=__version__,
        files={path.name: sha256_of(path) for path in sorted(draft.folder.iterdir())},
        calibration=calibration.id if calibration else None,
        roofline=result.roofline if result else None,
    )


def _session(ending: Ending) -> dict[str, Any]:
    """Return what the session said of itself, and what the cell did not end as it should."""
    said = dict(ending.result.session) if ending.result else {}
    if ending.after_result:
        said["after_result"] = f"the process {ending.after_result}"
    if ending.left_running:
        said["left_running"] = ending.left_running
    return said
