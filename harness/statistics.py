"""Samples to metrics: percentiles with intervals, rates, and what a sample is too small to say.

Pure functions of their arguments. Formulas and sources: docs/metrics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.distributions import student_quantile
from harness.schema.record import Histogram, Metric, SloCheck
from harness.schema.workload import SloLimit

CONFIDENCE = 0.95
HISTOGRAM_GROWTH = 1.01
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)

Samples = NDArray[np.float64]


def binomial_tail(n: int, p: float) -> NDArray[np.float64]:
    """Return P(X <= k) for k = 0..n, X ~ Binomial(n, p)."""
    k = np.arange(n + 1)
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))
    log_choose = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    mass: NDArray[np.float64] = np.exp(log_choose + k * math.log(p) + (n - k) * math.log1p(-p))
    below: NDArray[np.float64] = np.minimum(mass.cumsum(), 1.0)
    return below


def interval_ranks(n: int, q: float, confidence: float = CONFIDENCE) -> tuple[int, int | None]:
    """Return the ranks (from 1) whose order statistics bound the q-quantile of `n` samples.

    Lower rank 0: no finite lower bound. Upper rank None: no finite upper bound, which is so until
    1 - q^n >= (1 + confidence) / 2. Distribution-free; assumes independent samples
    (David and Nagaraja, Order Statistics, 3rd edition, section 7.1).
    """
    tail = (1 - confidence) / 2
    below = binomial_tail(n, q)
    lower = int(np.searchsorted(below, tail, side="right"))
    above = np.nonzero(below >= 1 - tail)[0]
    upper = int(above[0]) + 1 if above.size else n + 1
    return lower, upper if upper <= n else None


def effective_sample_size(values: NDArray[np.float64]) -> float:
    """Return n / (1 + 2 sum rho_k): how many independent samples `values` are worth.

    The sum runs over Geyer's initial positive sequence (Geyer 1992, Practical Markov Chain Monte
    Carlo): pairs of autocorrelations are added while their sum stays positive. At most n.
    """
    n = values.size
    centred = values - values.mean() if n else values
    variance = float(np.dot(centred, centred)) / n if n else 0.0
    if n < 4 or variance == 0.0:
        return float(n)
    length = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, length)
    rho = np.fft.irfft(spectrum * np.conj(spectrum), length)[:n] / (n * variance)
    pairs = rho[1 : n - 1 - (n % 2) : 2] + rho[2 : n - (n % 2) : 2]
    ends = np.nonzero(pairs <= 0)[0]
    total = float(pairs[: ends[0] if ends.size else pairs.size].sum())
    return float(min(n, n / (1 + 2 * total)))


def percentile(
    values: Samples, percent: float, *, unit: str = "s", confidence: float = CONFIDENCE
) -> Metric:
    """Return the `percent`-th percentile of `values` (in the order they were taken) as a metric.

    The value is the order statistic of rank floor(n q) + 1, without interpolation (as MLPerf's
    LoadGen). The interval uses the effective sample size of the indicator "above the percentile",
    so that correlated samples widen it. Where the sample supports no finite upper bound the metric
    has no value: a percentile beyond the sample is a guess.
    """
    n = values.size
    method = "order statistics, effective sample size"
    if n == 0:
        return Metric(unit=unit, better="lower", value=None, n=0, method=method, reason="no sample")
    q = percent / 100
    ordered = np.sort(values)
    value = float(ordered[min(int(n * q), n - 1)])
    n_eff = effective_sample_size((values > value).astype(np.float64))
    size = max(1, math.floor(n_eff))
    lower, upper = interval_ranks(size, q, confidence)
    if upper is None:
        needed = minimum_samples(q, confidence)
        return Metric(
            unit=unit,
            better="lower",
            value=None,
            n=n,
            n_eff=n_eff,
            method=method,
            reason=f"not supported by n: {n_eff:.0f} independent samples, {needed} needed",
        )
    low = None if lower == 0 else float(ordered[max(math.floor(lower / size * n), 1) - 1])
    high = float(ordered[min(math.ceil(upper / size * n), n) - 1])
    return Metric(
        unit=unit,
        better="lower",
        value=value,
        low=None if low is None else min(low, value),
        high=max(high, value),
        n=n,
        n_eff=n_eff,
        method=method,
    )


def minimum_samples(q: float, confidence: float = CONFIDENCE) -> int:
    """Return the least n with a finite upper bound on the q-quantile: 1 - q^n >= (1 + c) / 2."""
    n = max(1, math.floor(math.log((1 - confidence) / 2) / math.log(q)))
    while 1 - q**n < (1 + confidence) / 2:
        n += 1
    return n


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def proportion(successes: int, n: int, *, better: str) -> Metric:
    """Return a share with its Wilson interval."""
    if n == 0:
        return Metric(
            unit="share",
            better="lower" if better == "lower" else "higher",
            value=None,
            n=0,
            method="Wilson score",
            reason="no sample",
        )
    low, high = wilson(successes, n)
    return Metric(
        unit="share",
        better="lower" if better == "lower" else "higher",
        value=successes / n,
        low=low,
        high=high,
        n=n,
        method="Wilson score",
    )


def rate(
    amounts: Samples, ended_s: Samples, duration_s: float, *, unit: str, blocks: int = 10
) -> Metric:
    """Return sum(`amounts`) / `duration_s` with an interval from the rates of equal time blocks.

    `ended_s` says when, from the start of the window, each amount was complete. The interval is
    Student's t over `blocks` block rates (fewer when there are few samples; none below 4).
    """
    n = amounts.size
    method = "t interval over time blocks"
    if n == 0 or duration_s <= 0:
        return Metric(
            unit=unit, better="higher", value=None, n=n, method=method, reason="no sample"
        )
    value = float(amounts.sum()) / duration_s
    count = min(blocks, n // 4)
    low = high = None
    if count >= 4:
        edges = np.linspace(0.0, duration_s, count + 1)
        index = np.clip(np.searchsorted(edges, ended_s, side="right") - 1, 0, count - 1)
        rates = np.bincount(index, weights=amounts, minlength=count) / (duration_s / count)
        half = float(
            student_quantile((1 + CONFIDENCE) / 2, count - 1) * rates.std(ddof=1) / math.sqrt(count)
        )
        low, high = max(0.0, value - half), value + half
    return Metric(unit=unit, better="higher", value=value, low=low, high=high, n=n, method=method)


def goodput(attainment: Metric, duration_s: float) -> Metric:
    """Return the rate of requests that met every limit: attainment x requests / duration.

    The interval is the attainment's Wilson interval at the same offered rate.
    """
    if attainment.value is None or duration_s <= 0:
        return attainment.model_copy(
            update={"unit": "requests/s", "value": None, "reason": "no sample"}
        )
    offered = attainment.n / duration_s
    return attainment.model_copy(
        update={
            "unit": "requests/s",
            "value": attainment.value * offered,
            "low": None if attainment.low is None else attainment.low * offered,
            "high": None if attainment.high is None else attainment.high * offered,
        }
    )


def histogram(values_s: Samples, growth: float = HISTOGRAM_GROWTH) -> Histogram:
    """Return the counts of `values_s` in logarithmic buckets; values of 0 or less are an error."""
    if values_s.size == 0:
        return Histogram(growth=growth, counts=())
    if float(values_s.min()) <= 0:
        raise ValueError("a latency of 0 or less has no logarithmic bucket")
    index = np.floor(np.log(values_s) / math.log(growth)).astype(np.int64)
    buckets, counts = np.unique(index, return_counts=True)
    return Histogram(
        growth=growth,
        counts=tuple((int(b), int(c)) for b, c in zip(buckets, counts, strict=True)),
    )


def check_slo(limit: SloLimit, values_s: Samples, failed: int) -> SloCheck:
    """Hold a promise against the samples; each failed request counts as a miss of every limit.

    The state compares the percentile with its upper bound: met if even that is within the limit,
    missed if the percentile itself is above, unproven between the two or when the sample supports
    no upper bound. The effective sample size is that of the indicator "above the limit", the event
    that the promise is about: with m independent requests worth, the bound is within the limit just
    when the binomial upper bound on the share of misses is within 1 - percentile / 100.
    """
    q = limit.percentile / 100
    # A failed request is slower than any limit.
    all_values = np.concatenate((values_s, np.full(failed, np.inf)))
    n = all_values.size
    if n == 0:
        return SloCheck(limit=limit, value_s=None, high_s=None, state="unproven")
    ordered = np.sort(all_values)
    value = float(ordered[min(int(n * q), n - 1)])
    n_eff = effective_sample_size((all_values > limit.limit_s).astype(np.float64))
    size = max(1, math.floor(n_eff))
    _, upper = interval_ranks(size, q)
    high = math.inf if upper is None else float(ordered[min(math.ceil(upper / size * n), n) - 1])
    high = max(high, value)
    state = "missed" if value > limit.limit_s else "met" if high <= limit.limit_s else "unproven"
    return SloCheck(
        limit=limit,
        value_s=value if math.isfinite(value) else None,
        high_s=high if math.isfinite(high) else None,
        state=state,  # type: ignore[arg-type]
    )


def worst_state(checks: Sequence[SloCheck]) -> str:
    """Return the state of all promises together: missed before unproven before met."""
    states = {check.state for check in checks}
    return next((s for s in ("missed", "unproven", "met") if s in states), "not_applicable")
