"""The months to the horizon: purchases, replacements, the ramp, closed forms of the total."""

from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.economics import capital_recovery_factor, capital_usd_per_year, worth_left
from harness.mapper.bill import demand_by_month, outlook
from harness.mapper.capacity import load_of
from harness.schema.base import Interval
from harness.schema.brief import Economics
from harness.schema.demand import Demand
from harness.schema.target import Price
from tests.factories import make_brief
from tests.mapper.candidates import MONTH_S, make_bought, make_candidate

RATE = 0.08


def make_economics(**changes):
    return Economics.model_validate(
        {**make_brief().economics.model_dump(), "utilisation_max": 1.0, **changes}
    )


def purchase(**changes):
    tree = {"kind": "purchase", "sale_unit": "1 server", "purchase_usd": 10_000.0}
    tree |= {"life_years": 4.0, "source": "quote", "date": date(2026, 10, 1)}
    return Price.model_validate({**tree, **changes})


def rent():
    return Price(
        kind="rent", sale_unit="1", usd_per_hour=1.0, source="list", date=date(2026, 10, 1)
    )


def monthly_annuity(months):
    return sum((1 + RATE) ** (-m / 12) for m in range(1, months + 1))


def looked(candidate, price, rate=50.0, growth=0.0, spare=0, staff=0.0, once=0.0, **changes):
    demand = Demand(requests_per_month=rate * MONTH_S, growth_per_year=growth)
    return outlook(candidate, price, demand, make_economics(**changes), spare, staff, once)


def test_a_steady_rent_is_its_monthly_annuity():
    found = looked(make_candidate("a"), rent(), staff=1200.0)

    tco = found.tco()
    assert tco.usd.value == pytest.approx((8760 + 1200) / 12 * monthly_annuity(36))
    assert tco.usd.low == tco.usd.high == tco.usd.value
    assert (tco.months, tco.fleets, tco.purchases_usd) == (36, ((1, 1),), 0.0)
    bill = found.bill()
    assert [m.usd.value for m in bill] == pytest.approx([830.0] * 36)
    assert all(m.once_usd is None for m in bill)
    assert bill[0].requests == pytest.approx(50 * MONTH_S)


@pytest.mark.parametrize("horizon", [2.0, 3.0, 4.0])
def test_a_steady_purchase_costs_its_yearly_capital_over_any_horizon(horizon):
    """What is left at the end is what the rest of the payments are worth."""
    price = purchase(residual_share=0.1, maintenance_share_per_year=0.05)

    tco = looked(make_bought("a"), price, horizon_years=horizon).tco()

    capital = capital_usd_per_year(10_000, 0.1, RATE, 4) / capital_recovery_factor(RATE, horizon)
    assert tco.purchases_usd == 10_000
    assert tco.usd.value == pytest.approx(capital + 500 / 12 * monthly_annuity(round(12 * horizon)))


def test_the_node_of_the_worked_example_over_three_years():
    """The node of $150,465 a year: capital 90,632.11 at year ends, the rest month by month."""
    price = purchase(purchase_usd=324_000.0, residual_share=0.1, maintenance_share_per_year=0.05)
    node = make_bought(
        "node",
        usd_per_year=90_632.11 + 16_200,
        colocation_usd=11_160.0,
        usd_per_watt=0.12 * 1.3 * 8.76,
        rates=(0.0, 100.0),
        watts=(6200.0, 6200.0),
        power=Interval(value=6200.0),
    )

    tco = looked(node, price, staff=24_000.0).tco()

    running = 16_200 + 11_160 + 6.2 * 1.3 * 8760 * 0.12 + 24_000
    assert round(90_632.11 + running) == 150_465
    annuity = (1 - 1.08**-3) / 0.08
    assert tco.usd.value == pytest.approx(
        90_632.11 * annuity + running / 12 * monthly_annuity(36), abs=0.1
    )
    assert tco.usd.value == pytest.approx(393_338, abs=1)


def test_growth_forces_purchases_month_by_month():
    """50/s doubling every year against 100/s a unit: above 100, 200 and 300 after 12, 24, 31 m."""
    found = looked(make_bought("a"), purchase(), growth=1.0)

    tco = found.tco()
    assert tco.fleets == ((1, 1), (13, 2), (25, 3), (32, 4))
    once = {m.month: m.once_usd for m in found.bill() if m.once_usd is not None}
    assert once == {1: 10_000, 13: 10_000, 25: 10_000, 32: 10_000}
    assert tco.purchases_usd == pytest.approx(
        10_000 * sum(1.08 ** (-m / 12) for m in (0, 12, 24, 31))
    )
    left = sum(worth_left(10_000, 0.0, RATE, 4, a / 12) for a in (36, 24, 12, 5))
    assert tco.left_usd == pytest.approx(left * 1.08**-3)


def test_a_purchase_is_replaced_at_the_end_of_its_life_and_sold_for_its_residual():
    price = purchase(life_years=1.0, residual_share=0.2)

    bill = looked(make_bought("a"), price).bill()

    assert {m.month: m.once_usd for m in bill if m.once_usd} == {1: 10_000, 13: 8_000, 25: 8_000}


def test_a_shrinking_demand_gives_rent_back_and_keeps_what_was_bought():
    shrinking = {"rate": 250.0, "growth": -0.5}

    assert looked(make_candidate("a"), rent(), **shrinking).tco().fleets[-1][1] == 1
    bought = looked(make_bought("a"), purchase(), **shrinking).tco()
    assert bought.fleets == ((1, 3),)


def test_the_ramp_grows_the_volume_in_equal_steps():
    volumes, rates, peaks = demand_by_month(
        Demand(requests_per_month=1000.0, peak_factor=2.0), 6, 4
    )

    assert volumes == pytest.approx([250, 500, 750, 1000, 1000, 1000])
    assert peaks == pytest.approx(2 * rates)


def test_twelve_months_are_the_first_year_of_the_yearly_cost():
    demand = Demand(
        requests_per_month=1e6, growth_per_year=0.4, peak_factor=3.0, result_cache_hit=0.2
    )
    load = load_of(demand, 3.0)

    volumes, rates, peaks = demand_by_month(demand, 36, 0)

    assert volumes[:12].sum() == pytest.approx(load.requests)
    assert rates[:12].mean() == pytest.approx(load.mean)
    assert peaks[11] == pytest.approx(load.peak)
    assert peaks[35] == pytest.approx(load.horizon_peak)


def test_an_api_pays_what_is_asked_for_and_the_integration_once():
    """$0.001 a request, 1,000 a month from the fourth on, after 250, 500 and 750."""
    api = make_candidate("api", metered=True, usd_per_request=0.001, priced_usd=0.0)
    found = looked(api, rent(), rate=1000 / MONTH_S, once=700.0, ramp_months=4)

    bill = found.bill()
    assert [m.usd.value for m in bill[:5]] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert [m.units for m in bill[:2]] == [0, 0]
    assert (bill[0].once_usd, bill[1].once_usd) == (700.0, None)
    tco = found.tco()
    assert tco.integration_usd == 700.0
    assert tco.usd.low == tco.usd.value == tco.usd.high


def test_the_bounds_follow_the_throughput_and_an_unknown_cost_has_no_upper_one():
    wide = make_candidate("a", throughput=(100.0, 40.0, 300.0))
    found = looked(wide, rent(), rate=90.0).bill()[0]

    assert (found.usd.low, found.usd.value, found.usd.high) == pytest.approx((730, 730, 3 * 730))
    partly = make_candidate("a", throughput=(100.0, 40.0, None), complete=False)
    tco = looked(partly, rent(), rate=90.0).tco()
    assert tco.usd.low is None
    assert tco.usd.high is None
    assert "not known" in tco.basis


def test_worth_falls_from_the_price_to_the_residual():
    ages = [worth_left(1000, 0.1, RATE, 4, age) for age in np.linspace(0, 4, 9)]

    assert ages[0] == pytest.approx(1000)
    assert ages[-1] == pytest.approx(100)
    assert all(a > b for a, b in pairwise(ages))
    assert worth_left(1000, 0.1, 0.0, 4, 2) == pytest.approx(1000 - 900 / 2)


@given(
    rate=st.floats(1, 1000),
    growth=st.floats(-0.5, 2.0),
    life=st.integers(1, 6),
    residual=st.floats(0, 0.5),
)
@settings(max_examples=30, deadline=None)
def test_the_total_is_the_sum_of_its_parts(rate, growth, life, residual):
    price = purchase(life_years=float(life), residual_share=residual)

    tco = looked(make_bought("a"), price, rate=rate, growth=growth, once=500.0).tco()

    parts = tco.purchases_usd + tco.running_usd + tco.integration_usd - tco.left_usd
    assert tco.usd.value == pytest.approx(parts)
    assert tco.usd.value > 500
