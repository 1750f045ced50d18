"""Demand to capacity: the rates of the year, the work in a request, the units that carry it.

The simple form: a target unit serves at most a stated share of its throughput at the SLO. Formulas
and what they leave out: docs/mapper.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.economics import MONTHS_PER_YEAR, SECONDS_PER_YEAR
from harness.schema.workload import (
    AudioInputs,
    Demand,
    Distribution,
    Durations,
    PromptInputs,
    Workload,
)

ROUNDING = 1e-9
"""Relative excess over a whole number of units that is arithmetic, not demand."""


@dataclass(frozen=True, slots=True)
class Load:
    """A demand as rates in requests/s.

    `mean` and `peak` (the busiest hour) are of the first year, `horizon_peak` of the busiest year
    up to the horizon; `requests` are those of the first year.
    """

    requests: float
    mean: float
    peak: float
    horizon_peak: float


@dataclass(frozen=True, slots=True)
class Work:
    """What a workload's throughput and cost count.

    `metric` names the throughput of a record, in `throughput_unit`; a request holds `per_request`
    of it; money is per `cost_unit`, which is `unit_size` of it.
    """

    metric: str
    throughput_unit: str
    per_request: float
    cost_unit: str
    unit_size: float
    audio_s: float | None = None


def load_of(demand: Demand, horizon_years: float) -> Load:
    """Return the rates of `demand`, whose volume grows as V (1 + g)^t from the first day on.

    The first year's requests are the integral over it, 12 V g / ln(1 + g). Its busiest hour is at
    the end of the year when the volume grows, at its start when it shrinks.
    """
    growth = demand.growth_per_year
    mean_growth = growth / math.log1p(growth) if growth else 1.0
    yearly = MONTHS_PER_YEAR * demand.requests_per_month
    start = yearly / SECONDS_PER_YEAR * demand.peak_factor
    return Load(
        requests=yearly * mean_growth,
        mean=yearly * mean_growth / SECONDS_PER_YEAR,
        peak=start * max(1.0, 1 + growth),
        horizon_peak=start * max(1.0, (1 + growth) ** horizon_years),
    )


def work_of(workload: Workload) -> Work:
    """Return what `workload` is counted in: output tokens for text, else requests.

    Tokens per request are the mean that the workload declares, the same for every target, so that
    the sample which one of them happened to serve cannot change its price.
    """
    inputs = workload.inputs
    if isinstance(inputs, PromptInputs):
        return Work(
            metric="throughput_output_tokens_per_s",
            throughput_unit="tokens/s",
            per_request=mean_length(inputs.output_tokens),
            cost_unit="million output tokens",
            unit_size=1e6,
        )
    return Work(
        metric="throughput_requests_per_s",
        throughput_unit="requests/s",
        per_request=1.0,
        cost_unit="1,000 requests",
        unit_size=1e3,
        audio_s=_mean_duration_s(inputs) if isinstance(inputs, AudioInputs) else None,
    )


def _mean_duration_s(inputs: AudioInputs) -> float:
    drawn = inputs.duration_s
    return mean_length(drawn) if isinstance(drawn, Durations) else drawn


def mean_length(lengths: Distribution | Durations) -> float:
    """Return the mean of `lengths` in their unit; the lognormal's after its cut, before rounding.

    The empirical's is the one declared, which a cell holds against the file.
    """
    if lengths.kind == "empirical":
        assert lengths.mean is not None
        return lengths.mean
    if isinstance(lengths, Distribution) and lengths.kind == "fixed":
        assert lengths.value is not None
        return float(lengths.value)
    assert lengths.minimum is not None
    assert lengths.maximum is not None
    low, high = float(lengths.minimum), float(lengths.maximum)
    if lengths.kind == "uniform":
        return (low + high) / 2
    assert lengths.mean is not None
    assert lengths.sigma is not None
    mean, sigma = lengths.mean, lengths.sigma
    centre = math.log(mean) - sigma**2 / 2
    z_low, z_high = (math.log(low) - centre) / sigma, (math.log(high) - centre) / sigma
    inside = mean * (_normal(z_high - sigma) - _normal(z_low - sigma))
    return low * _normal(z_low) + inside + high * _normal(-z_high)


def _normal(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


def replicas_for(peak: float, throughput: float, utilisation_max: float) -> int:
    """Return max(1, ceil(peak / (throughput u))), the units that carry `peak`, in the same unit."""
    return max(1, math.ceil(peak / (throughput * utilisation_max) * (1 - ROUNDING)))
