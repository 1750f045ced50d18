"""Renting against buying: every crossing by hand and by plug-in, and its interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.mapper.break_even import break_even
from harness.mapper.draws import planned
from harness.schema.decision import Interval
from tests.mapper.candidates import MONTH_S, make_bought, make_candidate, make_contest


def found(contest):
    return break_even(contest, contest.odds())


def test_one_large_purchase_against_small_rents_crosses_once():
    """A machine for 8,760 x 4.5 a year that carries all; rent is 8,760 for each 100/s."""
    contest = make_contest(
        [
            make_candidate("rented"),
            make_bought("bought", usd_per_year=8760 * 4.5, throughput=(1e6, 1e6, 1e6)),
        ]
    )

    answer = found(contest)

    (crossing,) = answer.crossings
    assert (answer.rented, answer.purchased, answer.found) == ("rented", "bought", 1)
    assert crossing.requests_per_month == pytest.approx(400 * MONTH_S, rel=1e-6)
    assert crossing.cheaper_above == "bought"
    assert crossing.utilisation == pytest.approx(400 / 1e6, rel=1e-5)
    assert "bought costs less than rented from 1,051,000,000 requests a month on" in answer.text
    assert "the rule of thumb is 60 %-70 % utilisation" in answer.text


def test_two_staircases_cross_at_every_step_that_turns_them():
    """Rent 1 for each 100/s, a purchase 2.5 for each 260/s. After 100 k and 260 k requests/s:

    rent 1, 2 | 3, .. up to 260 | then 5 against rent 3, 4, 5 ..: it turns at 200, 260, 500 (tie
    from 400), 520, ..
    """
    contest = make_contest(
        [
            make_candidate("rented"),
            make_bought("bought", usd_per_year=8760 * 2.5, throughput=(260.0, 260.0, 260.0)),
        ],
        rate=300.0,
    )

    answer = found(contest)

    rates = [c.requests_per_month / MONTH_S for c in answer.crossings[:5]]
    assert rates == pytest.approx([200, 260, 500, 520, 700], rel=1e-4)
    sides = [c.cheaper_above for c in answer.crossings[:4]]
    assert sides == ["bought", "rented", "bought", "rented"]
    assert len(answer.crossings) <= 20 < answer.found or answer.found == len(answer.crossings)
    assert "the order turns" in answer.text


def test_what_never_crosses_is_said_to_be_cheaper_everywhere():
    contest = make_contest([make_candidate("rented"), make_bought("bought", usd_per_year=1000)])

    answer = found(contest)

    assert (answer.always, answer.found, answer.crossings) == ("bought", 0, ())
    assert (answer.first, answer.last, answer.drawn) == (None, None, 0.0)
    assert answer.text.startswith("at the planned figures bought is cheaper at every volume")


def test_the_crossing_has_an_interval_from_the_price():
    contest = make_contest(
        [
            make_candidate("rented"),
            make_bought("bought", usd_per_year=8760 * 50.5, throughput=(1e6, 1e6, 1e6)),
        ],
        rate=5000.0,
        price=0.1,
    )

    last = found(contest).last

    # Two factors of 10 %, so +-1.96 x 14.1 % about 50 steps.
    assert last.value == pytest.approx(5000 * MONTH_S, rel=1e-5)
    assert last.low / last.value == pytest.approx(0.76, abs=0.06)
    assert last.high / last.value == pytest.approx(1.32, abs=0.1)


def test_a_purchase_without_its_energy_is_not_compared():
    assert found(make_contest([make_candidate("a"), make_bought("b", complete=False)])) is None
    assert found(make_contest([make_candidate("a"), make_candidate("b")])) is None


@given(
    rent=st.floats(0.5, 2),
    bought=st.floats(2000, 60_000),
    rate=st.floats(20, 2000),
    unit=st.floats(20, 2000),
    power=st.floats(1, 500),
)
@settings(max_examples=30, deadline=None)
def test_each_crossing_turns_the_order_when_plugged_in(rent, bought, rate, unit, power):
    contest = make_contest(
        [
            make_candidate("rented", price=rent),
            make_bought(
                "bought",
                usd_per_year=bought,
                throughput=(unit, unit, unit),
                rates=(0.0, unit),
                watts=(power / 2, power),
                power=Interval(value=power),
                usd_per_watt=1.3,
            ),
        ],
        rate=rate,
    )
    pair = contest.among(("rented", "bought"))

    for crossing in found(contest).crossings:
        factor = crossing.requests_per_month / contest.future.demand.requests_per_month
        at = np.array([factor * (1 - 1e-7), factor * (1 + 1e-7)])
        before, after = np.subtract(*pair.costs(planned(pair.candidates, pair.future.demand, at)))
        assert before * after <= 1e-6
        assert (after > 0) == (crossing.cheaper_above == "bought") or abs(after) < 1e-2
