"""An option: a target that can serve the workload, with what it costs and how that is known."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from harness.schema.base import Evidence, Interval, Name, Percentile, Spec, Text, Tier, absent
from harness.schema.costs import BillMonth, CostLine, EnergyLine, PriceAge, Tco, TokenCosts
from harness.schema.demand import TaskSlo
from harness.schema.record import SloCheck, Ulid
from harness.schema.rejection import Rejection

OptionKind = Literal["api", "cloud", "on_premises", "edge"]
"""The kinds of supply: an API, or units by their tier."""


class Sizing(Spec):
    """How the units of a fleet were counted: see docs/mapper.md.

    `needed` carry the busiest hour when each unit has a queue of its own; `spare` stand by on top.
    `pooled` is what one queue before all units would need, by Erlang C; None with why in `basis`.
    """

    needed: int
    spare: int
    pooled: int | None
    basis: Text


class TaskQuantile(Spec):
    """A percentile of the latency of a task, or the reason why the sample cannot say it.

    `needed` is how many independent calls it takes. `failed`: too many tasks are never done.
    """

    percentile: Percentile
    needed: int
    value_s: float | None = None
    high_s: float | None = None
    reason: str | None = None
    failed: bool = False


class TaskFigures(Spec):
    """A task of several calls on one option: how long it takes, whether that keeps its promise.

    Calls are taken as independent; `n_eff` is how many of them were measured. A promise on tasks of
    parallel calls is one on `per_call_percentile` of a call. See docs/demand.md.
    """

    calls_per_task: int
    order: Literal["sequential", "parallel"]
    mean_s: float
    quantiles: tuple[TaskQuantile, ...]
    n_eff: float
    basis: Text
    slo: TaskSlo | None = None
    state: Literal["met", "missed", "unproven"] | None = None
    per_call_percentile: float | None = None


class Option(Spec):
    """A target that can serve the workload: what it costs and how that is known.

    `load` is the share of the back-to-back rate at which `throughput` was measured. The cost is
    that of the first year at the buyer's demand, the sum of `cost_lines`; `cost_per_unit_full_usd`
    is the same fleet at 100 % of its throughput. `energy_lines` are of the same fleet and year, and
    no part of the choice. `warnings` say what the figures leave out.

    An API (`kind`) has no units: `replicas` is 0, `utilisation` None, and its cost follows the
    volume. `bill` is there for the options that the answer compares.
    """

    target: Name
    title: Text
    tier: Tier
    region: Text
    evidence: Evidence
    record: Ulid
    scenario: Text
    slo_state: Literal["met", "unproven"]
    verdict: Literal["valid", "noisy"]
    verdict_reasons: tuple[str, ...]
    throughput: Interval
    throughput_unit: Text
    replicas: int
    utilisation: float | None
    cost_per_year_usd: float
    cost_per_unit_usd: Interval
    cost_per_unit_full_usd: Interval
    cost_unit: Text
    energy_j_per_request: Interval | None
    energy_boundary: str | None
    energy_reason: str | None
    energy_remedy: str | None = None
    energy_lines: tuple[EnergyLine, ...] = ()
    price_source: Text
    price_date: date
    load: float | None = None
    slo: tuple[SloCheck, ...] = ()
    cost_lines: tuple[CostLine, ...] = ()
    cost_per_audio_hour_usd: Interval | None = None
    replicas_at_horizon: int | None = None
    sizing: Sizing | None = None
    warnings: tuple[str, ...] = ()
    rejection: Rejection | None = None
    task: TaskFigures | None = Field(default=None, exclude_if=absent)
    kind: OptionKind | None = Field(default=None, exclude_if=absent)
    cost_per_1000_requests_usd: Interval | None = Field(default=None, exclude_if=absent)
    cost_per_task_usd: Interval | None = Field(default=None, exclude_if=absent)
    token_costs: TokenCosts | None = Field(default=None, exclude_if=absent)
    tco: Tco | None = Field(default=None, exclude_if=absent)
    bill: tuple[BillMonth, ...] = Field(default=(), exclude_if=lambda value: not value)
    price_age: PriceAge | None = Field(default=None, exclude_if=absent)
