"""The shared fleet: what a brief may ask of it, and the plan that answers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.schema.base import Name, NonNegative, Positive, Share, Spec, Text

Count = Annotated[int, Field(ge=1, le=1_000_000)]

LimitName = Literal[
    "budget",
    "yearly_budget",
    "power",
    "stacks",
    "vendor_share",
    "second_source",
    "targets",
    "stock",
]
"""The limits of a shared fleet that a buyer could loosen."""


class Stock(Spec):
    """How many sale units of a target can be had in time."""

    target: Name
    units: Annotated[int, Field(ge=0, le=1_000_000)]


class Portfolio(Spec):
    """What one fleet for all workloads of a brief must keep; a limit left out is none.

    `budget_usd` is for purchases, `budget_usd_per_year` for the yearly cost of the whole plan.
    `power_kw` is what each site of the buyer's own provides, PUE included. A stack is a runtime on
    the chips of one vendor. `vendor_share_max` is the largest part of what the units and their use
    cost a year that one vendor may have. The workloads in `second_source` are served by at least
    two vendors. A workload runs on at most `targets_per_workload_max` targets, at least
    `share_least` of it on each. `spare` failures must leave enough units of each target (None: as
    `constraints.spare_units`).

    `time_limit_s` ends the search. A search that ends by itself gives the same plan anywhere.
    """

    budget_usd: NonNegative | None = None
    budget_usd_per_year: Positive | None = None
    power_kw: NonNegative | None = None
    stacks_max: Count | None = None
    vendor_share_max: Annotated[float, Field(gt=0, le=1)] | None = None
    second_source: tuple[Name, ...] = ()
    targets_per_workload_max: Count = 2
    share_least: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    spare: Annotated[int, Field(ge=0, le=100)] | None = None
    stock: tuple[Stock, ...] = ()
    time_limit_s: Annotated[float, Field(gt=0, le=3600)] = 30.0

    @model_validator(mode="after")
    def _says_it_once(self) -> Self:
        for field, names in (
            ("stock", [each.target for each in self.stock]),
            ("second_source", list(self.second_source)),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"'{field}' names {', '.join(twice)} twice")
        if self.second_source and self.targets_per_workload_max < 2:
            raise ValueError("'second_source' needs 'targets_per_workload_max' of at least 2")
        return self


class FleetUnits(Spec):
    """The sale units of one target in the plan; `spare` of the `bought` stand by.

    `load` is how many units' worth of work they carry in the busiest hour. An API has no units:
    `bought` is 0. `usd_per_year` is of the units alone, `capex_usd` what is paid for them at once,
    `power_kw` what the site must provide.
    """

    target: Name
    title: Text
    stack: Text
    vendor: Text
    site: Text
    bought: int
    spare: int
    load: float
    usd_per_year: float
    capex_usd: float
    power_kw: float


class FleetShare(Spec):
    """Which part of a workload a target serves, and how many units' worth that is at its peak."""

    workload: Name
    target: Name
    share: Share
    load: float


class FleetLimit(Spec):
    """A limit of the portfolio with what the plan makes of it; `binds`: one more step breaks it.

    `room` is what is left, as a share of the limit. One that binds has at most 3 % left.
    """

    limit: LimitName
    text: Text
    number: float
    most: float
    room: float
    binds: bool


class FleetRelaxation(Spec):
    """A way to make a plan possible: the limits to loosen and how far, found with a checked plan.

    `least`: no smaller step was found to do, and the search was complete; else a plan needs at most
    this much.
    """

    limits: tuple[LimitName, ...]
    text: Text
    present: tuple[float, ...]
    needed: tuple[float, ...]
    least: bool


class PortfolioPlan(Spec):
    """The shared fleet, or why there is none.

    `state`: `optimal` (nothing can be cheaper), `feasible` (a plan with a gap), `infeasible` (no
    plan can keep the limits) or `none_found`. Every plan was checked row by row apart from the
    solver; `checks` counts the rows. `gap_share` is how far the plan may be above the best one, by
    the best bound proved; `lp_gap_share` by the linear relaxation of the whole program.

    `own_fleets_usd_per_year` is what the workloads cost when each is served by its own choice;
    `saving_usd_per_year` that less the plan's cost (negative: the limits cost more than sharing
    saves). `left_out` has the workloads that no target can serve, of which the plan says nothing.
    `without` names the costs that are not known of what the plan buys, and so are not in it.
    """

    state: Literal["optimal", "feasible", "infeasible", "none_found"]
    reason: Text
    usd_per_year: float | None = None
    units_usd_per_year: float | None = None
    use_usd_per_year: float | None = None
    integration_usd_per_year: float | None = None
    staff_usd_per_year: float = 0.0
    capex_usd: float | None = None
    units: tuple[FleetUnits, ...] = ()
    shares: tuple[FleetShare, ...] = ()
    limits: tuple[FleetLimit, ...] = ()
    bound_usd_per_year: float | None = None
    lp_bound_usd_per_year: float | None = None
    gap_share: float | None = None
    lp_gap_share: float | None = None
    greedy_usd_per_year: float | None = None
    method: Text = "none"
    timed_out: bool = False
    checks: int = 0
    own_fleets_usd_per_year: float | None = None
    saving_usd_per_year: float | None = None
    relaxations: tuple[FleetRelaxation, ...] = ()
    left_out: tuple[Name, ...] = ()
    warnings: tuple[Text, ...] = ()
    without: str = Field(default="", exclude_if=lambda value: not value)
