"""A target: what a workload runs on, ready to be priced. Chip x count + runtime + site + price."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from harness.schema.base import (
    Document,
    Fact,
    Name,
    NonNegative,
    Positive,
    Share,
    Spec,
    Text,
    Tier,
    absent,
)
from harness.schema.server import ServerAddress, refuse_keys

Scalar = bool | int | float | str


MOST_OF_A_CHIP = {
    "memory_gb": 20_000,
    "bandwidth_gb_per_s": 100_000_000,
    "bf16_dense_tflops": 1_000_000,
    "fp32_tflops": 1_000_000,
    "int8_dense_tops": 1_000_000,
    "tdp_w": 50_000,
    "host_power_w": 500_000,
}
"""Several times the most of any chip (a whole wafer has 23 kW): beyond it the unit is mistaken."""


DETECTED = "detected"
"""What stands for the vendor of the CPU that a target finds where it runs: its name has it."""


class Hardware(Spec):
    """The chip and what is known of it. Every number carries its source and date.

    With `detect: true` the facts are read off this machine when the target runs, and kept in the
    record; facts written here win over detected ones. The vendor `detected` is that of the CPU that
    is found. Peaks are dense, never with sparsity.

    `tdp_w` is of one chip. `host_power_w` is what the rest of the machine draws while it serves, in
    one sale unit; a chip's own meter leaves it out. `embodied_kgco2e` is what making one sale unit
    emitted, `rack_units` (U) what it takes in a rack.
    """

    chip: Text
    vendor: Text
    kind: Literal["cpu", "gpu", "npu", "asic", "fpga"]
    count: Annotated[int, Field(gt=0)] = 1
    detect: bool = False
    memory_gb: Fact | None = None
    bandwidth_gb_per_s: Fact | None = None
    bf16_dense_tflops: Fact | None = None
    fp32_tflops: Fact | None = None
    int8_dense_tops: Fact | None = None
    tdp_w: Fact | None = None
    host_power_w: Fact | None = None
    embodied_kgco2e: Fact | None = None
    # Left out where it is not stated: the identity of targets without it stays what it was.
    rack_units: Positive | None = Field(default=None, exclude_if=absent)

    @field_validator(*MOST_OF_A_CHIP)
    @classmethod
    def _is_in_its_unit(cls, fact: Fact | None, info: ValidationInfo) -> Fact | None:
        most = MOST_OF_A_CHIP[info.field_name or ""]
        if fact is not None and fact.value > most:
            raise ValueError(
                f"{fact.value:,.6g} is more than any hardware has ({most:,}): the unit is in the "
                "name"
            )
        return fact


class Runtime(Spec):
    """The software: an adapter by name, its precision, the device it drives, and its options.

    `max_delay_s` is how long the harness may hold a request back in an open loop to fill a batch,
    of as many requests as the session takes; 0 sends what is due.
    """

    adapter: Name
    precision: Literal["fp32", "bf16", "fp16", "int8", "int4"] = "fp32"
    device: Literal["cpu", "cuda", "remote", "other"] = "cpu"
    options: dict[str, Scalar] = Field(default_factory=dict)
    max_delay_s: NonNegative = 0.0

    @field_validator("options")
    @classmethod
    def _holds_no_keys(cls, value: dict[str, Scalar]) -> dict[str, Scalar]:
        refuse_keys(value)
        return value


class Site(Spec):
    """Where the target would stand: its tier, and the jurisdiction that its data falls under."""

    tier: Tier
    region: Text
    jurisdiction: Name


RENT = (
    "usd_per_hour",
    "reserved_usd_per_hour",
    "commitment_years",
    "spot_usd_per_hour",
    "egress_usd_per_gb",
)
PURCHASE = (
    "purchase_usd",
    "life_years",
    "residual_share",
    "maintenance_share_per_year",
    "colocation_usd_per_kw_month",
)
API_USAGE = (
    "usd_per_million_input_tokens",
    "usd_per_million_cached_input_tokens",
    "usd_per_million_output_tokens",
    "usd_per_request",
    "usd_per_audio_hour",
)
LOTS = ("failure_domain_units", "sold_in_units")
KINDS = {
    "rent": (*RENT, "licence_usd_per_year", *LOTS),
    "purchase": (*PURCHASE, "licence_usd_per_year", *LOTS),
    "api": (*API_USAGE, "requests_per_minute_max"),
}
"""The fields of each kind of price, beside those that all have."""


class Price(Spec):
    """What one sale unit (the chips of this target) costs, with source and date.

    Rent: `usd_per_hour` on demand; optionally the hour of a reserved unit, committed to for
    `commitment_years`, and of a spot unit, which may be withdrawn; `egress_usd_per_gb` (10^9
    bytes). The brief's `rent_mix` says how much of each. Purchase: `purchase_usd` with its life and
    residual value. `licence_usd_per_year` is of one unit, rented or bought.

    API: the cost follows what is asked for, not units. Tokens of the prompt, of the prompt's cached
    part (none stated: as the rest of it), of the answer; requests; hours of audio. What is stated
    adds up. `requests_per_minute_max` is what the provider takes at most.
    """

    kind: Literal["rent", "purchase", "api"]
    sale_unit: Text
    usd_per_hour: Positive | None = None
    reserved_usd_per_hour: Positive | None = Field(default=None, exclude_if=absent)
    commitment_years: Positive | None = Field(default=None, exclude_if=absent)
    spot_usd_per_hour: Positive | None = Field(default=None, exclude_if=absent)
    egress_usd_per_gb: NonNegative | None = Field(default=None, exclude_if=absent)
    purchase_usd: Positive | None = None
    life_years: Positive | None = None
    residual_share: Share = 0.0
    maintenance_share_per_year: Share = 0.0
    colocation_usd_per_kw_month: NonNegative = 0.0
    licence_usd_per_year: NonNegative | None = Field(default=None, exclude_if=absent)
    # Units that fail together (the cards of a node), and the fewest that are sold at once.
    failure_domain_units: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1, exclude_if=lambda value: value == 1
    )
    sold_in_units: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1, exclude_if=lambda value: value == 1
    )
    usd_per_million_input_tokens: NonNegative | None = Field(default=None, exclude_if=absent)
    usd_per_million_cached_input_tokens: NonNegative | None = Field(default=None, exclude_if=absent)
    usd_per_million_output_tokens: NonNegative | None = Field(default=None, exclude_if=absent)
    usd_per_request: NonNegative | None = Field(default=None, exclude_if=absent)
    usd_per_audio_hour: NonNegative | None = Field(default=None, exclude_if=absent)
    requests_per_minute_max: Positive | None = Field(default=None, exclude_if=absent)
    source: Text
    date: date
    # Weeks from the order to the day it serves; left out where nobody has stated it.
    lead_time_weeks: NonNegative | None = Field(default=None, exclude_if=absent)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        which = f"{'an' if self.kind == 'api' else 'a'} {self.kind} price"
        needed = {"rent": ("usd_per_hour",), "purchase": ("purchase_usd", "life_years")}
        for name in needed.get(self.kind, ()):
            if getattr(self, name) is None:
                raise ValueError(f"{which} needs '{name}'")
        for name in dict.fromkeys((*RENT, *PURCHASE, *(x for k in KINDS.values() for x in k))):
            stated = getattr(self, name) != type(self).model_fields[name].default
            if stated and name not in KINDS[self.kind]:
                raise ValueError(f"{which} has no '{name}'")
        if (self.reserved_usd_per_hour is None) != (self.commitment_years is None):
            raise ValueError("'reserved_usd_per_hour' and 'commitment_years' go together")
        if self.kind == "api":
            self._usage()
        return self

    def _usage(self) -> None:
        """Raise ValueError unless the price of an API says what is paid for."""
        given = [name for name in API_USAGE if getattr(self, name) is not None]
        if not any(getattr(self, name) for name in given):
            raise ValueError(f"an api price needs at least one above 0 of {', '.join(API_USAGE)}")
        tokens = self.usd_per_million_input_tokens, self.usd_per_million_output_tokens
        if (tokens[0] is None) != (tokens[1] is None):
            raise ValueError(
                "'usd_per_million_input_tokens' and 'usd_per_million_output_tokens' go together"
            )
        if self.usd_per_million_cached_input_tokens is not None and tokens[0] is None:
            raise ValueError(
                "'usd_per_million_cached_input_tokens' needs 'usd_per_million_input_tokens'"
            )


class Target(Document):
    """A declared target (`targets/NAME.yaml`).

    `server` says where a target with `runtime.device: remote` is reached.
    """

    name: Name
    title: Text
    description: Text
    hardware: Hardware
    runtime: Runtime
    site: Site
    price: Price | None = None
    owner: Text | None = None
    # Left out where there is none: the identity of targets without a server stays what it was.
    server: ServerAddress | None = Field(default=None, exclude_if=absent)

    @field_validator("price")
    @classmethod
    def _of_a_server(cls, value: Price | None, info: ValidationInfo) -> Price | None:
        runtime = info.data.get("runtime")
        if value is None or value.kind != "api" or not isinstance(runtime, Runtime):
            return value
        if runtime.device != "remote":
            raise ValueError("an api price goes with 'device: remote' in 'runtime'")
        return value

    @model_validator(mode="after")
    def _reached(self) -> Self:
        if self.server is not None and self.runtime.device != "remote":
            raise ValueError("'server' goes with 'device: remote' in 'runtime'")
        if self.server is None and self.runtime.adapter == "http":
            raise ValueError("the adapter 'http' needs a 'server'")
        return self
