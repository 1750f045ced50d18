"""A decision and its records, sorted into what the report shows for each workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.schema import Decision, Metric, Point, Record, Workload
from harness.schema.decision import TargetOutcome, WorkloadDecision
from harness.schema.option import Option

Standing = Literal["chosen", "runner_up", "feasible", "excluded"]

SCENARIO_ORDER = {"server": 0, "single_stream": 1, "offline": 2}


@dataclass(frozen=True, slots=True)
class Row:
    """A target in one workload's part of the report.

    `record` stands for the target and `point` for the record; both are None if nothing was
    measured. `records` are all of this workload on this target, oldest first.
    """

    outcome: TargetOutcome
    standing: Standing
    option: Option | None
    record: Record | None
    point: Point | None
    records: tuple[Record, ...]

    @property
    def title(self) -> str:
        """The target's title."""
        return self.outcome.title

    @property
    def doubt(self) -> str:
        """The record's verdict: `valid`, `noisy`, `invalid`; its status where it has no figures."""
        if self.record is None:
            return "not measured"
        return self.record.verdict.state if self.record.status == "ok" else self.record.status

    @property
    def remark(self) -> str:
        """What is to be said of the figures that are not simply measured and valid; or empty.

        The evidence and the doubt: `claimed`, `noisy`, `projected, noisy`.
        """
        if self.option is not None:
            evidence, doubt = str(self.option.evidence), str(self.option.verdict)
        elif self.record is not None:
            evidence, doubt = str(self.record.evidence), self.doubt
        else:
            return ""
        said = [evidence] if evidence != "measured" else []
        return ", ".join([*said, doubt] if doubt != "valid" else said)

    @property
    def operations(self) -> tuple[tuple[Record, Point], ...]:
        """Every operating point on this target, with its record."""
        return tuple((record, point) for record in self.records for point in record.points)

    def metric(self, name: str) -> Metric | None:
        """Return the metric `name` at the row's point, or None if it has none."""
        return None if self.point is None else self.point.metrics.get(name)


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """One workload's part: `key` is unique on the page, `rows` start with the cheapest option."""

    key: str
    decision: WorkloadDecision
    workload: Workload | None
    rows: tuple[Row, ...]

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows with an operating point."""
        return tuple(row for row in self.rows if row.point is not None)

    @property
    def failures(self) -> tuple[Record, ...]:
        """The records without figures, in the order of the rows."""
        return tuple(r for row in self.rows for r in row.records if r.status != "ok")


def workload_views(decision: Decision, records: Sequence[Record]) -> tuple[WorkloadView, ...]:
    """Return a view for each workload of `decision`; the order of `records` does not matter."""
    views = []
    for index, answer in enumerate(decision.workloads, start=1):
        own = [record for record in records if record.cell.workload == answer.workload]
        by_target: dict[str, list[Record]] = {}
        for record in sorted(own, key=lambda record: (record.started_at, record.id)):
            by_target.setdefault(record.cell.target, []).append(record)
        rows = _rows(answer, by_target)
        stated = next((row.record.workload for row in rows if row.record is not None), None)
        views.append(
            WorkloadView(key=f"workload-{index}", decision=answer, workload=stated, rows=rows)
        )
    return tuple(views)


def _rows(answer: WorkloadDecision, records: Mapping[str, Sequence[Record]]) -> tuple[Row, ...]:
    options = {option.target: option for option in answer.options}
    for option in (answer.runner_up, answer.choice):
        if option is not None:
            options.setdefault(option.target, option)
    rank = {target: index for index, target in enumerate(options)}
    ordered = sorted(answer.outcomes, key=lambda o: rank.get(o.target, len(rank)))
    rows = []
    for outcome in ordered:
        own = tuple(records.get(outcome.target, ()))
        option = options.get(outcome.target)
        record = _representative(own, option)
        point = None
        if record is not None and record.points:
            point = record.headline_point or record.points[0]
        rows.append(
            Row(
                outcome=outcome,
                standing=_standing(answer, outcome),
                option=option,
                record=record,
                point=point,
                records=own,
            )
        )
    return tuple(rows)


def _standing(answer: WorkloadDecision, outcome: TargetOutcome) -> Standing:
    if answer.choice is not None and answer.choice.target == outcome.target:
        return "chosen"
    if answer.runner_up is not None and answer.runner_up.target == outcome.target:
        return "runner_up"
    return "feasible" if outcome.feasible else "excluded"


def _representative(records: Iterable[Record], option: Option | None) -> Record | None:
    """Return the option's own record; else the newest with figures, nearest to real traffic."""
    known = list(records)
    if option is not None:
        for record in known:
            if record.id == option.record:
                return record
    best_first = sorted(
        known,
        key=lambda r: (
            r.status != "ok",
            SCENARIO_ORDER.get(r.cell.scenario.kind, len(SCENARIO_ORDER)),
            -r.started_at.timestamp(),
            r.id,
        ),
    )
    return best_first[0] if best_first else None
