"""Power sampled in the background: the thread that takes the samples, and what they add up to."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from harness.meters.base import PowerTrace

NORMAL_95 = 1.96


class Ticker(Protocol):
    """Calls an action again and again; a test gives one that lives on virtual time."""

    def start(self, action: Callable[[], None], period_s: float) -> None:
        """Call `action` every `period_s` from now on."""

    def stop(self) -> None:
        """Call it no more; returns when the last call is over."""


def even_gaps_s(period_s: float) -> Iterator[float]:
    """Yield the seconds to the next multiple of `period_s`: what came late is not made up for."""
    began_s = time.monotonic()
    while True:
        yield period_s - (time.monotonic() - began_s) % period_s


class ThreadTicker:
    """Calls the action from a thread of its own, which ends with `stop`.

    `gaps_s` makes from the period the seconds to wait before each call.
    """

    def __init__(self, gaps_s: Callable[[float], Iterator[float]] = even_gaps_s) -> None:
        self._gaps_s = gaps_s
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, action: Callable[[], object], period_s: float) -> None:
        """Call `action` again and again, first after one gap."""
        self.stop()
        self._stopped = stopped = threading.Event()
        gaps_s = self._gaps_s(period_s)

        def run() -> None:
            for gap_s in gaps_s:
                if stopped.wait(gap_s):
                    return
                action()

        self._thread = threading.Thread(target=run, name="power-sampler", daemon=True)
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
