"""Watches the client of a served target at each operating point, and calibrates it afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.adapters.base import Session
from harness.adapters.trust import ClientWork, ConnectedSession, TrustedSession
from harness.measure.client_bound import LAG_SHARE, client_limits
from harness.measure.client_scale import ClientScale
from harness.measure.client_trust import trust_of, typical_s
from harness.measure.clock import Clock
from harness.measure.delays import connection_waits
from harness.measure.rehearse import Rehearser, load_of, rehearser
from harness.measure.samples import Samples
from harness.schema.record import Point
from harness.schema.trust import ClientCalibration, ClientLimit, Trust
from harness.schema.workload import SloLimit


class ClientWatch:
    """Gives points their trust block. Of a session that has none of our clients it changes nothing.

    `slo` is empty for `offline`, where nobody waits for a single reply: there only a client without
    spare time changes a figure.
    """

    def __init__(self, session: Session, clock: Clock, slo: Sequence[SloLimit]) -> None:
        self._session = session if isinstance(session, TrustedSession) else None
        self._slots = session.max_concurrency
        self._clock = clock
        self._slo = slo
        self._scale = ClientScale(self._session, clock)
        self._began_ns = 0
        self._before: ClientWork | None = None
        self.most_sent: int | None = None
        """How many requests the client sends at once, where the target sets it no limit."""
        if isinstance(session, ConnectedSession) and self._slots is None:
            self.most_sent = session.most_sent
        self.saturated = False
        """Whether the target was seen to serve no more with more in flight: then those that wait
        in the client would wait in the target."""

    def begin(self, rate: float | None = None, tokens: Sequence[int] = ()) -> None:
        """Note what the client has done before a point.

        The client may get more processes for a requested `rate`, of requests for so many `tokens`.
        """
        if rate is not None:
            mean = round(sum(tokens) / len(tokens)) if len(tokens) else 0
            self._scale.make_room(rate, mean)
        self._began_ns = self._clock.now_ns()
        if self._session is not None:
            self._before = self._session.client_work(self._began_ns)

    def end(self, samples: Samples, point: Point) -> Point:
        """Return `point` with what the client did since `begin`, and whether it was the limit."""
        if self._session is None or self._before is None:
            return point
        trust = trust_of(
            self._before,
            self._session.client_work(self._began_ns),
            (self._clock.now_ns() - self._began_ns) / 1e9,
            samples.columns(),
            slots=self._slots,
            open_loop=point.requested_rate is not None,
        )
        return self._judged(trust, samples, point)

    def calibrate(self, measured: Sequence[tuple[Samples, Point]]) -> list[Point]:
        """Return the points with the client calibrated at each one's load, and judged anew."""
        if self._session is None:
            return [point for _, point in measured]
        with rehearser(self._session, self._clock) as found:
            return [self._calibrated(samples, point, found) for samples, point in measured]

    def _calibrated(self, samples: Samples, point: Point, found: Rehearser | None) -> Point:
        if point.trust is None:
            return point
        load = load_of(samples.columns(), open_loop=point.requested_rate is not None)
        if load is None or found is None:
            why = "no request was answered" if load is None else "the rehearsal did not start"
            none = ClientCalibration(requests=0, streams=0.0, tokens=0, gap_s=0.0, reason=why)
            return self._with(none, samples, point)
        signs = len(point.trust.client_bound)

        def good(calibration: ClientCalibration) -> bool:
            judged = self._with(calibration, samples, point)
            return judged.trust is not None and len(judged.trust.client_bound) <= signs

        return self._with(found.calibrate(load, good), samples, point)

    def _with(self, calibration: ClientCalibration, samples: Samples, point: Point) -> Point:
        assert point.trust is not None
        trust = point.trust.model_copy(update={"calibration": calibration})
        return self._judged(trust, samples, point)

    def _judged(self, trust: Trust, samples: Samples, point: Point) -> Point:
        bound = client_limits(
            trust,
            typical_s=typical_s(samples.columns()) if self._slo else None,
            rate=point.metrics["throughput_requests_per_s"].value,
            tightest_s=min((limit.limit_s for limit in self._slo), default=None),
            open_loop=point.requested_rate is not None,
        )
        bound += self._crowded(samples)
        return point.model_copy(update={"trust": trust.model_copy(update={"client_bound": bound})})

    def _crowded(self, samples: Samples) -> tuple[ClientLimit, ...]:
        """Return the sign that requests waited for a connection that the target had room for."""
        if self.most_sent is None or self.saturated:
            return ()
        waits_ns = connection_waits(samples.columns(), self.most_sent)
        wait_s = float(np.quantile(waits_ns, 0.99)) / 1e9 if waits_ns.size else 0.0
        limit_s = LAG_SHARE * min((limit.limit_s for limit in self._slo), default=0.0)
        if wait_s <= limit_s:
            return ()
        text = (
            f"1 % of the requests waited {wait_s * 1e3:.2f} ms or more for one of the client's "
            f"connections, which carry {self.most_sent} at once (raise 'server.connections', or "
            "set 'server.concurrency' if the server is to have no more)"
        )
        return (ClientLimit(text=text, value=wait_s, limit=limit_s),)
