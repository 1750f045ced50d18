"""What an option costs and draws: its yearly lines, the price of tokens, the bill by month."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.schema.base import Interval, Spec, Text, absent

EnergyName = Literal["it_energy", "facility_energy", "electricity", "carbon", "embodied_carbon"]
EnergyUnit = Literal["kWh", "USD", "kgCO2e"]


class CostLine(Spec):
    """One line of the yearly cost of a fleet; None where it is unknown, with why in `basis`.

    The bounds are None where the line is as exact as the price that it comes from.
    """

    name: Literal[
        "rent",
        "capital",
        "maintenance",
        "colocation",
        "energy",
        "licence",
        "usage",
        "egress",
        "staff",
        "integration",
    ]
    usd_per_year: float | None
    basis: Text
    low_usd_per_year: float | None = None
    high_usd_per_year: float | None = None


class EnergyLine(Spec):
    """What a fleet draws or emits in a year; `figure` is None where that is not known.

    `basis` names the assumptions, or why there is no figure; `remedy` what would give one. A
    `modelled` figure rests on a declared power, not on a meter alone.
    """

    name: EnergyName
    unit: EnergyUnit
    figure: Interval | None
    basis: Text
    modelled: bool = False
    remedy: str | None = None


class TokenCosts(Spec):
    """What a million tokens cost, each kind for itself where that is known, and all as one.

    `blended` is the cost over the tokens of prompts and answers together. The others are None where
    nothing says how the cost divides; `basis` gives the rule, or why there is none. Of a fleet
    `prefill_share` is the share of its cost that the prompts bear.
    """

    blended: Interval
    input: Interval | None
    cached_input: Interval | None
    output: Interval | None
    prefill_share: float | None
    basis: Text


class Tco(Spec):
    """Total cost of ownership over the horizon, as worth on the first day: see docs/mapper.md.

    The sum of what is spent each month, discounted, less what the purchases are worth at the end.
    The parts are those of `usd`, planned and discounted: purchases less the old units' proceeds,
    running cost, integration, and what is left. `fleets` are the months in which the number of
    units changes, with the new number.
    """

    usd: Interval
    months: int
    purchases_usd: float
    running_usd: float
    integration_usd: float
    left_usd: float
    fleets: tuple[tuple[int, int], ...]
    basis: Text


class BillMonth(Spec):
    """One month of the bill, undiscounted: what runs, and what is bought or taken up at its start.

    `usd` is the running cost (capital is not in it). `once_usd` holds purchases, less what replaced
    units are sold for, and the integration; None where there is none.
    """

    month: int
    requests: float
    units: int
    usd: Interval
    once_usd: float | None = Field(default=None, exclude_if=absent)


class PriceAge(Spec):
    """How old a price is on the brief's day. `stale`: nearly or more than what is allowed."""

    days: int
    limit_days: int
    state: Literal["current", "stale", "younger_than_the_brief"]
