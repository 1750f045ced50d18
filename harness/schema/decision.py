"""A decision: the mapper's answer to a brief, with the evidence and the reason for every target."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.schema.base import Document, Interval, Name, Spec, Text, absent
from harness.schema.break_even import BreakEven, KindBreakEven
from harness.schema.brief import Brief
from harness.schema.confidence import Confidence, Flip, Swing, Worth
from harness.schema.demand import Demand
from harness.schema.levers import LeverOutcome
from harness.schema.option import Option
from harness.schema.portfolio import PortfolioPlan
from harness.schema.record import Digest, Ulid
from harness.schema.rejection import Rejection, Relaxation
from harness.schema.volume import VolumeCosts


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
    volume_costs: VolumeCosts | None = Field(default=None, exclude_if=absent)
    pareto: tuple[ParetoPoint, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()
    burst: BurstOutcome | None = Field(default=None, exclude_if=absent)
    levers: tuple[LeverOutcome, ...] = Field(default=(), exclude_if=lambda v: not v)
    utilisation: Interval | None = Field(default=None, exclude_if=absent)


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
    portfolio: PortfolioPlan | None = Field(default=None, exclude_if=absent)
