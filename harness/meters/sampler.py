"""Energy from power samples alone: when to take them, and what their integral is worth."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from harness.meters.base import PowerTrace
from harness.meters.ticker import NORMAL_95, ThreadTicker
from harness.schema.record import EnergyFlag

LEAST_GAP_S = 0.1
"""At most 10 samples a second."""
LONG_GAP_S = 1.0
LEAST_COVERED = 0.5


def gaps_s(seed: int = 0, least_s: float = LEAST_GAP_S) -> Iterator[float]:
    """Yield the seconds from sample to sample: uniform in 1 to 2 times the least, by a seed.

    A fixed distance that beats with the load's own period shows a power that never was, however
    long the window; a random one turns that into noise, which `integral` sees.
    """
    stream = random.Random(seed)
    while True:
        yield stream.uniform(least_s, 2 * least_s)


@dataclass(frozen=True, slots=True)
class Integral:
    """Joules of a window with the relative 95 % uncertainty of having only samples.

    `peak` is the highest sample over the mean. Joules are None, with a reason, where the samples
    do not support a figure.
    """

    joules: float | None
    statistical: float = 0.0
    peak: float = 1.0
    flags: tuple[EnergyFlag, ...] = ()
    reason: str | None = None


def integral(
    trace: PowerTrace,
    begin_ns: int,
    end_ns: int,
    most_watts: float = math.inf,
    long_gap_s: float = LONG_GAP_S,
) -> Integral:
    """Return the trapezoid over the samples between two times; the ends hold the nearest sample.

    Samples that are negative, above `most_watts` or no number are dropped and flagged. Over a gap g
    with powers P and Q at its ends the error of the trapezoid has a variance of about
    g^2 (P - Q)^2 / 2, if they are independent draws of a power that changes much faster; a single
    step between them gives a sixth of that, a ramp nothing. A gap of more than `long_gap_s`
    may hide anything that the window shows: there (P - Q)^2 is at least 2 var(P) of all samples.
    What no sample met, say one short burst, is in neither the joules nor the uncertainty.
    """
    seen = [
        (at_ns, watts)
        for at_ns, watts in zip(trace.at_ns, trace.watts, strict=True)
        if begin_ns <= at_ns <= end_ns
    ]
    good = [(at_ns, watts) for at_ns, watts in seen if 0 <= watts <= most_watts]
    flags: set[EnergyFlag] = {"negative_sample"} if len(good) < len(seen) else set()
    if len(good) < 2:
        return Integral(
            None,
            flags=tuple(flags),
            reason=f"{len(good)} valid power samples of {len(seen)}: at least 2 are needed",
        )
    mean = math.fsum(watts for _, watts in good) / len(good)
    spread = math.fsum((watts - mean) ** 2 for _, watts in good) / len(good)
    edges = [(begin_ns, good[0][1]), *good, (end_ns, good[-1][1])]
    joules, variance, unseen_s = 0.0, 0.0, 0.0
    for (at_ns, watts), (next_ns, next_watts) in pairwise(edges):
        gap_s = (next_ns - at_ns) / 1e9
        joules += gap_s * (watts + next_watts) / 2
        square = (next_watts - watts) ** 2
        if gap_s > long_gap_s:
            flags.add("gaps")
            unseen_s += gap_s
            square = max(square, 2 * spread)
        variance += gap_s**2 * square / 2
    duration_s = (end_ns - begin_ns) / 1e9
    if unseen_s > (1 - LEAST_COVERED) * duration_s:
        reason = f"no valid power samples in {unseen_s:.1f} s of {duration_s:.1f} s"
        return Integral(None, flags=tuple(sorted(flags)), reason=reason)
    if joules <= 0:
        return Integral(None, flags=tuple(sorted(flags)), reason="the sensor reads 0 W throughout")
    highest = max(watts for _, watts in good)
    return Integral(
        joules,
        NORMAL_95 * math.sqrt(variance) / joules,
        highest * duration_s / joules,
        tuple(sorted(flags)),
    )


class Sampler:
    """Takes power samples, one by one with `sample` or in a thread from `resume` to `stop`.

    `read` returns watts and may raise OSError or ValueError: such a sample is left out.
    """

    def __init__(
        self,
        read: Callable[[], float],
        now_ns: Callable[[], int] = time.perf_counter_ns,
        least_gap_s: float = LEAST_GAP_S,
    ) -> None:
        self._read = read
        self._now_ns = now_ns
        self._least_gap_s = least_gap_s
        self._ticker = ThreadTicker(lambda least_s: gaps_s(least_s=least_s))
        self.trace = PowerTrace()

    def sample(self) -> int:
        """Take a sample; return its time, the middle of the read."""
        before_ns = self._now_ns()
        try:
            watts = self._read()
        except (OSError, ValueError):
            return self._now_ns()
        at_ns = (before_ns + self._now_ns()) // 2
        self.trace.at_ns.append(at_ns)
        self.trace.watts.append(watts)
        return at_ns

    def start(self) -> None:
        """Forget the samples so far."""
        self.stop()
        self.trace = PowerTrace()

    def resume(self) -> None:
        """Take samples in the background from now on."""
        self._ticker.start(self.sample, self._least_gap_s)

    def stop(self) -> None:
        """End the thread."""
        self._ticker.stop()
