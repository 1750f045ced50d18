"""axe-core for the tests: fetched once into the user's cache, pinned by its sha256.

Deque Labs, https://github.com/dequelabs/axe-core, MPL-2.0; half a megabyte, so not kept here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from harness.files import sha256_of

VERSION = "4.11.4"
SHA256 = "97175f79b2bd57adf1d4a55837f574093883bd9eb8096ea66abfafe2f2bdbdb9"
FETCH_LIMIT_S = 60


class NotFetchedError(Exception):
    """Why axe-core is not at hand."""


def axe_script() -> str:
    """Return axe-core as one script; NotFetchedError says why there is none."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "accelerator-harness-tests" / f"axe-core-{VERSION}.tgz"
    if not kept.is_file() or sha256_of(kept) != SHA256:
        _fetch(kept)
    with tarfile.open(kept) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def _fetch(to: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetchedError("npm, which fetches axe-core, is not installed")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"axe-core@{VERSION}", "--fetch-retries=0"]
        try:
            subprocess.run(
                command, cwd=folder, capture_output=True, check=True, timeout=FETCH_LIMIT_S
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise NotFetchedError(f"npm could not fetch axe-core: {error}") from error
        found = Path(folder) / to.name
        if sha256_of(found) != SHA256:
            raise NotFetchedError(f"axe-core {VERSION} is not the pinned one: its sha256 differs")
        to.parent.mkdir(parents=True, exist_ok=True)
        partial = to.with_name(f".{to.name}.{os.getpid()}")
        shutil.copyfile(found, partial)
        partial.replace(to)
