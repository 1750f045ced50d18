"""The files that a workload names, by content: another content is another measurement."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from harness.errors import Problem, SpecError
from harness.files import sha256_of
from harness.schema import Workload
from harness.schema.scenario import Scenario, Trace
from harness.yaml_reader import display_name, shown

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


MOST_LISTED = 100_000


class Listed(NamedTuple):
    """A file that a list names in its column `file`: the line, where it is, the other columns."""

    line: int
    path: Path
    fields: dict[str, str]


def listed(path: Path) -> list[Listed]:
    """Return the files that the CSV file `path` lists; they are relative to its own folder.

    Raises SpecError, with the lines, if it is no such list, or names a file outside that folder.
    """
    name = display_name(path)
    problems: list[Problem] = []
    found: list[Listed] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if "file" not in header or len(set(header)) != len(header):
                message = "the first line must name each column once, 'file' among them"
                raise SpecError.of([Problem(name, 1, 1, "", message)])
            for cells in reader:
                line = reader.line_num
                if not cells:
                    continue
                if len(cells) != len(header):
                    message = f"must have {len(header)} columns, has {len(cells)}"
                    problems.append(Problem(name, line, 1, "", message))
                    continue
                fields = dict(zip(header, cells, strict=True))
                inside = _inside(path.parent, fields.pop("file"))
                if isinstance(inside, str):
                    problems.append(Problem(name, line, 1, "file", inside))
                else:
                    found.append(Listed(line, inside, fields))
                if len(found) > MOST_LISTED:
                    raise SpecError(f"{name} lists more than {MOST_LISTED} files")
    except OSError as error:
        raise SpecError(f"{name}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise SpecError(f"{name}: not UTF-8 text") from None
    except csv.Error as error:
        raise SpecError(f"{name}: not CSV: {error}") from error
    if problems:
        raise SpecError.of(problems[:20])
    return found


def _inside(folder: Path, name: str) -> Path | str:
    """Return the path of `name` in `folder`, or why it is none, also through a link."""
    relative = PurePosixPath(name)
    if not name.strip() or relative.is_absolute() or ".." in relative.parts or "\0" in name:
        return f"{shown(name)} is not a file in the folder of the list"
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        return f"{shown(name)} is a link to outside the folder of the list"
    return path


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
    for name in _with_parts(workload, scenario, data):
        path = data / name
        try:
            state = path.stat()
            found[name] = _digest(path.absolute(), state.st_size, state.st_mtime_ns)
        except OSError:
            continue
    return found


def _with_parts(workload: Workload, scenario: Scenario, data: Path) -> Iterator[str]:
    """Yield the `named_files` and, after a list of shards or recordings, what it lists."""
    lists = {name for place, name in workload.files().items() if place[-1] == "list"}
    for name in named_files(workload, scenario):
        yield name
        if name in lists:
            with contextlib.suppress(SpecError):
                yield from (str(each.path.relative_to(data)) for each in listed(data / name))
        if name.endswith(SHARDS):
            with contextlib.suppress(SpecError):
                yield from (str(Path(name).with_name(p.name)) for p in shards_of(data / name))


@cache
def _digest(path: Path, size: int, changed_ns: int) -> str:
    return sha256_of(path)
