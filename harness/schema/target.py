"""A target: what a workload runs on, ready to be priced. Chip x count + runtime + site + price."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.schema.base import Document, Fact, Name, NonNegative, Positive, Share, Spec, Text, Tier
from harness.schema.server import ServerAddress, refuse_keys

Scalar = bool | int | float | str


class Hardware(Spec):
    """The chip and what is known of it. Every number carries its source and date.

    With `detect: true` the facts are read off this machine when the target runs, and kept in the
    record; facts written here win over detected ones. Peaks are dense, never with sparsity.

    `tdp_w` is of one chip. `host_power_w` is what the rest of the machine draws while it serves, in
    one sale unit; a chip's own meter leaves it out. `embodied_kgco2e` is what making one sale unit
    emitted.
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


class Price(Spec):
    """What one sale unit (the chips of this target) costs, with source and date.

    Rent: `usd_per_hour`. Purchase: `purchase_usd` with its life and residual value.
    """

    kind: Literal["rent", "purchase"]
    sale_unit: Text
    usd_per_hour: Positive | None = None
    purchase_usd: Positive | None = None
    life_years: Positive | None = None
    residual_share: Share = 0.0
    maintenance_share_per_year: Share = 0.0
    colocation_usd_per_kw_month: NonNegative = 0.0
    source: Text
    date: date

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"rent": ("usd_per_hour",), "purchase": ("purchase_usd", "life_years")}[self.kind]
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"a {self.kind} price needs '{name}'")
        foreign = (
            (
                "purchase_usd",
                "life_years",
                "residual_share",
                "maintenance_share_per_year",
                "colocation_usd_per_kw_month",
            )
            if self.kind == "rent"
            else ("usd_per_hour",)
        )
        for name in foreign:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"a {self.kind} price has no '{name}'")
        return self


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
    server: ServerAddress | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _reached(self) -> Self:
        if self.server is not None and self.runtime.device != "remote":
            raise ValueError("'server' goes with 'device: remote' in 'runtime'")
        if self.server is None and self.runtime.adapter == "http":
            raise ValueError("the adapter 'http' needs a 'server'")
        return self
