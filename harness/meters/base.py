"""The contract between the harness and a source of energy readings: see docs/energy.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from harness.schema.record import Boundary, CrossCheck, EnergyFlag, EnergyReading

Provenance = Literal["counter", "sampled", "external", "modelled"]
SHORT_WINDOW_PERIODS = 10
"""A window of fewer update periods is flagged short."""


@dataclass(frozen=True, slots=True)
class Unmeasurable:
    """Why a meter cannot work here, and what the user can do about it."""

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class MeterInfo:
    """A working meter.

    `covers` names the components its joules belong to (`gpu:UUID`, `cpu:0`). `update_period_s` is
    how often the source has a new value, measured by `probe` where it can be. `sensor` is the
    relative uncertainty of the sensor itself at 95 %, known from `sensor_source` (a citation, or
    that it is declared).
    """

    name: str
    boundary: Boundary
    covers: tuple[str, ...]
    source: str
    update_period_s: float
    sensor: float
    sensor_source: str
    provenance: Provenance = "counter"
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """The start of a window: its time (`time.perf_counter_ns`) and, by component, the counters.

    `edges_ns` are the times at which the counters ticked to these values, where the meter waited.
    """

    at_ns: int
    counters: tuple[float, ...] = ()
    edges_ns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PowerTrace:
    """Sampled power: times (`time.perf_counter_ns`) and the watts of all that the meter covers."""

    at_ns: list[int] = field(default_factory=list)
    watts: list[float] = field(default_factory=list)


def quantisation(update_period_s: float, duration_s: float, peak: float | None = None) -> float:
    """Return the 95 % uncertainty of two plain reads of a counter that ticks every period.

    The edges are off by two independent uniform parts of a period u. At constant power their
    difference has the standard deviation u / sqrt(6), and 95 % of its triangular distribution lie
    within u (1 - sqrt(0.05)) = 0.776 u.

    `peak` is the highest power at an edge over the mean power of the window, where the power may
    vary. The widest case is one edge at the peak and one at rest: 95 % lie within 0.95 u peak.
    """
    if duration_s <= 0:
        return 1.0
    share = 1 - math.sqrt(0.05) if peak is None else 0.95 * peak
    return share * update_period_s / duration_s


def reading(
    info: MeterInfo,
    joules: float,
    duration_s: float,
    parts: Mapping[str, float],
    flags: Sequence[EnergyFlag] = (),
    cross_check: CrossCheck | None = None,
) -> EnergyReading:
    """Return a reading of `info`; its sensor's uncertainty joins `parts`, all in quadrature."""
    whole = {"sensor": info.sensor, **parts}
    short = duration_s < SHORT_WINDOW_PERIODS * info.update_period_s
    own: list[EnergyFlag] = ["short_window"] if short else []
    own += ["simulated"] if info.simulated else []
    return EnergyReading(
        meter=info.name,
        joules=joules,
        duration_s=duration_s,
        boundary=info.boundary,
        covers=info.covers,
        provenance=info.provenance,
        uncertainty=math.hypot(*whole.values()),
        parts=whole,
        flags=tuple(sorted({*flags, *own})),
        cross_check=cross_check,
    )


def failed_reading(
    info: MeterInfo, duration_s: float, reason: str, *flags: EnergyFlag
) -> EnergyReading:
    """Return the reading of a window whose source failed: no joules, and why."""
    return EnergyReading(
        meter=info.name,
        joules=None,
        duration_s=duration_s,
        boundary=info.boundary,
        covers=info.covers,
        provenance=info.provenance,
        flags=flags,
        reason=reason,
        remedy="run the cell again",
    )


class Meter(Protocol):
    """Reads energy over windows. Made without arguments; `probe` comes first.

    Nothing is read between `begin` and `end` but by a guard of the counter and its cross-check, at
    most once a second, and by a power trace of at most 10 Hz where the meter has no counter.
    """

    def probe(self) -> MeterInfo | Unmeasurable:
        """Try the source by reading it; never raises."""

    def begin(self) -> Mark:
        """Start a window; may wait for the source's next update."""

    def end(self, mark: Mark) -> EnergyReading:
        """End the window that `mark` started. A reading that failed has no joules and a reason.

        Windows end in the order they began, one at a time.
        """

    def watts(self) -> float | None:
        """Return the power now, for a live display; None where the source does not say."""

    def close(self) -> None:
        """Release the source; no thread stays."""
