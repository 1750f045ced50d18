"""A brief: the buyer's question. Which workloads, how much of them, under which constraints."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from harness.schema.base import (
    Document,
    Evidence,
    Fact,
    Name,
    NonNegative,
    Positive,
    Spec,
    Text,
    Tier,
)


class DemandOverride(Spec):
    """The buyer's own demand; what is not given stays as the workload declares it."""

    requests_per_month: Positive | None = None
    growth_per_year: Annotated[float, Field(ge=-0.9, le=10)] | None = None
    peak_factor: Annotated[float, Field(ge=1)] | None = None
    residency: tuple[Name, ...] | None = None
    tiers: tuple[Tier, ...] | None = None


class BriefWorkload(Spec):
    """One workload of the question."""

    workload: Name
    demand: DemandOverride = DemandOverride()


class Constraints(Spec):
    """What every choice must respect, beyond the workloads' own demand.

    An empty `tiers` or `residency` adds nothing to what the workloads say. `spare_units` stand by
    in every fleet for failures: 1 is N + 1.
    """

    tiers: tuple[Tier, ...] = ()
    residency: tuple[Name, ...] = ()
    max_price_age_days: Annotated[int, Field(gt=0)] = 365
    minimum_evidence: Evidence = "measured"
    spare_units: Annotated[int, Field(ge=0, le=100)] = 0


class CarbonIntensity(Spec):
    """What a kWh of the site's electricity emits, in kgCO2e, with where that is known from.

    `method` is the GHG Protocol's: the grid's mix at the place, or the contract's. `average` counts
    all generation, `marginal` what one kWh more would start; the two do not stand for each other.
    `year` is the year of the data. The upper limit catches grams given for kilograms.
    """

    kg_per_kwh: Annotated[float, Field(ge=0, le=3)]
    method: Literal["location", "market"]
    kind: Literal["average", "marginal"]
    year: Annotated[int, Field(ge=1990, le=2100)]
    source: Text
    date: date


class Economics(Spec):
    """The money side: all inputs, none hidden.

    `utilisation_max` is the share of the measured throughput at the SLO that planning for the peak
    hour may use. `electricity_usd_per_kwh` and `pue` (facility power / IT power) price the
    energy of purchased targets. Without `carbon_intensity` no emissions are stated.
    """

    horizon_years: Positive = 3.0
    discount_rate: Annotated[float, Field(ge=0, le=1)] = 0.08
    utilisation_max: Annotated[float, Field(gt=0, le=1)] = 0.7
    electricity_usd_per_kwh: Fact
    pue: Fact
    carbon_intensity: CarbonIntensity | None = None
    staff_usd_per_year: NonNegative = 0.0


class Uncertainty(Spec):
    """How far the inputs may be from what is stated, as relative standard deviations.

    They are of the logarithm, but `growth`, which is of the yearly growth itself. `throughput_open`
    stands for a side on which a measured throughput has no bound. All are judgements of the buyer's
    but for what was measured; 0 takes an input as exact. See docs/mapper.md.
    """

    draws: Annotated[int, Field(ge=100, le=20_000)] = 2000
    seed: Annotated[int, Field(ge=0)] = 0
    price: Annotated[float, Field(ge=0, le=1)] = 0.1
    volume: Annotated[float, Field(ge=0, le=2)] = 0.2
    peak_factor: Annotated[float, Field(ge=0, le=1)] = 0.1
    growth: Annotated[float, Field(ge=0, le=1)] = 0.1
    electricity: Annotated[float, Field(ge=0, le=1)] = 0.15
    throughput_open: Annotated[float, Field(ge=0, le=2)] = 0.35
    unit_to_unit: Annotated[float, Field(ge=0, le=1)] = 0.03


class Brief(Document):
    """A declared question (`reports/briefs/NAME.yaml`). `as_of` is the day it is asked for.

    Nothing in a decision depends on the day it is computed: ages of prices count from `as_of`.
    """

    name: Name
    title: Text
    description: Text
    as_of: date
    workloads: Annotated[tuple[BriefWorkload, ...], Field(min_length=1)]
    targets: tuple[Name, ...] = ()
    constraints: Constraints = Constraints()
    economics: Economics
    uncertainty: Uncertainty = Uncertainty()
