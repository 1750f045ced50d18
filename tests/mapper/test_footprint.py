"""A year's energy, electricity and carbon: each line with its assumptions or its reason."""

from datetime import date

import pytest

from harness.economics import NoPower, Power
from harness.mapper.footprint import energy_lines
from harness.schema.target import Hardware
from tests.test_economics import make_economics, make_purchase, make_rent

INTENSITY = {
    "kg_per_kwh": 0.25,
    "method": "location",
    "kind": "average",
    "year": 2024,
    "source": "grid operator",
    "date": date(2026, 1, 1),
}
CHIP = Hardware(chip="CPU", vendor="Acme", kind="cpu")
POWER = Power(1000.0, "power metered, boundary node", low=900.0, high=1100.0)


def lines(power=POWER, price=None, intensity=INTENSITY, hardware=CHIP, replicas=2):
    economics = make_economics(carbon_intensity=intensity)
    found = energy_lines(power, replicas, price or make_purchase(), economics, hardware)
    return {line.name: line for line in found}


def test_each_figure_follows_from_the_one_before():
    found = lines()

    it = found["it_energy"].figure
    assert it.value == pytest.approx(2 * 8760)
    assert found["facility_energy"].figure.value == pytest.approx(it.value * 1.3)
    assert found["electricity"].figure.value == pytest.approx(it.value * 1.3 * 0.12)
    assert found["carbon"].figure.value == pytest.approx(it.value * 1.3 * 0.25)
    assert found["carbon"].figure.high == pytest.approx(it.value * 1.3 * 0.25 * 1.1)
    assert "boundary node" in found["it_energy"].basis
    assert "PUE 1.30" in found["facility_energy"].basis
    assert "location-based, average, 2024" in found["carbon"].basis


def test_unknown_power_leaves_every_line_unknown_with_the_remedy():
    found = lines(NoPower("not known: only chip was metered", "meter the node"))

    for name in ("it_energy", "facility_energy", "electricity", "carbon"):
        assert found[name].figure is None
        assert found[name].remedy == "meter the node"
    assert found["facility_energy"].basis == "not known: only chip was metered"


def test_without_an_intensity_no_emissions_are_stated():
    found = lines(intensity=None)["carbon"]

    assert found.figure is None
    assert "states no carbon intensity" in found.basis


def test_rented_electricity_is_in_the_rent_but_its_energy_is_told():
    found = lines(price=make_rent(2.0))

    assert found["electricity"].figure is None
    assert "in the rent" in found["electricity"].basis
    assert found["facility_energy"].figure is not None


def test_embodied_carbon_is_a_line_of_its_own():
    made = Hardware.model_validate(
        {
            **CHIP.model_dump(),
            "embodied_kgco2e": {"value": 1200.0, "source": "report", "date": "2026-01-01"},
        }
    )
    found = lines(hardware=made)

    assert found["embodied_carbon"].figure.value == pytest.approx(2 * 1200 / 4)
    assert "over 4 years" in found["embodied_carbon"].basis
    assert found["carbon"].figure == lines()["carbon"].figure
    assert lines(hardware=made, price=make_rent())["embodied_carbon"].figure is None
    assert lines()["embodied_carbon"].figure is None


def test_a_modelled_power_marks_every_line_that_rests_on_it():
    found = lines(Power(1000.0, "modelled", modelled=True))

    marked = {name for name, line in found.items() if line.modelled}
    assert marked == {"it_energy", "facility_energy", "electricity", "carbon"}


def test_grams_given_for_kilograms_are_refused():
    with pytest.raises(ValueError, match="less than or equal to 3"):
        make_economics(carbon_intensity={**INTENSITY, "kg_per_kwh": 250.0})
