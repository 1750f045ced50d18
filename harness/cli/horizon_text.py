"""What each option costs over the horizon, as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import units
from harness.cli.output import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.schema.option import Option

NOT_TOLD = "not told"


def horizon_text(options: Sequence[Option]) -> str:
    """Return the total of each option, and the first, twelfth and last month's bill.

    Empty: no total is known. Below stands whose months are told, if not those of all.
    """
    from harness.mapper.choice import cost_text

    known = [(option, option.tco) for option in options if option.tco is not None]
    if not known:
        return ""
    rows = []
    for option, tco in known:
        months = {month.month: cost_text(month.usd) for month in option.bill}
        rows.append(
            [
                option.target,
                cost_text(tco.usd),
                units.usd(tco.purchases_usd + tco.integration_usd),
                *(months.get(number, NOT_TOLD) for number in (1, 12, tco.months)),
            ]
        )
    header = [
        f"over {known[0][1].months} months, as worth today",
        "total",
        "bought, taken up",
        "month 1",
        "month 12",
        "last month",
    ]
    text = table(rows, header=header)
    if all(option.bill for option, _ in known):
        return text
    return (
        f"{text}\nmonths are told of the choice, the runner-up and the best of each kind of supply"
    )
