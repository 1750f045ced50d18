"""What may happen to the inputs of a choice, drawn once and shared by all options it concerns.

Each input has a stream of its own, seeded by its name: an option more or less, or another order,
changes nothing for the rest. Distributions: docs/mapper.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from harness.economics import MONTHS_PER_YEAR, SECONDS_PER_YEAR
from harness.mapper.candidate import Candidate, Cases, FloatArray
from harness.mapper.capacity import planned_peak_factor
from harness.schema.base import Evidence, Interval
from harness.schema.brief import Uncertainty
from harness.schema.demand import Demand

Z_95 = 1.959964
"""Standard deviations from the median to either end of a 95 % interval."""

CLASS_SPREAD: Mapping[Evidence, float] = {
    "measured": 0.0,
    "imported": 0.08,
    "projected": 0.35,
    "claimed": 0.4,
}
"""Log standard deviation that a throughput has for how it is known, beside its interval.

0.08 is the 90th percentile of the cv between submitters with the same chip and model in MLPerf
Inference v5.1 (58 groups); the others are judgements of ours.
"""

OWN_INPUTS = (
    "throughput of ",
    "power of ",
    "volume",
    "growth",
    "peak_factor",
    "result_cache_hit",
    "batchable",
)
"""Inputs that each workload draws for itself."""

MOST_SHARE = {"result_cache_hit": 0.99, "batchable": 1.0}
"""Where a drawn share is cut: with every request from a cache there would be no demand."""

LEAST_GROWTH, MOST_GROWTH = -0.9, 10.0
SMALLEST_GROWTH = 1e-9


@dataclass(frozen=True, slots=True)
class Future:
    """The uncertain inputs of one workload: standard normal draws by the input's name.

    `fixed` holds inputs at one number of standard deviations in every draw. Names: "volume",
    "growth", "peak_factor", "result_cache_hit", "batchable", "electricity", "price of SOURCE",
    "chip CHIP", "throughput of TARGET", "power of TARGET".
    """

    workload: str
    demand: Demand
    spread: Uncertainty
    fixed: Mapping[str, float] = field(default_factory=dict)

    def normal(self, name: str) -> FloatArray:
        """Return the draws of the input `name`."""
        if name in self.fixed:
            return np.full(self.spread.draws, self.fixed[name])
        own = name.startswith(OWN_INPUTS)
        key = f"{self.workload}: {name}" if own else name
        return _stream(self.spread.seed, key, self.spread.draws)

    def cases(self, candidates: Sequence[Candidate]) -> Cases:
        """Return the drawn inputs of `candidates`; shared sources and chips share their draws."""
        demand, spread = self.demand, self.spread
        volume = demand.requests_per_month * np.exp(spread.volume * self.normal("volume"))
        volume = volume * self._rest("result_cache_hit", demand.result_cache_hit)
        growth = demand.growth_per_year + spread.growth * self.normal("growth")
        burst = np.exp(spread.peak_factor * self.normal("peak_factor"))
        mean, peak = _rates(
            volume,
            np.clip(growth, LEAST_GROWTH, MOST_GROWTH),
            1 + (demand.peak_factor - 1) * burst * self._rest("batchable", demand.batchable_share),
        )
        return Cases(
            mean=mean,
            peak=peak,
            electricity=np.exp(spread.electricity * self.normal("electricity")),
            price=np.array(
                [
                    np.exp(spread.price * self.normal(f"price of {c.price_source}"))
                    for c in candidates
                ]
            ),
            power=np.array([self._power(c) for c in candidates]),
            throughput=np.array([self._throughput(c) for c in candidates]),
        )

    def _rest(self, name: str, stated: float) -> FloatArray:
        """Return 1 less the share `stated`, as drawn about it; a share of 0 is 0 in every draw."""
        if not stated:
            return np.ones(self.spread.draws)
        spread = {
            "result_cache_hit": self.spread.result_cache_hit,
            "batchable": self.spread.batchable_share,
        }[name]
        rest: FloatArray = 1 - np.clip(stated + spread * self.normal(name), 0.0, MOST_SHARE[name])
        return rest

    def _throughput(self, candidate: Candidate) -> FloatArray:
        own = _two_sided(candidate.throughput, self.spread.throughput_open)
        drawn = self.normal(f"throughput of {candidate.target}")
        shared = math.hypot(self.spread.unit_to_unit, CLASS_SPREAD[candidate.evidence])
        common = shared * self.normal(f"chip {candidate.chip}")
        return candidate.throughput.value * np.exp(_scaled(drawn, own) + common)

    def _power(self, candidate: Candidate) -> FloatArray:
        if candidate.power is None or candidate.power.value <= 0:
            return np.ones(self.spread.draws)
        drawn = self.normal(f"power of {candidate.target}")
        return np.exp(_scaled(drawn, _two_sided(candidate.power, 0.0)))


def planned(candidates: Sequence[Candidate], demand: Demand, factors: FloatArray) -> Cases:
    """Return cases with every input as stated, and the volume times each of `factors`."""
    ones = np.ones(len(factors))
    each = np.ones((len(candidates), len(factors)))
    mean, peak = _rates(
        demand.requests_per_month * (1 - demand.result_cache_hit) * factors,
        demand.growth_per_year * ones,
        planned_peak_factor(demand) * ones,
    )
    throughput = each * np.array([[c.throughput.value] for c in candidates])
    return Cases(
        mean=mean, peak=peak, electricity=ones, price=each, power=each, throughput=throughput
    )


def _rates(
    volume: FloatArray, growth: FloatArray, peak: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the mean and the peak rate of the first year, as `capacity.load_of` has them."""
    flat = np.abs(growth) < SMALLEST_GROWTH
    safe = np.where(flat, 1.0, growth)
    start = MONTHS_PER_YEAR * volume / SECONDS_PER_YEAR
    mean = start * np.where(flat, 1.0, safe / np.log1p(safe))
    return mean, start * peak * np.maximum(1.0, 1 + growth)


def _two_sided(figure: Interval, missing: float) -> tuple[float, float]:
    """Return the log standard deviations below and above the value whose 95 % ends are the bounds.

    A bound that is not there gives `missing`; one on the wrong side of the value gives 0.
    """
    low = figure.low if figure.low is not None and figure.low > 0 else None
    below = missing if low is None else max(math.log(figure.value / low), 0.0) / Z_95
    above = (
        missing if figure.high is None else max(math.log(figure.high / figure.value), 0.0) / Z_95
    )
    return below, above


def _scaled(drawn: FloatArray, sides: tuple[float, float]) -> FloatArray:
    return drawn * np.where(drawn < 0, sides[0], sides[1])


@lru_cache(maxsize=512)
def _stream(seed: int, name: str, count: int) -> FloatArray:
    digest = hashlib.sha256(f"{seed}: {name}".encode()).digest()
    drawn = np.random.default_rng(int.from_bytes(digest[:16], "big")).standard_normal(count)
    drawn.flags.writeable = False
    return drawn
