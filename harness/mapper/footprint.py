"""From watts to kilowatt hours, dollars and carbon: a year of a fleet, line by line."""

from __future__ import annotations

from typing import Literal

from harness import units
from harness.economics import (
    NoPower,
    Power,
    embodied_kg_per_year,
    facility_kwh,
    it_kwh,
    scaled,
)
from harness.schema.brief import Economics
from harness.schema.decision import EnergyLine, Interval
from harness.schema.target import Hardware, Price


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
        unknown = EnergyLine(
            name="it_energy",
            unit="kWh",
            figure=None,
            basis=_cut(power.reason),
            remedy=power.remedy,
        )
        return unknown, unknown.model_copy(update={"name": "facility_energy"})
    return (
        EnergyLine(
            name="it_energy",
            unit="kWh",
            figure=it_kwh(power, replicas),
            basis=_cut(f"8,760 hours; {power.basis}"),
            modelled=power.modelled,
        ),
        EnergyLine(
            name="facility_energy",
            unit="kWh",
            figure=facility_kwh(power, replicas, pue),
            basis=f"IT energy x PUE {units.number(pue)}",
            modelled=power.modelled,
        ),
    )


def _electricity(
    power: Power | NoPower, replicas: int, price: Price, economics: Economics
) -> EnergyLine:
    usd = economics.electricity_usd_per_kwh.value
    if price.kind == "rent":
        return EnergyLine(
            name="electricity",
            unit="USD",
            figure=None,
            basis="in the rent, which does not state it",
        )
    if price.kind == "api":
        return EnergyLine(
            name="electricity",
            unit="USD",
            figure=None,
            basis="in the API's price, which does not state it",
        )
    if isinstance(power, NoPower):
        return EnergyLine(
            name="electricity",
            unit="USD",
            figure=None,
            basis="the facility energy is not known",
            remedy=power.remedy,
        )
    return EnergyLine(
        name="electricity",
        unit="USD",
        figure=scaled(facility_kwh(power, replicas, economics.pue.value), usd),
        basis=f"facility energy x {units.usd(usd)} per kWh; part of the yearly cost",
        modelled=power.modelled,
    )


def _carbon(power: Power | NoPower, replicas: int, economics: Economics) -> EnergyLine:
    intensity = economics.carbon_intensity
    if intensity is None:
        return EnergyLine(
            name="carbon",
            unit="kgCO2e",
            figure=None,
            basis="the brief states no carbon intensity",
            remedy="state economics.carbon_intensity in the brief, with its source and date",
        )
    if isinstance(power, NoPower):
        return EnergyLine(
            name="carbon",
            unit="kgCO2e",
            figure=None,
            basis="the facility energy is not known",
            remedy=power.remedy,
        )
    return EnergyLine(
        name="carbon",
        unit="kgCO2e",
        figure=scaled(facility_kwh(power, replicas, economics.pue.value), intensity.kg_per_kwh),
        basis=f"facility energy x {units.number(intensity.kg_per_kwh)} kgCO2e per kWh "
        f"({intensity.method}-based, {intensity.kind}, {intensity.year})",
        modelled=power.modelled,
    )


def _embodied(replicas: int, price: Price, hardware: Hardware) -> EnergyLine:
    fact = hardware.embodied_kgco2e
    name: Literal["embodied_carbon"] = "embodied_carbon"
    if fact is None:
        return EnergyLine(
            name=name,
            unit="kgCO2e",
            figure=None,
            basis="the target states no embodied_kgco2e",
            remedy="state hardware.embodied_kgco2e in the target, with its source and date",
        )
    if price.life_years is None:
        return EnergyLine(
            name=name,
            unit="kgCO2e",
            figure=None,
            basis="an API has no units of its own"
            if price.kind == "api"
            else "a rented unit has no stated life to spread its making over",
        )
    return EnergyLine(
        name=name,
        unit="kgCO2e",
        figure=Interval(value=embodied_kg_per_year(fact.value, replicas, price.life_years)),
        basis=_cut(
            f"{units.quantity(fact.value, 'kgCO2e')} to make a unit, over {price.life_years:g} "
            f"years; not part of the kgCO2e of its energy ({fact.source}, {fact.date.isoformat()})"
        ),
    )


def _cut(text: str) -> str:
    """Return `text` at a length that a document takes."""
    return text if len(text) <= 2000 else f"{text[:1999]}…"
