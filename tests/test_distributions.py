import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.distributions import incomplete_beta, student_quantile, student_tail

POSITIVE = st.floats(0.1, 10.0)


@pytest.mark.parametrize(
    ("freedom", "p", "t"),  # printed tables of Student's t
    [
        (1, 0.975, 12.7062),
        (2, 0.975, 4.3027),
        (4, 0.975, 2.7764),
        (4, 0.95, 2.1318),
        (9, 0.975, 2.2622),
        (30, 0.995, 2.7500),
        (120, 0.975, 1.9799),
        (1e7, 0.975, 1.9600),
    ],
)
def test_quantiles_are_those_of_the_tables(freedom, p, t):
    assert student_quantile(p, freedom) == pytest.approx(t, abs=1e-4)
    assert student_quantile(1 - p, freedom) == pytest.approx(-t, abs=1e-4)


@given(st.floats(-30, 30))
def test_the_tail_is_that_of_cauchy_and_of_two_degrees_of_freedom(t):
    # Both have closed forms.
    assert student_tail(t, 1) == pytest.approx(0.5 - math.atan(t) / math.pi, abs=1e-12)
    assert student_tail(t, 2) == pytest.approx(0.5 - t / (2 * math.sqrt(2 + t * t)), abs=1e-12)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 0.99))
def test_the_incomplete_beta_is_a_binomial_sum(a, b, x):
    n = a + b - 1
    exact = math.fsum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))
    assert incomplete_beta(a, b, x) == pytest.approx(exact, rel=1e-10, abs=1e-14)


@settings(deadline=None)
@given(st.floats(0.1, 300), st.floats(0.1, 300), st.floats(0.001, 0.999))
def test_incomplete_beta_and_its_mirror_and_recurrence(a: float, b: float, x: float) -> None:
    value = incomplete_beta(a, b, x)
    assert 0 <= value <= 1
    assert value + incomplete_beta(b, a, 1 - x) == pytest.approx(1, abs=1e-10)
    # I_x(a, b) - I_x(a + 1, b) = x^a (1 - x)^b / (a B(a, b)).
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    step = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta) / a
    assert value - incomplete_beta(a + 1, b, x) == pytest.approx(step, abs=1e-10)


def test_incomplete_beta_of_known_arguments() -> None:
    assert incomplete_beta(0.5, 0.5, 0.5) == pytest.approx(0.5)
    assert incomplete_beta(1, 1, 0.3) == pytest.approx(0.3)
    # Student's t with 10 degrees of freedom: P(|t| > 2.228139) = 0.05.
    assert incomplete_beta(5, 0.5, 10 / (10 + 2.228139**2)) == pytest.approx(0.05, abs=1e-7)
    assert incomplete_beta(2, 3, 0) == 0
    assert incomplete_beta(2, 3, 1) == 1


@pytest.mark.parametrize("arguments", [(0, 1, 0.5), (1, 0, 0.5), (1, 1, 1.5), (math.nan, 1, 0.5)])
def test_incomplete_beta_outside_its_domain(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="needs a, b > 0"):
        incomplete_beta(*arguments)
