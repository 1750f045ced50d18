"""A calibration: what the harness itself costs on one machine, and how late it issues there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from harness.schema.base import Document, NonNegative, Positive, Share, Spec, Text
from harness.schema.record import Digest, EnvironmentField, Ulid


class Spread(Spec):
    """Order statistics of `n` times in seconds; `p99_s` is None where `n` does not support it."""

    n: Annotated[int, Field(ge=1)]
    p50_s: NonNegative
    p99_s: NonNegative | None
    most_s: NonNegative

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.p50_s <= (self.p50_s if self.p99_s is None else self.p99_s) <= self.most_s:
            raise ValueError("'p50_s', 'p99_s' and 'most_s' must rise")
        return self


class SchedulingLag(Spec):
    """How late requests are issued that arrive as a Poisson process of `rate` per second.

    `unserved`: how many of them the harness could not issue within twice the window.
    """

    rate: Positive
    lag: Spread
    unserved: Annotated[int, Field(ge=0)]


class Pauses(Spec):
    """How a loop that only reads the clock was interrupted in `observed_s` seconds.

    `longest_s` is its longest step; `paused_s` the sum of its steps above `above_s`.
    """

    observed_s: Positive
    longest_s: NonNegative
    above_s: Positive
    count: Annotated[int, Field(ge=0)]
    paused_s: NonNegative


class MachineCeilings(Spec):
    """The ceilings of one machine with `threads` threads, and when they were measured.

    `read_bytes_per_s`: a product of two arrays that are only read. `add_bytes_per_s`: a = b + c,
    counted as STREAM counts it (three arrays). `operations_per_s`: fp32 matrix products.
    """

    host: Digest
    threads: Annotated[int, Field(ge=1)]
    array_bytes: Annotated[int, Field(ge=1)]
    cache_bytes: NonNegative
    cache_source: str
    read_bytes_per_s: Positive
    add_bytes_per_s: Positive
    operations_per_s: Positive
    measured_at: datetime

    @property
    def bytes_per_s(self) -> float:
        """The higher of the two bandwidths: a ceiling must not be too low."""
        return max(self.read_bytes_per_s, self.add_bytes_per_s)

    def best(self, other: MachineCeilings) -> MachineCeilings:
        """Return the higher figures of both: whatever disturbs a measurement only lowers it."""
        newer = max(self, other, key=lambda each: each.measured_at)
        names = ("read_bytes_per_s", "add_bytes_per_s", "operations_per_s")
        higher = {name: max(getattr(self, name), getattr(other, name)) for name in names}
        return newer.model_copy(update=higher)


class Calibration(Document):
    """What was found on one machine (`results/calibration/ULID.json`); see docs/calibrate.md.

    `host` is the sha256 of the machine's name. `in_band_s` may be negative by noise.
    `foreign_cores` and `steal_share` say what others did meanwhile. `ceilings` are what the
    processor moves and computes at most, one for each number of threads.
    """

    id: Ulid
    started_at: datetime
    ended_at: datetime
    host: Digest
    environment: dict[str, EnvironmentField]
    timer_step_s: Positive
    timer_cost_s: NonNegative
    sleep_lag: Spread
    scheduling_lag: tuple[SchedulingLag, ...]
    bare_s: NonNegative
    in_band_s: float
    out_of_band_s: NonNegative
    sustained_rate: Positive
    pauses: Pauses
    foreign_cores: NonNegative
    steal_share: Share
    harness_version: Text
    ceilings: tuple[MachineCeilings, ...] = ()

    def same_machine(self, host: Digest, environment: Mapping[str, EnvironmentField]) -> bool:
        """Return whether it was taken on `host` with the processor that `environment` names."""
        ours, theirs = (e.get("cpu_model") for e in (self.environment, environment))
        return self.host == host and (ours and ours.value) == (theirs and theirs.value)
