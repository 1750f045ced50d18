"""Demand to capacity: the rates of the year, the work in a request, the units that carry it.

The simple form: a target unit serves at most a stated share of its throughput at the SLO. Formulas
and what they leave out: docs/mapper.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.economics import MONTHS_PER_YEAR, SECONDS_PER_YEAR
from harness.schema.demand import Demand
from harness.schema.inputs import AudioInputs, Inputs, PromptInputs
from harness.schema.lengths import Distribution, Durations
from harness.schema.own import AudioFileInputs, PromptFileInputs
from harness.schema.target import Price
from harness.schema.tasks import Turns
from harness.schema.workload import Workload

ROUNDING = 1e-9
"""Relative excess over a whole number of units that is arithmetic, not demand."""


@dataclass(frozen=True, slots=True)
class Load:
    """A demand as rates in requests/s, of the requests that reach the fleet.

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
    the end of the year when the volume grows, at its start when it shrinks. What a result cache
    answers is not in them, and what may wait runs at the mean rate: see docs/demand.md.
    """
    growth = demand.growth_per_year
    mean_growth = growth / math.log1p(growth) if growth else 1.0
    yearly = MONTHS_PER_YEAR * demand.requests_per_month * (1 - demand.result_cache_hit)
    start = yearly / SECONDS_PER_YEAR * planned_peak_factor(demand)
    return Load(
        requests=yearly * mean_growth,
        mean=yearly * mean_growth / SECONDS_PER_YEAR,
        peak=start * max(1.0, 1 + growth),
        horizon_peak=start * max(1.0, (1 + growth) ** horizon_years),
    )


def planned_peak_factor(demand: Demand) -> float:
    """Return ((1 - b) peak + b mean) / mean, the peak factor that units are sized for."""
    if not demand.batchable_share:
        return demand.peak_factor
    return 1 + (demand.peak_factor - 1) * (1 - demand.batchable_share)


def prompt_tokens(workload: Workload, demand: Demand) -> tuple[float, float] | None:
    """Return the mean prompt tokens of a request that no prefix cache holds, and those it holds.

    What is paid for input tokens follows from them; the work of a request does not. None for what
    has no prompt.
    """
    inputs = workload.inputs
    if isinstance(inputs, PromptFileInputs):
        if inputs.prompt_tokens_mean is None:
            return None
        mean = inputs.prompt_tokens_mean
        return mean * (1 - demand.prefix_hit), mean * demand.prefix_hit
    if not isinstance(inputs, PromptInputs):
        return None
    tokens = mean_length(inputs.prompt_tokens)
    if inputs.turns is not None:
        tokens = _with_history(inputs, inputs.turns)
    if inputs.shared_prefix is not None:
        tokens += inputs.shared_prefix.tokens * inputs.shared_prefix.share
    return tokens * (1 - demand.prefix_hit), tokens * demand.prefix_hit


def _with_history(inputs: PromptInputs, turns: Turns) -> float:
    """Return the mean prompt tokens of a turn: each holds all prompts and answers before it.

    A conversation of n turns has n (n + 1) / 2 prompts and n (n - 1) / 2 answers in its prompts.
    """
    says, answers = mean_length(inputs.prompt_tokens), mean_length(inputs.output_tokens)
    shares = _shares(turns.count)
    mean = sum(n * share for n, share in shares)
    prompts = sum(share * n * (n + 1) / 2 for n, share in shares)
    return (says * prompts + answers * (prompts - mean)) / mean


def _shares(counts: Distribution) -> list[tuple[int, float]]:
    """Return each whole number that can be drawn with its probability."""
    if counts.kind == "fixed":
        return [(counts.upper, 1.0)]
    low, high = counts.minimum or 1, counts.upper
    numbers = range(low, high + 1)
    if counts.kind == "uniform":
        return [(n, 1 / len(numbers)) for n in numbers]
    assert counts.mean is not None
    assert counts.sigma is not None
    centre = math.log(counts.mean) - counts.sigma**2 / 2
    # Drawn, rounded, then cut: all beyond an end is at it.
    below = [_normal((math.log(n + 0.5) - centre) / counts.sigma) for n in range(low, high)]
    edges = [0.0, *below, 1.0]
    return [(n, edges[i + 1] - edges[i]) for i, n in enumerate(numbers)]


def work_of(workload: Workload) -> Work:
    """Return what `workload` is counted in: output tokens for text, else requests.

    Tokens per request are the mean that the workload declares, the same for every target, so that
    the sample which one of them happened to serve cannot change its price.
    """
    inputs = workload.inputs
    if isinstance(inputs, PromptInputs | PromptFileInputs):
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
        audio_s=_mean_duration_s(inputs),
    )


def _mean_duration_s(inputs: Inputs) -> float | None:
    if isinstance(inputs, AudioFileInputs):
        return inputs.duration_s_mean
    if not isinstance(inputs, AudioInputs):
        return None
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


def units_bought(needed: int, spare_units: int, price: Price) -> int:
    """Return the units to buy: those needed and the spare ones, in the lots that are sold.

    `spare_units` failures must leave enough. A failure takes all units that fail together, as those
    of a node: needed + spare x failure domain, rounded up to a multiple of `sold_in_units`.
    """
    kept = needed + spare_units * price.failure_domain_units
    return -(-kept // price.sold_in_units) * price.sold_in_units
