"""A record: what one measured cell leaves behind. Immutable; every number says how it is known."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.schema.base import Document, Evidence, Name, NonNegative, Positive, Spec, Text, absent
from harness.schema.scenario import Scenario
from harness.schema.target import Target
from harness.schema.trust import Trust
from harness.schema.workload import SloLimit, Workload

ProfileName = Literal["quick", "standard", "rigorous", "mlperf"]
Status = Literal["ok", "failed", "unsupported"]
FailureKind = Literal[
    "exception",
    "crash",
    "exit",
    "hang",
    "out_of_memory",
    "no_result",
    "output_flood",
    "prerequisite",
    "unsupported",
]
Boundary = Literal["chip", "package", "dram", "module", "node", "wall"]
EnergyFlag = Literal[
    "short_window",
    "wrap_corrected",
    "counter_reset",
    "cross_check_failed",
    "gaps",
    "negative_sample",
    "throttled",
    "shared_device",
    "partial_coverage",
    "simulated",
]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
CellId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Ulid = Annotated[str, Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]


class Metric(Spec):
    """A figure with its 95 % interval. `value` is None exactly when `reason` says why.

    `low` or `high` is None where the sample supports no finite bound on that side. `n_eff` is the
    number of independent samples that the `n` correlated ones are worth. `certified` is MLPerf's
    early-stopping bound on a percentile (99 % confidence, requests taken as independent); None
    below its least number of requests. `widened` is the relative amount by which disturbances of
    the run widened `low` and `high`.
    """

    unit: Text
    better: Literal["lower", "higher"]
    value: float | None
    low: float | None = None
    high: float | None = None
    n: Annotated[int, Field(ge=0)]
    n_eff: NonNegative | None = None
    method: Text
    reason: str | None = None
    certified: float | None = None
    widened: NonNegative = 0.0

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if (self.value is None) != (self.reason is not None):
            raise ValueError("a metric without a value needs a reason, and only then")
        return self


class SloCheck(Spec):
    """A promise held against what was measured.

    met: the upper bound is within the limit. missed: the value is above it. unproven: the value is
    within the limit, its upper bound is not, or the sample supports no upper bound.
    """

    limit: SloLimit
    value_s: float | None
    high_s: float | None
    state: Literal["met", "missed", "unproven"]


class Histogram(Spec):
    """Counts in logarithmic buckets: bucket k holds values in [growth^k, growth^(k+1)) seconds."""

    growth: float = 1.01
    counts: tuple[tuple[int, int], ...]


class CrossCheck(Spec):
    """Two ways to the same joules: the counter's, and the integral of sampled power."""

    counter_j: float
    integral_j: float
    ratio: float
    """counter_j / integral_j"""


class EnergyReading(Spec):
    """Joules over a window, or None with the reason and what the user can do about it.

    `uncertainty` is relative, at 95 %, and `parts` names its sources, which add in quadrature.
    `covers` lists the components that the joules belong to, so that overlapping readings are never
    added. A flag says what a reader must know: see docs/energy.md.
    """

    meter: Name
    joules: NonNegative | None
    duration_s: NonNegative
    boundary: Boundary | None
    covers: tuple[str, ...] = ()
    provenance: Literal["counter", "sampled", "external", "modelled"] | None
    uncertainty: NonNegative | None = None
    parts: dict[str, float] = Field(default_factory=dict)
    flags: tuple[EnergyFlag, ...] = ()
    cross_check: CrossCheck | None = None
    reason: str | None = None
    remedy: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.joules is None:
            if not self.reason:
                raise ValueError("an energy reading without joules needs a reason")
        elif self.boundary is None or self.provenance is None or self.uncertainty is None:
            raise ValueError("joules need a boundary, a provenance and an uncertainty")
        return self


class Ending(Spec):
    """Why a window closed: precise, its count reached, its time box over, the trace at its end.

    `supports` says in words what a window closed by its time box can and cannot support.
    """

    why: Literal["precise", "count", "time_box", "trace_end"]
    supports: str | None = None


class Point(Spec):
    """One operating point: the figures at one load. Closed scenarios have exactly one.

    `warm_up_requests` were measured and cut from the window's start, because the latency was not
    steady yet. `began_at` is the wall clock at the window's start, for joining external logs.
    """

    load: float | None
    requested_rate: float | None
    duration_s: NonNegative
    requests: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)]
    metrics: dict[str, Metric]
    slo: tuple[SloCheck, ...]
    slo_state: Literal["met", "missed", "unproven", "not_applicable"]
    latency: Histogram
    energy: tuple[EnergyReading, ...]
    ending: Ending | None = None
    began_at: datetime | None = None
    warm_up_requests: Annotated[int, Field(ge=0)] = 0
    trust: Trust | None = Field(default=None, exclude_if=absent)
    """Of a served target: how well the client kept up."""
    overload: str | None = Field(default=None, exclude_if=absent)
    """Why the target does not keep up with the rate, if it does not: the SLO is missed then."""

    @property
    def client_bound(self) -> bool:
        """Whether the client was the limit: then the figures are not the server's."""
        return self.trust is not None and bool(self.trust.client_bound)


class QualityCheck(Spec):
    """One figure of the quality gate, its limit, and whether it held."""

    gate: Text
    metric: Text
    value: float | None
    limit: float
    better: Literal["lower", "higher"]
    passed: bool
    reason: str | None = None


class Reason(Spec):
    """Why a record is not simply valid: a code from docs/validity.md, with number and limit."""

    code: Name
    text: Text
    value: float | None = None
    limit: float | None = None


class Verdict(Spec):
    """Whether the figures can be used: valid, noisy (usable, marked everywhere), or invalid."""

    state: Literal["valid", "noisy", "invalid"]
    reasons: tuple[Reason, ...] = ()


class EnvironmentField(Spec):
    """A fact of the machine: a value, or why it cannot be read, or why there is none to read."""

    value: str | int | float | None
    unavailable: str | None = None
    not_applicable: str | None = None


class Failure(Spec):
    """How a cell ended without figures."""

    kind: FailureKind
    message: Text
    detail: str | None = None
    hint: str | None = None


class EnergyProfile(Spec):
    """What the power of a record's target was by load, and idle: see docs/energy.md.

    `off` was metered before the session was opened, `warm` with the session open and no traffic;
    both only by meters that work here. `metrics` are named `NAME@BOUNDARY`; one that is not known
    says why.
    """

    off: tuple[EnergyReading, ...] = ()
    warm: tuple[EnergyReading, ...] = ()
    metrics: dict[str, Metric] = Field(default_factory=dict)


class Roofline(Spec):
    """The most that the hardware can do on this work, and the share of it that was reached.

    Bytes and operations per unit are what the work needs at least; `unit` is what the rates count.
    `limit_per_s` follows from what `bound` names, `step_limit_s` is the least time of one output
    token of a single stream. Without a limit `reason` says why; `notes` say what was left out. See
    docs/roofline.md.
    """

    unit: Text | None = None
    bytes_per_unit: NonNegative | None = None
    operations_per_unit: NonNegative | None = None
    bandwidth_bytes_per_s: Positive | None = None
    operations_per_s: Positive | None = None
    cache_bytes: NonNegative | None = None
    source: Text | None = None
    bound: Literal["memory", "compute"] | None = None
    limit_per_s: Positive | None = None
    achieved_per_s: NonNegative | None = None
    share: NonNegative | None = None
    step_limit_s: Positive | None = None
    step_s: NonNegative | None = None
    step_share: NonNegative | None = None
    reason: Text | None = None
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if (self.share is None) != (self.reason is not None):
            raise ValueError("a roofline without a share needs a reason, and only then")
        return self


class Cell(Spec):
    """What was measured: the identity that resuming, history and comparison go by.

    `id` is the hash of all that follows it; `repeat` tells repetitions of the same cell apart.
    `files` holds the sha256 of each file that the workload names and the cell could read; records
    of version 0.1.0 have none.
    """

    id: CellId
    workload: Name
    workload_version: int
    workload_hash: Digest
    target: Name
    target_hash: Digest
    scenario: Scenario
    profile: ProfileName
    seed: int
    repeat: Annotated[int, Field(ge=0)] = 0
    files: dict[str, Digest] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """The cell's short name, as in `llm-chat@cpu-torch/server`."""
        return f"{self.workload}@{self.target}/{self.scenario.kind}"


class Record(Document):
    """One cell's record (`results/runs/YYYY/MM/DD/ULID/record.json`)."""

    id: Ulid
    run: Ulid
    cell: Cell
    workload: Workload
    target: Target
    evidence: Evidence
    status: Status
    failure: Failure | None
    started_at: datetime
    ended_at: datetime
    phases_s: dict[str, float]
    session: dict[str, object]
    points: tuple[Point, ...]
    headline: int | None
    capacity: Metric | None = None
    """Of a search over rates: the rate at which the SLO is just kept (requests/s)."""
    energy: EnergyProfile | None = None
    """Idle power, marginal energy and proportionality; None where no reading has joules."""
    quality: tuple[QualityCheck, ...]
    verdict: Verdict
    environment: dict[str, EnvironmentField]
    harness_version: str
    files: dict[str, Digest]
    calibration: Ulid | None = None
    """The calibration of the machine that it was measured on, where there was one."""
    roofline: Roofline | None = None
    """None in records of version 0.1.0, and where nothing was measured."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.status == "ok") != (self.failure is None):
            raise ValueError("a record that is not ok needs a failure, and only then")
        if self.headline is not None and not 0 <= self.headline < len(self.points):
            raise ValueError("'headline' names no point")
        return self

    @property
    def quality_passed(self) -> bool:
        """True if the quality gate was evaluated and every check of it held."""
        return bool(self.quality) and all(check.passed for check in self.quality)

    @property
    def headline_point(self) -> Point | None:
        """The point that stands for the record: for `server` the highest load within the SLO."""
        return None if self.headline is None else self.points[self.headline]
