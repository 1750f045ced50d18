"""A decision: the mapper's answer to a brief, with the evidence and the reason for every target."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from harness.schema.base import Document, Evidence, Name, Percentile, Share, Spec, Text, Tier
from harness.schema.brief import Brief
from harness.schema.demand import TaskSlo
from harness.schema.levers import LeverOutcome
from harness.schema.portfolio import PortfolioPlan
from harness.schema.record import Digest, SloCheck, Ulid
from harness.schema.volume import VolumeCosts
from harness.schema.workload import Demand


def _absent(value: object) -> bool:
    """Whether a field is left out: documents from before it existed stay what they were."""
    return value is None


OptionKind = Literal["api", "cloud", "on_premises", "edge"]
"""The kinds of supply: an API, or units by their tier."""


class Interval(Spec):
    """A figure with its 95 % interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


class Change(Spec):
    """One field with another value: of the brief, or as its first word says of WORKLOAD or TARGET.

    `constraints.NAME` and `demand.NAME` are the brief's, the latter of the workload spoken of. A
    list is given whole; None is no limit.
    """

    field: Text
    present: float | bool | str | tuple[str, ...] | None
    needed: float | bool | str | tuple[str, ...] | None


class Relaxation(Spec):
    """The least that has to change for a rule, or several together, to let the target `of` in.

    `exact`: nothing else is needed, since all other rules were checked; False where a measurement
    against the new limit has to show it. `share` is the largest change over the present value, None
    where it is not about a number; `usd_per_year` what the target then costs, where known.
    """

    rule: Text
    of: Name
    changes: tuple[Change, ...]
    exact: bool
    share: float | None = None
    usd_per_year: float | None = None
    text: Text


class Rejection(Spec):
    """Why a target is not chosen: a named rule with the number, the limit and the margin.

    `margin` is (limit - number) / limit in the direction that hurts: negative means by how much of
    the limit the target misses. None where the rule is not about a number. `p_meets` is the chance
    that a promise on a measured quantile is kept. `relaxation` is what this rule alone would take
    to let the target in; None where no specification changes it.
    """

    rule: Literal[
        "not_measured",
        "failed",
        "unsupported",
        "invalid",
        "evidence",
        "quality",
        "slo",
        "residency",
        "tier",
        "price",
        "price_age",
        "rate_limit",
        "cost",
        "memory",
        "precision",
        "air_gap",
        "lead_time",
        "power",
        "space",
        "vendor",
        "budget",
        "edge_latency",
        "operators",
    ]
    text: Text
    number: float | None = None
    limit: float | None = None
    margin: float | None = None
    unit: str | None = None
    remedy: str | None = None
    p_meets: Share | None = None
    relaxation: Relaxation | None = None


class CostLine(Spec):
    """One line of the yearly cost of a fleet; None where it is unknown, with why in `basis`.

    The bounds are None where the line is as exact as the price that it comes from.
    """

    name: Literal[
        "rent",
        "capital",
        "maintenance",
        "colocation",
        "energy",
        "licence",
        "usage",
        "egress",
        "staff",
        "integration",
    ]
    usd_per_year: float | None
    basis: Text
    low_usd_per_year: float | None = None
    high_usd_per_year: float | None = None


class EnergyLine(Spec):
    """What a fleet draws or emits in a year; `figure` is None where that is not known.

    `basis` names the assumptions, or why there is no figure; `remedy` what would give one. A
    `modelled` figure rests on a declared power, not on a meter alone.
    """

    name: Literal["it_energy", "facility_energy", "electricity", "carbon", "embodied_carbon"]
    unit: Literal["kWh", "USD", "kgCO2e"]
    figure: Interval | None
    basis: Text
    modelled: bool = False
    remedy: str | None = None


class Sizing(Spec):
    """How the units of a fleet were counted: see docs/mapper.md.

    `needed` carry the busiest hour when each unit has a queue of its own; `spare` stand by on top.
    `pooled` is what one queue before all units would need, by Erlang C; None with why in `basis`.
    """

    needed: int
    spare: int
    pooled: int | None
    basis: Text


class Odds(Spec):
    """How an option does over all draws: is no other cheaper, and what does it cost more than it.

    `p_best` is the share of the draws in which no other option costs less; options that cost the
    same both count. The regret is the mean of what it costs above the cheapest of its draw;
    `regret_share` that over the mean cost of the cheapest, `regret_high_share` its 95 % value.
    """

    target: Name
    p_best: Share
    expected_usd_per_year: float
    regret_usd_per_year: float
    regret_share: float
    regret_high_share: float


class Confidence(Spec):
    """How sure the choice is against the options that keep the SLO as well as it does.

    The figures are those of the choice; `odds` has all options compared, least regret first. The
    choice is `robust` when P(best) >= 0.9 or the regret is at most 3 %, and nothing of its cost or
    its SLO is open; `reason` says which.
    """

    p_best: Share
    regret_usd_per_year: float
    regret_share: float
    regret_high_share: float
    robust: bool
    reason: Text
    draws: int
    seed: int
    odds: tuple[Odds, ...]


class Flip(Spec):
    """The value of one input at which the answer changes, all others staying what they are.

    `of` is the target whose price it is. `change` is value / present - 1. `winner` is the answer
    then; None where that is not known.
    """

    input: Literal["price", "volume", "utilisation", "slo"]
    of: Name | None = None
    unit: Text
    present: float
    value: float
    change: float
    winner: Name | None
    text: Text


class Swing(Spec):
    """What one input does to the lead: the runner-up's expected cost less that of the choice.

    In USD a year, with the input at its 5 % value `low` and at its 95 % value `high`. `turns`: at
    one of them the runner-up is cheaper.
    """

    input: Text
    low: float
    high: float
    unit: Text
    usd_per_year_at_low: float
    usd_per_year_at_high: float
    turns: bool


class Worth(Spec):
    """What knowing one input exactly would save on average, in USD a year and of the least cost.

    An upper bound on what a measurement of it, or a binding quote, is worth. `of` is the target
    whose throughput it is, or the source of the price.
    """

    input: Literal["throughput", "price"]
    of: Text
    usd_per_year: float
    share: float
    text: Text


class Crossing(Spec):
    """A volume at which renting and buying cost the same, or a step of a fleet turns the order.

    `utilisation` is that of the purchased fleet there: mean rate / throughput at the SLO.
    """

    requests_per_month: float
    utilisation: float
    cheaper_above: Name


class BreakEven(Spec):
    """Renting against buying over the volume, for the best option of each.

    `crossings` are those at the planned figures, lowest first, at most 20 of the `found`. `first`
    and `last` have the interval over the draws that have a crossing, a share of `drawn`. Without a
    crossing `always` names the option that is cheaper at every volume looked at, `span` in requests
    a month.
    """

    rented: Name
    purchased: Name
    span: tuple[float, float]
    crossings: tuple[Crossing, ...]
    found: int
    first: Interval | None
    last: Interval | None
    drawn: Share
    always: Name | None
    text: Text


class TokenCosts(Spec):
    """What a million tokens cost, each kind for itself where that is known, and all as one.

    `blended` is the cost over the tokens of prompts and answers together. The others are None where
    nothing says how the cost divides; `basis` gives the rule, or why there is none. Of a fleet
    `prefill_share` is the share of its cost that the prompts bear.
    """

    blended: Interval
    input: Interval | None
    cached_input: Interval | None
    output: Interval | None
    prefill_share: float | None
    basis: Text


class Tco(Spec):
    """Total cost of ownership over the horizon, as worth on the first day: see docs/mapper.md.

    The sum of what is spent each month, discounted, less what the purchases are worth at the end.
    The parts are those of `usd`, planned and discounted: purchases less the old units' proceeds,
    running cost, integration, and what is left. `fleets` are the months in which the number of
    units changes, with the new number.
    """

    usd: Interval
    months: int
    purchases_usd: float
    running_usd: float
    integration_usd: float
    left_usd: float
    fleets: tuple[tuple[int, int], ...]
    basis: Text


class BillMonth(Spec):
    """One month of the bill, undiscounted: what runs, and what is bought or taken up at its start.

    `usd` is the running cost (capital is not in it). `once_usd` holds purchases, less what replaced
    units are sold for, and the integration; None where there is none.
    """

    month: int
    requests: float
    units: int
    usd: Interval
    once_usd: float | None = Field(default=None, exclude_if=lambda value: value is None)


class PriceAge(Spec):
    """How old a price is on the brief's day. `stale`: nearly or more than what is allowed."""

    days: int
    limit_days: int
    state: Literal["current", "stale", "younger_than_the_brief"]


class KindBreakEven(Spec):
    """Two kinds of supply over the volume, by the best option of each: see docs/mapper.md.

    Of `kinds` and `targets` the first asks for less to be owned (API, cloud, on premises, edge).
    `crossings`, `found`, `first`, `last`, `drawn`, `always` and `span` are as in `BreakEven`;
    utilisation is that of the second, and `utilisation` its interval at the last crossing. `text`
    says it in words, `rule_of_thumb` what is said without computing.
    """

    kinds: tuple[OptionKind, OptionKind]
    targets: tuple[Name, Name]
    span: tuple[float, float]
    crossings: tuple[Crossing, ...]
    found: int
    first: Interval | None
    last: Interval | None
    utilisation: Interval | None
    drawn: Share
    always: Name | None
    rule_of_thumb: Text
    text: Text


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


class BurstOutcome(Spec):
    """What the fleet of the choice does when the rate goes to `factor` times that of the peak.

    `rate` and `carried` are in requests/s, the latter what the whole fleet serves at the SLO.
    `units_needed` would keep the SLO throughout (`units_needed_low_throughput` at the throughput's
    lower bound). Otherwise a queue grows to `queued` requests, the last of which waits
    `longest_wait_s`; it is gone `drained_s` after the burst, None: never, at the rate of the peak.
    `timed_out` are given up, where the workload has a deadline. By formula, not measured.
    """

    factor: float
    duration_s: float
    rate: float
    carried: float
    units: int
    units_needed: int
    units_needed_low_throughput: int | None
    kept: bool
    queued: float
    longest_wait_s: float
    timed_out: float | None
    drained_s: float | None
    text: Text


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
    task: TaskFigures | None = Field(default=None, exclude_if=lambda v: v is None)
    kind: OptionKind | None = Field(default=None, exclude_if=_absent)
    cost_per_1000_requests_usd: Interval | None = Field(default=None, exclude_if=_absent)
    cost_per_task_usd: Interval | None = Field(default=None, exclude_if=_absent)
    token_costs: TokenCosts | None = Field(default=None, exclude_if=_absent)
    tco: Tco | None = Field(default=None, exclude_if=_absent)
    bill: tuple[BillMonth, ...] = Field(default=(), exclude_if=lambda value: not value)
    price_age: PriceAge | None = Field(default=None, exclude_if=_absent)


class TargetOutcome(Spec):
    """One row of the feasibility matrix: feasible, or the rules that speak against the target.

    A feasible target that is not the choice has the rule why not: `cost`, or `slo` where the choice
    meets what it leaves unproven. `records` are those that the outcome and its figures rest on. Of
    a target that is not feasible `nearest` is the one relaxation that lets it in; without one,
    `binding` lists the rules that bind together, or the one that no specification changes.
    """

    target: Name
    title: Text
    feasible: bool
    rejections: tuple[Rejection, ...]
    records: tuple[Ulid, ...] = ()
    nearest: Relaxation | None = None
    binding: tuple[Text, ...] = ()


class ParetoAxis(Spec):
    """One quality of an option, less being better; None where it is not known, with why."""

    name: Literal["cost", "latency", "energy", "lead_time"]
    unit: Text
    figure: Interval | None
    basis: Text | None = None
    reason: Text | None = None


class ParetoPoint(Spec):
    """An option among all in what they are good at: see docs/mapper.md.

    `dominated_by` names the options that are no worse in everything and better in something even at
    the ends of the 90 % intervals; without one the option is `on_front`.
    """

    target: Name
    axes: tuple[ParetoAxis, ...]
    on_front: bool
    dominated_by: tuple[Name, ...] = ()


class WorkloadDecision(Spec):
    """The answer for one workload. `choice` is None when no target is feasible.

    `options` are ordered: those that meet the SLO before the unproven ones, then least expected
    regret first; `clear` is False when the cost intervals of the choice and the runner-up overlap:
    then the measured figures do not separate them. `confidence` is None where there is nothing to
    compare the choice with; `break_evens` compare the kinds of supply in pairs, `volume_costs` are
    the curves that cross there. `peak_rate` is the busiest hour of the first year, `mean_rate` the
    mean over it, both in requests/s. `pareto` has all options; where none is feasible `relaxations`
    are the changes that make one so, the nearest first: of one rule, or of the fewest together
    where none is enough alone. `burst` and `levers` are what the brief asks to be told beside;
    `utilisation` is the choice's, from the planned mean rate, with its 95 % range over the draws.
    """

    workload: Name
    title: Text
    demand: Demand
    peak_rate: float
    mean_rate: float | None = None
    choice: Option | None
    runner_up: Option | None
    clear: bool | None
    reason: Text
    options: tuple[Option, ...]
    outcomes: tuple[TargetOutcome, ...]
    confidence: Confidence | None = None
    flips: tuple[Flip, ...] = ()
    swings: tuple[Swing, ...] = ()
    break_even: BreakEven | None = None
    measure_next: tuple[Worth, ...] = ()
    break_evens: tuple[KindBreakEven, ...] = Field(default=(), exclude_if=lambda value: not value)
    volume_costs: VolumeCosts | None = Field(default=None, exclude_if=_absent)
    pareto: tuple[ParetoPoint, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()
    burst: BurstOutcome | None = Field(default=None, exclude_if=lambda v: v is None)
    levers: tuple[LeverOutcome, ...] = Field(default=(), exclude_if=lambda v: not v)
    utilisation: Interval | None = Field(default=None, exclude_if=lambda v: v is None)


class Assumption(Spec):
    """An input that the answer rests on, with where it comes from."""

    name: Text
    value: Text
    source: Text


class RecordReference(Spec):
    """A record that the decision was made from, pinned by the hash of its `record.json`.

    `imports` pins the power imports whose readings were added to it, by id and by the sha256 of
    their file.
    """

    id: Ulid
    label: Text
    sha256: Digest
    imports: dict[Ulid, Digest] = Field(default_factory=dict)


class Decision(Document):
    """The mapper's answer to a brief. Same records, same brief: same bytes."""

    brief: Brief
    harness_version: str
    workloads: tuple[WorkloadDecision, ...]
    assumptions: tuple[Assumption, ...]
    records: tuple[RecordReference, ...]
    warnings: tuple[str, ...]
    portfolio: PortfolioPlan | None = Field(default=None, exclude_if=lambda v: v is None)
