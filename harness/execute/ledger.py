"""What a run set out to do and how far it came: one checksummed JSON line per event.

The records are the truth; the ledger only says which run they belong to and what was still to come.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.store import NO_SPACE


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked to run, kept so that `--resume` runs the same."""

    workloads: tuple[str, ...]
    targets: tuple[str, ...]
    scenarios: tuple[str, ...]
    profile: str
    seed: int
    repeats: int = 1


class Ledger:
    """The ledger of one run, `ledger/RUN.jsonl`: append only, synced at every line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path.stem

    @classmethod
    def begin(cls, root: Path, run: str, options: Options, cells: Sequence[str]) -> Ledger:
        """Start the ledger of run `run` with what it will do."""
        ledger = cls(root / "ledger" / f"{run}.jsonl")
        ledger.path.parent.mkdir(parents=True, exist_ok=True)
        ledger.append("plan", options=_asdict(options), cells=list(cells))
        return ledger

    def append(self, event: str, **fields: Any) -> None:  # noqa: ANN401  any JSON value
        """Add a line. Raises StoreError if the disk refuses."""
        body = json.dumps({"event": event, **fields}, sort_keys=True, allow_nan=False)
        line = f"{_checksum(body)} {body}\n".encode()
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                # A disk that is filling up takes a part without a word, and refuses the rest.
                while line:
                    line = line[os.write(descriptor, line) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}: {error.strerror or error}", hint=NO_SPACE
            ) from error

    def events(self) -> list[dict[str, Any]]:
        """Return the events. A torn last line is left out; a damaged one elsewhere: StoreError."""
        *lines, _torn = self.path.read_bytes().split(b"\n")
        events = []
        for number, line in enumerate(lines, 1):
            event = _parse(line)
            if event is None:
                raise StoreError(
                    f"{self.path}:{number}: damaged line",
                    hint="the records are whole; move this file away, and run without --resume",
                )
            events.append(event)
        return events

    def mend(self) -> bool:
        """Cut off a torn last line before appending again; return whether there was one."""
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole == len(data):
            return False
        os.truncate(self.path, whole)
        return True

    def options(self) -> Options:
        """Return what the run was asked to do; StoreError if the ledger does not say."""
        for event in self.events():
            if event.get("event") == "plan":
                fields = event["options"]
                return Options(
                    workloads=tuple(fields["workloads"]),
                    targets=tuple(fields["targets"]),
                    scenarios=tuple(fields["scenarios"]),
                    profile=str(fields["profile"]),
                    seed=int(fields["seed"]),
                    repeats=int(fields.get("repeats", 1)),  # ledgers of version 0.1.0 have none
                )
        raise StoreError(f"{self.path}: holds no plan")

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return any(event.get("event") == "finish" for event in self.events())


def latest_unfinished(root: Path) -> Ledger | None:
    """Return the newest ledger under `root` whose run did not come to its end."""
    for path in sorted((root / "ledger").glob("*.jsonl"), reverse=True):
        ledger = Ledger(path)
        if any(event.get("event") == "plan" for event in ledger.events()) and not ledger.finished:
            return ledger
    return None


def skipped(root: Path) -> dict[str, str]:
    """Return why the newest run under `root` that was asked for a target left it out, by target.

    A ledger that cannot be read says nothing.
    """
    found: dict[str, str] = {}
    settled: set[str] = set()
    for path in sorted((root / "ledger").glob("*.jsonl"), reverse=True):
        ledger = Ledger(path)
        try:
            asked = ledger.options().targets
            events = ledger.events()
        except (OSError, StoreError):
            continue
        own = {str(e["target"]): str(e["reason"]) for e in events if e.get("event") == "skip"}
        found.update({target: why for target, why in own.items() if target not in settled})
        if not asked:
            break
        settled.update(own, asked)
    return found


def _asdict(options: Options) -> dict[str, Any]:
    return {
        "workloads": options.workloads,
        "targets": options.targets,
        "scenarios": options.scenarios,
        "profile": options.profile,
        "seed": options.seed,
        "repeats": options.repeats,
    }


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:8]


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the event of a line, or None if the line is torn or damaged."""
    try:
        text = line.decode()
        checksum, body = text.split(" ", 1)
        if checksum != _checksum(body):
            return None
        event = json.loads(body)
    except (UnicodeDecodeError, ValueError):
        return None
    return event if isinstance(event, dict) else None
