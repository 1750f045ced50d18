"""The prices that the options rest on, each target's once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from harness import units
from harness.report.view import WorkloadView

PRICE_LINES = ("rent", "capital", "usage")


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A target's price with its source, its date and its age in days on the day of the brief."""

    target: str
    price: str
    source: str
    day: str
    age: str


def prices(views: Sequence[WorkloadView], as_of: date) -> tuple[PriceRow, ...]:
    """Return the price of every target that is an option of any workload."""
    rows: dict[PriceRow, None] = {}
    for view in views:
        for row in view.rows:
            option = row.option
            if option is None:
                continue
            bases = [line.basis for line in option.cost_lines if line.name in PRICE_LINES]
            age = f"{units.count((as_of - option.price_date).days)} days"
            if option.price_age is not None and option.price_age.state != "current":
                limit = f", limit {units.count(option.price_age.limit_days)} days"
                age += f", {option.price_age.state.replace('_', ' ')}{limit}"
            rows.setdefault(
                PriceRow(
                    target=row.title,
                    price="; ".join(bases) or "not itemised",
                    source=option.price_source,
                    day=option.price_date.isoformat(),
                    age=age,
                )
            )
    return tuple(rows)
