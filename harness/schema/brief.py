"""A brief: the buyer's question. Which workloads, how much of them, under which constraints."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from harness.schema.base import (
    Document,
    Evidence,
    Fact,
    Name,
    NonNegative,
    Positive,
    Precision,
    Share,
    Spec,
    Text,
    Tier,
    absent,
)
from harness.schema.demand import Agent, HitShare, Profile, StatedBurst
from harness.schema.levers import Lever
from harness.schema.portfolio import Portfolio
from harness.schema.target import Price, Site, Target


class DemandOverride(Spec):
    """The buyer's own demand; what is not given stays as the workload declares it."""

    requests_per_month: Positive | None = None
    growth_per_year: Annotated[float, Field(ge=-0.9, le=10)] | None = None
    peak_factor: Annotated[float, Field(ge=1)] | None = None
    residency: tuple[Name, ...] | None = None
    tiers: tuple[Tier, ...] | None = None
    tasks_per_month: Positive | None = Field(default=None, exclude_if=absent)
    hourly_profile: Profile | None = Field(default=None, exclude_if=absent)
    batchable_share: Share | None = Field(default=None, exclude_if=absent)
    result_cache_hit: HitShare | None = Field(default=None, exclude_if=absent)
    prefix_hit: Share | None = Field(default=None, exclude_if=absent)
    agent: Agent | None = Field(default=None, exclude_if=absent)
    burst: StatedBurst | None = Field(default=None, exclude_if=absent)

    @model_validator(mode="after")
    def _says_it_once(self) -> Self:
        for first, second in (
            ("hourly_profile", "peak_factor"),
            ("tasks_per_month", "requests_per_month"),
        ):
            if getattr(self, first) is not None and getattr(self, second) is not None:
                raise ValueError(f"'{first}' gives '{second}': leave one of the two out")
        return self


class BriefWorkload(Spec):
    """One workload of the question."""

    workload: Name
    demand: DemandOverride = DemandOverride()


class Constraints(Spec):
    """What every choice must respect, beyond the workloads' own demand.

    An empty `tiers`, `residency`, `precisions` or `vendors_allowed` adds nothing; a limit of null
    is none. `spare_units` stand by in every fleet for failures: 1 is N + 1. `air_gap` keeps out
    what stands in a cloud or is bought as an API. `need_by` is the day it must serve.
    `power_kw_max` and `rack_units_max` are what the buyer's own site has for one workload's fleet,
    `budget_usd_per_year` what one workload may cost in its first year. Promises of `edge_latency_s`
    or less are kept only near where requests arise, so not in a cloud. A model with what it keeps
    of requests may fill `memory_share_max` of the memory that a target states.
    """

    tiers: tuple[Tier, ...] = ()
    residency: tuple[Name, ...] = ()
    max_price_age_days: Annotated[int, Field(gt=0)] = 365
    minimum_evidence: Evidence = "measured"
    spare_units: Annotated[int, Field(ge=0, le=100)] = 0
    precisions: tuple[Precision, ...] = ()
    air_gap: bool = False
    need_by: date | None = None
    power_kw_max: Positive | None = None
    rack_units_max: Positive | None = None
    vendors_allowed: tuple[Text, ...] = ()
    vendors_excluded: tuple[Text, ...] = ()
    budget_usd_per_year: Positive | None = None
    edge_latency_s: Positive | None = None
    memory_share_max: Annotated[float, Field(gt=0, le=1)] = 0.9


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


class RentMix(Spec):
    """The shares of rented hours that are paid on demand, reserved and spot; they sum to 1."""

    on_demand: Share = 0.0
    reserved: Share = 0.0
    spot: Share = 0.0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.on_demand + self.reserved + self.spot
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of 'rent_mix' sum to {total:.10g}, not to 1")
        return self


class Economics(Spec):
    """The money side: all inputs, none hidden.

    `utilisation_max` is the share of the measured throughput at the SLO that planning for the peak
    hour may use. `electricity_usd_per_kwh` and `pue` (facility power / IT power) price the
    energy of purchased targets. Without `carbon_intensity` no emissions are stated.

    Without a `rent_mix` all rent is on demand. A stack (runtime) that is not among `known_stacks`
    takes `integration_weeks_per_stack` weeks of work once. An edge target stands at each of
    `edge_sites`. The demand starts from nothing over `ramp_months` (0: it is there from the start)
    in the bill and the total cost; the yearly cost is that of the full demand.
    """

    horizon_years: Positive = 3.0
    discount_rate: Annotated[float, Field(ge=0, le=1)] = 0.08
    utilisation_max: Annotated[float, Field(gt=0, le=1)] = 0.7
    electricity_usd_per_kwh: Fact
    pue: Fact
    carbon_intensity: CarbonIntensity | None = None
    staff_usd_per_year: NonNegative = 0.0
    # Left out where they are not stated: the identity of briefs without them stays what it was.
    rent_mix: RentMix | None = Field(default=None, exclude_if=absent)
    egress_bytes_per_request: NonNegative | None = Field(default=None, exclude_if=absent)
    integration_weeks_per_stack: NonNegative = Field(
        default=0.0, exclude_if=lambda value: not value
    )
    integration_usd_per_week: NonNegative = Field(default=0.0, exclude_if=lambda value: not value)
    known_stacks: tuple[Name, ...] = Field(default=(), exclude_if=lambda value: not value)
    edge_sites: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=1, exclude_if=lambda value: value == 1
    )
    ramp_months: Annotated[int, Field(ge=0, le=120)] = Field(
        default=0, exclude_if=lambda value: not value
    )

    @model_validator(mode="after")
    def _integration(self) -> Self:
        if self.integration_weeks_per_stack and not self.integration_usd_per_week:
            raise ValueError("'integration_weeks_per_stack' needs 'integration_usd_per_week'")
        return self


class Uncertainty(Spec):
    """How far the inputs may be from what is stated, as relative standard deviations.

    They are of the logarithm, but `growth`, `batchable_share` and `result_cache_hit` are of the
    figure itself; a share that is 0 stays 0. `throughput_open`
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
    batchable_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, exclude_if=lambda v: v == 0.05
    )
    result_cache_hit: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, exclude_if=lambda v: v == 0.05
    )


class Offer(Spec):
    """A target as this buyer can have it: at another site, at another price.

    What was measured stands, since the hardware and the runtime are the same.
    """

    target: Name
    site: Site
    price: Price


class Brief(Document):
    """A declared question (`reports/briefs/NAME.yaml`). `as_of` is the day it is asked for.

    Nothing in a decision depends on the day it is computed: ages of prices count from `as_of`.
    `offers` say where and at what price this buyer can have targets, in place of what they declare.
    With a `portfolio` one fleet for all workloads is planned as well.
    """

    name: Name
    title: Text
    description: Text
    as_of: date
    workloads: Annotated[tuple[BriefWorkload, ...], Field(min_length=1)]
    targets: tuple[Name, ...] = ()
    offers: tuple[Offer, ...] = Field(default=(), exclude_if=lambda value: not value)
    constraints: Constraints = Constraints()
    economics: Economics
    uncertainty: Uncertainty = Uncertainty()
    levers: tuple[Lever, ...] = Field(default=(), exclude_if=lambda v: not v)
    portfolio: Portfolio | None = Field(default=None, exclude_if=absent)

    @field_validator("levers")
    @classmethod
    def _of_its_workloads(
        cls, levers: tuple[Lever, ...], info: ValidationInfo
    ) -> tuple[Lever, ...]:
        """Raise ValueError for a lever on a workload that the brief does not ask about."""
        asked = [row.workload for row in info.data.get("workloads", ())]
        for lever in levers:
            if asked and lever.workload not in asked:
                raise ValueError(
                    f"a lever is on the workload '{lever.workload}', which the brief does not ask "
                    f"about; it asks about {', '.join(asked)}"
                )
        return levers

    @model_validator(mode="after")
    def _offered_once(self) -> Self:
        names = [offer.target for offer in self.offers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"'offers' names the target {', '.join(twice)} twice")
        return self

    def offered(self, target: Target) -> Target:
        """Return `target` at the site and the price at which it is offered to this buyer."""
        for offer in self.offers:
            if offer.target == target.name:
                return target.model_copy(update={"site": offer.site, "price": offer.price})
        return target
