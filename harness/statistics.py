"""Samples to metrics: percentiles with intervals, rates, and what a sample is too small to say.

Pure functions of their arguments. Formulas and sources: docs/metrics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.distributions import incomplete_beta, student_quantile
from harness.schema.record import Histogram, Metric, SloCheck
from harness.schema.workload import SloLimit

CONFIDENCE = 0.95
HISTOGRAM_GROWTH = 1.01
Z975 = 1.959963984540054
"""The normal quantile of 97.5 %."""
LEAST_BEYOND = 50
"""Values above a level from which their own clusters can be seen."""
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


@lru_cache(maxsize=512)
def interval_positions(
    n_eff: float, q: float, confidence: float = CONFIDENCE
) -> tuple[float | None, float | None]:
    """Return where in a sorted sample, as shares of it, the bounds of its q-quantile lie.

    The fractional ranks r of `n_eff` independent samples (need not be whole) with
    I_q(r, n_eff + 1 - r) = (1 + confidence) / 2 and (1 - confidence) / 2, each over n_eff + 1: the
    r-th order statistic of uniform samples is Beta(r, n_eff + 1 - r) distributed (Stigler 1977;
    Hutson 1999, Calculating nonparametric confidence intervals for quantiles using fractional order
    statistics). Whole ranks would hold the quantile more often than `confidence`. None where even
    the least or the largest value is no bound.
    """
    tail = (1 - confidence) / 2

    def position(chance: float) -> float:
        low, high = 1.0, n_eff
        while high - low > 1e-6 * n_eff:
            middle = (low + high) / 2
            if incomplete_beta(middle, n_eff + 1 - middle, q) > chance:
                low = middle
            else:
                high = middle
        return (low + high) / 2 / (n_eff + 1)

    lower = position(1 - tail) if 1 - (1 - q) ** n_eff >= 1 - tail else None
    upper = position(tail) if q**n_eff <= tail else None
    return lower, upper


def effective_sample_size(values: NDArray[np.float64]) -> float:
    """Return n / (1 + 2 sum rho_k): how many independent samples `values` are worth.

    The sum runs over Geyer's initial positive sequence (Geyer 1992, Practical Markov Chain Monte
    Carlo): pairs of autocorrelations are added while their sum stays positive. At most n.
    """
    total, _ = _correlation(values, 0.0)
    return values.size / (1 + 2 * total)


def percentile_sample_size(values: Samples, ordered: Samples, q: float) -> float:
    """Return how many independent samples `values` are surely worth for their q-quantile.

    That of the indicator "above the quantile", as `sure_sample_size` has it. Fewer than
    `LEAST_BEYOND` values above the quantile cannot show that they come in clusters: then the level
    that so many lie above counts as well, and the lesser of the two sizes is returned.
    """
    n = values.size
    at = min(int(n * q), n - 1)
    return min(sure_sample_size(values > ordered[level]) for level in {at, _thick(at, n)})


def _thick(at: int, n: int) -> int:
    """Return the position, `at` or below it, with `LEAST_BEYOND` of `n` ordered values above.

    The median's where `n` is so small that it would lie below that.
    """
    return min(at, max(n - 1 - LEAST_BEYOND, n // 2))


def sure_sample_size(above: NDArray[np.bool_]) -> float:
    """Return how many independent values the indicator `above` is surely worth.

    The effective sample size, but n where the first pair of autocorrelations is within its standard
    error for independent values, sqrt(2 / n): summing noise until it turns negative would take
    every second independent sample for a correlated one. Beyond, the size m is itself uncertain,
    and is multiplied by (z / t)^2: the normal quantile over Student's. Its
    degrees of freedom are n / (2 lags + 1), from the variance of a summed autocorrelation (Wolff
    2004, Monte Carlo errors with less errors, eq. 42), and m min(s, 1 - s) with s the share above,
    the independent values on the rarer side; the inverses of the two are added.
    """
    n = above.size
    total, lags = _correlation(above.astype(np.float64), math.sqrt(2 / n))
    size = n / (1 + 2 * total)
    if not lags:
        return size
    share = float(above.mean())
    freedom = 1 / ((2 * lags + 1) / n + 1 / (size * min(share, 1 - share)))
    return size * (Z975 / student_quantile((1 + CONFIDENCE) / 2, max(freedom, 1.0))) ** 2


def _correlation(values: NDArray[np.float64], noise: float) -> tuple[float, int]:
    """Return the sum of the autocorrelations of `values`, at least 0, and over how many lags.

    Pairs (rho_1 + rho_2, rho_3 + rho_4, ...) are added while they are positive; none if the first
    does not exceed `noise`.
    """
    n = values.size
    centred = values - values.mean() if n else values
    variance = float(np.dot(centred, centred)) / n if n else 0.0
    if n < 4 or variance == 0.0:
        return 0.0, 0
    length = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, length)
    rho = np.fft.irfft(spectrum * np.conj(spectrum), length)[:n] / (n * variance)
    pairs = rho[1 : n - 1 - (n % 2) : 2] + rho[2 : n - (n % 2) : 2]
    ends = np.nonzero(pairs <= 0)[0]
    count = int(ends[0]) if ends.size else pairs.size
    if count == 0 or pairs[0] <= noise:
        return 0.0, 0
    return float(pairs[:count].sum()), 2 * count


def percentile(
    values: Samples, percent: float, *, unit: str = "s", confidence: float = CONFIDENCE
) -> Metric:
    """Return the `percent`-th percentile of `values` (in the order they were taken) as a metric.

    The value is the order statistic of rank floor(n q) + 1, without interpolation (as MLPerf's
    LoadGen). The interval's bounds are interpolated between the order statistics about
    `interval_positions` of the effective sample size, so that correlated samples widen it. Where
    the sample supports no finite upper bound the metric has no value: a percentile beyond the
    sample is a guess.
    """
    n = values.size
    method = "order statistics, effective sample size"
    if n == 0:
        return Metric(unit=unit, better="lower", value=None, n=0, method=method, reason="no sample")
    q = percent / 100
    ordered = np.sort(values)
    value = float(ordered[min(int(n * q), n - 1)])
    n_eff = percentile_sample_size(values, ordered, q)
    needed = minimum_samples(q, confidence)
    if math.floor(n_eff) < needed:
        return Metric(
            unit=unit,
            better="lower",
            value=None,
            n=n,
            n_eff=n_eff,
            method=method,
            reason=f"not supported by n: {math.floor(n_eff)} independent samples, {needed} needed",
        )
    lower, upper = interval_positions(n_eff, q, confidence)
    # A run that met few slow stretches looks faster and less correlated than it is: what lies above
    # the upper bound tells better, where enough does.
    bound = min(_at(ordered, upper or 1.0), float(ordered[max(n - 1 - LEAST_BEYOND, 0)]))
    cautious = min(n_eff, sure_sample_size(values > max(bound, value)))
    _, upper = interval_positions(max(cautious, float(needed)), q, confidence)
    return Metric(
        unit=unit,
        better="lower",
        value=value,
        low=None if lower is None else min(_at(ordered, lower), value),
        high=max(_at(ordered, upper or 1.0), value),
        n=n,
        n_eff=n_eff,
        method=method,
    )


def _at(ordered: Samples, position: float) -> float:
    """Return the value at `position` x (n + 1), between the two nearest order statistics."""
    rank = min(max(position * (ordered.size + 1), 1.0), float(ordered.size))
    below = math.floor(rank)
    value = float(ordered[below - 1])
    if below == rank:
        return value
    return value + (rank - below) * (float(ordered[below]) - value)


def minimum_samples(q: float, confidence: float = CONFIDENCE) -> int:
    """Return the least n with a finite upper bound on the q-quantile: 1 - q^n >= (1 + c) / 2."""
    n = max(1, math.floor(math.log((1 - confidence) / 2) / math.log(q)))
    while 1 - q**n < (1 + confidence) / 2:
        n += 1
    return n


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson 1927).

    Of none it begins at exactly 0, of all it ends at exactly 1: rounding leaves a residue there.
    """
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = (share + Z975**2 / (2 * n)) / (1 + Z975**2 / n)
    half = Z975 / (1 + Z975**2 / n) * math.sqrt(share * (1 - share) / n + Z975**2 / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


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


def goodput(attainment: Metric, duration_s: float, size: int = 1) -> Metric:
    """Return the rate of requests that met every limit: attainment x requests / duration.

    The interval is the attainment's Wilson interval at the same offered rate. `size` is how many
    requests each of what `attainment` counts holds.
    """
    if attainment.value is None or duration_s <= 0:
        return attainment.model_copy(
            update={"unit": "requests/s", "value": None, "reason": "no sample"}
        )
    offered = attainment.n * size / duration_s
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


def check_slo(
    limit: SloLimit, values_s: Samples, failed: int, confidence: float = CONFIDENCE
) -> SloCheck:
    """Hold a promise against the samples; each failed request counts as a miss of every limit.

    The state compares the percentile with its upper bound: met if even that is within the limit,
    missed if the percentile itself is above, unproven between the two or when the sample supports
    no upper bound. The effective sample size is that of the indicator "above the limit", the event
    that the promise is about: with m independent requests worth, the bound is within the limit just
    when the binomial upper bound on the share of misses is within 1 - percentile / 100. Few misses,
    or none, cannot show that they come in clusters: then the level that `LEAST_BEYOND` values lie
    above counts as well, as in `percentile_sample_size`; not where all values are within half the
    limit, since a sample whose greatest is less than half the true percentile hardly comes about.
    """
    q = limit.percentile / 100
    # A failed request is slower than any limit.
    all_values = np.concatenate((values_s, np.full(failed, np.inf)))
    n = all_values.size
    if n == 0:
        return SloCheck(limit=limit, value_s=None, high_s=None, state="unproven")
    ordered = np.sort(all_values)
    value = float(ordered[min(int(n * q), n - 1)])
    within = int(np.searchsorted(ordered, limit.limit_s, side="right"))
    size = sure_sample_size(all_values > limit.limit_s)
    if n - within < LEAST_BEYOND and 2 * float(ordered[-1]) > limit.limit_s:
        size = min(size, sure_sample_size(all_values > ordered[_thick(n - 1, n)]))
    size = max(1, math.floor(size))
    _, upper = interval_ranks(size, q, confidence)
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
