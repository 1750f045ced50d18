"""Flip values and swings: with nothing uncertain they can be worked out by hand."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.mapper.flip import flips
from harness.mapper.tornado import swings
from tests.factories import make_brief, make_point
from tests.mapper.candidates import make_bought, make_candidate, make_contest
from tests.mapper.test_decide import BUSY, WORKLOAD, answer


def found(contest, choice):
    class NoPromise:
        target = choice
        slo = ()
        slo_state = "met"

    return flips(contest, NoPromise(), (), ())


def by_input(rows, kind):
    return [flip for flip in rows if flip.input == kind]


def test_the_price_at_which_the_choice_loses_is_the_rivals_cost_a_unit():
    """10 units of a at 1.00 against 5 of b at 2.30: a loses above 1.15, b wins below 2.00."""
    contest = make_contest(
        [make_candidate("a"), make_candidate("b", price=2.3, throughput=(200.0, 200.0, 200.0))]
    )

    own, rival = by_input(found(contest, "a"), "price")

    assert (own.of, own.winner, own.unit) == ("a", "b", "USD/h")
    assert own.value == pytest.approx(1.15)
    assert own.change == pytest.approx(0.15)
    assert "price of a above $1.15 an hour (+15 % from $1.00): b" in own.text
    assert (rival.of, rival.winner) == ("b", "b")
    assert rival.value == pytest.approx(2.0)


def test_what_does_not_follow_the_price_stays_when_it_falls():
    """b costs 8,760 of price and 4,380 of colocation a unit: at half its price it equals a."""
    contest = make_contest([make_candidate("a"), make_bought("b", colocation_usd=4380.0)])

    rival = by_input(found(contest, "a"), "price")[1]

    assert rival.value == pytest.approx(5000.0)
    assert "$5,000 a unit" in rival.text


def test_no_price_is_named_that_no_seller_could_meet():
    contest = make_contest([make_candidate("a"), make_bought("b", colocation_usd=9000.0)])

    assert [flip.of for flip in by_input(found(contest, "a"), "price")] == ["a"]


def test_the_volume_at_which_a_large_unit_pays():
    """b serves 10 times as much at 4 times the price: dearer while a needs 4 units or fewer."""
    contest = make_contest(
        [
            make_candidate("a", throughput=(100.0, 100.0, 100.0)),
            make_candidate("b", price=4.5, throughput=(1000.0, 1000.0, 1000.0)),
        ],
        rate=300.0,
    )

    (flip,) = by_input(found(contest, "a"), "volume")

    # The fifth unit of a is needed above 400/s.
    assert flip.winner == "b"
    assert flip.value == pytest.approx(300 * 730 * 3600 * 4 / 3, rel=1e-6)
    assert flip.change == pytest.approx(1 / 3, rel=1e-5)


def test_planning_closer_to_the_throughput_turns_the_choice_too():
    contest = make_contest(
        [
            make_candidate("a", throughput=(100.0, 100.0, 100.0)),
            make_candidate("b", price=4.5, throughput=(1000.0, 1000.0, 1000.0)),
        ],
        rate=300.0,
        utilisation_max=0.7,
    )

    # 300 / (100 u) is 5 units at .7 and at most 4 from .75 on.
    (flip,) = by_input(found(contest, "b"), "utilisation")

    assert (flip.winner, flip.unit) == ("a", "share")
    assert flip.value == pytest.approx(0.75, rel=1e-6)


def test_equal_candidates_flip_with_the_least_change_and_lone_ones_never():
    equal = make_contest([make_candidate("a"), make_candidate("b")])

    dearer, cheaper = by_input(found(equal, "a"), "price")
    assert (dearer.of, dearer.change, dearer.winner) == ("a", 0, "b")
    assert dearer.text.startswith("price of a above")
    assert (cheaper.of, cheaper.change, cheaper.winner) == ("b", 0, "b")
    assert cheaper.text.startswith("price of b below")
    assert by_input(found(equal, "a"), "volume") == []
    assert found(make_contest([make_candidate("a")]), "a") == ()


@given(price=st.floats(1.01, 5), rate=st.floats(100, 5000), spread=st.floats(0, 0.3))
@settings(max_examples=25, deadline=None)
def test_at_the_flip_price_both_cost_the_same(price, rate, spread):
    def rows(own):
        return [make_candidate("a", price=own), make_candidate("b", price=price, source="other")]

    uncertain = {"price": spread, "volume": spread, "rate": rate}
    (own, *_) = by_input(found(make_contest(rows(1.0), **uncertain), "a"), "price") or (None,)
    if own is None:
        return

    contest = make_contest(rows(own.value), **uncertain)
    costs = contest.costs(contest.cases()).mean(axis=1)
    assert costs[0] == pytest.approx(costs[1])


def test_a_swing_is_the_lead_at_both_ends_of_one_input():
    """a at 1.00 and b at 1.30 an hour, 10 units each: only a's price is uncertain."""
    contest = make_contest(
        [make_candidate("a"), make_candidate("b", price=1.3, source="other")], price=0.2
    )

    rows = {swing.input: swing for swing in swings(contest, "a", "b")}

    assert set(rows) == {"price of a, x", "price of b, x"}
    swing = rows["price of a, x"]
    end, mean = math.exp(0.2 * 1.644854), rows["price of b, x"]
    assert (swing.low, swing.high) == pytest.approx((1 / end, end))
    spread = swing.usd_per_year_at_low - swing.usd_per_year_at_high
    assert spread == pytest.approx(10 * 8760 * (end - 1 / end))
    assert swing.turns
    assert swing.usd_per_year_at_high < 0 < swing.usd_per_year_at_low
    # Of two that turn the lead, the dearer one moves it more.
    assert abs(mean.usd_per_year_at_high - mean.usd_per_year_at_low) > spread
    assert next(iter(rows)) == "price of b, x"


def test_an_input_that_moves_nothing_is_no_swing():
    """Both need one unit whatever the volume is."""
    rows = [make_candidate("a"), make_candidate("b", price=1.3)]

    assert swings(make_contest(rows, rate=1.0, volume=0.2), "a", "b") == ()


@pytest.mark.parametrize(
    ("stated", "low", "high"), [(-0.85, -0.9, -0.68551), (10.0, 9.83551, 10.0)]
)
def test_the_ends_of_a_growth_are_cut_as_its_draws_are(stated, low, high):
    """0.1 about -85 % reaches to -101 % at 5 %, which no volume can do."""
    by_use = make_candidate("b", price=1.3, usd_per_request=1e-6)
    contest = make_contest([make_candidate("a"), by_use], growth=0.1)
    demand = contest.future.demand.model_copy(update={"growth_per_year": stated})
    contest = replace(contest, future=replace(contest.future, demand=demand))

    (swing,) = swings(contest, "a", "b")

    assert (swing.input, swing.low, swing.high) == (
        "growth a year",
        pytest.approx(low, abs=1e-4),
        pytest.approx(high, abs=1e-3),
    )


def test_the_swing_of_a_throughput_runs_over_its_own_interval():
    candidates = [
        make_candidate("a", throughput=(100.0, 80.0, 120.0)),
        make_candidate("b", price=1.1),
    ]

    (swing,) = swings(make_contest(candidates), "a", "b")

    assert swing.input == "throughput of a, x"
    assert swing.low == pytest.approx(math.exp(-math.log(100 / 80) * 1.644854 / 1.959964))
    # 12.06 -> 13 units of a against 11 of b's cost at the low end.
    assert swing.usd_per_year_at_low == pytest.approx(8760 * (10 * 1.1 - 13))


# ---- the limit of the SLO, in the decision


def decision(rows):
    brief = make_brief(workloads=[{"workload": "chat", "demand": BUSY}])
    return answer(rows, brief=brief).workloads[0]


def test_a_tighter_limit_says_who_leaves_and_who_stays():
    slow = make_point(WORKLOAD, rate=100, latency_s=0.3)
    rows = [("cheap", 1.0, slow), ("dear", 3.0, make_point(WORKLOAD, rate=100))]
    answered = decision(rows)

    (flip,) = by_input(answered.flips, "slo")

    assert (flip.of, flip.winner, flip.present) == ("cheap", "dear", 0.5)
    assert flip.value == answered.choice.slo[0].high_s
    assert "cheap does not prove it at its load; dear does" in flip.text


def test_a_looser_limit_lets_the_nearest_in_but_promises_no_win():
    late = make_point(WORKLOAD, rate=100, latency_s=0.4)
    answered = decision([("a", 1.0, make_point(WORKLOAD, rate=100)), ("late", 0.5, late)])

    flip = by_input(answered.flips, "slo")[-1]

    assert (flip.of, flip.winner) == ("late", None)
    assert flip.value > flip.present == 0.5
    assert "would let late in" in flip.text
