"""Samples to an operating point: the metrics of docs/metrics.md, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from harness import early_stopping, statistics, steady_state
from harness.measure.chains import Chained
from harness.measure.delays import own_delays
from harness.measure.energy_figures import Work, energy_metrics
from harness.measure.samples import OK, TIMED_OUT, UNSERVED
from harness.measure.task_figures import TASK_LATENCY, task_metrics, task_rows, turn_metrics
from harness.schema.base import ScenarioKind, Task
from harness.schema.record import EnergyReading, Metric, Point, SloCheck
from harness.schema.workload import SloLimit

Column = NDArray[np.float64]
ONE_BLOCK_MOST = 0.05
"""With a larger share of answers in one block the others' time per token says nothing of all."""
CLOSED = frozenset({"single_stream", "multi_stream", "closed_loop", "offline"})
"""Scenarios in which a request is sent when an answer has come."""


class Table(Protocol):
    """Rows of requests by column, as `Samples` has them."""

    def columns(self) -> dict[str, NDArray[np.int64]]:
        """Return the columns by name, of equal lengths."""


class Window:
    """The samples of one operating point as seconds, with what each request was worth.

    The duration runs from the window's start to the last answer, in a closed loop (`over_ns`, as of
    `Samples`) until the last request was given up. `audio_s` and `asked` are, for
    each input of the workload, its seconds of audio and the output tokens it asks for.
    `max_delay_s` is how long the harness may hold a request back to fill a batch: that is no lag,
    nor is waiting for one of the `slots` queries that the session takes at once (None: no limit).
    Requests that were due before `start_ns` (of the samples' time) are left out; what of theirs
    came later still counts as an answer in the window: `ended_s`, `tokens_out` and `audio_s` have
    one value per answer, the others one per request. `chained` says how the requests belong
    together; `tasks` are then those that began in the window.

    An answer whose several tokens came in one block has a first token and an end, but no time per
    output token: it is one of `in_one_block`, not in `tpot_s`, and a promise about it is judged by
    the most that it can be, from issue to end over tokens - 1 (`judged`).
    """

    def __init__(
        self,
        samples: Table,
        audio_s: Sequence[float],
        asked: Sequence[int] = (),
        max_delay_s: float = 0.0,
        start_ns: int = 0,
        slots: int | None = 1,
        chained: Chained | None = None,
        over_ns: int = 0,
    ) -> None:
        self._given = samples, audio_s, asked, max_delay_s
        self._over_ns = over_ns
        self._slots = slots
        self._chained = chained
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
        blocks = several & (first >= ended)
        tpot = np.zeros(tokens.size)
        tpot[several] = (ended - first)[several] / 1e9 / (tokens[several] - 1)
        self.tpot_s: Column = tpot[several & ~blocks]
        self.in_one_block = int(blocks.sum())
        self.several_tokens = int(several.sum())
        self.least_tpot_s: Column = tpot[several]
        tpot[blocks] = (ended - self.issued_ns)[blocks] / 1e9 / (tokens[blocks] - 1)
        self.most_tpot_s: Column = tpot[several]
        ttft = np.full(tokens.size, np.inf)
        ttft[streamed] = self.ttft_s
        self._by_request = {"latency": self.latency_s, "ttft": ttft, "tpot": tpot}
        self._chain_columns(every, kept & (every["status"] == OK), start_ns)
        self._streamed = streamed
        self.length_share: float | None = None
        if len(asked) and tokens.size and max(asked) > 0:
            wanted = np.asarray(asked)[columns["input"][self.ok]]
            self.length_share = float(tokens.sum() / wanted.sum())
        due = columns["scheduled_ns"]
        self.offered_s = float(due.max() - start_ns) / 1e9 if due.size else 0.0
        over_ns = max(over_ns, int(columns["ended_ns"].max(initial=-1)))
        self.duration_s = (over_ns - start_ns) / 1e9 if over_ns >= 0 else 0.0
        _, delays = own_delays(columns, slots, round(max_delay_s * 1e9))
        self.lag_s: Column = delays / 1e9

    def since(self, start_ns: int) -> Window:
        """Return the window without the requests due before `start_ns`, where it then starts."""
        if not start_ns:
            return self
        return Window(*self._given, start_ns, self._slots, self._chained, self._over_ns)

    def _chain_columns(
        self, every: dict[str, NDArray[np.int64]], answered: NDArray[np.bool_], start_ns: int
    ) -> None:
        """Keep of what chains the answered requests are, and the tasks of all requests."""
        self.tasks = None
        if self._chained is None:
            return
        self._chain, self._turn = every["task"][answered], every["turn"][answered]
        if self._chained.calls is not None:
            self.tasks = task_rows(every, self._chained.calls, start_ns, answered)
            self.task_latency_s: Column = self.tasks.latency_s
            self._by_request[TASK_LATENCY] = self.tasks.of_request

    def chain_metrics(self, slo: Sequence[SloLimit]) -> dict[str, Metric]:
        """Return the figures of tasks and of turns; none where each request is alone."""
        metrics: dict[str, Metric] = {}
        if self.tasks is not None:
            calls = [limit for limit in slo if limit.metric != TASK_LATENCY]
            bad = self._chain[~self._met(calls)]
            metrics |= task_metrics(self.tasks, self.duration_s, slo, bad)
        if self._chained is not None and self._chained.turns:
            every = np.ones(self.latency_s.size, dtype=bool)
            of = {"latency": (self.latency_s, every), "ttft": (self.ttft_s, self._streamed)}
            metrics |= turn_metrics(self._turn, of)
        return metrics

    def within(self, slo: Sequence[SloLimit]) -> int:
        """Return how many requests ended well and met every limit of `slo` together.

        A request that should have streamed and did not has no time to first token, and misses; one
        of a single token has no time per output token to miss. One whose tokens came in one block
        must meet it by the most that it can be.
        """
        return int(self._met(slo).sum())

    def _met(self, slo: Sequence[SloLimit]) -> NDArray[np.bool_]:
        """Return which of the requests that ended well met every limit; a task's is its calls'."""
        met = np.ones(self.latency_s.size, dtype=bool)
        for limit in slo:
            met &= self._by_request[limit.metric] <= limit.limit_s
        return met

    def missed(self, metric: str) -> int:
        """Return how many requests miss any limit on `metric`, having no value of it to compare.

        All that failed, and of `ttft` those that ended well and never streamed. Of `task_latency`
        the tasks that failed.
        """
        if metric == TASK_LATENCY:
            return 0 if self.tasks is None else self.tasks.failed
        silent = self.latency_s.size - self.ttft_s.size if metric == "ttft" else 0
        return self.failed + silent

    def series(self, metric: str) -> Column:
        """Return the values of `latency`, `ttft` or `tpot`, one per request that has one.

        Those of `task_latency` are one per task that was done.
        """
        return cast(Column, getattr(self, f"{metric}_s"))

    def judged(self, metric: str) -> Column:
        """Return the values by which a promise about `metric` is judged: `tpot` by its bounds."""
        return self.most_tpot_s if metric == "tpot" else self.series(metric)

    def promise(self, limit: SloLimit, confidence: float = statistics.CONFIDENCE) -> SloCheck:
        """Hold a promise against the samples.

        One about `tpot` is met if it is with the most that answers in one block can have had,
        missed if it is even with the least (none), and unproven between the two.
        """
        missed = self.missed(limit.metric)
        check = statistics.check_slo(limit, self.judged(limit.metric), missed, confidence)
        if limit.metric != "tpot" or not self.in_one_block:
            return check
        state = check.state
        if state == "missed":
            least = statistics.check_slo(limit, self.least_tpot_s, missed, confidence)
            state = "missed" if least.state == "missed" else "unproven"
        known = statistics.check_slo(limit, self.tpot_s, missed, confidence)
        value_s = known.value_s if self.one_block is None else None
        return check.model_copy(update={"state": state, "value_s": value_s})

    @property
    def one_block(self) -> str | None:
        """Say how many answers came in one block if too many did for a time per output token."""
        if self.in_one_block <= ONE_BLOCK_MOST * self.several_tokens:
            return None
        return (
            f"{self.in_one_block} of {self.several_tokens} replies came in one block: "
            "no time between their tokens"
        )


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
        if window.tasks is not None:
            metrics |= _percentiles(TASK_LATENCY, window, slo)
        metrics |= window.chain_metrics(slo)
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
            of.promise(limit)
            for limit in slo
            for of in (window if limit.metric == "tpot" else timed,)
        )
        state = statistics.worst_state(checks)
        attainment = statistics.proportion(timed.within(slo), timed.requests, better="higher")
        metrics["slo_attainment"] = attainment
        metrics["goodput_requests_per_s"] = statistics.goodput(
            attainment, timed.duration_s, _query_size(window, timed)
        )
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
    judged = np.sort(timed.judged(name))
    ordered = np.concatenate((judged, np.full(timed.missed(name), np.inf)))
    why = timed.one_block if name == "tpot" else None
    metrics = {}
    for percent in sorted(wanted):
        metric = statistics.percentile(values, percent)
        bound = early_stopping.latency_estimate(ordered, percent)
        if bound is not None and math.isfinite(bound):
            bound = max(bound, metric.value or 0.0)
            metric = metric.model_copy(update={"certified": bound})
        metrics[f"{name}_s.p{percent:g}"] = metric if why is None else _unsupported(metric, why)
    return metrics


def _unsupported(metric: Metric, why: str) -> Metric:
    """Return `metric` without its value; `n` stays the number of values that there were."""
    return metric.model_copy(
        update={"value": None, "low": None, "high": None, "reason": f"not supported: {why}"}
    )


def _query_size(window: Window, queries: Window) -> int:
    """Return how many requests of `window` each of `queries` holds."""
    return window.requests // queries.requests if queries.requests else 1


def _work(window: Window, queries: Window | None, slo: Sequence[SloLimit]) -> Work:
    """Return what the joules of `window` were used for; a query is good with all its requests."""
    asked = window if queries is None else queries
    good = asked.within(slo) * _query_size(window, asked)
    attainment = statistics.proportion(good, window.requests, better="higher") if slo else None
    return Work(
        traffic_s=window.duration_s,
        requests=int(window.ended_s.size),
        output_tokens=float(window.tokens_out.sum()),
        attainment=attainment,
    )
