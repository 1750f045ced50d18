"""The contract between the harness and a source of energy readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from harness.schema.record import Boundary, EnergyReading


@dataclass(frozen=True, slots=True)
class Unmeasurable:
    """Why a meter cannot work here, and what the user can do about it."""

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class MeterInfo:
    """A working meter: its name, the boundary of its joules, and the components they belong to."""

    name: str
    boundary: str
    covers: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Mark:
    """The counters at the start of a window: raw readings by component, and the monotonic time."""

    at_ns: int
    counters: tuple[float, ...]


def failed_reading(
    meter: str, boundary: Boundary, duration_s: float, reason: str, *flags: str
) -> EnergyReading:
    """Return the reading of a window whose counter failed: no joules, and why."""
    return EnergyReading(
        meter=meter,
        joules=None,
        duration_s=duration_s,
        boundary=boundary,
        provenance="counter",
        flags=flags,
        reason=reason,
        remedy="run the cell again",
    )


class Meter(Protocol):
    """Reads energy over windows. Made without arguments; `probe` comes first."""

    def probe(self) -> MeterInfo | Unmeasurable:
        """Try the counters by reading them; never raises."""

    def begin(self) -> Mark:
        """Start a window."""

    def end(self, mark: Mark) -> EnergyReading:
        """End the window that `mark` started. A reading that failed has no joules and a reason."""

    def close(self) -> None:
        """Release the source."""
