import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bootstrap import LEAST_SAMPLES, block_length, mean_interval, ratio_interval
from tests.benchmarks.interval_coverage import autoregressive


def covers(make, truth, runs, **options):
    """Return the share of runs whose interval holds `truth`; make(rng) gives the two columns."""
    hits = 0
    for run in range(runs):
        interval = ratio_interval(
            *make(np.random.default_rng(run)), seed=run, resamples=300, **options
        )
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= truth <= interval.high
    return hits / runs


def correlated_pairs(rng, n=1500):
    """Return a count and a duration per request, both driven by one AR(0.9) series."""
    busy = autoregressive(rng, n, 0.9)
    return rng.poisson(20, n) + 5 * np.maximum(busy, 0), 0.1 * np.exp(0.3 * busy)


def test_dependent_requests_are_covered_only_in_blocks() -> None:
    # For a standard normal Z: E max(Z, 0) = 1 / sqrt(2 pi), E exp(0.3 Z) = exp(0.045).
    truth = (20 + 5 / math.sqrt(2 * math.pi)) / (0.1 * math.exp(0.045))
    # 95 % nominal; three standard errors of 200 runs are 4.6 points, and blocks err narrow.
    assert covers(correlated_pairs, truth, 200) > 0.88
    assert covers(correlated_pairs, truth, 200, block=1) < 0.75


def test_independent_requests_are_covered() -> None:
    def goodput(rng):
        return rng.random(400) < 0.9, rng.exponential(0.01, 400)

    assert 0.90 < covers(goodput, 90.0, 200) < 0.99


def test_width_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(10, 2, 10_000)
    interval = mean_interval(values, block=1)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low is not None
    assert interval.high is not None
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 2 / 100, rel=0.08)


def test_block_length_follows_the_dependence() -> None:
    rng = np.random.default_rng(2)
    assert block_length(rng.standard_normal(5000)) <= 8
    # The optimum for AR(0.9): (2 g^2 / d)^(1/3) n^(1/3), g = 2 rho / (1 - rho)^2, S = 19: 88.
    assert 50 <= block_length(autoregressive(rng, 5000, 0.9)) <= 160
    assert block_length(np.full(100, 0.1)) == 1
    assert block_length(np.ones(3)) == 1


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(3).exponential(size=200)
    assert mean_interval(values, seed=7) == mean_interval(values, seed=7)
    assert mean_interval(values, seed=7) != mean_interval(values, seed=8)


def test_huge_samples_use_longer_blocks() -> None:
    values = np.random.default_rng(4).exponential(size=200_000)
    assert mean_interval(values, resamples=50).block >= 200
    assert mean_interval(values[:1000], resamples=50).block < 10


def test_too_little_has_a_value_but_no_interval() -> None:
    few = ratio_interval(np.ones(LEAST_SAMPLES - 1), np.full(LEAST_SAMPLES - 1, 2.0))
    assert few.value == 0.5
    assert few.low is None
    assert few.high is None
    assert few.reason is not None
    assert f"{LEAST_SAMPLES} needed" in few.reason
    # Two halves that differ are one block each: nothing says how the next half would be.
    step = mean_interval(np.repeat([1.0, 2.0], 50))
    assert step.low is None
    assert step.reason is not None
    assert "independent blocks" in step.reason
    rare = ratio_interval(np.ones(40), [1.0] + [0.0] * 39, block=1)
    assert rare.low is None
    assert rare.reason is not None
    assert "denominators" in rare.reason


@pytest.mark.parametrize(
    ("above", "below", "message"),
    [
        ([1.0, 2.0], [1.0], "one denominator per numerator"),
        ([], [], "must be positive"),
        ([1.0], [0.0], "must be positive"),
        ([1.0, 1.0], [2.0, -1.0], "must not be negative"),
        ([math.nan], [1.0], "finite"),
        ([[1.0]], [[1.0]], "one denominator per numerator"),
    ],
)
def test_impossible_columns(above: list[float], below: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ratio_interval(above, below)


def test_impossible_block() -> None:
    with pytest.raises(ValueError, match="between 1 and n"):
        mean_interval(np.arange(20.0), block=21)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1e3), st.floats(1e-3, 1e3)),
        min_size=LEAST_SAMPLES,
        max_size=80,
    ),
    st.floats(1e-3, 1e3),
    st.integers(1, 6),
)
def test_intervals_hold_their_value_and_scale(
    pairs: list[tuple[float, float]], factor: float, block: int
) -> None:
    above, below = np.array(pairs).T
    block = min(block, len(pairs) // 8)
    interval = ratio_interval(above, below, resamples=50, block=block)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low <= interval.value <= interval.high
    scaled = ratio_interval(above * factor, below, resamples=50, block=block)
    tolerance = {"rel": 1e-6, "abs": 1e-6 * factor * interval.value}
    assert scaled.low == pytest.approx(interval.low * factor, **tolerance)
    assert scaled.high == pytest.approx(interval.high * factor, **tolerance)


@settings(deadline=None)
@given(st.floats(1e-6, 1e6), st.integers(LEAST_SAMPLES, 200))
def test_a_constant_is_certain(value: float, n: int) -> None:
    interval = mean_interval(np.full(n, value), resamples=20)
    assert interval.low == pytest.approx(value)
    assert interval.high == pytest.approx(value)
