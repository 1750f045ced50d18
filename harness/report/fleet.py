"""One fleet for all workloads: what to buy, who runs where, what binds, and what sharing saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.report.bars import BarDrawing, Figure, bar_drawing
from harness.report.plot import Charted
from harness.report.view import WorkloadView
from harness.report.words import vendor
from harness.schema.base import Interval
from harness.schema.portfolio import FleetLimit, FleetUnits, PortfolioPlan

SHOWN = {"budget": units.usd, "yearly_budget": units.usd, "vendor_share": units.percent}
LEAST_USD = 0.005
"""A difference below half a cent is none."""
VERDICTS = {
    "optimal": ("✓", "good", "The cheapest plan that keeps every limit"),
    "feasible": ("≈", "warn", "A plan that keeps every limit; a cheaper one is not ruled out"),
    "infeasible": ("✕", "bad", "No plan can keep the limits"),
    "none_found": ("?", "warn", "No plan was found in the time"),
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """The shared fleet as text and tables. `lines` are facts; `ways` make a plan possible."""

    sign: str
    tone: str
    verdict: str
    reason: str
    lines: tuple[str, ...]
    ways: tuple[str, ...]
    warnings: tuple[str, ...]
    tables: tuple[Charted, ...]


def fleet(plan: PortfolioPlan | None, views: Sequence[WorkloadView]) -> Fleet | None:
    """Return the plan for the page; None where the brief asks for no shared fleet."""
    if plan is None:
        return None
    sign, tone, verdict = VERDICTS[plan.state]
    titles = {view.decision.workload: view.decision.title for view in views}
    known = plan.usd_per_year is not None
    return Fleet(
        sign=sign,
        tone=tone,
        verdict=verdict,
        reason=plan.reason,
        lines=fleet_lines(plan, titles),
        ways=() if known else tuple(way(w.text, w.least) for w in plan.relaxations),
        warnings=plan.warnings,
        tables=(_shares(plan, titles), _units(plan), *_limits(plan)) if known else (),
    )


def in_short(plan: PortfolioPlan | None) -> str:
    """Return the plan's cost for the first screen; empty where none is asked for."""
    if plan is None:
        return ""
    if plan.usd_per_year is None:
        return VERDICTS[plan.state][2]
    return f"{yearly(plan)}{''.join(_less(plan))}"


def yearly(plan: PortfolioPlan) -> str:
    """Return what the plan costs a year, and which costs are not known and not in it."""
    without = f" without {plan.without}" if plan.without else ""
    return f"{units.usd(plan.usd_per_year)} a year{without}"


def _less(plan: PortfolioPlan) -> list[str]:
    own, saved = plan.own_fleets_usd_per_year, plan.saving_usd_per_year
    if not own or saved is None or abs(saved) < LEAST_USD:
        return []
    return [f", {units.percent(abs(saved) / own)} {'less' if saved > 0 else 'more'}"]


def fleet_lines(plan: PortfolioPlan, titles: dict[str, str]) -> tuple[str, ...]:
    """Return what the plan costs, what it saves, and how far it may be from the best one."""
    lines = []
    if plan.usd_per_year is not None:
        parts = (
            ("units", plan.units_usd_per_year),
            ("use", plan.use_usd_per_year),
            ("integration", plan.integration_usd_per_year),
            ("staff", plan.staff_usd_per_year),
        )
        told = ", ".join(f"{name} {units.usd(usd)}" for name, usd in parts if usd)
        lines.append(f"{yearly(plan)} ({told or 'nothing'})")
        if plan.capex_usd:
            lines.append(f"{units.usd(plan.capex_usd)} of purchases at once")
        lines += [*_saving(plan), _gap(plan)]
    if plan.left_out:
        left = ", ".join(titles.get(name, name) for name in plan.left_out)
        lines.append(f"Not in it, since no target can serve them: {left}")
    return tuple(lines)


def way(text: str, least: bool) -> str:
    """Return what would make a plan possible, and whether less may do."""
    return text if least else f"{text} (or less)"


def limit_figures(limit: FleetLimit) -> tuple[str, str]:
    """Return what the plan makes of a limit, and the limit."""
    shown = SHOWN.get(limit.limit, units.number)
    return shown(limit.number), shown(limit.most)


def _saving(plan: PortfolioPlan) -> list[str]:
    own, saved = plan.own_fleets_usd_per_year, plan.saving_usd_per_year
    if own is None or saved is None:
        return []
    share = "" if not own else f", {units.percent(abs(saved) / own)}"
    if abs(saved) < LEAST_USD:
        return [f"The same as each workload on a fleet of its own ({units.usd(own)} a year)"]
    turn = "less" if saved > 0 else "more"
    return [
        f"{units.usd(abs(saved))} a year{share} {turn} than each workload on a fleet of its own "
        f"({units.usd(own)})"
    ]


def _gap(plan: PortfolioPlan) -> str:
    bound = units.percent(plan.lp_gap_share, "an unknown share")
    if plan.state == "optimal":
        text = f"Proved to be the cheapest; {bound} above the bound of the linear relaxation"
    else:
        gap = units.percent(plan.gap_share, "an unknown share")
        text = f"At most {gap} above the cheapest possible"
    return f"{text}; {units.count(plan.checks)} promises checked apart from the solver"


def _shares(plan: PortfolioPlan, titles: dict[str, str]) -> Charted:
    """Return workloads against targets, with the cost of the plan drawn beside its bounds."""
    targets = [(unit.target, unit.title) for unit in plan.units]
    shares = {(each.workload, each.target): each for each in plan.shares}
    rows = []
    for workload in dict.fromkeys(each.workload for each in plan.shares):
        cells = [titles.get(workload, workload)]
        for target, _ in targets:
            found = shares.get((workload, target))
            cells.append("–" if found is None else units.percent(found.share))
        rows.append(tuple(cells))
    drawn = _bars(plan)
    return Charted(
        heading="",
        caption="Which part of each workload runs on which target",
        plot=None,
        legend=(("bar", "a year"),) if drawn else (),
        note="",
        heads=(("Workload", False), *((title, True) for _, title in targets)),
        rows=tuple(rows),
        bars=drawn,
    )


def _bars(plan: PortfolioPlan) -> BarDrawing | None:
    assert plan.usd_per_year is not None
    found: list[Figure] = [("This plan", "chosen", Interval(value=plan.usd_per_year), False, "")]
    for label, usd in (
        ("Separate fleets", plan.own_fleets_usd_per_year),
        ("Plan without a solver", plan.greedy_usd_per_year),
        ("Least that is possible", plan.bound_usd_per_year),
    ):
        if usd is not None:
            found.append((label, "feasible", Interval(value=usd), False, ""))
    if len(found) == 1:
        return None
    return bar_drawing("fleet-cost", "Yearly cost of the shared fleet", found, "USD")


def _units(plan: PortfolioPlan) -> Charted:
    return Charted(
        heading="",
        caption="What the shared fleet is made of",
        plot=None,
        legend=(),
        note="",
        heads=(
            ("Target", False),
            ("Vendor", False),
            ("Site", False),
            ("Units", True),
            ("Of these spare", True),
            ("Carry, in units", True),
            ("Units cost a year", True),
            ("Paid at once", True),
            ("Power", True),
        ),
        rows=tuple(_unit(unit) for unit in plan.units),
    )


def _unit(unit: FleetUnits) -> tuple[str, ...]:
    return (
        unit.title,
        vendor(unit.vendor),
        unit.site.replace("_", " "),
        units.count(unit.bought) if unit.bought else "by use",
        units.count(unit.spare),
        units.number(unit.load),
        units.usd(unit.usd_per_year),
        units.usd(unit.capex_usd),
        units.watts(unit.power_kw * 1000),
    )


def _limits(plan: PortfolioPlan) -> list[Charted]:
    if not plan.limits:
        return []
    return [
        Charted(
            heading="",
            caption="The limits of the shared fleet, and which of them bind",
            plot=None,
            legend=(),
            note="",
            heads=(
                ("Limit on", False),
                ("The plan", True),
                ("At most", True),
                ("Room", True),
                ("Binds", False),
            ),
            rows=tuple(
                (
                    limit.text,
                    *limit_figures(limit),
                    units.percent(limit.room),
                    "● binds" if limit.binds else "○ has room",
                )
                for limit in plan.limits
            ),
        )
    ]
