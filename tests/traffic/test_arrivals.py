import numpy as np
import pytest

from harness.traffic import input_order, poisson_arrivals


def test_gaps_are_exponential() -> None:
    times = poisson_arrivals(100.0, 200.0, seed=1)
    gaps = np.diff(times)
    assert gaps.min() > 0
    assert times[-1] < 200.0
    # Mean and standard deviation of an exponential are both 1 / rate; four standard errors.
    error = 4 * 0.01 / np.sqrt(gaps.size)
    assert abs(gaps.mean() - 0.01) < error
    assert abs(gaps.std() - 0.01) < 2 * error
    # Kolmogorov-Smirnov at 0.1 %.
    ordered = np.sort(gaps)
    steps = np.arange(1, gaps.size + 1) / gaps.size
    assert np.abs(1 - np.exp(-100 * ordered) - steps).max() < 1.95 / np.sqrt(gaps.size)


def test_count_is_poisson() -> None:
    counts = np.array([poisson_arrivals(20.0, 10.0, seed=s).size for s in range(400)])
    assert abs(counts.mean() - 200) < 4 * np.sqrt(200 / 400)
    assert 0.8 < counts.var() / 200 < 1.25


def test_is_seeded_and_never_empty() -> None:
    assert np.array_equal(poisson_arrivals(5, 10, seed=3), poisson_arrivals(5, 10, seed=3))
    assert not np.array_equal(poisson_arrivals(5, 10, seed=3), poisson_arrivals(5, 10, seed=4))
    assert poisson_arrivals(1e-6, 0.001, seed=0).size == 1


@pytest.mark.parametrize(("rate", "duration"), [(0, 1), (1, 0), (-1, 1), (float("nan"), 1)])
def test_refuses_nonsense(rate: float, duration: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        poisson_arrivals(rate, duration, seed=0)


def test_every_input_is_used_equally_often() -> None:
    order = input_order(7, 70, seed=2)
    assert np.array_equal(np.bincount(order), np.full(7, 10))
    assert sorted(order[:7]) == list(range(7))
    assert not np.array_equal(order[:7], order[7:14])
    assert input_order(7, 3, seed=2).size == 3
