import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import statistics
from harness.schema.workload import SloLimit

LIMIT = SloLimit(metric="latency", percentile=90, limit_s=1.0)


def autoregressive(count: int, rho: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=count) * math.sqrt(1 - rho**2)
    values = np.empty(count)
    values[0] = rng.normal()
    for i in range(1, count):
        values[i] = rho * values[i - 1] + noise[i]
    return values


def test_least_counts_that_support_an_upper_bound() -> None:
    assert statistics.minimum_samples(0.99) == 368
    assert statistics.minimum_samples(0.999) == 3688
    assert statistics.minimum_samples(0.90) == 36
    assert statistics.minimum_samples(0.95) == 72


@pytest.mark.parametrize(("n", "supported"), [(367, False), (368, True)])
def test_p99_is_not_given_below_its_least_count(n: int, supported: bool) -> None:
    values = np.random.default_rng(5).permutation(np.arange(1.0, n + 1))
    metric = statistics.percentile(values, 99)
    # n_eff can only be lower than n: whether p99 is supported never depends on luck upwards.
    assert (metric.value is not None) <= supported
    lower, upper = statistics.interval_ranks(n, 0.99)
    assert (upper is not None) is supported
    assert lower < n
    if metric.value is None:
        assert metric.reason is not None
        assert "not supported by n" in metric.reason
        assert metric.high is None


def test_ranks_agree_with_the_binomial() -> None:
    # binom.ppf(.025, n, q) and binom.ppf(.975, n, q) + 1, computed with scipy 1.17.
    assert statistics.interval_ranks(100, 0.5) == (40, 61)
    assert statistics.interval_ranks(1000, 0.9) == (881, 919)
    assert statistics.interval_ranks(5000, 0.99) == (4936, 4964)


def test_percentile_is_an_order_statistic() -> None:
    values = np.arange(1.0, 1001.0)
    np.random.default_rng(0).shuffle(values)
    metric = statistics.percentile(values, 90)
    assert metric.value == 901.0
    assert metric.low is not None
    assert metric.high is not None
    assert metric.low <= 901.0 <= metric.high
    assert metric.low > 870
    assert metric.high < 930


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0])
def test_intervals_cover_the_truth(percent: float) -> None:
    rng = np.random.default_rng(11)
    truth = -math.log(1 - percent / 100)
    hits = claims = 0
    for _ in range(300):
        metric = statistics.percentile(rng.exponential(size=1000), percent)
        if metric.value is None:  # about one sample in a thousand looks correlated by chance
            continue
        claims += 1
        hits += (metric.low or 0.0) <= truth <= (metric.high or 0.0)
    assert claims >= 297
    # 95 % nominal; three standard errors of 300 runs are 3.8 points.
    assert 0.91 < hits / claims < 0.988


def series(count: int, runs: int, seed: int) -> np.ndarray:
    """Return `runs` lognormal AR(1) series of `count` values, one a row; the median is 1."""
    noise = np.random.default_rng(seed).standard_normal((count, runs))
    values = np.empty((count, runs))
    values[0] = noise[0]
    for i in range(1, count):
        values[i] = 0.9 * values[i - 1] + math.sqrt(1 - 0.81) * noise[i]
    return np.exp(0.3 * values.T)


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0])
def test_intervals_cover_the_truth_of_correlated_latencies(percent: float) -> None:
    truth = math.exp(0.3 * NormalDist().inv_cdf(percent / 100))
    metrics = [statistics.percentile(values, percent) for values in series(5000, 300, 8)]
    given = [m for m in metrics if m.value is not None]
    assert len(given) > 250
    hits = sum((m.low or 0.0) <= truth <= (m.high or math.inf) for m in given)
    assert 0.91 < hits / len(given) < 0.988


def test_a_tail_too_thin_to_show_its_clusters_is_not_given() -> None:
    # Ten values above p99 may lie apart by luck: the fifty above p95 tell that they do not.
    refused = sum(statistics.percentile(v, 99).value is None for v in series(1000, 100, 9))
    assert refused >= 99


def test_interval_positions_are_the_beta_quantiles() -> None:
    lower, upper = statistics.interval_positions(100.0, 0.5)
    assert lower is not None
    assert upper is not None
    for position, chance in ((lower, 0.975), (upper, 0.025)):
        rank = position * 101
        grid = (np.arange(200_000) + 0.5) / 400_000
        density = (rank - 1) * np.log(grid) + (100 - rank) * np.log1p(-grid)
        scale = math.lgamma(101) - math.lgamma(rank) - math.lgamma(101 - rank)
        assert np.exp(density + scale).sum() / 400_000 == pytest.approx(chance, abs=1e-4)
    # Between the whole ranks, which err on the wide side.
    outer = statistics.interval_ranks(100, 0.5)
    assert outer[0] < lower * 101
    assert upper * 101 < (outer[1] or 0)
    assert statistics.interval_positions(367.0, 0.99)[1] is None
    assert statistics.interval_positions(368.0, 0.99)[1] is not None
    assert statistics.interval_positions(368.0, 0.999)[1] is None


def test_one_stall_is_one_event() -> None:
    values = np.random.default_rng(6).lognormal(-4, 0.3, size=5000)
    values[3000:3200] += np.linspace(2.0, 0.0, 200)
    assert statistics.percentile(values, 99).value is None
    p90 = statistics.percentile(values, 90)
    assert p90.high is not None
    # One event in the run could as well have been three in another: the bound lies within it.
    assert p90.high > 0.5


def test_correlation_widens_the_interval() -> None:
    rng = np.random.default_rng(3)
    independent = rng.normal(size=4000)
    correlated = autoregressive(4000, 0.9, rng)
    assert statistics.effective_sample_size(independent) > 3000
    # The exact value for AR(1) is n (1 - rho) / (1 + rho) = 210.
    assert 120 < statistics.effective_sample_size(correlated) < 380
    narrow = statistics.percentile(independent, 50)
    wide = statistics.percentile(correlated, 50)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)  # type: ignore[operator]


def test_effective_sample_size_of_constants_and_few() -> None:
    assert statistics.effective_sample_size(np.ones(50)) == 50
    assert statistics.effective_sample_size(np.array([1.0, 2.0])) == 2
    assert statistics.effective_sample_size(np.zeros(0)) == 0


@given(st.lists(st.floats(1e-6, 1e3), min_size=0, max_size=300), st.sampled_from([50, 90, 99]))
def test_percentile_never_lies_outside_the_sample(values: list[float], percent: float) -> None:
    metric = statistics.percentile(np.array(values), percent)
    if metric.value is None:
        assert metric.reason
    else:
        assert min(values) <= metric.value <= max(values)
        assert metric.high is not None
        assert metric.value <= metric.high <= max(values)
        assert metric.low is None or min(values) <= metric.low <= metric.value


def test_rate_and_its_interval() -> None:
    rng = np.random.default_rng(1)
    ended = np.sort(rng.uniform(0, 100, size=1000))
    metric = statistics.rate(np.ones(1000), ended, 100.0, unit="requests/s")
    assert metric.value == 10.0
    assert metric.low is not None
    assert metric.high is not None
    assert 8.5 < metric.low < 10 < metric.high < 11.5
    few = statistics.rate(np.ones(3), np.array([1.0, 2.0, 3.0]), 3.0, unit="requests/s")
    assert few.value == 1.0
    assert few.low is None
    assert statistics.rate(np.zeros(0), np.zeros(0), 1.0, unit="requests/s").value is None


def test_wilson_matches_published_values() -> None:
    # Newcombe 1998, table I: 81/263 -> 0.2553, 0.3662; 0/20 -> 0, 0.1611.
    assert statistics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert statistics.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_the_interval_of_none_begins_at_0_and_of_all_ends_at_1() -> None:
    assert all(statistics.wilson(0, n)[0] == 0.0 for n in range(1, 500))
    assert all(statistics.wilson(n, n)[1] == 1.0 for n in range(1, 500))


def test_histogram_keeps_every_sample_within_a_percent() -> None:
    values = np.random.default_rng(2).lognormal(-3, 1, size=5000)
    histogram = statistics.histogram(values)
    assert sum(count for _, count in histogram.counts) == 5000
    ordered = np.sort(values)
    middle = ordered[2500]
    seen = 0
    for bucket, count in histogram.counts:
        seen += count
        if seen > 2500:
            assert histogram.growth**bucket <= middle * 1.0000001
            assert middle < histogram.growth ** (bucket + 1) * 1.0000001
            break
    with pytest.raises(ValueError, match="0 or less"):
        statistics.histogram(np.array([0.0]))


def test_slo_states() -> None:
    rng = np.random.default_rng(4)
    fast = rng.uniform(0.1, 0.5, size=200)
    assert statistics.check_slo(LIMIT, fast, 0).state == "met"
    assert statistics.check_slo(LIMIT, fast + 1, 0).state == "missed"
    few = statistics.check_slo(LIMIT, fast[:10], 0)
    assert few.state == "unproven"
    assert few.high_s is None
    assert statistics.check_slo(LIMIT, np.zeros(0), 0).state == "unproven"


def test_a_correlated_sample_far_below_the_limit_proves_it() -> None:
    slow = np.exp(autoregressive(60, 0.95, np.random.default_rng(8)) * 0.2) * 0.2
    assert statistics.percentile(slow, 90).value is None  # too few independent samples for p90
    assert statistics.check_slo(LIMIT, slow, 0).state == "met"


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_a_target_at_the_limit_is_rarely_called_met(rho: float) -> None:
    """With p90 exactly at the limit, "met" is false; 2.5 % nominal."""
    rng = np.random.default_rng(6)
    normal_p90 = 1.2815515655
    met = 0
    for _ in range(400):
        values = np.exp((autoregressive(1000, rho, rng) - normal_p90) * 0.3)
        met += statistics.check_slo(LIMIT, values, 0).state == "met"
    assert met / 400 < 0.06


def test_failures_count_as_misses_of_the_slo() -> None:
    fast = np.random.default_rng(4).uniform(0.1, 0.5, size=200)
    assert statistics.check_slo(LIMIT, fast, 0).state == "met"
    assert statistics.check_slo(LIMIT, fast, 15).state == "unproven"
    missed = statistics.check_slo(LIMIT, fast, 40)
    assert missed.state == "missed"
    assert missed.value_s is None


def test_few_misses_in_a_queue_do_not_prove_a_limit_nearby() -> None:
    """At the true percentile a promise may be called kept in about 2.5 of 100 samples."""
    limit = SloLimit(metric="latency", percentile=99, limit_s=1.0)
    claims = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        service, gaps = rng.gamma(4, 0.25, 2_200), rng.exponential(1 / 0.8, 2_200)
        steps = np.concatenate(([0.0], (service - gaps)[:-1])).cumsum()
        latency = (steps - np.minimum.accumulate(steps) + service)[200:] / 14.34  # its p99
        claims += statistics.check_slo(limit, latency, 0).state == "met"
    assert claims <= 7
