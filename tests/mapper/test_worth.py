"""What knowing an input is worth, against the closed form of an exchange option."""

import math
from dataclasses import replace
from statistics import NormalDist

import pytest

from harness.mapper.worth import worth_knowing
from tests.mapper.candidates import make_candidate, make_contest

CDF = NormalDist().cdf


def found(contest):
    return worth_knowing(contest, contest.odds())


def test_a_price_is_worth_what_an_option_to_take_it_costs():
    """a costs exactly 1, b 1.05 x a lognormal of log sd .2: E[max(1 - b, 0)] by Black's formula."""
    contest = make_contest(
        [
            make_candidate("a", price=1.0, source="fixed"),
            make_candidate("b", price=1.05, source="list"),
        ],
        price=0.2,
    )
    known = replace(contest.future, fixed={"price of fixed": 0.0})
    exact = replace(contest, future=known)

    (worth, *rest) = [w for w in found(exact) if w.of == "list"]

    sigma, mean = 0.2, 1.05 * math.exp(0.02)
    d = (math.log(mean) + sigma**2 / 2) / sigma
    expected = CDF(-(d - sigma)) - mean * CDF(-d)
    assert not rest
    assert worth.usd_per_year == pytest.approx(10 * 8760 * expected, rel=0.05)
    assert worth.share == pytest.approx(expected, rel=0.05)
    assert "ask for a binding quote" in worth.text


def test_what_would_change_no_choice_is_not_listed():
    contest = make_contest(
        [make_candidate("a"), make_candidate("b", price=20.0, source="other")], price=0.2
    )

    assert found(contest) == ()
    assert found(make_contest([make_candidate("a")], price=0.2)) == ()


def test_the_vaguest_throughput_is_worth_most_to_measure():
    contest = make_contest(
        [
            make_candidate("a", throughput=(100.0, 98.0, 102.0)),
            make_candidate("b", price=1.05, throughput=(100.0, 50.0, 200.0)),
        ]
    )

    first = found(contest)[0]

    assert (first.input, first.of) == ("throughput", "b")
    assert "harness run -w chat -t b --profile rigorous" in first.text
