"""From watts to kilowatt hours, dollars and carbon: a year of a fleet, line by line."""

from __future__ import annotations

from harness import units
from harness.economics import (
    NoPower,
    Power,
    embodied_kg_per_year,
    facility_kwh,
    it_kwh,
    scaled,
)
from harness.schema.base import Interval
from harness.schema.brief import Economics
from harness.schema.costs import EnergyLine, EnergyName, EnergyUnit
from harness.schema.target import Hardware, Price

UNITS: dict[EnergyName, EnergyUnit] = {
    "it_energy": "kWh",
    "facility_energy": "kWh",
    "electricity": "USD",
    "carbon": "kgCO2e",
    "embodied_carbon": "kgCO2e",
}


def energy_lines(
    power: Power | NoPower, replicas: int, price: Price, economics: Economics, hardware: Hardware
) -> tuple[EnergyLine, ...]:
    """Return what `replicas` units draw, cost in electricity and emit in the first year.

    IT kWh, facility kWh = IT x PUE, electricity = facility x tariff, kgCO2e = facility x intensity
    (GHG Protocol, Scope 2), and the share of the year in what making the units emitted. A rented
    unit's electricity is in its rent.
    """
    return (
        *_drawn(power, replicas, economics.pue.value),
        _electricity(power, replicas, price, economics),
        _carbon(power, replicas, economics),
        _embodied(replicas, price, hardware),
    )


def _drawn(power: Power | NoPower, replicas: int, pue: float) -> tuple[EnergyLine, EnergyLine]:
    if isinstance(power, NoPower):
        return (
            _unknown("it_energy", power.reason, power.remedy),
            _unknown("facility_energy", power.reason, power.remedy),
        )
    return (
        _known("it_energy", it_kwh(power, replicas), f"8,760 hours; {power.basis}", power.modelled),
        _known(
            "facility_energy",
            facility_kwh(power, replicas, pue),
            f"IT energy x PUE {units.number(pue)}",
            power.modelled,
        ),
    )


def _electricity(
    power: Power | NoPower, replicas: int, price: Price, economics: Economics
) -> EnergyLine:
    usd = economics.electricity_usd_per_kwh.value
    if price.kind == "rent":
        return _unknown("electricity", "in the rent, which does not state it")
    if price.kind == "api":
        return _unknown("electricity", "in the API's price, which does not state it")
    if isinstance(power, NoPower):
        return _unknown("electricity", "the facility energy is not known", power.remedy)
    return _known(
        "electricity",
        scaled(facility_kwh(power, replicas, economics.pue.value), usd),
        f"facility energy x {units.usd(usd)} per kWh; part of the yearly cost",
        power.modelled,
    )


def _carbon(power: Power | NoPower, replicas: int, economics: Economics) -> EnergyLine:
    intensity = economics.carbon_intensity
    if intensity is None:
        return _unknown(
            "carbon",
            "the brief states no carbon intensity",
            "state economics.carbon_intensity in the brief, with its source and date",
        )
    if isinstance(power, NoPower):
        return _unknown("carbon", "the facility energy is not known", power.remedy)
    return _known(
        "carbon",
        scaled(facility_kwh(power, replicas, economics.pue.value), intensity.kg_per_kwh),
        f"facility energy x {units.number(intensity.kg_per_kwh)} kgCO2e per kWh "
        f"({intensity.method}-based, {intensity.kind}, {intensity.year})",
        power.modelled,
    )


def _embodied(replicas: int, price: Price, hardware: Hardware) -> EnergyLine:
    fact = hardware.embodied_kgco2e
    if fact is None:
        return _unknown(
            "embodied_carbon",
            "the target states no embodied_kgco2e",
            "state hardware.embodied_kgco2e in the target, with its source and date",
        )
    if price.kind == "api":
        return _unknown("embodied_carbon", "an API has no units of its own")
    if price.life_years is None:
        return _unknown(
            "embodied_carbon", "a rented unit has no stated life to spread its making over"
        )
    return _known(
        "embodied_carbon",
        Interval(value=embodied_kg_per_year(fact.value, replicas, price.life_years)),
        f"{units.quantity(fact.value, 'kgCO2e')} to make a unit, over {price.life_years:g} years; "
        f"not part of the kgCO2e of its energy ({fact.source}, {fact.date.isoformat()})",
    )


def _known(name: EnergyName, figure: Interval, basis: str, modelled: bool = False) -> EnergyLine:
    return EnergyLine(
        name=name, unit=UNITS[name], figure=figure, basis=_cut(basis), modelled=modelled
    )


def _unknown(name: EnergyName, reason: str, remedy: str | None = None) -> EnergyLine:
    return EnergyLine(name=name, unit=UNITS[name], figure=None, basis=_cut(reason), remedy=remedy)


def _cut(text: str) -> str:
    """Return `text` at a length that a document takes."""
    return text if len(text) <= 2000 else f"{text[:1999]}…"
