import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.steady_state import LEAST_SAMPLES, drift, warm_up_end
from tests.benchmarks.interval_coverage import autoregressive

N = 1000
INDEX = np.arange(N)


def independent(seed, n=N, cv=0.1):
    return np.exp(cv * np.random.default_rng(seed).standard_normal(n))


def correlated(seed, n=N, cv=0.1, rho=0.9):
    return np.exp(cv * autoregressive(np.random.default_rng(seed), n, rho))


@pytest.mark.parametrize(
    "make",
    [
        independent,
        correlated,
        lambda seed: np.random.default_rng(seed).exponential(size=200),
        lambda seed: correlated(seed, rho=0.5),
        lambda seed: np.round(independent(seed), 1),  # a coarse timer: mostly equal values
    ],
)
def test_steady_series_are_left_whole(make) -> None:
    cut = sum(warm_up_end(make(seed)) > 0 for seed in range(200))
    assert cut <= 5  # at most 0.7 % seen in 300 other series of each kind


@pytest.mark.parametrize("steps", [(100, 1.5), (20, 2.0), (200, 0.8), (450, 1 / 1.3)])
def test_a_step_is_cut_where_it_is(steps: tuple[int, float]) -> None:
    end, factor = steps
    ends = [
        warm_up_end(np.where(end > INDEX, factor, 1.0) * independent(seed)) for seed in range(9)
    ]
    assert np.median(ends) == pytest.approx(end, abs=10)
    assert min(ends) >= end - 5


def test_a_step_in_correlated_latencies() -> None:
    ends = [warm_up_end(np.where(INDEX < 200, 2.0, 1.0) * correlated(seed)) for seed in range(9)]
    assert np.median(ends) == pytest.approx(200, abs=15)


def test_a_decay_is_cut_where_it_sinks_into_the_noise() -> None:
    ends = [warm_up_end((1 + np.exp(-INDEX / 50)) * independent(seed)) for seed in range(9)]
    # At 115 the excess equals the noise (10 %), at 230 a tenth of it.
    assert all(100 <= end <= 250 for end in ends)


def test_a_series_that_never_settles() -> None:
    late = np.where(INDEX < 600, 1.0, 1.3)
    assert [warm_up_end(late * independent(seed)) for seed in range(9)] == [N] * 9
    ramp = 1 + 0.5 * INDEX / N
    assert all(warm_up_end(ramp * independent(seed)) > 0 for seed in range(9))


def test_a_stall_is_no_warm_up() -> None:
    stalled = np.where((INDEX >= 300) & (INDEX < 320), 50.0, 1.0)
    assert sum(warm_up_end(stalled * independent(seed)) > 30 for seed in range(20)) == 0


def test_constant_few_and_none() -> None:
    assert warm_up_end(np.ones(N)) == 0
    assert warm_up_end([]) == 0
    slow = [9.0] * 20 + [1.0] * (LEAST_SAMPLES - 21)
    assert warm_up_end(slow) == 0
    assert warm_up_end([*slow, 1.0]) == 20
    with pytest.raises(ValueError, match="finite"):
        warm_up_end([1.0, float("nan")])
    with pytest.raises(ValueError, match="one-dimensional"):
        warm_up_end([[1.0]])


@settings(deadline=None)
@given(st.integers(0, 50), st.floats(1e-6, 1e6), st.integers(0, 150))
def test_the_unit_does_not_matter(seed: int, unit: float, end: int) -> None:
    series = np.where(np.arange(400) < end, 3.0, 1.0) * independent(seed, 400)
    found = warm_up_end(series)
    assert warm_up_end(series * unit) == found
    assert 0 <= found <= 400


def test_drift_of_known_size() -> None:
    # Medians of the first and last third of 1 + x/2: 1 + 1/12 and 1 + 5/12.
    found = drift((1 + 0.5 * INDEX / N) * independent(3))
    assert found.proven
    assert found.low is not None
    assert found.high is not None
    assert found.low < 17 / 13 - 1 < found.high
    assert found.change == pytest.approx(17 / 13 - 1, abs=0.03)
    assert found.trend == pytest.approx(0.5 / 1.25, abs=0.05)
    falling = drift((1.5 - 0.5 * INDEX / N) * independent(3))
    assert falling.proven
    assert falling.change == pytest.approx(13 / 17 - 1, abs=0.03)


@pytest.mark.parametrize("make", [independent, correlated])
def test_steady_series_rarely_drift(make) -> None:
    found = [drift(make(seed)) for seed in range(200)]
    # 5 % nominal; three standard errors of 200 series are 4.6 points.
    assert sum(d.proven for d in found) / 200 < 0.096
    assert abs(np.mean([d.trend for d in found])) < 0.02


def test_the_clearest_drift_is_no_lack_of_samples() -> None:
    for factor in (1 + INDEX / N, np.where(INDEX < 600, 1.0, 1.1)):
        found = drift(factor * independent(5, cv=0.001))
        assert found.proven


def test_neither_a_stall_nor_a_constant_drifts() -> None:
    stalled = np.where((INDEX >= 900) & (INDEX < 920), 50.0, 1.0) * independent(1)
    found = drift(stalled)
    assert found.change == pytest.approx(0, abs=0.03)
    assert abs(found.trend or 1.0) < 0.03
    still = drift(np.full(N, 0.02))
    assert (still.change, still.low, still.high, still.trend) == (0, 0, 0, 0)
    assert not still.proven


def test_drift_that_the_sample_does_not_support() -> None:
    few = drift([1.0, 2.0, 3.0] * 2)
    assert few.change is None
    assert few.trend is None
    assert not few.proven
    assert few.reason is not None
    assert "not supported by n" in few.reason
    assert drift([]).change is None
    with pytest.raises(ValueError, match="positive"):
        drift([1.0, 0.0])
