"""Calibrates the client at a point's own load, on a server of this machine that tells the truth.

It is driven by the same driver through the same client as the point was, so that whatever delays a
request there delays it here. The server shares this machine's cores, which the target does not
have to: on few cores the error is an upper bound, and the ceiling a lower one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.adapters.trust import Rehearsal, ReplyShape, TrustedSession, Truth
from harness.errors import HarnessError
from harness.measure.clock import Clock, own_core
from harness.measure.delays import Columns, own_delays
from harness.measure.drive import Driver, StopRule
from harness.measure.samples import OK, Samples
from harness.schema.trust import ClientCalibration

WINDOW_S = 0.6
WARM_UP_S = 0.15
CEILING_S = 0.3
LEAST_PER_S = 50.0
"""Fewer requests a second would be too few to tell an error of."""
FLOOD_PER_S, FLOOD_TIMES = 30_000.0, 4.0
"""The ceiling of an open loop is looked for up to so many replies, and times the load's rate."""
FEW, MANY = 8, 64
"""Users of the closed loop that finds the ceiling: more only wait for each other."""
TRIES = 3
MOST_STREAMS = 1_024
MOST_TOKENS = 512
FIRST_MOST_S = 0.05
REPLY_SHARE = 0.25
"""The tokens of a rehearsed reply come within this share of the window."""
LEAST_SPAN_NS = 1_000_000
SEED = 1


@dataclass(frozen=True, slots=True)
class Load:
    """What to rehearse: `rate` requests a second, or where None `streams` users in a closed loop.

    The shape is the point's, but that long replies are cut short: in a closed loop to fewer tokens
    at the same gaps, so that as many tokens come a second and more requests; in an open one to
    smaller gaps, so that as many of both come. Rates below 50 a second are rehearsed at 50, with
    fewer tokens each.
    """

    streams: int
    rate: float | None
    shape: ReplyShape


def load_of(columns: Columns, *, open_loop: bool) -> Load | None:
    """Return the load of a point's samples; None if no request of it was answered."""
    ok = columns["status"] == OK
    if not ok.any():
        return None
    due_ns, _ = own_delays(columns, None)
    due, issued = columns["scheduled_ns"][ok], columns["issued_ns"][ok]
    first, ended = columns["first_ns"][ok], columns["ended_ns"][ok]
    streamed = first >= 0
    tokens, gap_s = 0, 0.0
    if streamed.mean() > 0.5:
        counts = np.maximum(columns["tokens_out"][ok][streamed], 1)
        tokens = int(np.median(counts))
        spans_s = (ended - first)[streamed] / 1e9
        gap_s = float(np.median(spans_s / np.maximum(counts - 1, 1))) if tokens > 1 else 0.0
    first_s = float(np.median(np.where(streamed, first, ended) - issued)) / 1e9
    span_s = float(ended.max() - due.min()) / 1e9
    streams = round(float((ended - issued).sum()) / 1e9 / span_s) if span_s else 1
    rate = None
    if open_loop and due_ns.size > 1 and due_ns.max() > due_ns.min():
        rate = _rounded((due_ns.size - 1) / (float(due_ns.max() - due_ns.min()) / 1e9))
    reply_s = REPLY_SHARE * WINDOW_S
    tokens = min(tokens, MOST_TOKENS)
    if rate is not None and rate < LEAST_PER_S:
        tokens = max(min(tokens, 2), round(tokens * rate / LEAST_PER_S))
        rate = LEAST_PER_S
    if rate is not None:
        gap_s = min(gap_s, reply_s / max(tokens - 1, 1))
    elif gap_s:
        tokens = min(tokens, max(2, 1 + int(reply_s / gap_s)))
    first_s = min(first_s, FIRST_MOST_S)
    shape = ReplyShape(_rounded(first_s), _rounded(gap_s), tokens)
    return Load(min(max(streams, 1), MOST_STREAMS), rate, shape)


class Rehearser:
    """Calibrates points; what it has rehearsed once it knows. Costs about a second a load.

    What others do on this machine meanwhile is not the client's: a load that looks bad is rehearsed
    again, and the best counts. A client that is the limit is that every time.
    """

    def __init__(self, rehearsal: Rehearsal, clock: Clock) -> None:
        self._rehearsal = rehearsal
        self._clock = clock
        self._known: dict[Load, ClientCalibration] = {}
        self._ceilings: dict[tuple[float | None, int, int], float | None] = {}

    def calibrate(
        self, load: Load, good: Callable[[ClientCalibration], bool] = lambda _: True
    ) -> ClientCalibration:
        """Return the client's error and ceiling at `load`: the best of three, or the first `good`.

        The best has the smallest median error; the ceiling is the highest found.
        """
        best = self._known.get(load) or self._tried(load)
        for _ in range(TRIES - 1):
            if good(best):
                break
            self._ceilings.pop(_users(load), None)
            best = _better(best, self._tried(load))
        self._known[load] = best
        return best

    def ceiling(self, rate: float, tokens: int) -> float | None:
        """Return the replies a second of `tokens` tokens that the client can do, near `rate`.

        None where too few came to tell.
        """
        try:
            return self._ceiling(Load(FEW, rate, ReplyShape(0.0, 0.0, min(tokens, MOST_TOKENS))))
        except HarnessError:
            return None

    def _tried(self, load: Load) -> ClientCalibration:
        """Return what was found; why nothing was, where the rehearsal itself broke."""
        try:
            return self._calibrate(load)
        except HarnessError as error:  # the point was measured, whatever becomes of this
            return _told(load, 0, reason=str(error)[:2000])

    def _calibrate(self, load: Load) -> ClientCalibration:
        samples, truths = self._run(load, WINDOW_S)
        columns = samples.columns()
        ok = columns["status"] == OK
        good = {name: column[ok] for name, column in columns.items()}
        if not truths or len(truths) != int(ok.sum()):
            errors = f": {samples.errors[0]}" if samples.errors else ""
            reason = f"{len(truths)} of {len(samples.rows)} replies came whole{errors}"
            return _told(load, len(truths), reason=reason[:2000])
        late = good["scheduled_ns"] >= WARM_UP_S * 1e9
        late = late if late.any() else np.ones(late.size, dtype=bool)
        seen_ns = np.array([t.seen_first_ns for t in truths]) - samples.start_ns
        true_ns = np.array([t.first_ns - t.received_ns for t in truths])
        error_s = (seen_ns - good["scheduled_ns"] - true_ns)[late] / 1e9
        return _told(
            load,
            int(late.sum()),
            first_error_p50_s=float(np.quantile(error_s, 0.5)),
            first_error_p99_s=float(np.quantile(error_s, 0.99, method="higher")),
            itl_error_share=_itl_error([t for t, kept in zip(truths, late, strict=True) if kept]),
            ceiling_per_s=self._ceiling(load),
        )

    def _ceiling(self, load: Load) -> float | None:
        """Return the rate of replies without delay; None where too few came to tell."""
        key = _users(load)
        if key not in self._ceilings:
            shape = ReplyShape(0.0, 0.0, load.shape.tokens)
            flood = None
            if load.rate is not None:
                flood = min(FLOOD_PER_S / max(1, load.shape.tokens), FLOOD_TIMES * load.rate)
                flood = max(flood, load.rate)
            samples, truths = self._run(Load(key[-1], flood, shape), CEILING_S)
            ended_ns = samples.columns()["ended_ns"]
            took_s = float(ended_ns.max()) / 1e9 if truths else 0.0
            self._ceilings[key] = len(truths) / took_s if took_s else None
        return self._ceilings[key]

    def _run(self, load: Load, window_s: float) -> tuple[Samples, list[Truth]]:
        session = self._rehearsal.session
        driver = Driver(session, self._rehearsal.requests(load.shape), self._clock, SEED)
        stop = StopRule(window_s, window_s, 0)
        self._rehearsal.truths()
        with contextlib.ExitStack() as stack:
            if session.max_concurrency is None:  # as the scenario was measured
                stack.enter_context(own_core(0))
            if load.rate is not None:
                samples = driver.open(load.rate, stop)
            elif load.streams == 1:
                samples = driver.closed(stop)
            else:
                samples = driver.closed_loop(load.streams, stop)
        return samples, self._rehearsal.truths()


def _told(load: Load, requests: int, **found: float | str | None) -> ClientCalibration:
    """Return what was found at `load`."""
    return ClientCalibration.model_validate(
        {
            "requests": requests,
            "streams": load.streams,
            "rate": load.rate,
            "tokens": load.shape.tokens,
            "gap_s": load.shape.gap_s,
            **found,
        }
    )


@contextlib.contextmanager
def rehearser(
    session: TrustedSession, clock: Clock, processes: int | None = None
) -> Iterator[Rehearser | None]:
    """Yield what calibrates `session`'s client; None where its server does not start.

    With `processes` it is a client of so many.
    """
    with contextlib.ExitStack() as stack:
        try:
            rehearsal = stack.enter_context(
                session.rehearse() if processes is None else session.rehearse(processes)
            )
        except (HarnessError, OSError):
            yield None
            return
        yield Rehearser(rehearsal, clock)


def _users(load: Load) -> tuple[float | None, int, int]:
    """Return what a ceiling depends on: the rate looked up to, tokens of a reply, users."""
    return load.rate, load.shape.tokens, min(max(load.streams, FEW), MANY)


def _better(one: ClientCalibration, other: ClientCalibration) -> ClientCalibration:
    """Return the one with the smaller median error, with the higher ceiling of both."""
    if one.first_error_p50_s is None or other.first_error_p50_s is None:
        return other if one.first_error_p50_s is None else one
    ceiling = max(one.ceiling_per_s or 0.0, other.ceiling_per_s or 0.0) or None
    best = min(one, other, key=lambda each: abs(each.first_error_p50_s or 0.0))
    shares = [s for s in (one.itl_error_share, other.itl_error_share) if s is not None]
    itl = min(shares, key=abs, default=None)
    return best.model_copy(update={"ceiling_per_s": ceiling, "itl_error_share": itl})


def _itl_error(truths: list[Truth]) -> float | None:
    """Return the relative error of the mean gap; None if tokens did not come apart."""
    seen = np.mean([t.seen_last_ns - t.seen_first_ns for t in truths])
    true = np.mean([t.last_ns - t.first_ns for t in truths])
    return float(seen / true - 1) if true >= LEAST_SPAN_NS else None


def _rounded(value: float) -> float:
    """Return `value` to two digits, so that loads that hardly differ are rehearsed once."""
    return float(f"{value:.2g}") if math.isfinite(value) else 0.0
