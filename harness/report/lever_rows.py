"""What else could be done: the declared levers, what each would save, and how that is known."""

from __future__ import annotations

from harness import units
from harness.report.bars import BarDrawing, Figure, bar_drawing
from harness.report.plot import Charted
from harness.report.view import WorkloadView
from harness.schema.base import Interval
from harness.schema.levers import LeverOutcome

NAMES = {
    "quantisation": "Lower precision",
    "smaller_model": "Smaller model",
    "prefix_caching": "Prefix cache",
    "result_caching": "Result cache",
    "batch": "Batch instead of at once",
    "routing": "Routing to a small model",
}


def levers(view: WorkloadView) -> tuple[Charted, ...]:
    """Return the levers with bars of the yearly cost and their table; empty if none is declared."""
    found = view.decision.levers
    if not found:
        return ()
    titles = {outcome.target: outcome.title for outcome in view.decision.outcomes}
    return (
        Charted(
            heading="What else could be done",
            caption=f"Levers on the yearly cost of the choice, {view.decision.title}",
            plot=None,
            legend=(("bar", "a year"), ("hatched", "projected by a formula, not measured")),
            note="Levers change nothing in the choice. Each is by itself: two of them together "
            "need not save the sum.",
            heads=(
                ("Lever", False),
                ("Cost a year with it", True),
                ("Against today", True),
                ("Evidence", False),
                ("Formula, assumptions, quality", False),
                ("Needs first", False),
            ),
            rows=tuple(_row(lever, titles) for lever in found),
            bars=_bars(view, found),
            told=("Formula, assumptions, quality", "Needs first"),
        ),
    )


def _row(lever: LeverOutcome, titles: dict[str, str]) -> tuple[str, ...]:
    name = f"{NAMES.get(lever.kind, lever.kind)}: {lever.what}"
    behind = "; ".join(
        (
            lever.formula,
            *(f"assumed: {each}" for each in lever.assumptions),
            *(f"quality: {each}" for each in lever.quality),
        )
    )
    needs = "; ".join(lever.needs) or "nothing"
    if lever.usd_per_year is None:
        return name, f"no figure: {lever.reason or 'no reason given'}", "–", "none", behind, needs
    cost = units.usd(lever.usd_per_year)
    if lever.target is not None:
        count = "" if not lever.units else f"{units.count(lever.units)} × "
        cost += f", {count}{titles.get(lever.target, lever.target)}"
    return name, cost, against(lever), lever.evidence or "not told", behind, needs


def against(lever: LeverOutcome) -> str:
    """Return how the cost with a lever stands to that of today, in words."""
    if lever.change is None:
        return "not known"
    if lever.change == 0:
        return "the same"
    return f"{units.percent(abs(lever.change))} {'less' if lever.change < 0 else 'more'}"


def _bars(view: WorkloadView, found: tuple[LeverOutcome, ...]) -> BarDrawing | None:
    """Return today's cost above that with each lever; None where no lever has a figure."""
    known = [
        (lever, lever.usd_per_year, lever.today_usd_per_year)
        for lever in found
        if lever.usd_per_year is not None and lever.today_usd_per_year is not None
    ]
    if not known:
        return None
    bars: list[Figure] = [("Today", "chosen", Interval(value=known[0][2]), False, "")]
    for lever, usd, _ in known:
        remark = "" if lever.evidence == "measured" else lever.evidence or "evidence not told"
        name = NAMES.get(lever.kind, lever.kind)
        bars.append((name, "feasible", Interval(value=usd), False, remark))
    title = f"Yearly cost of {view.decision.title} today and with each lever"
    return bar_drawing(f"{view.key}-levers", title, bars, "USD")
