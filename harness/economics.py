"""What a target costs, draws and emits a year, what a unit of work costs, where two prices meet.

Pure functions of prices, power and demand; formulas and their sources: docs/mapper.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.schema.base import Interval
from harness.schema.brief import Economics, RentMix
from harness.schema.costs import CostLine
from harness.schema.target import Price

HOURS_PER_YEAR = 8760.0
MONTHS_PER_YEAR = 12
SECONDS_PER_YEAR = HOURS_PER_YEAR * 3600


@dataclass(frozen=True, slots=True)
class Power:
    """What one sale unit draws, in W before the facility's overhead, and how that is known.

    `watts` is the mean of the year, between `low` and `high` (both None: no interval is known).
    `peak_watts` is what a colocation must provide for; None: as `watts`.
    """

    watts: float
    basis: str
    low: float | None = None
    high: float | None = None
    peak_watts: float | None = None
    modelled: bool = False


@dataclass(frozen=True, slots=True)
class NoPower:
    """Why the power of a unit is not known, and what would make it known."""

    reason: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class YearlyCost:
    """What something costs in a year, line by line. Lines that are not known are not in the sum."""

    lines: tuple[CostLine, ...]

    @property
    def usd_per_year(self) -> float:
        """The sum of the lines that are known, in USD."""
        return math.fsum(line.usd_per_year or 0.0 for line in self.lines)

    @property
    def least_usd_per_year(self) -> float:
        """The sum with every line at its lower bound."""
        return math.fsum(_first(x.low_usd_per_year, x.usd_per_year) for x in self.lines)

    @property
    def most_usd_per_year(self) -> float:
        """The sum with every line at its upper bound."""
        return math.fsum(_first(x.high_usd_per_year, x.usd_per_year) for x in self.lines)

    @property
    def unknown(self) -> tuple[CostLine, ...]:
        """The lines without a figure: the sum is too low by them."""
        return tuple(line for line in self.lines if line.usd_per_year is None)


@dataclass(frozen=True, slots=True)
class Hourly:
    """What an hour of a rented unit costs, in USD, after the brief's mix of ways to pay for it."""

    usd: float
    basis: str
    warnings: tuple[str, ...] = ()


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


def worth_left(
    purchase_usd: float, residual_share: float, discount_rate: float, life_years: float, age: float
) -> float:
    """Return what a purchase is worth at `age` years (up to its life), in USD of then.

    A (1 - (1 + r)^-(n - a)) / r + s C (1 + r)^-(n - a), with A the yearly capital cost: what is
    still to be paid for it. C when new, s C at the end of its life.
    """
    left = max(life_years - age, 0.0)
    if left == 0:
        return residual_share * purchase_usd
    yearly = capital_usd_per_year(purchase_usd, residual_share, discount_rate, life_years)
    payments = yearly / capital_recovery_factor(discount_rate, left)
    return payments + residual_share * purchase_usd * math.pow(1 + discount_rate, -left)


def unit_cost(price: Price, economics: Economics, power: Power | NoPower) -> YearlyCost:
    """Return what one sale unit costs a year, without staff.

    Rent covers everything but a licence. A purchase has capital, maintenance, colocation and
    energy; without a power the last two are unknown. An API has no units: nothing.
    """
    if price.kind == "api":
        return YearlyCost(())
    if price.kind == "rent":
        hourly = hourly_rent(price, economics.rent_mix)
        rent = CostLine(
            name="rent",
            usd_per_year=hourly.usd * HOURS_PER_YEAR,
            basis=f"{hourly.basis} an hour, all {HOURS_PER_YEAR:,.0f} hours; energy is in the rent",
        )
        return YearlyCost((rent, *_licence(price)))
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
    lines = capital, maintenance, _colocation(price, power), _energy(economics, power)
    return YearlyCost((*lines, *_licence(price)))


def hourly_rent(price: Price, mix: RentMix | None) -> Hourly:
    """Return sum(share x USD per hour) over the ways to pay of `mix`; None: all on demand.

    The share of a way that the price does not have is paid on demand, with a warning.
    """
    assert price.usd_per_hour is not None
    ways = {
        "on demand": (1.0 if mix is None else mix.on_demand, price.usd_per_hour),
        "reserved": (0.0 if mix is None else mix.reserved, price.reserved_usd_per_hour),
        "spot": (0.0 if mix is None else mix.spot, price.spot_usd_per_hour),
    }
    paid: dict[str, float] = {}
    warnings = []
    for way, (share, usd) in ways.items():
        if not share:
            continue
        if usd is None:
            way_paid = "on demand"
            warnings.append(
                f"the price has no {way} rate, so the {units.percent(share)} of the rent mix that "
                "is its share is paid on demand"
            )
        else:
            way_paid = way
        paid[way_paid] = paid.get(way_paid, 0.0) + share
    if "spot" in paid:
        warnings.append(
            f"{units.percent(paid['spot'])} of the hours are spot: the provider may take them "
            "back, and what was measured says nothing about that"
        )
    total = math.fsum(share * (ways[way][1] or 0.0) for way, share in paid.items())
    if set(paid) == {"on demand"}:
        return Hourly(total, units.usd(total), tuple(warnings))
    parts = " + ".join(
        f"{units.percent(share)} {way} at {units.usd(ways[way][1])}"
        + (f" for {price.commitment_years:g} years" if way == "reserved" else "")
        for way, share in paid.items()
    )
    return Hourly(total, f"{units.usd(total)} ({parts})", tuple(warnings))


def _licence(price: Price) -> tuple[CostLine, ...]:
    usd = price.licence_usd_per_year
    if usd is None:
        return ()
    basis = f"{units.usd(usd)} a unit and year"
    return (CostLine(name="licence", usd_per_year=usd, basis=basis),)


def _colocation(price: Price, power: Power | NoPower) -> CostLine:
    usd = price.colocation_usd_per_kw_month
    if usd == 0:
        return CostLine(name="colocation", usd_per_year=0.0, basis="the price names no colocation")
    if isinstance(power, NoPower):
        return CostLine(name="colocation", usd_per_year=None, basis=_cut(power.reason))
    watts = power.watts if power.peak_watts is None else power.peak_watts
    return CostLine(
        name="colocation",
        usd_per_year=usd * watts / 1000 * MONTHS_PER_YEAR,
        basis=_cut(
            f"{units.usd(usd)} per kW and month, {units.watts(watts)} a unit at the operating "
            f"point; {power.basis}"
        ),
    )


def _energy(economics: Economics, power: Power | NoPower) -> CostLine:
    if isinstance(power, NoPower):
        return CostLine(name="energy", usd_per_year=None, basis=_cut(power.reason))
    pue, usd_per_kwh = economics.pue.value, economics.electricity_usd_per_kwh.value
    cost = scaled(facility_kwh(power, 1, pue), usd_per_kwh)
    return CostLine(
        name="energy",
        usd_per_year=cost.value,
        basis=_cut(f"{units.usd(usd_per_kwh)} per kWh, PUE {units.number(pue)}; {power.basis}"),
        low_usd_per_year=cost.low,
        high_usd_per_year=cost.high,
    )


def api_rates(price: Price) -> str:
    """Return what an API charges for, in words: `$0.50 per million input tokens, ...`."""
    names = (
        (price.usd_per_million_input_tokens, "per million input tokens"),
        (price.usd_per_million_cached_input_tokens, "per million cached input tokens"),
        (price.usd_per_million_output_tokens, "per million output tokens"),
        (price.usd_per_request, "per request"),
        (price.usd_per_audio_hour, "per hour of audio"),
    )
    return ", ".join(f"{units.usd(usd)} {name}" for usd, name in names if usd is not None)


def fleet_cost(
    unit: YearlyCost, replicas: int, staff_usd_per_year: float, others: Sequence[CostLine] = ()
) -> YearlyCost:
    """Return what `replicas` units, the staff and the `others` of one workload cost a year."""
    lines = [
        line
        if line.usd_per_year is None
        else line.model_copy(
            update={
                "usd_per_year": replicas * line.usd_per_year,
                "low_usd_per_year": _times(line.low_usd_per_year, replicas),
                "high_usd_per_year": _times(line.high_usd_per_year, replicas),
            }
        )
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
    lines += others
    return YearlyCost(tuple(lines))


def usd_per_unit(usd_per_year: float, amount_per_year: float, unit_size: float) -> float:
    """Return what `unit_size` of what `amount_per_year` counts costs, as in 1e6 tokens."""
    return usd_per_year / amount_per_year * unit_size


def break_even_units(usd_per_year: float, usd_per_unit: float) -> float:
    """Return the units a year above which a fixed yearly cost is below paying per unit."""
    return usd_per_year / usd_per_unit


def it_kwh(power: Power, replicas: int) -> Interval:
    """Return what the machines of a fleet draw in a year: replicas x kW x 8,760 h."""
    factor = replicas * HOURS_PER_YEAR / 1000
    return scaled(Interval(value=power.watts, low=power.low, high=power.high), factor)


def facility_kwh(power: Power, replicas: int, pue: float) -> Interval:
    """Return what the facility draws for a fleet in a year: IT kWh x PUE."""
    return scaled(it_kwh(power, replicas), pue)


def embodied_kg_per_year(kg: float, replicas: int, life_years: float) -> float:
    """Return the share of a year in what making a fleet emitted, spread evenly over its life."""
    return replicas * kg / life_years


def scaled(figure: Interval, factor: float) -> Interval:
    """Return `figure` and its bounds times `factor` (at least 0)."""
    return Interval(
        value=figure.value * factor,
        low=_times(figure.low, factor),
        high=_times(figure.high, factor),
    )


def _first(bound: float | None, value: float | None) -> float:
    return bound if bound is not None else value or 0.0


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _cut(text: str) -> str:
    """Return `text` at a length that a document takes."""
    return text if len(text) <= 2000 else f"{text[:1999]}…"
