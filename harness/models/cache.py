"""What the cache of built models holds, and how to remove it without harm to who uses it.

Only names that the harness makes are seen: the folder may be one that holds other things too.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from harness.files import temporary_prefix

MODEL = re.compile(r"[a-z_]+-[0-9a-f]{16}")
REFERENCE = re.compile(r"reference-[0-9a-f]{32}\.npz")
CEILINGS = re.compile(r"[0-9a-f]{16}\.json")

Kind = Literal["model", "reference", "ceilings", "left over"]


@dataclass(frozen=True, slots=True)
class Artefact:
    """One thing that can be made again: an artefact of a model, or a file of kept values.

    `folder` is the name of its model's folder, None where it has none.
    """

    path: Path
    kind: Kind
    folder: str | None
    size_bytes: int
    made_at: datetime


def artefacts(cache: Path) -> list[Artefact]:
    """Return what `cache` holds, by path; empty where there is no such folder.

    What a builder that was killed left is of the kind "left over", as is what is being built now.
    """
    found = []
    for path in sorted(cache.iterdir()) if cache.is_dir() else []:
        if REFERENCE.fullmatch(path.name):
            found.append(_artefact(path, "reference", None))
        elif path.name == "ceilings" and path.is_dir():
            names = [file for file in sorted(path.iterdir()) if CEILINGS.fullmatch(file.name)]
            found += [_artefact(file, "ceilings", None) for file in names]
        elif MODEL.fullmatch(path.name) and path.is_dir():
            for part in sorted(path.iterdir()):
                if part.is_dir():
                    kind: Kind = "left over" if part.name.startswith(".") else "model"
                    found.append(_artefact(part, kind, path.name))
    return [each for each in found if each is not None]


def remove(artefact: Artefact) -> bool:
    """Remove `artefact`; return False, leaving it, where a process is building it just now.

    A process that has its files open or mapped keeps them. The lock's own file stays: without it
    two processes could build at once.
    """
    path = artefact.path
    if artefact.kind in ("reference", "ceilings"):
        path.unlink(missing_ok=True)
        return True
    name = path.name[1:].partition("~")[0] if artefact.kind == "left over" else path.name
    whole = path.with_name(name)
    with _held(path.with_name(f"{name}.lock")) as held:
        if not held or not path.exists():
            return held
        # Out of sight at once: nobody may find half of it. What is left of a kill is swept up by
        # the next builder, as its own leavings are.
        hidden = path.with_name(f"{temporary_prefix(whole)}removed")
        shutil.rmtree(hidden, ignore_errors=True)
        path.rename(hidden)
        shutil.rmtree(hidden)
        return True


def _artefact(path: Path, kind: Kind, folder: str | None) -> Artefact | None:
    """Return what is at `path`, or None if it is gone meanwhile."""
    try:
        made_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        files = path.rglob("*") if path.is_dir() else [path]
        size = sum(file.stat().st_size for file in files if file.is_file())
    except FileNotFoundError:
        return None
    return Artefact(path, kind, folder, size, made_at)


@contextlib.contextmanager
def _held(lock: Path) -> Iterator[bool]:
    """Yield whether nobody else holds `lock`, and hold it meanwhile."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
