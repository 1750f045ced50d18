"""Writes files and folders whole or not at all: to a temporary name beside, synced, renamed.

A reader finds what was there before or what is there now, never a part, also after a power cut. Of
a process that is killed a temporary file or folder may stay, whose name begins with a dot.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.errors import StoreError

AT_FDCWD = -100
RENAME_EXCHANGE = 2
"""Constants of renameat2(2) of Linux, which swaps two names in one step."""


def write_whole(path: Path, data: str | bytes, *, hint: str | None = None) -> None:
    """Make `data` (text as UTF-8) the content of the file `path`; its folder is made if need be.

    Raises StoreError, which names `path`, if the disk refuses; then an old file is as it was.
    """
    with whole_file(path, hint=hint) as stream:
        stream.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def whole_file(path: Path, *, hint: str | None = None) -> Iterator[IO[bytes]]:
    """Yield a stream whose bytes become the file `path` when the block ends without an exception.

    Raises as `write_whole` does.
    """
    with _told(path, hint):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        try:
            with temporary.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)  # noqa: PTH105  tests let this very call fail
            sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def whole_folder(path: Path, *, replace: bool = False, hint: str | None = None) -> Iterator[Path]:
    """Yield a new folder that becomes `path` when the block ends without an exception.

    With `replace` it takes the place of a folder that is at `path` by then, which is removed;
    without, `path` must not exist. Raises StoreError if the disk refuses; then nothing is left, and
    an old folder is as it was.
    """
    with _told(path, hint):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        temporary.mkdir()
        try:
            yield temporary
            if replace and path.is_dir():
                _replace_whole(temporary, path)
            else:
                move_whole(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def move_whole(folder: Path, to: Path, *, hint: str | None = None) -> None:
    """Sync `folder` and its files and rename it to `to`, which must not exist.

    Raises StoreError, which names `to`, if the disk refuses; then `folder` is where it was.
    """
    with _told(to, hint):
        _sync_all(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder, to)  # noqa: PTH104  tests let this very call fail
        sync(to.parent)


def _replace_whole(folder: Path, to: Path) -> None:
    """Put `folder` in the place of the folder `to`, which is removed.

    Where the system cannot swap two names in one step, there is a moment without `to`.
    """
    _sync_all(folder)
    old = folder
    if not _exchange(folder, to):
        old = _beside(to)
        to.rename(old)
        try:
            os.rename(folder, to)  # noqa: PTH104  tests let this very call fail
        except BaseException:
            old.rename(to)
            raise
    sync(to.parent)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False, and nothing done, where that cannot be."""
    if sys.platform != "linux":
        return False
    import ctypes

    call = getattr(ctypes.CDLL(None), "renameat2", None)
    if call is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(call(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)


def _sync_all(folder: Path) -> None:
    for each in folder.iterdir():
        sync(each)
    sync(folder)


def sync(path: Path) -> None:
    """Wait until the file or folder `path` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def temporary_prefix(path: Path) -> str:
    """Return how the temporary names beside `path` begin."""
    return f".{path.name}~"


def _beside(path: Path) -> Path:
    return path.with_name(f"{temporary_prefix(path)}{secrets.token_hex(6)}")


@contextlib.contextmanager
def _told(path: Path, hint: str | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}", hint=hint) from error
