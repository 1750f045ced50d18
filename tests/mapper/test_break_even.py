"""Renting against buying: every crossing by hand and by plug-in, and its interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.mapper.break_even import break_even, break_evens
from harness.mapper.draws import planned
from harness.schema.base import Interval
from tests.mapper.candidates import MONTH_S, make_bought, make_candidate, make_contest


def make_api(name="api", *, usd_per_request=1e-4, **changes):
    return make_candidate(
        name,
        metered=True,
        usd_per_request=usd_per_request,
        stated_usd=1000 * usd_per_request,
        price_unit="USD/1,000 requests",
        priced_usd=0.0,
        **changes,
    )


def pairs(contest):
    return {pair.kinds: pair for pair in break_evens(contest, contest.odds())}


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


@pytest.mark.parametrize("better", ["near", "far"])
def test_where_two_tie_at_small_volumes_the_one_that_is_never_dearer_is_named(better):
    """Both cost 1 an hour a unit; one carries four times as much, so at 100/s it needs fewer."""
    cloud = make_candidate("near", throughput=(400.0,) * 3 if better == "near" else (100.0,) * 3)
    edge = make_candidate(
        "far", tier="edge", throughput=(400.0,) * 3 if better == "far" else (100.0,) * 3
    )

    pair = pairs(make_contest([cloud, edge], rate=10.0))["cloud", "edge"]

    other = {"near": "far", "far": "near"}[better]
    assert (pair.always, pair.found) == (better, 0)
    assert f"{better} costs as much as {other} or less at every volume" in pair.text


def test_two_that_cost_the_same_at_every_volume_have_none_that_is_cheaper():
    pair = pairs(make_contest([make_candidate("near"), make_candidate("far", tier="edge")]))[
        "cloud", "edge"
    ]

    assert (pair.always, pair.found, pair.drawn) == (None, 0, 0)
    assert "the two cost the same at every volume" in pair.text


def test_a_tie_that_arithmetic_breaks_is_no_crossing_in_a_draw():
    """Three units at 1.1 are 3.3000000000000003, one at 3.3 is 3.3."""
    assert 3 * 1.1 != 3.3
    pair = pairs(
        make_contest(
            [
                make_candidate("small", priced_usd=1.1),
                make_candidate("large", tier="edge", priced_usd=3.3, throughput=(300.0,) * 3),
            ],
            rate=20.0,
        )
    )["cloud", "edge"]

    assert (pair.found, pair.always, pair.drawn) == (0, "small", 0)


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


def test_the_worked_example_breaks_even_at_28_percent_utilisation():
    """$150,465 a year against $0.60 a million tokens, 28,800 tokens/s, requests of 500 tokens."""
    tokens = 500.0
    contest = make_contest(
        [
            make_api(usd_per_request=tokens * 0.60e-6, per_request=tokens),
            make_bought(
                "node",
                tier="on_premises",
                usd_per_year=150_465.0,
                throughput=(28_800.0, 28_800.0, 28_800.0),
                per_request=tokens,
            ),
        ],
        rate=10.0,
    )

    (found,) = pairs(contest).values()

    crossing = found.crossings[0]
    assert crossing.cheaper_above == "node"
    millions = crossing.requests_per_month * 12 * tokens / 1e6
    assert millions == pytest.approx(250_775, rel=1e-6)
    assert round(crossing.utilisation, 2) == 0.28
    assert "computed: " in found.rule_of_thumb
    assert "doi 10.5281/zenodo.18678386" in found.rule_of_thumb


def test_an_api_against_a_staircase_crosses_at_each_step_that_turns_it():
    """$0.30 for 1,000/s x 1 h ... in USD an hour: the API takes .012 for each request/s.

    A unit is $1 for 100/s. The API is cheaper up to 83.3/s (1 / .012), then dearer to 100/s, where
    a second unit comes: cheaper to 166.7, dearer to 200, cheaper to 250, dearer to 300, cheaper to
    333.3, dearer to 400, cheaper to 416.7; from then on units win: 5 / .012 = 416.7, 6 / .012 =
    500, which is the step itself.
    """
    contest = make_contest(
        [make_api(usd_per_request=0.012 / 3600), make_candidate("box")], rate=30.0
    )

    (found,) = pairs(contest).values()

    rates = [c.requests_per_month / MONTH_S for c in found.crossings]
    expected = [1000 / 12, 100, 2000 / 12, 200, 250, 300, 4000 / 12, 400, 5000 / 12]
    assert rates[: len(expected)] == pytest.approx(expected, rel=1e-6)
    sides = ["box", "api"] * 4 + ["box"]
    assert [c.cheaper_above for c in found.crossings[: len(sides)]] == sides


@given(usd=st.floats(1e-6, 1e-3), yearly=st.floats(1000, 1e6), unit=st.floats(10, 1e4))
@settings(max_examples=30, deadline=None)
def test_at_an_apis_crossing_both_cost_the_same_or_a_unit_is_added(usd, yearly, unit):
    contest = make_contest(
        [
            make_api(usd_per_request=usd),
            make_bought("node", usd_per_year=yearly, throughput=(unit, unit, unit)),
        ],
        rate=100.0,
    )
    pair = contest.among(("api", "node"))

    for crossing in break_evens(contest, contest.odds())[0].crossings:
        at = np.array([crossing.requests_per_month / contest.future.demand.requests_per_month])
        api, node = pair.costs(planned(pair.candidates, pair.future.demand, at))[:, 0]
        if crossing.cheaper_above == "node":
            assert api == pytest.approx(node, rel=1e-6)
        else:
            rate = crossing.requests_per_month / MONTH_S
            assert rate / unit == pytest.approx(round(rate / unit), rel=1e-6)


def test_kinds_are_paired_by_what_they_ask_to_own_and_the_best_of_each():
    contest = make_contest(
        [
            make_bought("edge", tier="edge", usd_per_year=5000),
            make_bought("own", tier="on_premises", usd_per_year=9000),
            make_bought("dear", tier="on_premises", usd_per_year=90_000),
            make_bought("dark", tier="on_premises", usd_per_year=10, complete=False),
            make_candidate("box"),
            make_api(),
        ]
    )

    found = pairs(contest)

    assert list(found) == [
        ("api", "cloud"),
        ("api", "on_premises"),
        ("api", "edge"),
        ("cloud", "on_premises"),
        ("cloud", "edge"),
        ("on_premises", "edge"),
    ]
    assert found["cloud", "on_premises"].targets == ("box", "own")
    assert break_even(contest, contest.odds()).rented == "box"


def test_volume_and_utilisation_of_a_crossing_have_intervals_over_the_draws():
    contest = make_contest(
        [
            make_api(),
            make_bought("node", usd_per_year=50_000, throughput=(1e4, 0.9e4, 1.1e4)),
        ],
        rate=20.0,
        price=0.1,
    )

    (found,) = pairs(contest).values()

    # Two factors of 10 % on the volume, and the throughput's 5 % more on the utilisation.
    assert found.last.low / found.last.value == pytest.approx(0.76, abs=0.06)
    assert found.utilisation.low < found.utilisation.value < found.utilisation.high
    assert found.utilisation.value == pytest.approx(50_000 / 1e-4 / (8760 * 3600) / 1e4, rel=1e-4)


def test_an_api_does_not_stand_for_rented_units():
    contest = make_contest([make_api(), make_bought("node")])

    assert found(contest) is None
    assert len(pairs(contest)) == 1


def test_two_apis_of_one_list_share_its_draws():
    contest = make_contest(
        [make_api("a", usd_per_request=1e-4), make_api("b", usd_per_request=1.01e-4)], price=0.3
    )
    apart = make_contest(
        [make_api("a"), make_api("b", usd_per_request=1.01e-4, source="other")], price=0.3
    )

    assert contest.odds()[0].p_best == 1.0
    assert apart.odds()[0].p_best < 0.7
