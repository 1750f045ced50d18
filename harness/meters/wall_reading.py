"""The energy that a wall log holds for a window of the wall clock. Formulas: docs/energy.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from harness.distributions import student_quantile
from harness.meters.base import MeterInfo, failed_reading, reading
from harness.meters.wall_log import WallLog
from harness.schema.power_import import LogFormat
from harness.schema.record import EnergyFlag, EnergyReading
from harness.units import percent

SKEW_S = 0.8
"""How far apart the clocks of the meter and the machine may be (MLPerf's power-dev@c4b3ad8)."""
GAP_PERIODS = 2.5
"""Samples further apart than so many periods leave a gap: 2.5 s of a log with a sample a second."""
MOST_GAP_SHARE = 0.1
BLOCKS = 5
Z975 = 1.959964
SHIFTS = 9
SENSOR: dict[LogFormat, tuple[float, str]] = {
    "ptd": (0.01, "MLPerf power rule: the analyzer's uncertainty is at most 1.00 % (power-dev)"),
    "pdu": (0.05, "declared: power strips state from 1 % to 5 %"),
}


def wall_meter(
    log: WallLog, sensor: float | None = None, sensor_source: str | None = None
) -> MeterInfo:
    """Return the meter behind `log`, of relative uncertainty `sensor` or of what is usual."""
    usual, source = SENSOR[log.format]
    given = sensor is not None
    return MeterInfo(
        name=log.format,
        boundary="wall",
        covers=(f"wall:{log.path.stem}",),
        source=log.path.name,
        update_period_s=log.period_s,
        sensor=usual if sensor is None else sensor,
        sensor_source=sensor_source or ("stated by the user" if given else source),
        provenance="external",
    )


@dataclass(frozen=True, slots=True)
class _Profile:
    """Power over time as steps: `watts[i]` from `edges_s[i]` to `edges_s[i + 1]`."""

    edges_s: NDArray[np.float64]
    watts: NDArray[np.float64]
    gap: NDArray[np.bool_]

    def joules(self, begin_s: float, end_s: float) -> float:
        """Return the energy between two times; the first and last power hold outside the log."""
        shares = self._overlaps(begin_s, end_s)
        before = max(0.0, min(end_s, self.edges_s[0]) - begin_s)
        after = max(0.0, end_s - max(begin_s, self.edges_s[-1]))
        ends = before * self.watts[0] + after * self.watts[-1]
        return float(shares @ self.watts + ends)

    def gap_s(self, begin_s: float, end_s: float) -> float:
        """Return how many seconds between two times no sample stands for."""
        return float(self._overlaps(begin_s, end_s)[self.gap].sum())

    def _overlaps(self, begin_s: float, end_s: float) -> NDArray[np.float64]:
        inside = np.clip(self.edges_s, begin_s, end_s)
        return np.asarray(np.diff(inside), dtype=np.float64)


def _profile(log: WallLog) -> _Profile:
    """Return the power as steps: a sample stands for the time since the one before it.

    Across a gap it stands for one period, and the gap takes the mean of the samples around it.
    """
    period = log.period_s
    late = np.flatnonzero(np.diff(log.at_s) > GAP_PERIODS * period) + 1
    edges = np.concatenate(([log.at_s[0] - period], log.at_s))
    between = (log.watts[late - 1] + log.watts[late]) / 2
    return _Profile(
        np.insert(edges, late + 1, log.at_s[late] - period),
        np.insert(log.watts, late, between),
        np.insert(np.zeros(log.watts.size, dtype=bool), late, True),
    )


def wall_reading(
    log: WallLog, info: MeterInfo, begin_s: float, end_s: float, skew_s: float = SKEW_S
) -> EnergyReading:
    """Return the energy of the window from `begin_s` to `end_s` (epoch), with what it rests on.

    Parts of the uncertainty, relative: `edge` and `skew`, the largest change of the energy when
    the window moves by up to one period, or by up to `skew_s`, either way; `statistical`, the 95 %
    interval of the mean power; `gaps`, what the power in gaps can be off by. A window
    that the log does not cover, or whose gaps are more than a tenth of it, has no joules.
    """
    duration_s = end_s - begin_s
    profile = _profile(log)
    inside = (log.at_s > begin_s) & (log.at_s <= end_s)
    flags = _flags(log, profile, begin_s, end_s)
    refusal = _refusal(log, profile, begin_s, end_s, inside)
    if refusal is None:
        joules = profile.joules(begin_s, end_s)
        if joules <= 0:
            refusal = "the log reads 0 W all the time: is it of this machine?"
    if refusal is not None:
        failed = failed_reading(info, max(duration_s, 0.0), refusal, *flags)
        return failed.model_copy(update={"remedy": "import a log that covers the run whole"})
    watts = log.watts[inside]
    parts = {
        "edge": _shifted(profile, begin_s, end_s, log.period_s) / joules,
        "skew": _shifted(profile, begin_s, end_s, skew_s) / joules,
        "statistical": _statistical(log.format, watts),
    }
    gap_s = profile.gap_s(begin_s, end_s)
    if gap_s > 0:
        parts["gaps"] = gap_s * float(np.ptp(watts)) / joules
    return reading(info, joules, duration_s, parts, flags)


def _refusal(
    log: WallLog,
    profile: _Profile,
    begin_s: float,
    end_s: float,
    inside: NDArray[np.bool_],
) -> str | None:
    """Return why the window has no energy; None if it has one."""
    if end_s <= begin_s:
        return "the window has no length"
    if begin_s < profile.edges_s[0] or end_s > profile.edges_s[-1]:
        return (
            f"the log runs from {_moment(profile.edges_s[0])} to {_moment(profile.edges_s[-1])}, "
            f"the window from {_moment(begin_s)} to {_moment(end_s)}"
        )
    if int(inside.sum()) < 2:
        return "fewer than two samples lie in the window"
    share = profile.gap_s(begin_s, end_s) / (end_s - begin_s)
    if share > MOST_GAP_SHARE:
        return f"no usable sample for {percent(share)} of the window"
    return None


def _flags(log: WallLog, profile: _Profile, begin_s: float, end_s: float) -> tuple[EnergyFlag, ...]:
    flags: list[EnergyFlag] = []
    if end_s > begin_s and profile.gap_s(begin_s, end_s) > 0:
        flags.append("gaps")
    period = log.period_s
    if ((log.untrue_s > begin_s - period) & (log.untrue_s <= end_s + period)).any():
        flags.append("negative_sample")
    return tuple(flags)


def _shifted(profile: _Profile, begin_s: float, end_s: float, most_s: float) -> float:
    """Return the largest change of the energy (J) when the window moves by up to `most_s`."""
    here = profile.joules(begin_s, end_s)
    shifts = np.linspace(-most_s, most_s, SHIFTS)
    return max(abs(profile.joules(begin_s + s, end_s + s) - here) for s in shifts)


def _statistical(log_format: LogFormat, watts: NDArray[np.float64]) -> float:
    """Return the relative half width of the 95 % interval of the mean power.

    An analyzer averages between its samples, so that only their scatter counts, not a drift that it
    followed: 1.96 s / sqrt(n), s^2 = sum of squared successive differences / (2 (n - 1)) (von
    Neumann). A power strip may show instants, which can beat with the load: the larger of that and
    t(0.975, k - 1) s / sqrt(k) over the means of k blocks of successive samples.
    """
    scatter = math.sqrt(float(np.square(np.diff(watts)).mean()) / 2)
    width = Z975 * scatter / math.sqrt(watts.size)
    if log_format == "pdu":
        blocks = min(BLOCKS, watts.size)
        means = np.array([part.mean() for part in np.array_split(watts, blocks)])
        between = float(means.std(ddof=1)) / math.sqrt(blocks)
        width = max(width, student_quantile(0.975, blocks - 1) * between)
    return float(width / watts.mean())


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
