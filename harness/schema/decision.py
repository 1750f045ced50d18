"""A decision: the mapper's answer to a brief, with the evidence and the reason for every target."""

from __future__ import annotations

from datetime import date
from typing import Literal

from harness.schema.base import Document, Evidence, Name, Spec, Text, Tier
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

    `options` are ordered: those that meet the SLO before the unproven ones, then cheapest per unit
    first; `clear` is False when the cost intervals of the choice and the runner-up overlap: then
    the figures do not separate them. `peak_rate` is the busiest hour of the first year, `mean_rate`
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


class Assumption(Spec):
    """An input that the answer rests on, with where it comes from."""

    name: Text
    value: Text
    source: Text


class RecordReference(Spec):
    """A record that the decision was made from, pinned by the hash of its `record.json`."""

    id: Ulid
    label: Text
    sha256: Digest


class Decision(Document):
    """The mapper's answer to a brief. Same records, same brief: same bytes."""

    brief: Brief
    harness_version: str
    workloads: tuple[WorkloadDecision, ...]
    assumptions: tuple[Assumption, ...]
    records: tuple[RecordReference, ...]
    warnings: tuple[str, ...]
