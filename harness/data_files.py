"""The files that a workload names, by content: another content is another measurement."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from harness.errors import SpecError
from harness.files import sha256_of
from harness.schema import Workload
from harness.schema.workload import Scenario, Trace

SHARDS = ".safetensors.index.json"
"""How a file ends that lists the files that weights are cut into."""


def shards_of(index: Path) -> list[Path]:
    """Return the files that `index` lists, sorted; they lie beside it.

    Raises SpecError if it cannot be read, is no such list, or names a file elsewhere.
    """
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except OSError as error:
        raise SpecError(f"cannot read the weights {index}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"{index} does not list the files of weights: {error!r}") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name:
            raise SpecError(f"{index} lists {name!r}, which is not a file beside it")
    return [index.with_name(name) for name in sorted(names)]


def named_files(workload: Workload, scenario: Scenario) -> tuple[str, ...]:
    """Return the files that `workload` reads in `scenario`, as it names them, sorted.

    The weights, what its quality gates are scored on, and a trace.
    """
    names = {
        name
        for place, name in workload.files().items()
        if place[0] != "scenarios" or (isinstance(scenario, Trace) and name == scenario.file)
    }
    return tuple(sorted(names))


def digests(workload: Workload, scenario: Scenario, data: Path) -> dict[str, str]:
    """Return the sha256 (hex) of each of the `named_files`, which are relative to `data`.

    One that cannot be read is left out: its cell fails, and says why. A file is read once, until
    its size or its time of change is another.
    """
    found = {}
    for name in _with_shards(named_files(workload, scenario), data):
        path = data / name
        try:
            state = path.stat()
            found[name] = _digest(path.absolute(), state.st_size, state.st_mtime_ns)
        except OSError:
            continue
    return found


def _with_shards(names: Iterable[str], data: Path) -> Iterator[str]:
    """Yield `names` and, after a list of shards, the shards."""
    for name in names:
        yield name
        if name.endswith(SHARDS):
            with contextlib.suppress(SpecError):
                yield from (str(Path(name).with_name(p.name)) for p in shards_of(data / name))


@cache
def _digest(path: Path, size: int, changed_ns: int) -> str:
    return sha256_of(path)
