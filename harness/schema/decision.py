"""A decision: the mapper's answer to a brief, with the evidence and the reason for every target."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from harness.schema.base import Document, Evidence, Name, Share, Spec, Text, Tier
from harness.schema.brief import Brief
from harness.schema.record import Digest, SloCheck, Ulid
from harness.schema.workload import Demand


class Interval(Spec):
    """A figure with its 95 % interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


class Rejection(Spec):
    """Why a target is not chosen: a named rule with the number, the limit and the margin.

    `margin` is (limit - number) / limit in the direction that hurts: negative means by how much of
    the limit the target misses. None where the rule is not about a number.
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
        "cost",
    ]
    text: Text
    number: float | None = None
    limit: float | None = None
    margin: float | None = None
    unit: str | None = None
    remedy: str | None = None


class CostLine(Spec):
    """One line of the yearly cost of a fleet; None where it is unknown, with why in `basis`.

    The bounds are None where the line is as exact as the price that it comes from.
    """

    name: Literal["rent", "capital", "maintenance", "colocation", "energy", "staff"]
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


class Option(Spec):
    """A target that can serve the workload: what it costs and how that is known.

    `load` is the share of the back-to-back rate at which `throughput` was measured. The cost is
    that of the first year at the buyer's demand, the sum of `cost_lines`; `cost_per_unit_full_usd`
    is the same fleet at 100 % of its throughput. `energy_lines` are of the same fleet and year, and
    no part of the choice. `warnings` say what the figures leave out.
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
    utilisation: float
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


class TargetOutcome(Spec):
    """One row of the feasibility matrix: feasible, or the rules that speak against the target.

    A feasible target that is not the choice has the rule why not: `cost`, or `slo` where the choice
    meets what it leaves unproven. `records` are those that the outcome and its figures rest on.
    """

    target: Name
    title: Text
    feasible: bool
    rejections: tuple[Rejection, ...]
    records: tuple[Ulid, ...] = ()


class WorkloadDecision(Spec):
    """The answer for one workload. `choice` is None when no target is feasible.

    `options` are ordered: those that meet the SLO before the unproven ones, then least expected
    regret first; `clear` is False when the cost intervals of the choice and the runner-up overlap:
    then the measured figures do not separate them. `confidence` is None where there is nothing to
    compare the choice with. `peak_rate` is the busiest hour of the first year, `mean_rate`
    the mean over it, both in requests/s.
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
