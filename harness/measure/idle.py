"""Meters a device that serves nothing: before the session is opened, and with it open.

Nothing is waited for where no meter works. Why the windows are as long as they are, and what a
short one is worth: docs/energy.md, "Idle power".
"""

from __future__ import annotations

import math

import numpy as np

from harness.measure.clock import Clock
from harness.measure.energy import Energy
from harness.schema.record import EnergyReading

IDLE_S: dict[str, float] = {"quick": 2.0, "standard": 20.0, "rigorous": 60.0, "mlperf": 60.0}
"""The length of an idle window by profile."""
LONG_ENOUGH_S = 60.0
"""A shorter window is flagged: slow drift is not in it."""
DRIFT = ((1.0, 0.09), (10.0, 0.039), (30.0, 0.025), (60.0, 0.019))
"""By the length of a window (s): how far its mean lies from that of the whole run, relative rms.

The 90th percentile of 40 wall logs of MLPerf Inference v4.1 and v5.1 (at about 1 sample a second,
inside the middle 80 % of each run). Nothing shorter than 1 s or longer than 60 s was read off.
"""


def idle_limit_s(window_s: float) -> float:
    """Return how long an idle window may take before the cell counts as hung."""
    return 60.0 + 2 * window_s


def idle_level(energy: Energy, clock: Clock, window_s: float) -> tuple[EnergyReading, ...]:
    """Return what the working meters read in a window of `window_s` in which nothing is asked.

    Empty, at once, where no meter works. A model has nothing to say about a window without load.
    """
    if not energy.meters:
        return ()
    energy.begin()
    clock.wait_until_ns(clock.now_ns() + round(window_s * 1e9))
    found = [reading for reading in energy.end() if reading.provenance not in (None, "modelled")]
    return tuple(_with_drift(reading) for reading in found)


def _with_drift(reading: EnergyReading) -> EnergyReading:
    """Return `reading` with the uncertainty of so short a window in it, flagged if it is short."""
    if reading.joules is None or reading.uncertainty is None:
        return reading
    part = drift(reading.duration_s)
    flags = {*reading.flags, "short_window"} if short(reading) else set(reading.flags)
    return reading.model_copy(
        update={
            "uncertainty": math.hypot(reading.uncertainty, part),
            "parts": {**reading.parts, "drift": part},
            "flags": tuple(sorted(flags)),
        }
    )


def short(reading: EnergyReading) -> bool:
    """Return whether an idle window is shorter than it should be; 1 % off is no shorter."""
    return reading.duration_s < 0.99 * LONG_ENOUGH_S


def drift(duration_s: float) -> float:
    """Return the 95 % uncertainty of taking a window's mean power for that of a longer time."""
    lengths, shares = zip(*DRIFT, strict=True)
    at = np.log(max(duration_s, lengths[0]))
    return 1.96 * float(np.interp(at, np.log(lengths), shares))
