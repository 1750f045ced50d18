"""What a target costs a year, what a unit of work costs, and where two prices meet.

Pure functions of prices and demand; formulas and their sources: docs/mapper.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness import units
from harness.schema.brief import Economics
from harness.schema.decision import CostLine
from harness.schema.target import Price

HOURS_PER_YEAR = 8760.0
MONTHS_PER_YEAR = 12
SECONDS_PER_YEAR = HOURS_PER_YEAR * 3600


@dataclass(frozen=True, slots=True)
class Power:
    """What one sale unit draws, in W before the facility's overhead, and how that is known."""

    watts: float
    basis: str


@dataclass(frozen=True, slots=True)
class YearlyCost:
    """What something costs in a year, line by line. Lines that are not known are not in the sum."""

    lines: tuple[CostLine, ...]

    @property
    def usd_per_year(self) -> float:
        """The sum of the lines that are known, in USD."""
        return math.fsum(line.usd_per_year or 0.0 for line in self.lines)

    @property
    def unknown(self) -> tuple[CostLine, ...]:
        """The lines without a figure: the sum is too low by them."""
        return tuple(line for line in self.lines if line.usd_per_year is None)


def capital_recovery_factor(discount_rate: float, years: float) -> float:
    """Return r (1 + r)^n / ((1 + r)^n - 1), the yearly payment for 1 now; 1 / n if r is 0."""
    if discount_rate == 0:
        return 1 / years
    # The same as the formula above; exact for small rates, where the powers cancel.
    return discount_rate / -math.expm1(-years * math.log1p(discount_rate))


def capital_usd_per_year(
    purchase_usd: float, residual_share: float, discount_rate: float, life_years: float
) -> float:
    """Return CRF(r, n) C (1 - s / (1 + r)^n), the yearly cost of owning what is sold for s C."""
    present_share = 1 - residual_share / math.pow(1 + discount_rate, life_years)
    return capital_recovery_factor(discount_rate, life_years) * purchase_usd * present_share


def unit_cost(price: Price, economics: Economics, power: Power | None, reason: str) -> YearlyCost:
    """Return what one sale unit costs a year, without staff.

    Rent covers everything. A purchase has capital, maintenance, colocation and energy; without
    `power` the last two are unknown, for `reason`.
    """
    if price.kind == "rent":
        assert price.usd_per_hour is not None
        rent = CostLine(
            name="rent",
            usd_per_year=price.usd_per_hour * HOURS_PER_YEAR,
            basis=f"{units.usd(price.usd_per_hour)} an hour, all {HOURS_PER_YEAR:,.0f} hours; "
            "energy is in the rent",
        )
        return YearlyCost((rent,))
    assert price.purchase_usd is not None
    assert price.life_years is not None
    capital = CostLine(
        name="capital",
        usd_per_year=capital_usd_per_year(
            price.purchase_usd, price.residual_share, economics.discount_rate, price.life_years
        ),
        basis=f"{units.usd(price.purchase_usd)} over {price.life_years:g} years at "
        f"{units.percent(economics.discount_rate)}, {units.percent(price.residual_share)} residual",
    )
    maintenance = CostLine(
        name="maintenance",
        usd_per_year=price.maintenance_share_per_year * price.purchase_usd,
        basis=f"{units.percent(price.maintenance_share_per_year)} of the purchase a year",
    )
    return YearlyCost(
        (capital, maintenance, _colocation(price, power, reason), _energy(economics, power, reason))
    )


def _colocation(price: Price, power: Power | None, reason: str) -> CostLine:
    usd = price.colocation_usd_per_kw_month
    if usd == 0:
        return CostLine(name="colocation", usd_per_year=0.0, basis="the price names no colocation")
    if power is None:
        return CostLine(name="colocation", usd_per_year=None, basis=reason)
    return CostLine(
        name="colocation",
        usd_per_year=usd * power.watts / 1000 * MONTHS_PER_YEAR,
        basis=f"{units.usd(usd)} per kW and month; {power.basis}",
    )


def _energy(economics: Economics, power: Power | None, reason: str) -> CostLine:
    if power is None:
        return CostLine(name="energy", usd_per_year=None, basis=reason)
    pue, usd_per_kwh = economics.pue.value, economics.electricity_usd_per_kwh.value
    return CostLine(
        name="energy",
        usd_per_year=power.watts / 1000 * pue * HOURS_PER_YEAR * usd_per_kwh,
        basis=f"{units.usd(usd_per_kwh)} per kWh, PUE {units.number(pue)}; {power.basis}",
    )


def fleet_cost(unit: YearlyCost, replicas: int, staff_usd_per_year: float) -> YearlyCost:
    """Return what `replicas` units and the staff of one workload cost a year."""
    lines = [
        line
        if line.usd_per_year is None
        else line.model_copy(update={"usd_per_year": replicas * line.usd_per_year})
        for line in unit.lines
    ]
    if staff_usd_per_year:
        lines.append(
            CostLine(
                name="staff",
                usd_per_year=staff_usd_per_year,
                basis="the workload's equal share of the brief's staff, whatever the fleet",
            )
        )
    return YearlyCost(tuple(lines))


def usd_per_unit(usd_per_year: float, amount_per_year: float, unit_size: float) -> float:
    """Return what `unit_size` of what `amount_per_year` counts costs, as in 1e6 tokens."""
    return usd_per_year / amount_per_year * unit_size


def break_even_units(usd_per_year: float, usd_per_unit: float) -> float:
    """Return the units a year above which a fixed yearly cost is below paying per unit."""
    return usd_per_year / usd_per_unit
