import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.early_stopping import (
    allowed_misses,
    latency_estimate,
    minimum_queries,
    odds,
    passes,
)
from tests.benchmarks.early_stopping import disagreements, loadgen_missing

PERCENTILES = [50.0, 90.0, 95.0, 97.0, 99.0, 99.9]


@pytest.mark.parametrize(
    ("percentile", "least"),
    [(50, 11), (90, 64), (95, 130), (97, 219), (99, 662), (99.9, 6636)],
)
def test_least_queries_are_those_of_mlperf(percentile: float, least: int) -> None:
    assert minimum_queries(percentile) == least
    assert latency_estimate(range(least - 1), percentile) is None
    assert latency_estimate(range(least), percentile) == least - 1


def test_least_queries_without_a_miss() -> None:
    assert minimum_queries(99, 0) == 459
    assert minimum_queries(90, 0) == 44
    assert allowed_misses(458, 99) is None
    assert allowed_misses(459, 99) == 0
    assert allowed_misses(0, 99) is None


@pytest.mark.parametrize(
    ("percentile", "n", "misses"),
    [
        (99, 1_000, 2),
        (99, 10_000, 77),
        (99, 24_576, 209),
        (99, 100_000, 927),
        (99, 270_336, 2_583),
        (90, 1_000, 78),
        (90, 10_000, 930),
    ],
)
def test_allowed_misses_are_those_of_mlperf(percentile: float, n: int, misses: int) -> None:
    assert allowed_misses(n, percentile) == misses
    assert passes(n, misses, percentile)
    assert not passes(n, misses + 1, percentile)


def test_a_million_queries() -> None:
    misses = allowed_misses(1_000_000, 99)
    assert misses is not None
    # The normal approximation of the binomial: n q - 2.326 sqrt(n p q), give or take a few.
    assert abs(misses - (10_000 - 2.326348 * math.sqrt(9_900))) < 3
    assert minimum_queries(99, misses) <= 1_000_000 < minimum_queries(99, misses + 1)


@settings(deadline=None)
@given(st.integers(0, 120), st.integers(0, 120), st.sampled_from([50, 90, 97, 99]))
def test_odds_are_the_exact_binomial_sum(hits: int, misses: int, percentile: int) -> None:
    n = hits + misses
    # In whole numbers, so without rounding: each term times 100^n.
    exact = sum(
        math.comb(n, k) * (100 - percentile) ** k * percentile ** (n - k) for k in range(misses + 1)
    )
    assert odds(hits, misses, percentile) == pytest.approx(exact / 100**n, rel=1e-11)


def test_impossible_arguments() -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        minimum_queries(100)
    with pytest.raises(ValueError, match="negative"):
        minimum_queries(99, -1)
    with pytest.raises(ValueError, match="within 0 and n"):
        passes(10, 11, 99)


@settings(deadline=None)
@given(st.integers(1, 20_000), st.sampled_from([10.0, *PERCENTILES]))
def test_rules_agree_with_each_other(n: int, percentile: float) -> None:
    misses = allowed_misses(n, percentile)
    if misses is None:
        assert n < minimum_queries(percentile, 0)
        assert not passes(n, 0, percentile)
        return
    assert passes(n, misses, percentile)
    assert not passes(n, misses + 1, percentile)
    assert minimum_queries(percentile, misses) <= n < minimum_queries(percentile, misses + 1)
    assert allowed_misses(n + 1, percentile) in (misses, misses + 1)


@settings(deadline=None)
@given(
    st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=1500), st.sampled_from([50.0, 90.0, 99.0])
)
def test_the_estimate_is_no_less_than_the_percentile(
    values: list[float], percentile: float
) -> None:
    ordered = sorted(values)
    estimate = latency_estimate(ordered, percentile)
    assert (estimate is None) == (len(ordered) < minimum_queries(percentile))
    if estimate is not None:
        assert estimate >= ordered[int(len(ordered) * percentile / 100)]


def test_the_estimate_bounds_the_truth_in_99_of_100() -> None:
    rng = np.random.default_rng(9)
    samples = np.sort(rng.exponential(size=(2000, 1000)), axis=1)
    truth = -math.log(0.1)
    below = sum(latency_estimate(row, 90) < truth for row in samples)  # type: ignore[operator]
    # 1 % nominal, LoadGen's rank is a little safer; three standard errors of 2,000 are 0.7 points.
    assert below / 2000 < 0.017


@pytest.mark.skipif(loadgen_missing() is not None, reason=str(loadgen_missing()))
@pytest.mark.slow
def test_loadgen_makes_the_same_of_the_same_latencies() -> None:
    for count in (600, 700):  # below and above the least count of p99
        compared, wrong = disagreements(count)
        assert not wrong
        assert len(compared) >= 10
