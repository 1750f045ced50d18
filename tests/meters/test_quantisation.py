"""The uncertainty of reading a counter that ticks, against its own law."""

import numpy as np
import pytest

from harness.meters.base import quantisation

TICK_S, WINDOW_S, DRAWS = 0.1, 5.0, 20_000


def misses(begin_watts: float, end_watts: float, mean_watts: float, allowed: float) -> float:
    """Return the share of draws whose edges are off by more than is allowed."""
    begin_s, end_s = np.random.default_rng(1).uniform(0, TICK_S, (2, DRAWS))
    error = np.abs(end_s * end_watts - begin_s * begin_watts) / (mean_watts * WINDOW_S)
    return float(np.mean(error > allowed))


def test_a_constant_power_is_missed_in_five_of_a_hundred_windows() -> None:
    assert misses(300, 300, 300, quantisation(TICK_S, WINDOW_S)) == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize(("begin_watts", "end_watts"), [(700, 0), (0, 700), (700, 700), (300, 500)])
def test_a_known_peak_holds_whatever_the_power_at_the_edges(
    begin_watts: float, end_watts: float
) -> None:
    allowed = quantisation(TICK_S, WINDOW_S, 700 / 200)
    assert misses(begin_watts, end_watts, 200, allowed) <= 0.056


def test_a_window_without_length_is_wholly_uncertain() -> None:
    assert quantisation(TICK_S, 0.0) == 1.0
