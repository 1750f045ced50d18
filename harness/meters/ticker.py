"""Power sampled in the background: the thread that takes the samples, and what they add up to."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from harness.meters.base import PowerTrace

NORMAL_95 = 1.96


class Ticker(Protocol):
    """Calls an action again and again; a test gives one that lives on virtual time."""

    def start(self, action: Callable[[], None], period_s: float) -> None:
        """Call `action` every `period_s` from now on."""

    def stop(self) -> None:
        """Call it no more; returns when the last call is over."""


class ThreadTicker:
    """Calls the action from a thread of its own, which ends with `stop`.

    A call that comes late is not made up for: the next one keeps to the plan.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, action: Callable[[], None], period_s: float) -> None:
        """Call `action` every `period_s`, first after one period."""
        self.stop()
        self._stopped = stopped = threading.Event()
        began_s = time.monotonic()

        def run() -> None:
            while True:
                late_s = (time.monotonic() - began_s) % period_s
                if stopped.wait(period_s - late_s):
                    return
                action()

        self._thread = threading.Thread(target=run, name="power-sampling", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._stopped.set()
            self._thread.join()
            self._thread = None


def mean_watts(trace: PowerTrace) -> float | None:
    """Return the mean power between the first and the last sample, by the trapezoid rule.

    None with fewer than two samples: one says nothing about the time between.
    """
    span_s = (trace.at_ns[-1] - trace.at_ns[0]) / 1e9 if len(trace.at_ns) > 1 else 0.0
    if span_s <= 0:
        return None
    joules = sum(
        (trace.at_ns[i + 1] - trace.at_ns[i]) / 1e9 * (trace.watts[i] + trace.watts[i + 1]) / 2
        for i in range(len(trace.at_ns) - 1)
    )
    return joules / span_s


def sampling_uncertainty(watts: Sequence[float], independent: float) -> float:
    """Return the 95 % relative uncertainty of the samples' mean, worth `independent` samples.

    1.96 s / sqrt(n) / mean, where s is the samples' standard deviation: what is between the samples
    is taken to scatter as they do.
    """
    mean = sum(watts) / len(watts)
    if mean <= 0 or len(watts) < 2:
        return 1.0
    variance = sum((value - mean) ** 2 for value in watts) / (len(watts) - 1)
    return NORMAL_95 * math.sqrt(variance / max(1.0, min(independent, len(watts)))) / mean


def longest_gap_s(trace: PowerTrace) -> float:
    """Return the longest time between two samples; 0 with fewer than two."""
    pairs = zip(trace.at_ns, trace.at_ns[1:], strict=False)
    return max(((later - earlier) / 1e9 for earlier, later in pairs), default=0.0)
