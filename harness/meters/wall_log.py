"""Reads the logs of external power meters: SPEC PTDaemon's `spl.txt` and a power strip's CSV.

What cannot be true is dropped and counted, never repaired. Times become seconds of the Unix epoch.
Format of `spl.txt`: github.com/mlcommons/power-dev@b58c54f, ptd_client_server/logs_example.
"""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from harness.errors import Problem, SpecError
from harness.schema.power_import import LogFormat

MOST_WATTS = 1e6
"""Above this a sample is absurd: more than a row of racks draws."""
MOST_PROBLEMS = 20
TIME_COLUMNS = ("time", "timestamp", "datetime", "date_time", "epoch", "epoch_s")
WATTS_COLUMNS = ("watts", "power_w", "active_power_w", "power", "w")
ABSENT = ("", "-", "n/a", "na", "null", "none")
PTD_TIME = re.compile(r"(\d\d)-(\d\d)-(\d{4}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?")
OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")


@dataclass(frozen=True, slots=True)
class WallLog:
    """The samples of a log in the order of time, and what was dropped: how many, why, and when.

    `untrue_s` are the times of the samples whose power could not be true.
    """

    path: Path
    format: LogFormat
    sha256: str
    at_s: NDArray[np.float64]
    watts: NDArray[np.float64]
    dropped: dict[str, int]
    untrue_s: NDArray[np.float64]

    @property
    def period_s(self) -> float:
        """The median time between two samples."""
        return float(np.median(np.diff(self.at_s)))


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a CSV that hold the time and the power; None: found by the usual names."""

    time: str | None = None
    watts: str | None = None


class _Fault(Exception):
    """What is wrong at a column (counted from 1) of the line being read."""

    def __init__(self, column: int, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.column, self.message, self.hint = column, message, hint


Sample = tuple[float, float]
"""Seconds of the epoch, watts; watts that are not a number are NaN."""


def read_wall_log(
    path: Path,
    *,
    log_format: LogFormat | None = None,
    zone: tzinfo | None = None,
    day_first: bool = False,
    columns: Columns | None = None,
) -> WallLog:
    """Return the log at `path`; the format is told by its first line if it is not given.

    Times without an offset are those of `zone`, of this machine's if it is None. With `day_first`
    the dates of `spl.txt` are DD-MM-YYYY, else MM-DD-YYYY. Raises SpecError that names every
    faulty line, and where fewer than two samples are left.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror or error}") from error
    text = data.decode("utf-8-sig", errors="replace")
    lines = text.splitlines()
    # A logger that is still writing leaves half a line at the end.
    whole = text.endswith(("\n", "\r"))
    first = next((line for line in lines if line.strip()), "")
    found: LogFormat = log_format or ("ptd" if first.startswith("Time,") else "pdu")
    if found == "ptd":
        parse, start = _ptd_parser(zone, day_first), 0
    else:
        start = next((n for n, line in enumerate(lines) if line.strip()), 0) + 1
        parse = _pdu_parser(path, start, first, zone, columns or Columns())
    rows = list(_rows(path, lines, start, parse, whole))
    at_s, watts, dropped, untrue = _validated(rows)
    if len(at_s) < 2:
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
        raise SpecError(
            f"{path}: {len(at_s)} usable samples" + (f"; dropped: {why}" if why else ""),
            hint="a log needs at least two samples; is --format right?",
        )
    return WallLog(
        path=path,
        format=found,
        sha256=hashlib.sha256(data).hexdigest(),
        at_s=np.array(at_s),
        watts=np.array(watts),
        dropped=dropped,
        untrue_s=np.array(untrue),
    )


def find_zone(name: str | None) -> tzinfo | None:
    """Return the time zone called `name`: `Europe/Berlin`, `UTC`, `+02:00`; None for None.

    Raises SpecError if there is none of that name.
    """
    if name is None:
        return None
    match = OFFSET.fullmatch(name.strip())
    if match is not None:
        hours, minutes = int(match[2]), int(match[3])
        if hours <= 14 and minutes < 60:
            size = timedelta(hours=hours, minutes=minutes)
            return timezone(-size if match[1] == "-" else size)
    try:
        return ZoneInfo(name.strip())
    except (LookupError, ValueError, OSError) as error:
        raise SpecError(
            f"no time zone is called '{name}'", hint="write it as Europe/Berlin, UTC or +02:00"
        ) from error


def _rows(
    path: Path, lines: list[str], start: int, parse: Callable[[str], Sample], whole: bool
) -> Iterator[Sample]:
    """Yield the samples; SpecError names the faulty lines, but for a last one cut short."""
    problems: list[Problem] = []
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip():
            continue
        try:
            yield parse(line)
        except _Fault as fault:
            if number == len(lines) and not whole:
                break
            problem = Problem(str(path), number, fault.column, "", fault.message, fault.hint)
            problems.append(problem)
            if len(problems) == MOST_PROBLEMS:
                break
    if problems:
        raise SpecError.of(problems)


def _validated(
    rows: Iterable[Sample],
) -> tuple[list[float], list[float], dict[str, int], list[float]]:
    """Return times, watts, how many samples were dropped by reason, and the times of the untrue."""
    at_s: list[float] = []
    kept: list[float] = []
    untrue: list[float] = []
    dropped: Counter[str] = Counter()
    for at, watts in rows:
        wrong = None
        if not math.isfinite(watts):
            wrong = "not a number"
        elif watts < 0:
            wrong = "negative"
        elif watts > MOST_WATTS:
            wrong = "absurd"
        if wrong:
            dropped[wrong] += 1
            untrue.append(at)
        elif at_s and at <= at_s[-1]:
            dropped["duplicate" if at == at_s[-1] else "back in time"] += 1
        else:
            at_s.append(at)
            kept.append(watts)
    return at_s, kept, dict(dropped), untrue


def _ptd_parser(zone: tzinfo | None, day_first: bool) -> Callable[[str], Sample]:
    def parse(line: str) -> Sample:
        fields = line.strip().split(",")
        if len(fields) < 4 or fields[0] != "Time":
            raise _Fault(1, "a line of spl.txt begins with 'Time,'", "or say --format pdu")
        # The mark is the user's text and may hold commas and keys.
        end = fields.index("Mark") if "Mark" in fields[::2] else len(fields)
        keys = fields[0:end:2]
        if "Watts" not in keys:
            raise _Fault(1, "the line holds no 'Watts'")
        place = 2 * keys.index("Watts") + 1
        if place >= len(fields):
            raise _Fault(len(line), "the line ends after 'Watts'")
        column = sum(len(field) + 1 for field in fields[:place]) + 1
        return _ptd_time(fields[1], zone, day_first), _watts(fields[place], column)

    return parse


def _ptd_time(text: str, zone: tzinfo | None, day_first: bool) -> float:
    column = len("Time,") + 1
    match = PTD_TIME.fullmatch(text)
    if match is None:
        raise _Fault(column, f"'{text}' is no time as MM-DD-YYYY HH:MM:SS.mmm")
    one, two, year, hour, minute, second = (int(part) for part in match.groups()[:6])
    day, month = (one, two) if day_first else (two, one)
    micro = int((match[7] or "").ljust(6, "0"))
    try:
        moment = datetime(year, month, day, hour, minute, second, micro)
    except ValueError as error:
        order = "leave out --day-first" if day_first else "say --day-first"
        raise _Fault(column, f"'{text}': {error}", f"where the day comes {order}") from error
    return _epoch_s(moment, zone, column)


def _pdu_parser(
    path: Path, line: int, header: str, zone: tzinfo | None, columns: Columns
) -> Callable[[str], Sample]:
    delimiter = max(",;\t", key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    time_place = _column(path, line, names, columns.time, TIME_COLUMNS, "time")
    watts_place = _column(path, line, names, columns.watts, WATTS_COLUMNS, "watts")

    def parse(text: str) -> Sample:
        fields = next(csv.reader([text], delimiter=delimiter))
        if len(fields) <= max(time_place, watts_place):
            raise _Fault(1, f"{len(fields)} columns, the header has {len(names)}")

        def column(place: int) -> int:
            return sum(len(field) + 1 for field in fields[:place]) + 1

        at = _pdu_time(fields[time_place].strip(), zone, column(time_place))
        return at, _watts(fields[watts_place], column(watts_place))

    return parse


def _column(
    path: Path, line: int, names: list[str], wanted: str | None, usual: tuple[str, ...], kind: str
) -> int:
    lower = [name.lower() for name in names]
    for name in (wanted.lower(),) if wanted else usual:
        if lower.count(name) == 1:
            return lower.index(name)
    said = f"no column is called '{wanted}'" if wanted else f"no column is known as the {kind}"
    there = f"there are: {', '.join(names)}" if any(names) else "the first line must name them"
    hint = f"{there}; say --{kind}-column"
    raise SpecError.of([Problem(str(path), line, 1, "", said, hint)])


def _pdu_time(text: str, zone: tzinfo | None, column: int) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        value = float(text)
        for unit in (1.0, 1e3):
            if 1e8 <= value / unit < 1e10:
                return value / unit
        raise _Fault(column, f"'{text}' is no time in seconds or milliseconds of the epoch")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = "write it as 2026-11-01T12:00:00+00:00 or in seconds of the epoch"
        raise _Fault(column, f"'{text}' is no time of ISO 8601", hint) from None
    return _epoch_s(moment, zone, column) if moment.tzinfo is None else moment.timestamp()


def _epoch_s(moment: datetime, zone: tzinfo | None, column: int) -> float:
    """Return the epoch's seconds of a local time; a fault where the clocks were changed."""
    first, second = (moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    if first == second:
        return first
    said = "comes twice" if second > first else "does not exist"
    raise _Fault(
        column,
        f"{moment.isoformat(sep=' ')} {said}: the clocks were changed for daylight saving",
        "name the offset that the meter's clock had, as in --timezone +02:00",
    )


def _watts(text: str, column: int) -> float:
    """Return the watts; NaN where the meter had none."""
    text = text.strip()
    if text.lower() in ABSENT:
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise _Fault(column, f"'{text}' is no number of watts") from None
