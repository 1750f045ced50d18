"""Environments of the real servers: each made once, in the user's cache, from a pinned list.

The folder's name holds a hash of the list and of the Python, so a changed list makes another one.
A list with a line `# layered` reads the packages of the tests' own environment too, after its own.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
LAYERED = "# layered"
WHOLE = ".whole"
INSTALL_S = 600.0


class NotInstalled(Exception):
    """A server cannot run here; the text says why, for the line of the skipped test."""


def cache_folder():
    """Return the folder that holds the environments and what install scripts build."""
    base = os.environ.get("HARNESS_TEST_SERVERS")
    if base:
        return Path(base)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "accelerator-harness-test-servers"


def place(requirements, cache):
    """Return the folder for the list of packages in the file `requirements`."""
    text = requirements.read_text()
    origin = sysconfig.get_path("purelib") if LAYERED in text.splitlines() else ""
    parts = (text, origin, sys.base_prefix, platform.python_version(), platform.machine())
    return cache / f"{requirements.stem}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def environment(name, *, cache=None, install=True):
    """Return the environment's folder for `requirements/NAME.txt`, made if need be.

    Two processes may ask at once: one makes it, the other waits. Raises NotInstalled with pip's
    last words, or, with `install=False`, if it is not there yet; then nothing is left behind.
    """
    requirements = Path(name) if name.endswith(".txt") else REQUIREMENTS / f"{name}.txt"
    cache = cache or cache_folder()
    folder = place(requirements, cache)
    if (folder / WHOLE).is_file():
        return folder
    if not install:
        raise NotInstalled(f"{name} is not installed; run: python -m tests.servers.install {name}")
    with locked(folder):
        if not (folder / WHOLE).is_file():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
            try:
                _make(folder, requirements)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            (folder / WHOLE).touch()
    return folder


@contextmanager
def locked(folder):
    """Hold the lock of `folder`, which need not exist, while the block runs."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        stream = folder.with_name(f"{folder.name}.lock").open("w")
    except OSError as error:
        raise NotInstalled(f"{folder.parent} cannot be written: {error.strerror}") from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _make(folder, requirements):
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    # The list is whole, so nothing is resolved; without a network the end comes soon.
    run([*pip, "--quiet", "--no-deps", "--retries", "2", "--requirement", str(requirements)])
    if LAYERED in requirements.read_text().splitlines():
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = folder / "lib" / version / "site-packages"
        (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")


def run(command, *, timeout_s=INSTALL_S, **options):
    """Run `command`; raise NotInstalled with the last words of its errors if it fails."""
    try:
        ended = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            **options,
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"{command[0]} took more than {timeout_s:.0f} s") from None
    except OSError as error:
        raise NotInstalled(f"{command[0]}: {error.strerror}") from error
    if ended.returncode != 0:
        told = (ended.stderr or ended.stdout).strip().splitlines()
        last = [line for line in told if not line.startswith(("WARNING", "[notice]"))]
        name = " ".join(map(str, command[:3]))
        raise NotInstalled(f"{name} failed: {last[-1] if last else 'it does not say why'}")
