"""How much two sets of repeated runs differ: a ratio with its interval, and what it proves.

Pure functions of one figure per run, on logarithms. A run is the unit: requests within a run share
its machine state and cannot certify a difference between runs. Formulas: docs/compare.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.distributions import student_quantile, student_tail

EXACT_LEAST = 6
"""Pairs from which a sign-flip test can reach 5 %: its smallest p is 2 / 2^k."""
EXACT_MOST = 16
CONFIDENCE = 0.95


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Return the exact two-sided p of "the mean is 0" over all 2^k signs; None outside 6..16.

    Assumes only that each difference is as likely to be positive as negative.
    """
    k = len(differences)
    if not EXACT_LEAST <= k <= EXACT_MOST:
        return None
    values = np.asarray(differences, dtype=np.float64)
    signs = np.asarray(list(itertools.product((1.0, -1.0), repeat=k)))
    sums: NDArray[np.float64] = np.abs(signs @ values)
    observed = abs(float(values.sum()))
    # Sums that are equal on paper differ by rounding.
    return float((sums >= observed * (1 - 1e-12)).mean())


def fewer_p(base: int, base_runs: int, new: int, new_runs: int) -> float:
    """Return the p of "runs of the new side do it as often as those of the base".

    `base` of `base_runs` and `new` of `new_runs` did. One-sided: small where the new side's do it
    less often. Exact, of the hypergeometric distribution (Fisher 1935).
    """
    did, runs = base + new, base_runs + new_runs
    at_most = sum(
        math.comb(new_runs, count) * math.comb(base_runs, did - count) for count in range(new + 1)
    )
    return at_most / math.comb(runs, did)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for all being looked at (Benjamini and Hochberg 1995)."""
    m = len(p_values)
    order = sorted(range(m), key=lambda i: p_values[i], reverse=True)
    result = [0.0] * m
    least = 1.0
    for place, i in enumerate(order):
        least = min(least, p_values[i] * (m / (m - place)))
        result[i] = least
    return result


@dataclass(frozen=True, slots=True)
class Difference:
    """The ratio of B to A over repeated runs: geometric mean, 95 % interval, tests.

    `runs` is the number of pairs, or of the smaller side. Below two runs a side there is neither
    an interval nor a p. `p` tests "no difference"; `p_exact` is the sign-flip test's.
    """

    ratio: float
    low: float | None
    high: float | None
    p: float | None
    p_exact: float | None
    runs: int
    paired: bool
    mean_log: float
    error_log: float | None
    freedom: float | None

    def p_beyond(self, resolution: float) -> float | None:
        """Return the two-sided p of "the ratio is within 1/(1 + resolution)..1 + resolution".

        With a resolution of 0 it is `p`.
        """
        if self.error_log is None or self.freedom is None or self.p is None or resolution == 0:
            return self.p
        beyond = abs(self.mean_log) - math.log1p(resolution)
        if beyond <= 0:
            return 1.0
        if self.error_log == 0:
            return 0.0
        return min(1.0, 2 * student_tail(beyond / self.error_log, self.freedom))

    def p_equivalent(self, threshold: float, resolution: float = 0.0) -> float | None:
        """Return the p of "the ratio is outside 1/(1 + threshold)..1 + threshold".

        Two one-sided t tests (Schuirmann 1987); the larger of their p values. What `resolution`
        leaves open counts against it.
        """
        if self.error_log is None or self.freedom is None:
            return None
        margin = math.log1p(threshold) - math.log1p(resolution)
        if self.error_log == 0:
            return 0.0 if abs(self.mean_log) < margin else 1.0
        return student_tail((margin - abs(self.mean_log)) / self.error_log, self.freedom)


def paired(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Return the difference of runs taken in pairs: Student's t on log(b_i / a_i).

    All values must be positive, and there must be as many of `a` as of `b`, at least one.
    """
    logs = [math.log(y / x) for x, y in zip(a, b, strict=True)]
    k = len(logs)
    mean = math.fsum(logs) / k
    if k < 2:
        return _difference(mean, None, None, k, is_paired=True)
    error = math.sqrt(_variance(logs, mean) / k)
    return _difference(mean, error, k - 1, k, is_paired=True, p_exact=sign_flip_p(logs))


def unpaired(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Return the difference of runs taken apart: Welch's t on the logs of positive values."""
    logs = [[math.log(x) for x in side] for side in (a, b)]
    means = [math.fsum(side) / len(side) for side in logs]
    mean = means[1] - means[0]
    runs = min(len(a), len(b))
    if runs < 2:
        return _difference(mean, None, None, runs, is_paired=False)
    shares = [_variance(s, m) / len(s) for s, m in zip(logs, means, strict=True)]
    total = sum(shares)
    freedom = (
        total**2 / sum(s**2 / (len(side) - 1) for s, side in zip(shares, logs, strict=True))
        if total > 0
        else float(len(a) + len(b) - 2)
    )
    return _difference(mean, math.sqrt(total), freedom, runs, is_paired=False)


def _variance(values: Sequence[float], mean: float) -> float:
    """Return the sample variance; what rounding leaves of equal values is none."""
    variance = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return variance if variance > (4e-16 * max(1.0, *map(abs, values))) ** 2 else 0.0


def _difference(
    mean: float,
    error: float | None,
    freedom: float | None,
    runs: int,
    *,
    is_paired: bool,
    p_exact: float | None = None,
) -> Difference:
    low = high = p = None
    if error is not None and freedom is not None:
        half = student_quantile((1 + CONFIDENCE) / 2, freedom) * error
        low, high = _exp(mean - half), _exp(mean + half)
        if error > 0:
            p = min(1.0, 2 * student_tail(abs(mean) / error, freedom))
        else:
            p = 1.0 if abs(mean) < 1e-12 else 0.0
    return Difference(
        ratio=_exp(mean),
        low=low,
        high=high,
        p=p,
        p_exact=p_exact,
        runs=runs,
        paired=is_paired,
        mean_log=mean,
        error_log=error,
        freedom=freedom,
    )


def _exp(log_ratio: float) -> float:
    """Return e^`log_ratio`, kept finite: with two runs an interval can span every number."""
    return math.exp(min(max(log_ratio, -700.0), 700.0))
