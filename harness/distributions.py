"""The distribution functions that the statistics need, without a dependency on scipy."""

from __future__ import annotations

import math


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b) for a, b > 0 and 0 <= x <= 1.

    Continued fraction (NIST Digital Library of Mathematical Functions, 8.17.22) by Lentz's method.
    The relative error is about 1e-13 for small arguments and 1e-8 where a + b is a million.
    """
    if not (0 < a < math.inf and 0 < b < math.inf and 0 <= x <= 1):
        raise ValueError(f"I_x(a, b) needs a, b > 0 and 0 <= x <= 1, not {x=}, {a=}, {b=}")
    if x in (0.0, 1.0):
        return x
    # Beyond the mean the fraction converges slowly; its mirror image converges fast there.
    if x > (a + 1) / (a + b + 2):
        return 1.0 - incomplete_beta(b, a, 1 - x)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta) / a
    return front / _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """Return 1 + d1/(1 + d2/(1 + ...)), whose inverse scales I_x(a, b)."""
    value, numerator, denominator = 1.0, 1.0, 0.0
    m = 0
    while True:
        for d in (
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
            (m + 1) * (b - m - 1) * x / ((a + 2 * m + 1) * (a + 2 * m + 2)),
        ):
            numerator = 1.0 + d / numerator or 1e-300
            denominator = 1.0 / (1.0 + d * denominator or 1e-300)
            value *= numerator * denominator
        m += 1
        if abs(numerator * denominator - 1.0) < 1e-15:
            return value


def student_tail(t: float, freedom: float) -> float:
    """Return P(T > t) for Student's t with `freedom` degrees of freedom (need not be whole)."""
    total = freedom + t * t
    # Each side is exact where the other has lost its digits.
    if t * t < freedom:
        half = 0.5 - 0.5 * incomplete_beta(0.5, freedom / 2, t * t / total)
    else:
        half = 0.5 * incomplete_beta(freedom / 2, 0.5, freedom / total)
    return half if t >= 0 else 1 - half


def student_quantile(p: float, freedom: float) -> float:
    """Return the t with P(T <= t) = `p`, 0 < p < 1."""
    if p < 0.5:
        return -student_quantile(1 - p, freedom)
    low, high = 0.0, 1.0
    while student_tail(high, freedom) > 1 - p:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if student_tail(middle, freedom) > 1 - p else (low, middle)
    return high
