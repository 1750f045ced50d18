import math

import numpy as np
import pytest

from harness.traffic import (
    Spikes,
    burst_arrivals,
    input_order,
    poisson_arrivals,
    trace_arrivals,
)


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


def test_bursts_keep_the_rate_and_multiply_the_dispersion() -> None:
    """Far from the origin the counts of gamma gaps have the variance mean / shape."""
    counts = np.array([burst_arrivals(50.0, 40.0, seed=s, shape=0.25).size for s in range(400)])
    # The process begins in its steady state, so the mean is exact; four standard errors.
    assert abs(counts.mean() - 2000) < 4 * np.sqrt(4 * 2000 / 400)
    assert 3.2 < counts.var() / counts.mean() < 4.8


def test_gaps_of_bursts_are_gamma() -> None:
    rate, shape = 100.0, 0.5
    gaps = np.diff(burst_arrivals(rate, 300.0, seed=5, shape=shape))
    assert gaps.min() >= 0
    assert gaps.mean() == pytest.approx(1 / rate, rel=0.04)
    assert gaps.var() == pytest.approx(1 / rate**2 / shape, rel=0.1)
    # A gamma of shape 1/2 is the square of a normal, so P(gap <= x) = erf(sqrt(rate shape x)).
    ordered = np.sort(gaps)
    expected = np.array([math.erf(math.sqrt(rate * shape * x)) for x in ordered])
    steps = np.arange(1, gaps.size + 1) / gaps.size
    assert np.abs(expected - steps).max() < 1.95 / np.sqrt(gaps.size)


def test_shape_1_is_poisson() -> None:
    counts = np.array([burst_arrivals(50.0, 20.0, seed=s, shape=1.0).size for s in range(400)])
    assert abs(counts.mean() - 1000) < 4 * np.sqrt(1000 / 400)
    assert 0.8 < counts.var() / 1000 < 1.25


def test_spikes_come_at_their_rate_and_leave_the_mean_alone() -> None:
    spikes = Spikes(factor=10.0, spike_s=1.0, every_s=10.0)
    runs = [burst_arrivals(50.0, 100.0, seed=s, shape=1.0, spikes=spikes) for s in range(100)]
    times = np.concatenate(runs)
    assert all((np.diff(run) >= 0).all() and run[-1] < 100.0 for run in runs)
    inside = np.abs(times % 10.0 - 5.0) < 0.5
    in_spike = inside.sum() / (100 * 10 * 1.0)
    calm = (~inside).sum() / (100 * 10 * 9.0)
    assert in_spike / calm == pytest.approx(10.0, rel=0.02)
    assert times.size / 100 == pytest.approx(5000, rel=0.01)
    assert calm == pytest.approx(50 * spikes.calm, rel=0.02)


def test_spikes_invert_the_cumulative_rate() -> None:
    spikes = Spikes(factor=4.0, spike_s=2.0, every_s=8.0)
    assert spikes.when(np.array([0.0, 8.0, 20.0])) == pytest.approx([0.0, 8.0, 20.0])
    # The calm rate is 1 / (1 + 3 x 1/4); three calm seconds come before the spike.
    assert spikes.when(np.array([3 / 1.75])) == pytest.approx([3.0])
    assert spikes.when(np.array([8 + (3 + 4 * 1) / 1.75])) == pytest.approx([12.0])
    assert [spikes.periods(t) for t in (0.5, 8.0, 8.1)] == [8.0, 8.0, 16.0]


@pytest.mark.parametrize("wrong", [(0.5, 1.0, 10.0), (10.0, 10.0, 10.0), (10.0, 0.0, 1.0)])
def test_impossible_spikes_are_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="spikes"):
        Spikes(*wrong)


def test_bursts_are_seeded_and_bounded() -> None:
    one = burst_arrivals(50.0, 10.0, seed=1)
    assert np.array_equal(one, burst_arrivals(50.0, 10.0, seed=1))
    assert not np.array_equal(one, burst_arrivals(50.0, 10.0, seed=2))
    assert burst_arrivals(1e6, 100.0, seed=1, most=1000).size == 1000
    assert burst_arrivals(1e-6, 0.001, seed=0).size == 1
    with pytest.raises(ValueError, match="shape"):
        burst_arrivals(1.0, 1.0, seed=0, shape=0.0)
    with pytest.raises(ValueError, match="positive"):
        burst_arrivals(0.0, 1.0, seed=0)


def test_a_trace_starts_at_0_and_runs_at_its_speed() -> None:
    assert trace_arrivals(np.array([100.0, 101.0, 105.0]), 2.0) == pytest.approx([0.0, 0.5, 2.5])
    with pytest.raises(ValueError, match="speed"):
        trace_arrivals(np.zeros(1), 0.0)
