"""How fast this processor moves memory and multiplies: measured once, kept with its date.

`python -m harness.measure.ceilings THREADS` measures in a process of its own, so that the BLAS
library's threads are the ones asked for and the memory is given back. See docs/roofline.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from harness.errors import MeasurementError
from harness.files import write_whole
from harness.hardware import cpu_folder, detect, read
from harness.measure.calibrate import STALE_DAYS, host_digest
from harness.schema.calibration import MachineCeilings

UNKNOWN_CACHE_BYTES = 256e6
"""Taken where a cache's size is not known: AMD's MI300X has this much, the most of any."""
ARRAY_BYTES_LEAST, ARRAY_BYTES_MOST = 48_000_000, 512_000_000
MATRIX = 512
PART_S = 0.15
LIMIT_S = 30.0
SINGLE_THREAD = ("OPENBLAS", "MKL", "OMP", "BLIS", "VECLIB_MAXIMUM")


def measure(threads: int, part_s: float = PART_S) -> MachineCeilings:
    """Return the ceilings of `threads` threads, from about three times `part_s` seconds of work.

    Only in a process whose BLAS library uses one thread: here each thread multiplies for itself.
    Each figure is that of the fastest round.
    """
    cache_bytes, source = last_level_cache()
    wanted = int(2 * cache_bytes) if source else ARRAY_BYTES_LEAST
    size = min(max(wanted, ARRAY_BYTES_LEAST), ARRAY_BYTES_MOST) // 4 // threads
    data = [[np.full(size, value, np.float32) for value in (1, 2, 3)] for _ in range(threads)]
    matrices = [
        [np.full((MATRIX, MATRIX), value, np.float32) for value in (1, 2, 3)]
        for _ in range(threads)
    ]

    def read_only(number: int) -> None:
        np.dot(data[number][1], data[number][2])

    def add(number: int) -> None:
        np.add(data[number][1], data[number][2], out=data[number][0])

    def multiply(number: int) -> None:
        left, right, product = matrices[number]
        np.matmul(left, right, out=product)

    moved = 4 * size * threads
    return MachineCeilings(
        host=host_digest(),
        threads=threads,
        array_bytes=moved,
        cache_bytes=cache_bytes,
        cache_source=source or "not told by the kernel; the most of any",
        read_bytes_per_s=2 * moved / fastest(read_only, threads, part_s),
        add_bytes_per_s=3 * moved / fastest(add, threads, part_s),
        operations_per_s=2 * MATRIX**3 * threads / fastest(multiply, threads, part_s),
        measured_at=datetime.now(UTC),
    )


def fastest(work: Callable[[int], None], threads: int, duration_s: float) -> float:
    """Return the least seconds of a round in which every thread runs `work(its number)` once.

    Rounds follow each other for `duration_s`, at least three. Each thread has a processor of its
    own, as far as there are: in rounds this short the system would leave two on one.
    """
    places = spread(threads)
    gate = threading.Barrier(threads)
    begun, ended = [0.0] * threads, [0.0] * threads
    best, over = [float("inf")], [False]
    until_s = time.perf_counter() + duration_s

    def run(number: int) -> None:
        rounds = 0
        os.sched_setaffinity(0, {places[number]})  # of this thread alone
        while not over[0]:
            gate.wait()
            begun[number] = time.perf_counter()
            work(number)
            ended[number] = time.perf_counter()
            gate.wait()
            rounds += 1
            if number == 0:
                best[0] = min(best[0], max(ended) - min(begun))
                over[0] = rounds >= 3 and time.perf_counter() > until_s
            gate.wait()

    team = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for member in team:
        member.start()
    for member in team:
        member.join()
    return best[0]


def spread(threads: int, root: Path = Path("/")) -> list[int]:
    """Return a logical CPU for each of `threads` threads, whole cores before their second halves.

    With more threads than CPUs they are used again, in turn.
    """
    halves: dict[str, int] = {}
    order = []
    for cpu in sorted(os.sched_getaffinity(0)):
        core = str(read(cpu_folder(cpu, root) / "topology/thread_siblings_list").value or cpu)
        halves[core] = halves.get(core, -1) + 1
        order.append((halves[core], cpu))
    cpus = [cpu for _, cpu in sorted(order)]
    return [cpus[number % len(cpus)] for number in range(threads)]


def last_level_cache(root: Path = Path("/")) -> tuple[float, str | None]:
    """Return the bytes of the last-level caches that this process's CPUs share, and the source.

    Without a source the size is a guess on the high side.
    """
    found: dict[tuple[int, str], float] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        for folder in sorted((cpu_folder(cpu, root) / "cache").glob("index*")):
            level, size = read(folder / "level").value, read(folder / "size").value
            shared = read(folder / "shared_cpu_list").value
            match = re.fullmatch(r"(\d+)([KMG]?)", str(size))
            if match and str(level).isdigit():
                scale = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[match[2]]
                found[int(str(level)), str(shared or cpu)] = int(match[1]) * scale
    if not found:
        return UNKNOWN_CACHE_BYTES, None
    top = max(level for level, _ in found)
    total = sum(size for (level, _), size in found.items() if level == top)
    return float(total), "/sys/devices/system/cpu/cpu*/cache"


def measure_apart(threads: int) -> MachineCeilings:
    """Return the ceilings of `threads` threads, measured now in a process of its own (under 1 s).

    Raises MeasurementError if that process fails.
    """
    one = {f"{name}_NUM_THREADS": "1" for name in SINGLE_THREAD}
    command = [sys.executable, "-m", "harness.measure.ceilings", str(threads)]
    try:
        ended = subprocess.run(
            command, env=os.environ | one, capture_output=True, timeout=LIMIT_S, check=True
        )
        return MachineCeilings.model_validate_json(ended.stdout)
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise MeasurementError(f"the ceilings cannot be measured: {''.join(last)}") from error
    except (OSError, subprocess.TimeoutExpired, ValidationError) as error:
        raise MeasurementError(f"the ceilings cannot be measured: {error}") from error


def ceilings(cache: Path, threads: int, *, again: bool = False) -> MachineCeilings:
    """Return the ceilings of this machine that `cache` keeps; measure them where there are none.

    Those of another processor or older than 30 days are not taken. `again` measures in any case;
    then the higher figures of both are kept. Raises MeasurementError, StoreError.
    """
    path = _file(cache, threads)
    kept = _kept(path)
    if kept is not None and not again:
        return kept
    found = measure_apart(threads)
    if kept is not None:
        found = found.best(kept)
    write_whole(path, found.model_dump_json(indent=1) + "\n", hint="set HARNESS_CACHE")
    return found


def _file(cache: Path, threads: int) -> Path:
    """Return where they are kept: by machine, processor, the CPUs it may use, and threads."""
    facts = [host_digest(), detect()["cpu_model"].value, sorted(os.sched_getaffinity(0)), threads]
    return cache / "ceilings" / f"{sha256(repr(facts).encode()).hexdigest()[:16]}.json"


def _kept(path: Path) -> MachineCeilings | None:
    try:
        kept = MachineCeilings.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    age = datetime.now(UTC) - kept.measured_at
    return kept if timedelta(0) <= age <= timedelta(days=STALE_DAYS) else None


if __name__ == "__main__":
    print(measure(int(sys.argv[1])).model_dump_json())
