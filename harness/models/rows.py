"""A user's own rows, from a CSV file: the inputs of a tabular workload, and its quality set.

The columns are held against the model's own names, so that features in another order do not pass
for slightly worse scores.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import Problem, SpecError
from harness.models.model import Architecture
from harness.models.own_model import own_features
from harness.schema.inputs import RowInputs
from harness.schema.model import OnnxFileModel, TreeFileModel
from harness.schema.quality import RowQuality
from harness.yaml_reader import display_name, shown

MOST_BYTES = 1_000_000_000
MOST_PROBLEMS = 20
FLOAT32_MAX = float(np.finfo(np.float32).max)


def read_rows(
    path: Path, columns: Sequence[str], count: int, *, without: str | None = None
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the names of `columns` and their values (float64 [rows, columns]) in the CSV `path`.

    At most `count` rows. No `columns`: all of the file but `without`. The first line names the
    columns; commas part them, quotes may enclose them. SpecError lists what is wrong, with places:
    a cell that is empty, no number, not finite or above what float32 holds.
    """
    name = display_name(path)
    header, *lines = _lines(path, name, count)
    cells = next(csv.reader([header]), [])
    problems = [
        Problem(name, 1, 1, "", f"the first line names the column {shown(each)} twice")
        for each in sorted(set(cells))
        if cells.count(each) > 1
    ]
    wanted = tuple(columns) or tuple(each for each in cells if each != without)
    named = ", ".join(cells[:12]) + (", ..." if len(cells) > 12 else "")
    problems += [
        Problem(name, 1, 1, "", f"there is no column {shown(each)}; there are {named}")
        for each in wanted
        if each not in cells
    ]
    if not lines:
        problems.append(Problem(name, 1, 1, "", "the file has no rows"))
    if problems:
        raise SpecError.of(problems)
    places = [cells.index(each) for each in wanted]
    rows: list[list[float]] = []
    for number, line in enumerate(lines, 2):
        parts = line.split(",") if '"' not in line else next(csv.reader([line]))
        if len(parts) != len(cells):
            message = f"must have {len(cells)} columns, has {len(parts)}"
            problems.append(Problem(name, number, 1, "", message))
        else:
            rows.append([_number(parts, p, name, number, cells, problems) for p in places])
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise SpecError.of(problems[:MOST_PROBLEMS])
    return wanted, np.array(rows, dtype=np.float64)


def input_rows(inputs: RowInputs, model: Architecture, data: Path) -> NDArray[np.float32]:
    """Return the rows of `inputs` (float32 [rows, features]), which the model's features fit.

    Raises SpecError if the file is wrong, or if the model has features of another number or name.
    """
    names, values = read_rows(data / inputs.file, inputs.columns, inputs.count)
    check_features(names, model, data, inputs.file)
    return values.astype(np.float32)


def labelled_rows(
    gate: RowQuality, inputs: RowInputs, data: Path
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Return the rows of `gate` (float32 [rows, features]) and their labels, 0 or 1, if it has any.

    The columns are those of the inputs. Raises SpecError if the file is wrong, if a label is not 0
    or 1, or if all labels are the same.
    """
    columns = inputs.columns or read_rows(data / inputs.file, (), 1)[0]
    path = data / gate.file
    if gate.label is None:
        return read_rows(path, columns, gate.rows)[1].astype(np.float32), None
    if gate.label in columns:
        raise SpecError(
            f"the label {shown(gate.label)} is one of the features of the inputs",
            hint="name the features under 'inputs', without the label: columns: [...]",
        )
    _, values = read_rows(path, (*columns, gate.label), gate.rows)
    labels = values[:, -1]
    if not np.isin(labels, (0.0, 1.0)).all():
        line = int(np.argmin(np.isin(labels, (0.0, 1.0)))) + 2
        message = f"the label {shown(gate.label)} is {labels[line - 2]:g}, not 0 or 1"
        raise SpecError.of([Problem(display_name(path), line, 1, "", message)])
    if labels.all() or not labels.any():
        raise SpecError(f"{display_name(path)}: all {len(labels)} labels are {labels[0]:g}")
    return values[:, :-1].astype(np.float32), labels.astype(np.uint8)


def check_features(names: Sequence[str], model: Architecture, data: Path, file: str) -> None:
    """Raise SpecError unless a user's own `model` has the features `names`, in this order."""
    if not isinstance(model, TreeFileModel | OnnxFileModel):
        return
    width, features = own_features(model, data)
    if width is not None and width != len(names):
        raise SpecError(
            f"the model {model.file} has {width} features; the rows of {file} have {len(names)}",
            hint="name the features under 'inputs' in the model's order: columns: [...]",
        )
    for place, (feature, name) in enumerate(zip(features, names, strict=False), 1):
        # LightGBM writes a space in a name as an underscore.
        if feature not in (name, name.replace(" ", "_")):
            raise SpecError(
                f"feature {place} of the model {model.file} is {shown(feature)}, but column "
                f"{place} of the inputs is {shown(name)}",
                hint="name the features under 'inputs' in the model's order: "
                f"columns: [{', '.join(features[:4])}{', ...' if len(features) > 4 else ''}]",
            )


def decimal(cell: str) -> float:
    """Return the number in `cell`; ValueError if it is none.

    float() alone also takes 1_000, as Python's source does, and digits of other scripts.
    """
    if "_" in cell or not cell.isascii():
        raise ValueError(cell)
    return float(cell)


def _lines(path: Path, name: str, count: int) -> list[str]:
    """Return the first line of `path` and at most `count` more; blank ones at the end are cut."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SpecError(f"{name}: larger than {MOST_BYTES:,} bytes")
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as file:
            lines = [line.rstrip("\r\n") for _, line in zip(range(count + 1), file, strict=False)]
    except OSError as error:
        raise SpecError(f"{name}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SpecError(f"{name}: not UTF-8 text") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise SpecError.of([Problem(name, 1, 1, "", "the file is empty")])
    return lines


def _number(
    parts: Sequence[str],
    place: int,
    name: str,
    line: int,
    cells: Sequence[str],
    problems: list[Problem],
) -> float:
    try:
        value = decimal(parts[place])
    except ValueError:
        value = math.nan
    if math.isfinite(value) and abs(value) <= FLOAT32_MAX:
        return value
    text = parts[place]
    column = sum(len(part) + 1 for part in parts[:place]) + 1
    what = "is empty" if not text.strip() else f"must be a finite number, is {shown(text)}"
    hint = "missing values are not supported: fill them as your service does"
    problems.append(Problem(name, line, column, cells[place], what, hint))
    return value
