"""How long a cell measures: the time boxes and counts of each profile."""

from __future__ import annotations

from dataclasses import dataclass

from harness.schema.record import ProfileName
from harness.schema.scenario import Burst, Scenario, Server


@dataclass(frozen=True, slots=True)
class Profile:
    """The stop rule of a profile.

    A window lasts at least `least_s`, then until it holds `surplus` times the requests that its
    percentiles need (see `statistics.minimum_samples`), and at most `most_s` (`server_most_s` for
    each operating point of `server`). Within these it then goes on until half the 95 % interval of
    what the SLO names is within `precision` (None: until its count only). Warm-up: at least
    `warmup_s` and `warmup_queries`. The search for the highest rate within the SLO ends when it is
    bracketed within `resolution`, after `most_points`, or when no new point may begin because
    `search_s` is over. `certify`: MLPerf's rule in place of the interval.
    """

    name: ProfileName
    warmup_s: float
    warmup_queries: int
    least_s: float
    most_s: float
    server_most_s: float
    surplus: float
    most_points: int
    resolution: float
    search_s: float
    precision: float | None
    certify: bool = False
    open_limit_s: float = 300.0
    build_limit_s: float = 900.0
    quality_limit_s: float = 300.0

    @property
    def warmup_limit_s(self) -> float:
        """How long the warm-up may take before the cell counts as hung."""
        return 60.0 + 10 * self.warmup_s

    def points(self, scenario: Scenario) -> int:
        """Return how many operating points a scenario measures at most."""
        if isinstance(scenario, Server | Burst):
            return len(scenario.load) or self.most_points
        return 1

    def measure_limit_s(self, points: int) -> float:
        """How long measuring `points` operating points may take before the cell counts as hung."""
        # Before the first point: the rate back to back, with ever more queries in flight.
        return 60.0 + 5 * self.most_s + points * (self.server_most_s * 2 + 10.0)


PROFILES: dict[str, Profile] = {
    "quick": Profile("quick", 0.5, 2, 3.0, 5.0, 25.0, 1.5, 5, 0.1, 30.0, 0.10),
    "standard": Profile("standard", 3.0, 10, 20.0, 60.0, 120.0, 4.0, 8, 0.05, 600.0, 0.05),
    "rigorous": Profile("rigorous", 10.0, 30, 60.0, 300.0, 600.0, 8.0, 12, 0.02, 3600.0, 0.02),
    "mlperf": Profile(
        "mlperf", 10.0, 30, 600.0, 3600.0, 7200.0, 1.0, 5, 0.05, 18_000.0, None, certify=True
    ),
}
