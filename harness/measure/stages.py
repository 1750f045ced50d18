"""Goes on measuring a window, stage by stage, until its figures are precise or its time is over.

Between two stages nothing is in flight; the harness looks at what it has, outside the window, and
each stage doubles it. How the looks are paid for: docs/metrics.md, "When a window ends".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness import early_stopping, statistics, units
from harness.measure.clock import Clock
from harness.measure.drive import MOST_SAMPLES, StopRule
from harness.measure.samples import Samples
from harness.measure.summary import Window
from harness.schema.record import Ending
from harness.schema.workload import SloLimit

LOOK_CONFIDENCE = 0.99
"""Each look but the last decides at this confidence, the last at 95 %. Stages double, so there are
at most a handful: all looks together claim wrongly that a limit is kept in less than 5 of 100."""
GROWTH = 2.0
LEAST_EXTENSION = 0.25
"""A stage shorter than this share of what is measured already is not worth its look."""

NEVER_S = 1e9
"""The latency of a request that was never answered: more than any limit."""

MLPERF_COUNTS = {90.0: 24_576, 95.0: 57_344, 97.0: 90_112, 99.0: 270_336}
"""The fixed numbers of queries that promise a percentile with 99 % confidence within a margin of
a twentieth of what is left above it (MLPerf Inference Rules, table of query counts)."""

Drive = Callable[[StopRule, int], Samples]
"""Measures one stage: its stop rule, and how many requests the stages before it have sent."""


@dataclass(frozen=True, slots=True)
class Precision:
    """When the figures of a window are good enough.

    `half_width` is half the 95 % interval of each percentile that `slo` names, relative to the
    percentile (without `slo`: of the throughput). With `certify` MLPerf's rule counts instead:
    each limit is certified by early stopping, or the window holds MLPerf's fixed count.
    `decide` closes the window also when it is clear on which side of its limits it is.
    """

    half_width: float
    slo: tuple[SloLimit, ...]
    decide: bool = False
    certify: bool = False

    def reached(self, window: Window) -> bool:
        """Return whether `window` needs no more requests."""
        if not self.slo:
            return self._steady_rate(window)
        if self.certify and all(self._certified(window, limit) for limit in self.slo):
            return True
        if self.decide and self._decided(window):
            return True
        return not self.certify and all(self._narrow(window, limit) for limit in self.slo)

    def _decided(self, window: Window) -> bool:
        """Whether one limit is clearly missed, or all are clearly met."""
        states = [window.promise(limit, LOOK_CONFIDENCE).state for limit in self.slo]
        if all(state == "met" for state in states) and not self.certify:
            return True
        return any(
            state == "missed" and self._clearly_above(window, limit)
            for state, limit in zip(states, self.slo, strict=True)
        )

    def _clearly_above(self, window: Window, limit: SloLimit) -> bool:
        low = statistics.percentile(
            values_of(window, limit), limit.percentile, confidence=LOOK_CONFIDENCE
        ).low
        return low is not None and low > limit.limit_s

    def _narrow(self, window: Window, limit: SloLimit) -> bool:
        if limit.metric == "tpot" and window.one_block is not None:
            return False
        figure = statistics.percentile(values_of(window, limit), limit.percentile)
        if figure.value is None or figure.low is None or figure.high is None:
            return False
        if figure.high >= NEVER_S:
            return False
        return figure.high - figure.low <= 2 * self.half_width * figure.value

    def _certified(self, window: Window, limit: SloLimit) -> bool:
        values = values_of(window, limit)
        misses = int((values > limit.limit_s).sum())
        if values.size >= MLPERF_COUNTS.get(limit.percentile, MOST_SAMPLES):
            return True
        return values.size > 0 and early_stopping.passes(values.size, misses, limit.percentile)

    def _steady_rate(self, window: Window) -> bool:
        ones = np.ones(window.ended_s.size)  # answers of earlier requests count too
        rate = statistics.rate(ones, window.ended_s, window.duration_s, unit="requests/s")
        if not rate.value or rate.low is None or rate.high is None:
            return False
        return rate.high - rate.low <= 2 * self.half_width * rate.value


def run_stages(
    drive: Drive,
    first: StopRule,
    precision: Precision,
    clock: Clock,
    *,
    most_s: float,
    window_of: Callable[[Samples], Window],
) -> tuple[Samples, Ending]:
    """Return the samples of all stages as one window, and why it ended.

    The first stage keeps to `first`, whatever it takes. More follow while the figures are not
    precise and the time since the start, drains included, stays within `most_s`.
    """
    began_ns = clock.now_ns()
    samples = drive(first, 0)
    while True:
        window = window_of(samples)
        if precision.reached(window):
            return samples, Ending(why="precise")
        spent_s = (clock.now_ns() - began_ns) / 1e9
        left_s = most_s - spent_s
        wanted_s = min(left_s, (GROWTH - 1) * spent_s)
        if wanted_s < LEAST_EXTENSION * spent_s or len(samples.rows) * GROWTH > MOST_SAMPLES:
            return samples, Ending(why="time_box", supports=supported(window, precision))
        stage = replace(first, least_s=wanted_s, most_s=wanted_s, count=1)
        samples.follow(drive(stage, len(samples.rows)))


def supported(window: Window, precision: Precision) -> str:
    """Return in words what a window that its time box closed can and cannot support."""
    if not precision.slo:
        return f"the throughput is not known to within {units.percent(precision.half_width)}"
    return "; ".join(_one_limit(window, limit, precision) for limit in precision.slo)


def _one_limit(window: Window, limit: SloLimit, precision: Precision) -> str:
    name = f"p{limit.percentile:g} of {limit.metric}"
    if precision.certify:
        values = values_of(window, limit)
        misses = int((values > limit.limit_s).sum())
        if early_stopping.passes(max(values.size, misses, 1), misses, limit.percentile):
            return f"{name}: certified"
        return f"{name}: not certified by {values.size} requests, {misses} of them above the limit"
    if limit.metric == "tpot" and window.one_block is not None:
        return f"{name}: {window.one_block}"
    figure = statistics.percentile(values_of(window, limit), limit.percentile)
    if figure.value is None or figure.high is None or figure.high >= NEVER_S:
        best = max(
            (
                p
                for p in statistics.PERCENTILES
                if statistics.minimum_samples(p / 100) <= (figure.n_eff or 0)
            ),
            default=None,
        )
        up_to = "no percentile" if best is None else f"percentiles up to p{best:g}"
        return f"{name}: {figure.reason or 'no finite bound'}; it supports {up_to}"
    if figure.low is None:
        return f"{name}: bounded from above only"
    width = (figure.high - figure.low) / 2 / figure.value if figure.value else math.inf
    if width <= precision.half_width:
        return f"{name}: precise"
    return (
        f"{name}: known to within {units.percent(width)}, not {units.percent(precision.half_width)}"
    )


def values_of(window: Window, limit: SloLimit) -> statistics.Samples:
    """Return the values that `limit` is about, in seconds; what never came counts as `NEVER_S`.

    Of a reply in one block it is the most that the time per output token can have been.
    """
    missed: Sequence[float] = [NEVER_S] * window.missed(limit.metric)
    return np.concatenate((window.judged(limit.metric), missed))
