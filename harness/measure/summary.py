"""Samples to an operating point: the metrics of docs/metrics.md, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from harness import early_stopping, statistics, steady_state
from harness.measure.energy_figures import Work, energy_metrics
from harness.measure.samples import OK, TIMED_OUT, UNSERVED
from harness.schema.base import ScenarioKind, Task
from harness.schema.record import EnergyReading, Metric, Point, SloCheck
from harness.schema.workload import SloLimit

Column = NDArray[np.float64]
CLOSED = frozenset({"single_stream", "multi_stream", "closed_loop", "offline"})
"""Scenarios in which a request is sent when an answer has come."""


class Table(Protocol):
    """Rows of requests by column, as `Samples` has them."""

    def columns(self) -> dict[str, NDArray[np.int64]]:
        """Return the columns by name, of equal lengths."""


class Window:
    """The samples of one operating point as seconds, with what each request was worth.

    The duration runs from the window's start to the last answer. `audio_s` and `asked` are, for
    each input of the workload, its seconds of audio and the output tokens it asks for.
    `max_delay_s` is how long the harness may hold a request back to fill a batch: that is no lag.
    Requests that were due before `start_ns` (of the samples' time) are left out; what of theirs
    came later still counts as an answer in the window: `ended_s`, `tokens_out` and `audio_s` have
    one value per answer, the others one per request.
    """

    def __init__(
        self,
        samples: Table,
        audio_s: Sequence[float],
        asked: Sequence[int] = (),
        max_delay_s: float = 0.0,
        start_ns: int = 0,
    ) -> None:
        self._given = samples, audio_s, asked, max_delay_s
        every = samples.columns()
        answered = (every["status"] == OK) & ((start_ns == 0) | (every["ended_ns"] > start_ns))
        self.ended_s: Column = (every["ended_ns"][answered] - start_ns) / 1e9
        self.tokens_out: Column = every["tokens_out"][answered].astype(np.float64)
        self.audio_s: Column = np.asarray(audio_s, dtype=np.float64)[every["input"][answered]]
        kept = (start_ns == 0) | (every["scheduled_ns"] >= start_ns)
        columns = {name: column[kept] for name, column in every.items()}
        self.ok = columns["status"] == OK
        self.requests = int(self.ok.size)
        self.failed = int(self.requests - self.ok.sum())
        self.unserved = int(np.isin(columns["status"], (UNSERVED, TIMED_OUT)).sum())
        scheduled = columns["scheduled_ns"][self.ok]
        ended = columns["ended_ns"][self.ok]
        first = columns["first_ns"][self.ok]
        tokens = columns["tokens_out"][self.ok]
        self.scheduled_ns = scheduled
        self.issued_ns = columns["issued_ns"][self.ok]
        self.latency_s: Column = (ended - scheduled) / 1e9
        streamed = first >= 0
        self.ttft_s: Column = (first - scheduled)[streamed] / 1e9
        several = streamed & (tokens > 1)
        self.tpot_s: Column = (ended - first)[several] / 1e9 / (tokens[several] - 1)
        ttft, tpot = np.full(tokens.size, np.inf), np.zeros(tokens.size)
        ttft[streamed] = self.ttft_s
        tpot[several] = self.tpot_s
        self._by_request = {"latency": self.latency_s, "ttft": ttft, "tpot": tpot}
        self.length_share: float | None = None
        if len(asked) and tokens.size and max(asked) > 0:
            wanted = np.asarray(asked)[columns["input"][self.ok]]
            self.length_share = float(tokens.sum() / wanted.sum())
        due = columns["scheduled_ns"]
        self.offered_s = float(due.max() - start_ns) / 1e9 if due.size else 0.0
        every_end = columns["ended_ns"]
        has_ended = (every_end >= 0).any()
        self.duration_s = float(every_end.max() - start_ns) / 1e9 if has_ended else 0.0
        issued = columns["issued_ns"]
        free_at = np.concatenate(([0], np.maximum.accumulate(every_end)[:-1]))
        lag = issued - np.maximum(due + max_delay_s * 1e9, free_at)
        self.lag_s: Column = np.maximum(lag[issued >= 0], 0) / 1e9

    def since(self, start_ns: int) -> Window:
        """Return the window without the requests due before `start_ns`, where it then starts."""
        return Window(*self._given, start_ns) if start_ns else self

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
    """Return the operating point of `window`, without its warm-up (see `warm_up_end_ns`).

    Latencies and the SLO are left out for `offline`, where nobody waits for a single request. With
    `queries`, the same window by queries of several requests, they are those of the queries, but
    for the time per output token, which only a request has; attainment then leaves it out. Energy
    was metered over the whole window, warm-up included, and is shared among all requests served.
    """
    whole = window
    start_ns = warm_up_end_ns(queries or window, scenario)
    window = whole.since(start_ns)
    timed = window if queries is None else queries.since(start_ns)
    metrics: dict[str, Metric] = {}
    if scenario != "offline":
        for name in ("latency", "ttft", "tpot") if task == "text_generation" else ("latency",):
            metrics |= _percentiles(name, window if name == "tpot" else timed, slo)
    per_request = np.ones(window.ended_s.size)
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
            statistics.check_slo(limit, of.series(limit.metric), of.missed(limit.metric))
            for limit in slo
            for of in (window if limit.metric == "tpot" else timed,)
        )
        state = statistics.worst_state(checks)
        attainment = statistics.proportion(timed.within(slo), timed.requests, better="higher")
        metrics["slo_attainment"] = attainment
        metrics["goodput_requests_per_s"] = statistics.goodput(attainment, timed.duration_s)
    metrics |= energy_metrics(energy, _work(whole, queries, () if scenario == "offline" else slo))
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
        warm_up_requests=whole.requests - window.requests,
    )


def warm_up_end_ns(window: Window, scenario: ScenarioKind) -> int:
    """Return when the first request of `window` that is no warm-up was due; 0 if all count.

    Only where the next request waits for an answer: there a slow start delays nobody after it. An
    open loop's slow start is a queue that users would have waited in, and stays. A warm-up of more
    than half the window is no warm-up but a series that never settles: it stays, for the verdict's
    drift to tell. For `offline` the series is that of its batches, whose requests end together.
    """
    if scenario not in CLOSED:
        return 0
    due_ns, latency_s = window.scheduled_ns, window.latency_s
    order = np.argsort(due_ns, kind="stable")
    due_ns, latency_s = due_ns[order], latency_s[order]
    if scenario == "offline" and due_ns.size:
        due_ns, first = np.unique(due_ns, return_index=True)
        latency_s = np.maximum.reduceat(latency_s, first)
    cut = steady_state.warm_up_end(latency_s)
    return int(due_ns[cut]) if 0 < cut <= due_ns.size // 2 else 0


def _percentiles(name: str, timed: Window, slo: Sequence[SloLimit]) -> dict[str, Metric]:
    """Return the percentiles of `name`, each with its certified bound.

    To the bound a request without a value is slower than any other, as it is to the SLO: a target
    must not be certified for failing its slow requests. Where such a one would be the bound there
    is none.
    """
    wanted = {*statistics.PERCENTILES, *(s.percentile for s in slo if s.metric == name)}
    values = timed.series(name)
    ordered = np.concatenate((np.sort(values), np.full(timed.missed(name), np.inf)))
    metrics = {}
    for percent in sorted(wanted):
        metric = statistics.percentile(values, percent)
        bound = early_stopping.latency_estimate(ordered, percent)
        if bound is not None and math.isfinite(bound):
            metric = metric.model_copy(update={"certified": bound})
        metrics[f"{name}_s.p{percent:g}"] = metric
    return metrics


def _work(window: Window, queries: Window | None, slo: Sequence[SloLimit]) -> Work:
    """Return what the joules of `window` were used for; a query is good with all its requests."""
    asked = window if queries is None else queries
    size = window.requests // asked.requests if asked.requests else 1
    good = asked.within(slo) * size
    attainment = statistics.proportion(good, window.requests, better="higher") if slo else None
    return Work(
        traffic_s=window.duration_s,
        requests=int(window.ended_s.size),
        output_tokens=float(window.tokens_out.sum()),
        attainment=attainment,
    )
