"""The results folder: one immutable folder per record, and an index that can be thrown away.

`runs/YYYY/MM/DD/ULID/{record.json, samples.parquet}` is the truth. A record is written to
`.tmp-ULID`, synced and renamed, so that it is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.errors import StoreError
from harness.files import move_whole, sha256_of, write_whole
from harness.schema import Record
from harness.schema.record import Ulid

if TYPE_CHECKING:
    from harness.schema.power_import import PowerImport

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
INDEX_VERSION = 1
NO_SPACE = "free some disk space or name another folder with --results"
COLUMNS = "id, path, sha256, run, cell, workload, target, scenario, status, verdict, started_at"


def new_ulid() -> Ulid:
    """Return a new ULID: 48 bits of wall-clock milliseconds, 80 random bits; sorts by time."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def ulid_time(ulid: Ulid) -> datetime:
    """Return the moment in UTC at which `ulid` was made."""
    number = 0
    for character in ulid:
        number = number << 5 | ALPHABET.index(character)
    return datetime.fromtimestamp((number >> 80) / 1e3, UTC)


@dataclass(frozen=True, slots=True)
class Stored:
    """A record with its folder and the sha256 of its `record.json`.

    `imports` are the power imports whose readings were added to the record's points: ids with the
    sha256 of their file.
    """

    record: Record
    folder: Path
    sha256: str
    imports: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the index: what `harness index` shows, without reading the record."""

    id: Ulid
    path: str
    sha256: str
    run: Ulid
    cell: str
    workload: str
    target: str
    scenario: str
    status: str
    verdict: str
    started_at: str


class Draft:
    """A record's folder while it is being filled; invisible to readers until `commit`."""

    def __init__(self, root: Path, ulid: Ulid) -> None:
        self.id = ulid
        self.folder = root / f".tmp-{ulid}"
        self._root = root
        self.folder.mkdir(parents=True)

    def commit(self, record: Record) -> Stored:
        """Write `record.json`, sync everything and move the folder to its place.

        `record.files` must name exactly the other files of the folder, by sha256.
        Raises StoreError if it does not, or if the disk refuses.
        """
        present = {p.name: sha256_of(p) for p in self.folder.iterdir()}
        if present != record.files:
            raise StoreError(f"{self.folder}: the record's list of files is not what is there")
        final = folder_of(self._root, record.id)
        text = json.dumps(record.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
        write_whole(self.folder / "record.json", text, hint=NO_SPACE)
        move_whole(self.folder, final, hint=NO_SPACE)
        return Stored(record, final, hashlib.sha256(text.encode()).hexdigest())

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def folder_of(root: Path, ulid: Ulid) -> Path:
    """Return the folder of the record `ulid` under `root`."""
    return root / "runs" / ulid_time(ulid).strftime("%Y/%m/%d") / ulid


class Store:
    """Reads and adds records under `root` (made when the first record is added).

    `problems` names every record that could not be read since the store was opened; such a record
    is never taken for "no record".
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []

    def draft(self) -> Draft:
        """Return a new record's folder to fill."""
        try:
            return Draft(self.root, new_ulid())
        except OSError as error:
            raise StoreError(
                f"cannot write to {self.root}: {error.strerror or error}",
                hint="name another folder with --results",
            ) from error

    def folders(self) -> list[Path]:
        """Return the folders of all records, oldest first."""
        return sorted(
            (p.parent for p in self.root.glob("runs/*/*/*/*/record.json")), key=lambda p: p.name
        )

    def read(self, folder: Path) -> Stored:
        """Return the record in `folder`; StoreError if it is damaged or no longer what it was."""
        path = folder / "record.json"
        try:
            data = path.read_bytes()
            record = Record.model_validate_json(data)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or error}") from error
        except (ValidationError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise StoreError(f"{path}: not a readable record: {first}") from error
        if record.id != folder.name:
            raise StoreError(f"{path}: holds record {record.id}, not {folder.name}")
        for name, digest in record.files.items():
            sibling = folder / name
            if not sibling.is_file():
                raise StoreError(f"{sibling}: missing")
            if sha256_of(sibling) != digest:
                raise StoreError(f"{sibling}: changed since it was measured (sha256 differs)")
        return Stored(record, folder, hashlib.sha256(data).hexdigest())

    def records(self) -> Iterator[Stored]:
        """Yield every readable record, oldest first; the others are named in `problems`.

        What wall logs said of a record (`harness import power`) is added to its points.
        """
        from harness.measure.power_import import read_imports

        imports = read_imports(self.root, self.problems.append)
        for folder in self.folders():
            try:
                stored = self.read(folder)
            except StoreError as error:
                self.problems.append(error.message)
                continue
            yield _joined(stored, imports)

    def with_imports(self, stored: Stored) -> Stored:
        """Return `stored` with what wall logs said of it; unreadable ones go to `problems`."""
        from harness.measure.power_import import read_imports

        return _joined(stored, read_imports(self.root, self.problems.append))

    def sweep(self) -> list[Path]:
        """Remove and return the folders that a killed run left unfinished. Call it under `lock`."""
        left = sorted(self.root.glob(".tmp-*"))
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
        return left

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the results folder for one run; StoreError says who holds it already.

        Or why it cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            opened = (self.root / ".lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"cannot write {self.root}: {error.strerror or error}",
                hint="name another folder with --results",
            ) from error
        with opened as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                stream.seek(0)
                holder = stream.read().strip() or "another process"
                raise StoreError(
                    f"{self.root} is in use by {holder}",
                    hint="wait for it to end, or name another folder with --results",
                ) from error
            try:
                stream.truncate(0)
                os.write(stream.fileno(), f"process {os.getpid()}".encode())
            except OSError as error:
                raise StoreError(
                    f"cannot write {self.root}: {error.strerror or error}", hint=NO_SPACE
                ) from error
            yield

    def rows(self, *, rebuild: bool = False) -> list[Row]:
        """Return the index, oldest first, after adding what is new.

        `rebuild` makes it again from the records and their samples; so does an index that is
        damaged or of another version. Records that have vanished leave the index, and one whose
        `record.json` is no longer what it was is read again, and named if it is damaged. Where it
        cannot be written (a full disk, a folder that is read only), the answer is the same and is
        not kept; StoreError if `rebuild` asked for it.
        """
        path = self.root / "index.sqlite"
        if not self.root.is_dir():
            return []
        before = len(self.problems)
        try:
            if rebuild:
                _remove_index(path)
            try:
                return self._fill(path)
            except sqlite3.DatabaseError:
                del self.problems[before:]
                _remove_index(path)
                return self._fill(path)
        except (sqlite3.DatabaseError, OSError) as error:
            if rebuild:
                said = error.strerror if isinstance(error, OSError) else None
                raise StoreError(f"cannot write {path}: {said or error}", hint=NO_SPACE) from error
            del self.problems[before:]
            return self._fill(":memory:")

    def _fill(self, path: Path | str) -> list[Row]:
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as index, index:
            version = index.execute("PRAGMA user_version").fetchone()[0]
            if version != INDEX_VERSION:
                index.execute("DROP TABLE IF EXISTS records")
                index.execute(f"CREATE TABLE records ({COLUMNS}, PRIMARY KEY (id))")
                index.execute(f"PRAGMA user_version = {INDEX_VERSION}")
            known = dict(index.execute("SELECT id, sha256 FROM records"))
            folders = {folder.name: folder for folder in self.folders()}
            same = {n for n, f in folders.items() if known.get(n) == _digest(f / "record.json")}
            for gone in known.keys() - same:
                index.execute("DELETE FROM records WHERE id = ?", (gone,))
            for name in sorted(folders.keys() - same):
                try:
                    row = self._row(self.read(folders[name]))
                except StoreError as error:
                    self.problems.append(error.message)
                    continue
                marks = ", ".join("?" * 11)
                index.execute(f"INSERT OR REPLACE INTO records VALUES ({marks})", row)
            return [
                Row(*row) for row in index.execute(f"SELECT {COLUMNS} FROM records ORDER BY id")
            ]

    def _row(self, stored: Stored) -> tuple[str, ...]:
        record = stored.record
        return (
            record.id,
            str(stored.folder.relative_to(self.root)),
            stored.sha256,
            record.run,
            record.cell.id,
            record.cell.workload,
            record.cell.target,
            record.cell.scenario.kind,
            record.status,
            record.verdict.state,
            record.started_at.isoformat(),
        )


def _joined(stored: Stored, imports: list[tuple[PowerImport, str]]) -> Stored:
    from harness.measure.power_import import joined

    record, used = joined(stored.record, stored.sha256, imports)
    return replace(stored, record=record, imports=used)


def _digest(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None


def _remove_index(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
