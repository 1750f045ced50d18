"""The money: formulas against a worked example, against present values, and at their edges."""

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.economics import (
    SECONDS_PER_YEAR,
    NoPower,
    Power,
    api_rates,
    break_even_units,
    capital_recovery_factor,
    capital_usd_per_year,
    embodied_kg_per_year,
    facility_kwh,
    fleet_cost,
    hourly_rent,
    it_kwh,
    unit_cost,
    usd_per_unit,
)
from harness.schema.brief import Economics, RentMix
from harness.schema.target import Price


def make_economics(**changes):
    tree = {
        "discount_rate": 0.08,
        "electricity_usd_per_kwh": {"value": 0.12, "source": "tariff", "date": date(2026, 1, 1)},
        "pue": {"value": 1.3, "source": "operator", "date": date(2026, 1, 1)},
    }
    return Economics.model_validate({**tree, **changes})


def make_purchase(**changes):
    tree = {
        "kind": "purchase",
        "sale_unit": "node of 8",
        "purchase_usd": 324_000.0,
        "life_years": 4.0,
        "residual_share": 0.1,
        "maintenance_share_per_year": 0.05,
        "colocation_usd_per_kw_month": 150.0,
        "source": "quote",
        "date": date(2026, 1, 1),
    }
    return Price.model_validate({**tree, **changes})


def make_rent(usd_per_hour=2.0):
    return Price(
        kind="rent",
        sale_unit="instance",
        usd_per_hour=usd_per_hour,
        source="list",
        date=date(2026, 1, 1),
    )


def test_a_node_of_eight_costs_what_was_worked_out_by_hand():
    node = unit_cost(make_purchase(), make_economics(), Power(6200.0, "metered"))
    year = fleet_cost(node, 1, 0.15 * 160_000)

    assert round(year.usd_per_year) == 150_465
    tokens = 0.45 * 28_800 * SECONDS_PER_YEAR
    assert round(usd_per_unit(year.usd_per_year, tokens, 1e6), 3) == 0.368
    break_even = break_even_units(year.usd_per_year, 0.60)
    assert round(break_even) == 250_775
    assert round(break_even * 1e6 / (28_800 * SECONDS_PER_YEAR), 2) == 0.28


def test_the_lines_of_the_node_are_each_right():
    node = unit_cost(make_purchase(), make_economics(), Power(6200.0, "metered"))
    lines = {line.name: line.usd_per_year for line in node.lines}

    assert lines["capital"] == pytest.approx(90_632.11, abs=0.01)
    assert lines["maintenance"] == pytest.approx(16_200)
    assert lines["colocation"] == pytest.approx(6.2 * 150 * 12)
    assert lines["energy"] == pytest.approx(6.2 * 1.3 * 8760 * 0.12)


def test_break_even_is_where_both_ways_of_paying_cost_the_same():
    volume = break_even_units(150_465.0, 0.60)

    assert volume * 0.60 == pytest.approx(150_465.0)


def test_capital_recovery_factor_at_known_points():
    assert capital_recovery_factor(0.08, 4) == pytest.approx(0.3019208045, abs=1e-10)
    assert capital_recovery_factor(0.0, 4) == 0.25
    assert capital_recovery_factor(1e-12, 4) == pytest.approx(0.25, rel=1e-9)


@given(
    rate=st.floats(0.0, 1.0),
    years=st.integers(1, 15),
    residual=st.floats(0.0, 1.0),
    price=st.floats(1.0, 1e7),
)
def test_payments_and_residual_are_worth_the_purchase_today(rate, years, residual, price):
    payment = capital_usd_per_year(price, residual, rate, years)

    present = math.fsum(payment / (1 + rate) ** t for t in range(1, years + 1))
    assert present + residual * price / (1 + rate) ** years == pytest.approx(price, rel=1e-6)


def test_a_licence_is_paid_for_every_unit_rented_or_bought():
    bought = make_purchase(licence_usd_per_year=4500.0)
    rented = make_rent().model_copy(update={"licence_usd_per_year": 4500.0})

    for price in (bought, rented):
        fleet = fleet_cost(unit_cost(price, make_economics(), NoPower("no meter")), 3, 0.0)
        assert {x.name: x.usd_per_year for x in fleet.lines}["licence"] == 13_500


def test_an_api_has_no_units_to_pay_for():
    price = Price(
        kind="api",
        sale_unit="as used",
        usd_per_request=0.01,
        requests_per_minute_max=60.0,
        source="list",
        date=date(2026, 1, 1),
    )

    assert unit_cost(price, make_economics(), NoPower("no meter")).lines == ()
    assert api_rates(price) == "$0.0100 per request"


def test_rent_without_a_mix_is_all_on_demand():
    price = make_rent(2.0).model_copy(
        update={"reserved_usd_per_hour": 1.0, "commitment_years": 1.0}
    )

    assert hourly_rent(price, None).usd == 2.0
    assert hourly_rent(price, RentMix(reserved=1.0)).usd == 1.0
    assert hourly_rent(price, RentMix(on_demand=1.0)).basis == "$2.00"


@pytest.mark.parametrize("mix", [{"spot": 0.5}, {"on_demand": 0.8, "reserved": 0.3}, {}])
def test_a_mix_that_is_not_the_whole_rent_is_refused(mix):
    with pytest.raises(ValidationError, match="sum to"):
        RentMix.model_validate(mix)


def test_unknown_power_is_no_figure_and_not_zero():
    node = unit_cost(make_purchase(), make_economics(), NoPower("no meter"))

    unknown = {line.name: line for line in node.unknown}
    assert set(unknown) == {"colocation", "energy"}
    assert all(line.usd_per_year is None for line in unknown.values())
    assert unknown["energy"].basis == "no meter"
    assert node.usd_per_year == pytest.approx(90_632.11 + 16_200, abs=0.01)


def test_colocation_that_costs_nothing_needs_no_power():
    price = make_purchase(colocation_usd_per_kw_month=0.0)
    node = unit_cost(price, make_economics(), NoPower("no meter"))

    assert [line.name for line in node.unknown] == ["energy"]


def test_rent_is_hours_and_holds_its_energy():
    rented = unit_cost(make_rent(2.0), make_economics(), NoPower("no meter"))

    assert rented.usd_per_year == 2.0 * 8760
    assert rented.unknown == ()
    assert "energy is in the rent" in rented.lines[0].basis


def test_a_fleet_multiplies_the_units_but_not_the_staff():
    fleet = fleet_cost(unit_cost(make_rent(2.0), make_economics(), NoPower("no meter")), 3, 5000.0)

    assert [(line.name, line.usd_per_year) for line in fleet.lines] == [
        ("rent", 3 * 2.0 * 8760),
        ("staff", 5000.0),
    ]


def test_a_fleet_leaves_unknown_lines_unknown():
    node = unit_cost(make_purchase(), make_economics(), NoPower("no meter"))

    assert {line.name for line in fleet_cost(node, 3, 0.0).unknown} == {"colocation", "energy"}


def test_a_year_of_a_fleet_in_kilowatt_hours_worked_out_by_hand():
    power = Power(500.0, "metered", low=450.0, high=550.0)

    it = it_kwh(power, 3)
    assert it.value == pytest.approx(3 * 0.5 * 8760)
    assert (it.low, it.high) == (pytest.approx(3 * 0.45 * 8760), pytest.approx(3 * 0.55 * 8760))
    facility = facility_kwh(power, 3, 1.3)
    assert facility.value == pytest.approx(17_082.0)
    assert facility.high == pytest.approx(17_082.0 * 1.1)


def test_a_power_without_bounds_gives_kilowatt_hours_without_bounds():
    assert (it_kwh(Power(1.0, "told"), 1).low, it_kwh(Power(1.0, "told"), 1).high) == (None, None)


def test_what_making_the_units_emitted_is_spread_over_their_life():
    assert embodied_kg_per_year(1200.0, 2, 4.0) == 600.0


def test_the_doubt_of_the_power_is_in_the_bounds_of_the_cost():
    node = unit_cost(make_purchase(), make_economics(), Power(1000.0, "metered", 900.0, 1200.0))
    fleet = fleet_cost(node, 2, 0.0)

    energy = 2 * 1.3 * 8760 * 0.12
    assert fleet.usd_per_year - fleet.least_usd_per_year == pytest.approx(0.1 * energy)
    assert fleet.most_usd_per_year - fleet.usd_per_year == pytest.approx(0.2 * energy)


def test_colocation_is_paid_for_the_peak_and_energy_for_the_mean():
    power = Power(1000.0, "metered", peak_watts=2000.0)
    lines = {x.name: x for x in unit_cost(make_purchase(), make_economics(), power).lines}

    assert lines["colocation"].usd_per_year == pytest.approx(2.0 * 150 * 12)
    assert lines["energy"].usd_per_year == pytest.approx(1.0 * 1.3 * 8760 * 0.12)
