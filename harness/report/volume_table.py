"""The table of what options cost over the volume: each point of the chart, and those beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report.option_tables import PLACE, cost_is_modelled
from harness.report.outlook_tables import HOW
from harness.report.tables import Cell, Kind, Table, table
from harness.report.view import WorkloadView

VOLUME_COSTS: tuple[tuple[str, Kind, str], ...] = (
    *PLACE,
    *HOW,
    ("requests_per_month", "number", "The volume; twice where a unit is added: before and with."),
    ("planned", "flag", "Whether it is the volume asked for."),
    ("units", "count", "Units that it takes; 0: paid as used."),
    ("usd_per_year", "number", "Cost of the first year at that volume, all else as planned."),
    ("modelled", "flag", "Whether the energy in the cost is modelled, not metered."),
)


def volume_table(views: Sequence[WorkloadView]) -> Table:
    """Return a row for each volume of each option compared; empty where no decision has them."""
    return table("volume_costs", VOLUME_COSTS, [row for view in views for row in _volumes(view)])


def _volumes(view: WorkloadView) -> Iterator[dict[str, Cell]]:
    rows = {row.outcome.target: row for row in view.rows}
    costs = view.decision.volume_costs
    for line in () if costs is None else costs.lines:
        row = rows.get(line.target)
        if costs is None or row is None or row.option is None:
            continue
        for volume, count, usd in zip(
            line.requests_per_month, line.units, line.usd_per_year, strict=True
        ):
            yield {
                "workload": view.decision.workload,
                "workload_title": view.decision.title,
                "target": line.target,
                "target_title": row.title,
                "standing": row.standing,
                "evidence": row.option.evidence,
                "validity": row.option.verdict,
                "requests_per_month": volume,
                "planned": volume == costs.planned,
                "units": count,
                "usd_per_year": usd,
                "modelled": cost_is_modelled(row.option),
            }
