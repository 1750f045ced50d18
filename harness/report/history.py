"""A target's records over time: each kind of cell with its throughput, and what changed between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.report import words
from harness.report.plot import Axes, Charted, Layer, plot
from harness.report.scale import Scale
from harness.schema import Metric, Record

THROUGHPUT = "throughput_requests_per_s"
ROUND = "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0z"
LEAST_DRAWN = 2
HEADS = (
    ("Record", False),
    ("Measured at", False),
    ("Configuration", False),
    ("Throughput, requests/s", True),
    ("Latency as promised", True),
    ("SLO", False),
    ("Validity", False),
    ("Evidence", False),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in the order of time, from 1, with the letter of its configuration."""

    number: int
    record: Record
    letter: str

    @property
    def throughput(self) -> Metric | None:
        """The throughput at the point that stands for the record, or at its first."""
        record = self.record
        point = record.headline_point or (record.points[0] if record.points else None)
        return None if point is None else point.metrics.get(THROUGHPUT)

    @property
    def drawn(self) -> bool:
        """Whether there is a figure that may be drawn."""
        found = self.throughput
        invalid = self.record.verdict.state == "invalid"
        return found is not None and found.value is not None and not invalid

    @property
    def sure(self) -> bool:
        """Whether it is simply measured and valid."""
        return self.record.evidence == "measured" and self.record.verdict.state == "valid"


def histories(records: Sequence[Record]) -> tuple[Charted, ...]:
    """Return a chart with its table for each workload and kind of traffic, oldest record first.

    `records` are of one target. Where the workload, the target or the profile was another, the
    configuration has another letter, and no line joins the figures.
    """
    kinds: dict[tuple[str, str], list[Record]] = {}
    for record in sorted(records, key=lambda each: (each.started_at, each.id)):
        kinds.setdefault((record.cell.workload, record.cell.scenario.kind), []).append(record)
    return tuple(
        _history(f"history-{index}", own)
        for index, (_, own) in enumerate(sorted(kinds.items()), start=1)
    )


def _history(key: str, records: Sequence[Record]) -> Charted:
    letters: dict[tuple[str, str, str], str] = {}
    entries = []
    for number, record in enumerate(records, start=1):
        cell = record.cell
        configuration = (cell.workload_hash, cell.target_hash, cell.profile)
        letter = letters.setdefault(configuration, _letter(len(letters)))
        entries.append(Entry(number, record, letter))
    newest = records[-1]
    what = f"{newest.workload.title}, {words.scenario(newest.cell.scenario.kind)}"
    drawn = [entry for entry in entries if entry.drawn]
    return Charted(
        heading=what,
        caption=f"Every record, {what}",
        plot=None
        if len(drawn) < LEAST_DRAWN
        else plot(
            key,
            f"Throughput of {what}, over the records",
            "; ".join(f"{_number(e)}: {_figure(e)}" for e in drawn) + ".",
            _axes(drawn, len(entries)),
            ("Record, in the order of time", "Requests a second"),
            _layers(drawn, _axes(drawn, len(entries))),
        ),
        legend=(
            ("bar", "measured and valid"),
            ("ring", "noisy, or not measured by this harness"),
            ("whisker", "95 % interval"),
        ),
        note=_note(entries, drawn, letters.values()),
        heads=HEADS,
        rows=tuple(_row(entry) for entry in entries),
    )


def _note(entries: Sequence[Entry], drawn: Sequence[Entry], letters: object) -> str:
    if len(drawn) < LEAST_DRAWN:
        return "Fewer than two records with usable figures: there is no course to draw."
    gaps = len(entries) - len(drawn)
    told = "A line joins records of the same workload, target and profile (one configuration)."
    return f"{told} {units.count(gaps)} without usable figures not drawn." if gaps else told


def _axes(drawn: Sequence[Entry], count: int) -> Axes:
    bounds = [
        bound
        for entry in drawn
        if (found := entry.throughput) is not None
        for bound in (found.value, found.low, found.high)
        if bound is not None
    ]
    across = Scale(0.0, count + 1.0, logarithmic=False)
    return Axes(across, Scale.spanning(bounds), "1", "1")


def _layers(drawn: Sequence[Entry], axes: Axes) -> list[Layer]:
    lines: dict[str, list[tuple[float, float]]] = {}
    spans: list[str] = []
    sure: list[tuple[float, float]] = []
    unsure: list[tuple[float, float]] = []
    for entry in drawn:
        found = entry.throughput
        if found is None or found.value is None:
            continue
        at = (float(entry.number), found.value)
        lines.setdefault(entry.letter, []).append(at)
        (sure if entry.sure else unsure).append(at)
        if found.low is not None and found.high is not None:
            x = float(entry.number)
            spans.append(f"M{axes.place(x, found.low)}V{axes.y(found.high)}")
    return [
        Layer("span", "".join(spans)),
        *(Layer("line chosen", axes.line(points)) for points in lines.values()),
        Layer("kept chosen", axes.marks(sure, ROUND)),
        Layer("others chosen", axes.marks(unsure, ROUND)),
    ]


def _row(entry: Entry) -> tuple[str, ...]:
    record = entry.record
    point = record.headline_point or (record.points[0] if record.points else None)
    doubt = record.verdict.state if record.status == "ok" else record.status
    told = _interval(entry.throughput, "1")
    promised = "no promise"
    if point is None:
        told = promised = record.failure.message if record.failure else "no figures"
    elif point.slo:
        check = point.slo[0]
        limit = check.limit
        value = units.seconds(check.value_s, "not supported by n")
        promised = f"{limit.metric} p{limit.percentile:g}: {value}"
    return (
        record.id,
        record.started_at.isoformat(sep=" ", timespec="minutes"),
        entry.letter,
        told,
        promised,
        "does not apply" if point is None else words.state(point.slo_state),
        words.state(doubt),
        record.evidence,
    )


def _number(entry: Entry) -> str:
    return f"{units.count(entry.number)} ({entry.record.started_at.date().isoformat()})"


def _figure(entry: Entry) -> str:
    found = entry.throughput
    remark = "" if entry.sure else f", {entry.record.evidence}, {entry.record.verdict.state}"
    return f"{_interval(found, 'requests/s')}{remark}"


def _interval(found: Metric | None, unit: str) -> str:
    if found is None:
        return "not recorded"
    return units.interval(found.value, found.low, found.high, unit, found.reason)


def _letter(index: int) -> str:
    """Return A to Z, then AA, AB, ..."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(65 + rest) + text
    return text
