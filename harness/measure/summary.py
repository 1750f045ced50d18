"""Samples to an operating point: the metrics of docs/metrics.md, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from harness import statistics
from harness.measure.samples import OK, TIMED_OUT, UNSERVED, Samples
from harness.schema.base import ScenarioKind, Task
from harness.schema.record import EnergyReading, Metric, Point, SloCheck
from harness.schema.workload import SloLimit

Column = NDArray[np.float64]


class Window:
    """The samples of one operating point as seconds, with what each request was worth.

    The duration runs from the window's start to the last answer. `audio_s` and `asked` are, for
    each input of the workload, its seconds of audio and the output tokens it asks for.
    `max_delay_s` is how long the harness may hold a request back to fill a batch: that is no lag.
    """

    def __init__(
        self,
        samples: Samples,
        audio_s: Sequence[float],
        asked: Sequence[int] = (),
        max_delay_s: float = 0.0,
    ) -> None:
        columns = samples.columns()
        self.ok = columns["status"] == OK
        self.requests = int(self.ok.size)
        self.failed = int(self.requests - self.ok.sum())
        self.unserved = int(np.isin(columns["status"], (UNSERVED, TIMED_OUT)).sum())
        scheduled = columns["scheduled_ns"][self.ok]
        ended = columns["ended_ns"][self.ok]
        first = columns["first_ns"][self.ok]
        tokens = columns["tokens_out"][self.ok]
        self.ended_s: Column = ended / 1e9
        self.latency_s: Column = (ended - scheduled) / 1e9
        self.tokens_out: Column = tokens.astype(np.float64)
        streamed = first >= 0
        self.ttft_s: Column = (first - scheduled)[streamed] / 1e9
        several = streamed & (tokens > 1)
        self.tpot_s: Column = (ended - first)[several] / 1e9 / (tokens[several] - 1)
        ttft, tpot = np.full(tokens.size, np.inf), np.zeros(tokens.size)
        ttft[streamed] = self.ttft_s
        tpot[several] = self.tpot_s
        self._by_request = {"latency": self.latency_s, "ttft": ttft, "tpot": tpot}
        self.audio_s: Column = np.asarray(audio_s, dtype=np.float64)[columns["input"][self.ok]]
        self.length_share: float | None = None
        if len(asked) and tokens.size and max(asked) > 0:
            wanted = np.asarray(asked)[columns["input"][self.ok]]
            self.length_share = float(tokens.sum() / wanted.sum())
        scheduled_all = columns["scheduled_ns"]
        self.offered_s = float(scheduled_all.max()) / 1e9 if scheduled_all.size else 0.0
        every_end = columns["ended_ns"]
        self.duration_s = float(every_end.max()) / 1e9 if (every_end >= 0).any() else 0.0
        issued = columns["issued_ns"]
        free_at = np.concatenate(([0], np.maximum.accumulate(every_end)[:-1]))
        lag = issued - np.maximum(columns["scheduled_ns"] + max_delay_s * 1e9, free_at)
        self.lag_s: Column = np.maximum(lag[issued >= 0], 0) / 1e9

    def within(self, slo: Sequence[SloLimit]) -> int:
        """Return how many requests ended well and met every limit of `slo` together.

        A request that should have streamed and did not has no time to first token, and misses; one
        of a single token has no time per output token to miss.
        """
        met = np.ones(self.latency_s.size, dtype=bool)
        for limit in slo:
            met &= self._by_request[limit.metric] <= limit.limit_s
        return int(met.sum())

    def missed(self, metric: str) -> int:
        """Return how many requests miss any limit on `metric`, having no value of it to compare.

        All that failed, and of `ttft` those that ended well and never streamed.
        """
        silent = self.latency_s.size - self.ttft_s.size if metric == "ttft" else 0
        return self.failed + silent

    def series(self, metric: str) -> Column:
        """Return the values of `latency`, `ttft` or `tpot`, one per request that has one."""
        return cast(Column, getattr(self, f"{metric}_s"))


def summarise(
    window: Window,
    *,
    task: Task,
    scenario: ScenarioKind,
    slo: Sequence[SloLimit],
    energy: Sequence[EnergyReading],
    load: float | None = None,
    requested_rate: float | None = None,
    queries: Window | None = None,
) -> Point:
    """Return the operating point of `window`.

    Latencies and the SLO are left out for `offline`, where nobody waits for a single request. With
    `queries`, the same window by queries of several requests, they are those of the queries.
    """
    metrics: dict[str, Metric] = {}
    timed = queries or window
    if scenario != "offline":
        for name in ("latency", "ttft", "tpot") if task == "text_generation" else ("latency",):
            metrics |= _percentiles(name, timed.series(name), slo)
    per_request = np.ones(window.latency_s.size)
    amounts: dict[str, tuple[Column, str]] = {
        "throughput_requests_per_s": (per_request, "requests/s")
    }
    if task == "text_generation":
        amounts["throughput_output_tokens_per_s"] = (window.tokens_out, "tokens/s")
    if task == "speech_to_text":
        amounts["throughput_audio_s_per_s"] = (window.audio_s, "audio s/s")
    for name, (amount, unit) in amounts.items():
        metrics[name] = statistics.rate(amount, window.ended_s, window.duration_s, unit=unit)
    metrics["error_rate"] = statistics.proportion(window.failed, window.requests, better="lower")
    checks: tuple[SloCheck, ...] = ()
    state = "not_applicable"
    if scenario != "offline":
        checks = tuple(
            statistics.check_slo(limit, timed.series(limit.metric), timed.missed(limit.metric))
            for limit in slo
        )
        state = statistics.worst_state(checks)
        attainment = statistics.proportion(timed.within(slo), timed.requests, better="higher")
        metrics["slo_attainment"] = attainment
        metrics["goodput_requests_per_s"] = statistics.goodput(attainment, timed.duration_s)
    metrics |= _energy_metrics(window, energy)
    return Point(
        load=load,
        requested_rate=requested_rate,
        duration_s=window.duration_s,
        requests=window.requests,
        failed=window.failed,
        metrics=metrics,
        slo=checks,
        slo_state=state,  # type: ignore[arg-type]
        latency=statistics.histogram(
            timed.latency_s if scenario != "offline" else timed.latency_s[:0]
        ),
        energy=tuple(energy),
    )


def _percentiles(name: str, values: Column, slo: Sequence[SloLimit]) -> dict[str, Metric]:
    wanted = {*statistics.PERCENTILES, *(s.percentile for s in slo if s.metric == name)}
    return {f"{name}_s.p{p:g}": statistics.percentile(values, p) for p in sorted(wanted)}


def _energy_metrics(window: Window, energy: Sequence[EnergyReading]) -> dict[str, Metric]:
    """Return joules per request and per output token, one pair per reading that has joules.

    The joules of failed requests stay in the numerator; the boundary is in the name.
    """
    metrics: dict[str, Metric] = {}
    served = int(window.latency_s.size)
    for reading in energy:
        if reading.joules is None or reading.uncertainty is None:
            continue
        amounts = {"request": float(served), "output_token": float(window.tokens_out.sum())}
        for unit, amount in amounts.items():
            if amount == 0:
                continue
            value = reading.joules / amount
            metrics[f"energy_j_per_{unit}@{reading.boundary}"] = Metric(
                unit=f"J/{unit.replace('_', ' ')}",
                better="lower",
                value=value,
                low=max(0.0, value * (1 - reading.uncertainty)),
                high=value * (1 + reading.uncertainty),
                n=served,
                method=f"{reading.meter}, {reading.provenance}",
            )
    return metrics
