"""P(best) and regret: by hand, with nothing uncertain, and against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.mapper.candidate import units_in
from harness.mapper.capacity import load_of, replicas_for
from harness.mapper.draws import planned
from harness.mapper.uncertainty import odds_of
from harness.schema.demand import Demand
from tests.factories import make_brief, make_point
from tests.mapper.candidates import make_candidate, make_contest
from tests.mapper.test_decide import BUSY, WORKLOAD, answer, purchase, rent


def one(rows, **spread):
    brief = make_brief(
        workloads=[{"workload": "chat", "demand": BUSY}],
        **({"uncertainty": spread} if spread else {}),
    )
    return answer(rows, brief=brief).workloads[0]


def point(rate, width=0.0):
    return make_point(WORKLOAD, rate=rate, width=width)


def test_odds_are_shares_and_means_over_the_draws():
    costs = np.array([[1.0, 4.0, 2.0, 5.0], [2.0, 3.0, 2.0, 1.0]])

    first, second = odds_of(["a", "b"], costs)

    # The least of each draw: 1, 3, 2, 1; b is above it by 1, 0, 0, 0 and a by 0, 1, 0, 4.
    assert (first.target, first.p_best, first.regret_usd_per_year) == ("b", 0.75, 0.25)
    assert (second.target, second.p_best, second.regret_usd_per_year) == ("a", 0.5, 1.25)
    assert first.regret_share == pytest.approx(0.25 / 1.75)
    assert second.regret_high_share == pytest.approx(np.quantile([0, 1, 0, 4], 0.95) / 1.75)


def test_with_nothing_uncertain_the_cheapest_is_best_in_all_draws():
    contest = make_contest([make_candidate("a", price=1.0), make_candidate("b", price=1.001)])

    first, second = contest.odds()

    assert (first.target, first.p_best, first.regret_usd_per_year) == ("a", 1.0, 0.0)
    assert (second.p_best, second.regret_share) == (0.0, pytest.approx(0.001))


def test_what_costs_the_same_in_every_draw_is_best_together():
    contest = make_contest([make_candidate("a"), make_candidate("b")], price=0.3, volume=0.3)

    assert [odds.p_best for odds in contest.odds()] == [1.0, 1.0]


def test_the_chance_to_be_cheaper_is_that_of_two_lognormals():
    """Two prices from two sources, log sd .2 each, one 10 % above: Phi(ln 1.1 / (.2 sqrt 2))."""
    contest = make_contest(
        [make_candidate("a", price=1.0), make_candidate("b", price=1.1, source="other")],
        price=0.2,
        draws=20_000,
    )

    expected = 0.5 * math.erfc(-math.log(1.1) / (0.2 * math.sqrt(2)) / math.sqrt(2))
    assert contest.odds()[0].p_best == pytest.approx(expected, abs=0.01)


def test_a_shared_price_source_moves_both_and_decides_nothing():
    apart = make_contest([make_candidate("a"), make_candidate("b", price=1.05)], price=0.3)

    assert apart.odds()[0].p_best == 1.0


def test_a_throughput_is_drawn_between_its_bounds():
    candidate = make_candidate("a", throughput=(100.0, 80.0, 110.0))
    contest = make_contest([candidate], draws=20_000)

    drawn = contest.cases().throughput[0]

    assert np.quantile(drawn, (0.025, 0.5, 0.975)) == pytest.approx([80, 100, 110], rel=0.01)


def test_a_missing_bound_has_the_stated_spread_and_the_other_side_keeps_its_own():
    candidate = make_candidate("a", throughput=(100.0, 90.0, None))
    contest = make_contest([candidate], draws=20_000, throughput_open=0.35)

    drawn = contest.cases().throughput[0]

    high = 100 * math.exp(1.96 * 0.35)
    assert np.quantile(drawn, (0.025, 0.975)) == pytest.approx([90, high], rel=0.03)


def test_a_figure_that_is_only_claimed_spreads_wider_than_a_measured_one():
    spreads = [
        np.log(make_contest([make_candidate("a", evidence=kind)]).cases().throughput[0]).std()
        for kind in ("measured", "imported", "projected", "claimed")
    ]

    assert spreads == sorted(spreads)
    assert spreads[-1] > 0.35


def test_another_option_changes_no_draw_of_the_rest():
    alone = make_contest([make_candidate("b")], price=0.1, volume=0.2, unit_to_unit=0.1)
    among = make_contest(
        [make_candidate("a", source="other"), make_candidate("b")],
        price=0.1,
        volume=0.2,
        unit_to_unit=0.1,
    )

    assert np.array_equal(alone.cases().throughput[0], among.cases().throughput[1])
    assert np.array_equal(alone.costs(alone.cases())[0], among.costs(among.cases())[1])


@given(
    volume=st.floats(1e3, 1e12),
    growth=st.floats(-0.8, 3),
    peak=st.floats(1, 20),
    rate=st.floats(0.1, 1e4),
    spare=st.integers(0, 3),
)
def test_planned_cases_have_the_rates_and_units_of_the_plan(volume, growth, peak, rate, spare):
    demand = Demand(requests_per_month=volume, growth_per_year=growth, peak_factor=peak)
    candidate = make_candidate("a", throughput=(rate, rate, rate))

    cases = planned([candidate], demand, np.array([1.0]))

    load = load_of(demand, 3)
    assert cases.mean[0] == pytest.approx(load.mean, rel=1e-6)
    assert cases.peak[0] == pytest.approx(load.peak)
    planned_units = replicas_for(load.peak, rate, 0.7) + spare
    assert abs(units_in([candidate], cases, 0.7, spare)[0, 0] - planned_units) <= 1


@given(times=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_the_unit_of_the_work_changes_nothing(times):
    def found(unit):
        rows = [
            make_candidate("a", throughput=(90 * unit, 80 * unit, 100 * unit), per_request=unit),
            make_candidate(
                "b", throughput=(60 * unit, 50 * unit, 90 * unit), per_request=unit, price=0.7
            ),
        ]
        return make_contest(rows, price=0.1, volume=0.3).odds()

    for first, second in zip(found(1.0), found(times), strict=True):
        assert first.target == second.target
        assert first.regret_share == pytest.approx(second.regret_share, abs=2e-3)


@given(
    factor=st.floats(1.0, 5.0),
    prices=st.tuples(*[st.floats(0.5, 2.0)] * 3),
    spread=st.floats(0, 0.3),
)
@settings(max_examples=40, deadline=None)
def test_a_dearer_chip_never_gains(factor, prices, spread):
    def odds(first):
        rows = [
            make_candidate(name, price=price, source=name)
            for name, price in zip("abc", (first, *prices[1:]), strict=True)
        ]
        found = make_contest(rows, price=spread, volume=0.2).odds()
        return next(each for each in found if each.target == "a")

    before, after = odds(prices[0]), odds(prices[0] * factor)
    assert after.p_best <= before.p_best
    assert after.regret_usd_per_year >= before.regret_usd_per_year - 1e-6


# ---- in the decision


def test_a_wide_lead_is_robust_and_says_why():
    found = one([("cheap", 1.0, point(100, 0.05)), ("dear", 3.0, point(100, 0.05))])

    sure = found.confidence
    assert (sure.robust, sure.draws, sure.seed) == (True, 2000, 0)
    assert sure.p_best > 0.99
    assert sure.reason.startswith("robust: in ")
    assert [odds.target for odds in sure.odds] == ["cheap", "dear"]


def test_a_close_lead_is_not_robust():
    rows = [
        ("a", rent(1.0, source="a"), point(100)),
        ("b", rent(1.15, source="b"), point(100)),
    ]
    sure = one(rows, price=0.5).confidence

    assert not sure.robust
    assert 0.5 < sure.p_best < 0.9
    assert "90 % or 3 % are needed" in sure.reason


def test_the_option_with_room_is_taken_over_the_one_at_the_edge_of_its_step():
    """342.5 requests/s: 5 units x 98 x .7 = 343 just carry it; half of the futures take a 6th."""
    exact = {"price": 0.0, "peak_factor": 0.0, "growth": 0.0, "unit_to_unit": 0.0}
    rows = [
        ("edge", rent(1.0, source="a"), point(98)),
        ("room", rent(1.26, source="b"), point(160)),
    ]
    assert one(rows, volume=0.0, **exact).choice.target == "edge"

    found = one(rows, volume=0.05, **exact)

    # Planned 5.00 against 4 x 1.26 = 5.04; on average 5.5 and more against 5.04.
    assert found.choice.target == "room"
    assert found.choice.cost_per_year_usd > found.runner_up.cost_per_year_usd
    assert "more than edge at the planned figures, but less on average" in found.reason
    assert "less than room at the planned figures, but more" in found.runner_up.rejection.text


def test_an_unproven_slo_or_a_missing_cost_is_never_robust():
    missing = one([("bought", purchase(), point(100)), ("rented", 9.0, point(100))])
    assert missing.choice.target == "bought"
    assert missing.confidence.p_best > 0.99
    assert not missing.confidence.robust
    assert "a part of its cost is not known" in missing.confidence.reason


def test_one_option_alone_has_nothing_to_be_compared_with():
    assert one([("only", 1.0, point(100))]).confidence is None


def test_every_spread_is_an_assumption():
    brief = make_brief("chat", uncertainty={"price": 0.123, "seed": 7})
    decision = answer([("a", 1.0, point(100))], brief=brief)

    stated = {a.name: a.value for a in decision.assumptions}
    assert stated["spread of the price"].startswith("standard deviation 12.3 %")
    assert stated["draws"] == "2,000, seed 7"
    assert stated["spare units"].startswith("0 in every fleet; N + 1 is")


def test_a_seed_gives_the_same_odds_and_another_seed_others():
    rows = [("a", rent(1.0, source="a"), point(100)), ("b", rent(1.1, source="b"), point(100))]

    first, again, other = (one(rows, seed=seed).confidence for seed in (1, 1, 2))

    assert first == again
    assert first.p_best != other.p_best


def test_spare_units_are_bought_on_top():
    def fleet(spare):
        brief = make_brief(
            workloads=[{"workload": "chat", "demand": BUSY}], constraints={"spare_units": spare}
        )
        return answer([("a", 1.0, point(100))], brief=brief).workloads[0].choice

    assert [fleet(spare).replicas for spare in (0, 1)] == [5, 6]
    assert fleet(1).cost_per_year_usd == 6 * 8760
    assert (fleet(1).sizing.needed, fleet(1).sizing.spare) == (5, 1)
