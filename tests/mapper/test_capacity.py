"""Demand to units: rates against integrals, token means against draws, and whole units."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.mapper.capacity import (
    load_of,
    mean_length,
    replicas_for,
    work_of,
)
from harness.models.inputs import draw_lengths
from harness.schema.demand import Demand
from harness.schema.lengths import Distribution
from tests.factories import make_fraud_workload, make_workload

MONTH_S = 730 * 3600


def test_a_steady_demand_is_its_volume_over_the_month():
    load = load_of(Demand(requests_per_month=MONTH_S * 5.0, peak_factor=3.0), 3.0)

    assert load.mean == pytest.approx(5.0)
    assert load.peak == pytest.approx(15.0)
    assert load.horizon_peak == pytest.approx(15.0)
    assert load.requests == pytest.approx(12 * MONTH_S * 5.0)


@pytest.mark.parametrize("growth", [-0.5, -1e-6, 1e-9, 0.3, 2.0])
def test_the_first_year_is_the_integral_over_its_growth(growth):
    load = load_of(Demand(requests_per_month=1e6, growth_per_year=growth), 1.0)

    steps = (np.arange(100_000) + 0.5) / 100_000
    assert load.requests == pytest.approx(12e6 * float(np.mean((1 + growth) ** steps)), rel=1e-6)


def test_the_peak_is_at_the_end_of_growth_and_at_the_start_of_decline():
    steady = load_of(Demand(requests_per_month=1e6, peak_factor=2.0), 3.0)
    grows = load_of(Demand(requests_per_month=1e6, peak_factor=2.0, growth_per_year=0.5), 3.0)
    shrinks = load_of(Demand(requests_per_month=1e6, peak_factor=2.0, growth_per_year=-0.5), 3.0)

    assert grows.peak == pytest.approx(1.5 * steady.peak)
    assert grows.horizon_peak == pytest.approx(1.5**3 * steady.peak)
    assert shrinks.peak == shrinks.horizon_peak == pytest.approx(steady.peak)


@given(growth=st.floats(-0.9, 10), peak_factor=st.floats(1, 100), horizon=st.floats(1, 10))
def test_the_mean_is_never_above_the_peak(growth, peak_factor, horizon):
    demand = Demand(requests_per_month=1e6, growth_per_year=growth, peak_factor=peak_factor)
    load = load_of(demand, horizon)

    assert load.mean <= load.peak * (1 + 1e-12)
    assert load.peak <= load.horizon_peak * (1 + 1e-12)


@pytest.mark.parametrize(
    ("peak", "throughput", "utilisation_max", "replicas"),
    [
        (0.0, 10.0, 0.7, 1),
        (7.0, 10.0, 0.7, 1),
        (7.001, 10.0, 0.7, 2),
        (0.7 * 10 * 3, 10.0, 0.7, 3),  # 21.000000000000004 / 7 must not become 4
        (50.0, 1.0, 1.0, 50),
        (50.0, 1.0, 1 / 1.2, 60),
    ],
)
def test_units_are_whole_and_at_least_one(peak, throughput, utilisation_max, replicas):
    assert replicas_for(peak, throughput, utilisation_max) == replicas


@given(peak=st.floats(0, 1e6), throughput=st.floats(1e-2, 1e6), utilisation_max=st.floats(0.05, 1))
def test_the_units_carry_the_peak_and_one_less_would_not(peak, throughput, utilisation_max):
    count = replicas_for(peak, throughput, utilisation_max)
    usable = throughput * utilisation_max

    assert count * usable >= peak * (1 - 2e-9)
    assert count == 1 or (count - 1) * usable < peak


@pytest.mark.parametrize(
    "lengths",
    [
        Distribution(kind="fixed", value=32),
        Distribution(kind="uniform", minimum=3, maximum=20),
        Distribution(kind="lognormal", mean=128, sigma=0.5, minimum=8, maximum=1024),
        Distribution(kind="lognormal", mean=128, sigma=1.0, minimum=64, maximum=160),
    ],
)
def test_mean_length_is_the_mean_of_what_is_drawn(lengths):
    drawn = draw_lengths(lengths, 200_000, np.random.default_rng(1))

    error = 5 * float(drawn.std()) / math.sqrt(drawn.size)
    assert mean_length(lengths) == pytest.approx(float(drawn.mean()), abs=error + 0.02)


def test_text_is_counted_in_output_tokens_and_the_rest_in_requests():
    text, fraud = work_of(make_workload()), work_of(make_fraud_workload())

    assert (text.per_request, text.unit_size, text.cost_unit) == (8, 1e6, "million output tokens")
    assert (fraud.per_request, fraud.unit_size, fraud.cost_unit) == (1, 1e3, "1,000 requests")
