"""What an option costs: for each kind of token, a thousand requests or a task, and over the years.

The bill is drawn month by month for the options that the answer compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness import units
from harness.report.answers import figure
from harness.report.labelled import Named, Series, labelled
from harness.report.plot import Charted
from harness.report.scale import Scale
from harness.report.text import clip
from harness.report.view import Row, WorkloadView
from harness.schema.base import Interval
from harness.schema.costs import BillMonth, Tco, TokenCosts
from harness.schema.option import Option

MOST_FLEETS = 4
MOST_ONCE = 3
"""So many months of purchases stand in the table; `harness export` has every month."""
NOT_TOLD = "not told"
COMPARED = " Of the choice, the runner-up and the best of each kind of supply."


def horizon(view: WorkloadView) -> tuple[Charted, ...]:
    """Return the unit costs, the total over the horizon, and the bill; empty where not stated."""
    rows = [(row, row.option) for row in view.rows if row.option is not None]
    return (*_unit_costs(view, rows), *_totals(view, rows), *_bills(view, rows))


def named(row: Row) -> str:
    """Return the target's title, with what is to be said of its figures."""
    return f"{row.title} ({row.remark})" if row.remark else row.title


def remarks(rows: Iterable[Row]) -> str:
    """Return what is to be said of the figures of `rows`, for below a chart; empty: nothing is."""
    told = [f"{row.title}: {row.remark}" for row in rows if row.remark]
    return f" {'; '.join(told)}." if told else ""


def _unit_costs(view: WorkloadView, rows: list[tuple[Row, Option]]) -> Iterator[Charted]:
    """Yield what tokens, requests and tasks cost, in the columns that any option has."""
    columns: list[tuple[str, list[str | None]]] = []
    tokens = [option.token_costs for _, option in rows]
    kinds: tuple[tuple[str, list[Interval | None]], ...] = (
        ("1,000,000 tokens", [t.blended if t else None for t in tokens]),
        ("1,000,000 input tokens", [t.input if t else None for t in tokens]),
        ("1,000,000 cached input tokens", [t.cached_input if t else None for t in tokens]),
        ("1,000,000 output tokens", [t.output if t else None for t in tokens]),
        ("1,000 requests", [option.cost_per_1000_requests_usd for _, option in rows]),
        ("A task", [option.cost_per_task_usd for _, option in rows]),
    )
    for name, figures in kinds:
        if any(figures):
            columns.append((name, [None if f is None else figure(f, "USD") for f in figures]))
    if not columns:
        return
    divided = any(tokens)
    heads = (("Target", False), *((name, True) for name, _ in columns))
    yield Charted(
        heading="",
        caption=f"What tokens, requests and tasks cost, {view.decision.title}",
        plot=None,
        legend=(),
        note="",
        heads=(*heads, ("How the cost divides", False)) if divided else heads,
        rows=tuple(
            (
                named(row),
                *(cells[index] or NOT_TOLD for _, cells in columns),
                *((_basis(tokens[index]),) if divided else ()),
            )
            for index, (row, _) in enumerate(rows)
        ),
        told=("How the cost divides",),
    )


def _basis(tokens: TokenCosts | None) -> str:
    return NOT_TOLD if tokens is None else tokens.basis


def _totals(view: WorkloadView, rows: list[tuple[Row, Option]]) -> Iterator[Charted]:
    known = [(row, option.tco) for row, option in rows if option.tco is not None]
    if not known:
        return
    months = units.count(known[0][1].months)
    bases = dict.fromkeys(tco.basis for _, tco in known)
    yield Charted(
        heading=f"Over {months} months",
        caption=f"Total cost of ownership over {months} months, {view.decision.title}",
        plot=None,
        legend=(),
        note=f"As worth on the first day: {'; '.join(bases)}. The total is purchases, running cost "
        "and integration, less what is left at the end.",
        heads=(
            ("Target", False),
            ("Total", True),
            ("Purchases", True),
            ("Running cost", True),
            ("Integration", True),
            ("Left at the end", True),
            ("Units", False),
        ),
        rows=tuple(
            (
                named(row),
                figure(tco.usd, "USD"),
                units.usd(tco.purchases_usd),
                units.usd(tco.running_usd),
                units.usd(tco.integration_usd),
                units.usd(tco.left_usd),
                _fleets(tco),
            )
            for row, tco in known
        ),
        told=("Units",),
    )


def _fleets(tco: Tco) -> str:
    """Return how many units there are from which month on."""
    changes = [f"{units.count(n)} from month {units.count(m)}" for m, n in tco.fleets]
    if not changes or not any(number for _, number in tco.fleets):
        return "none: paid as used"
    more = len(changes) - MOST_FLEETS
    told = ", ".join(changes[:MOST_FLEETS])
    return f"{told}, {units.count(more)} more changes" if more > 0 else told


def _bills(view: WorkloadView, rows: list[tuple[Row, Option]]) -> Iterator[Charted]:
    billed = [(row, option.bill) for row, option in rows if option.bill]
    if not billed:
        return
    last = max(bill[-1].month for _, bill in billed)
    ends = [end for _, bill in billed for month in bill for end in _ends(month.usd)]
    scale = Scale.spanning(ends)
    title = f"Monthly bill of {view.decision.title}"
    across = Scale(1.0, float(max(last, 2)), False)
    ticks = [month for month in (1, *range(12, last + 1, 12)) if month <= last]
    yield Charted(
        heading="",
        caption=f"Monthly bill, {view.decision.title}: running cost, and what is bought at once",
        plot=None,
        legend=(("whisker", "95 % interval"),),
        note="The running cost of each month, undiscounted, without purchases: those are in the "
        "table. Hollow marks: noisy, or not measured by this harness; a dashed line: not measured "
        f"by it.{COMPARED if len(billed) < len(rows) else ''}{remarks(row for row, _ in billed)}",
        heads=(
            ("Target", False),
            ("Month", True),
            ("Requests", True),
            ("Units", True),
            ("Running cost", True),
            ("Bought or taken up", True),
        ),
        rows=tuple(_month(row, month) for row, bill in billed for month in _shown(bill)),
        curves=labelled(
            f"{view.key}-bill",
            title,
            Named("Month", across, tuple((month, units.count(month)) for month in ticks)),
            Named("USD a month", scale, tuple((t, units.usd(t)) for t in scale.ticks())),
            [_line(row, bill) for row, bill in billed],
        ),
    )


def _ends(amount: Interval) -> tuple[float, ...]:
    return tuple(end for end in (amount.low, amount.value, amount.high) if end is not None)


def _shown(bill: tuple[BillMonth, ...]) -> list[BillMonth]:
    """Return the first month, each year's last, and the first ones in which something is bought."""
    once = [month.month for month in bill if month.once_usd is not None][:MOST_ONCE]
    return [m for m in bill if m.month in (1, bill[-1].month, *once) or m.month % 12 == 0]


def _month(row: Row, month: BillMonth) -> tuple[str, ...]:
    return (
        named(row),
        units.count(month.month),
        units.count(month.requests),
        units.count(month.units) if month.units else "as used",
        figure(month.usd, "USD"),
        units.usd(month.once_usd, "nothing"),
    )


def _line(row: Row, bill: tuple[BillMonth, ...]) -> Series:
    marked = [i for i, m in enumerate(bill) if m.month == 1 or m.month % 12 == 0]
    option = row.option
    assert option is not None
    first, last = bill[0], bill[-1]
    points = sorted({*_turns(bill), *((float(bill[i].month), bill[i].usd.value) for i in marked)})
    return Series(
        label=row.title,
        standing=row.standing,
        points=tuple(points),
        marked=tuple(i for i, (x, _) in enumerate(points) if x == 1 or x % 12 == 0),
        told=f"{clip(named(row), 60)}: {figure(first.usd, 'USD')} in month "
        f"{units.count(first.month)}, {figure(last.usd, 'USD')} in month {units.count(last.month)}",
        up=tuple(
            (float(m.month), m.usd.low, m.usd.high)
            for m in (bill[i] for i in marked)
            if m.usd.low is not None and m.usd.high is not None and m.usd.low < m.usd.high
        ),
        hollow=bool(row.remark),
        dashed=option.evidence != "measured",
    )


def _turns(bill: tuple[BillMonth, ...]) -> Iterator[tuple[float, float]]:
    """Yield the ends of the bill, and the months between which it is not level."""
    for index, month in enumerate(bill):
        beside = bill[max(index - 1, 0) : index + 2]
        ends = index in (0, len(bill) - 1)
        if ends or any(each.usd.value != month.usd.value for each in beside):
            yield float(month.month), month.usd.value
