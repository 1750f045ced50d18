"""Tables of the shared fleet: the plan, its units, who runs where, its limits, and ways out."""

from __future__ import annotations

from harness.report.tables import Cell, Kind, Row, Table, joined, table
from harness.schema.portfolio import PortfolioPlan

PLAN: tuple[tuple[str, Kind, str], ...] = (
    ("state", "text", "optimal, feasible (a gap is left), infeasible or none_found."),
    ("reason", "text", "It in words."),
    ("usd_per_year", "number", "Yearly cost of the plan; empty: there is none."),
    ("cost_without", "text", "Costs that are not known and not in it."),
    ("units_usd_per_year", "number", "Of it the units."),
    ("use_usd_per_year", "number", "Of it what is paid by use."),
    ("integration_usd_per_year", "number", "Of it taking up new stacks."),
    ("staff_usd_per_year", "number", "Of it staff."),
    ("capex_usd", "number", "Paid for purchases at once."),
    ("own_fleets_usd_per_year", "number", "Yearly cost of each workload's own choice together."),
    ("saving_usd_per_year", "number", "That less the plan's; negative: the plan costs more."),
    ("bound_usd_per_year", "number", "No plan can cost less."),
    ("lp_bound_usd_per_year", "number", "The bound of the linear relaxation."),
    ("gap_share", "number", "How far the plan may be above the best one."),
    ("lp_gap_share", "number", "The same by the linear relaxation."),
    ("greedy_usd_per_year", "number", "Yearly cost of the plan found without a solver."),
    ("method", "text", "How the plan was found."),
    ("timed_out", "flag", "Whether the search ended by its time limit."),
    ("checks", "count", "Rows of the plan that were checked apart from the solver."),
    ("left_out", "text", "Workloads that no target can serve."),
    ("warnings", "text", "What to know of it."),
)
UNITS: tuple[tuple[str, Kind, str], ...] = (
    ("target", "text", "The target's name."),
    ("target_title", "text", "The target's title."),
    ("stack", "text", "A runtime on the chips of one vendor."),
    ("vendor", "text", "The vendor."),
    ("site", "text", "Where it stands."),
    ("bought", "count", "Sale units; 0: paid by use."),
    ("spare", "count", "Of these stand by."),
    ("load", "number", "How many units' worth they carry in the busiest hour."),
    ("usd_per_year", "number", "Yearly cost of the units alone."),
    ("capex_usd", "number", "Paid for them at once."),
    ("power_kw", "number", "What the site must provide."),
)
SHARES: tuple[tuple[str, Kind, str], ...] = (
    ("workload", "text", "The workload's name."),
    ("target", "text", "The target's name."),
    ("share", "number", "Which part of the workload it serves."),
    ("load", "number", "How many units' worth that is at the peak."),
)
LIMITS: tuple[tuple[str, Kind, str], ...] = (
    ("limit", "text", "The kind of limit."),
    ("text", "text", "What is limited."),
    ("number", "number", "What the plan makes of it."),
    ("most", "number", "The limit."),
    ("room", "number", "What is left, as a share of the limit."),
    ("binds", "flag", "Whether one more step breaks it."),
)
WAYS: tuple[tuple[str, Kind, str], ...] = (
    ("limits", "text", "The limits to loosen."),
    ("present", "text", "Their values now."),
    ("needed", "text", "The values with which a plan was found."),
    ("least", "flag", "Whether no smaller step was found to do."),
    ("text", "text", "It in words."),
)


def fleet_tables(plan: PortfolioPlan | None) -> tuple[Table, ...]:
    """Return the tables of the shared fleet; all are empty where none is asked for."""
    return (
        table("fleet_plan", PLAN, [] if plan is None else [_plan(plan)]),
        table("fleet_units", UNITS, () if plan is None else _units(plan)),
        table(
            "fleet_shares",
            SHARES,
            []
            if plan is None
            else [
                {"workload": s.workload, "target": s.target, "share": s.share, "load": s.load}
                for s in plan.shares
            ],
        ),
        table("fleet_limits", LIMITS, () if plan is None else _limits(plan)),
        table("fleet_relaxations", WAYS, () if plan is None else _ways(plan)),
    )


def _plan(plan: PortfolioPlan) -> dict[str, Cell]:
    return {
        "state": plan.state,
        "reason": plan.reason,
        "usd_per_year": plan.usd_per_year,
        "cost_without": plan.without or None,
        "units_usd_per_year": plan.units_usd_per_year,
        "use_usd_per_year": plan.use_usd_per_year,
        "integration_usd_per_year": plan.integration_usd_per_year,
        "staff_usd_per_year": plan.staff_usd_per_year,
        "capex_usd": plan.capex_usd,
        "own_fleets_usd_per_year": plan.own_fleets_usd_per_year,
        "saving_usd_per_year": plan.saving_usd_per_year,
        "bound_usd_per_year": plan.bound_usd_per_year,
        "lp_bound_usd_per_year": plan.lp_bound_usd_per_year,
        "gap_share": plan.gap_share,
        "lp_gap_share": plan.lp_gap_share,
        "greedy_usd_per_year": plan.greedy_usd_per_year,
        "method": plan.method,
        "timed_out": plan.timed_out,
        "checks": plan.checks,
        "left_out": joined(plan.left_out),
        "warnings": joined(plan.warnings),
    }


def _units(plan: PortfolioPlan) -> tuple[Row, ...]:
    return tuple(
        {
            "target": unit.target,
            "target_title": unit.title,
            "stack": unit.stack,
            "vendor": unit.vendor,
            "site": unit.site,
            "bought": unit.bought,
            "spare": unit.spare,
            "load": unit.load,
            "usd_per_year": unit.usd_per_year,
            "capex_usd": unit.capex_usd,
            "power_kw": unit.power_kw,
        }
        for unit in plan.units
    )


def _limits(plan: PortfolioPlan) -> tuple[Row, ...]:
    return tuple(
        {
            "limit": limit.limit,
            "text": limit.text,
            "number": limit.number,
            "most": limit.most,
            "room": limit.room,
            "binds": limit.binds,
        }
        for limit in plan.limits
    )


def _ways(plan: PortfolioPlan) -> tuple[Row, ...]:
    return tuple(
        {
            "limits": "; ".join(way.limits),
            "present": "; ".join(str(value) for value in way.present),
            "needed": "; ".join(str(value) for value in way.needed),
            "least": way.least,
            "text": way.text,
        }
        for way in plan.relaxations
    )
