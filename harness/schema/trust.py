"""How far the client that asked a served target can be trusted: see docs/served.md."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from harness.schema.base import NonNegative, Spec, Text

Count = Annotated[int, Field(ge=0)]


class ClientLimit(Spec):
    """One sign that the client and not the server was the limit, with its number and limit."""

    text: Text
    value: float | None = None
    limit: float | None = None


class ClientCalibration(Spec):
    """The client's own error, found on a server of this machine that says when it wrote what.

    That server was asked like the point's: `streams` requests in flight on average, `rate` of them
    a second, `tokens` each with `gap_s` between them. `first_error_s` is what the client saw as
    the time to the first token (of a reply that does not stream: to its end) less what the server
    says; the time to reach the server is in it; of fewer than 100 requests the p99 is the largest.
    `itl_error_share` is the same of the mean gap
    between tokens, relative to the server's; None for replies of one token. `ceiling_per_s` is the
    rate of such replies without any delay, looked for up to four times the rate: a server that
    seems to do about as much may do more. All None where `reason` says
    why.
    """

    requests: Count
    streams: NonNegative
    rate: NonNegative | None = None
    tokens: Count
    gap_s: NonNegative
    first_error_p50_s: float | None = None
    first_error_p99_s: float | None = None
    itl_error_share: float | None = None
    ceiling_per_s: NonNegative | None = None
    reason: Text | None = None

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if (self.first_error_p50_s is None) != (self.reason is not None):
            raise ValueError("a calibration without an error needs a reason, and only then")
        return self


class Trust(Spec):
    """How well the client kept up at one operating point.

    `loop_lag_*`: how late its event loop ran a timer due every 10 ms. `cpu_share`, `wait_share`:
    CPU time of its thread over wall time, and the time that thread waited for a core.
    `schedule_delay_*`: from when a request was due, and had not to wait for an earlier reply, until
    it was issued. `handover_*`: from there until the event loop took it up. `achieved_share`: of
    the requested rate, what was issued; None where no rate was requested. Of the connections:
    `reuse_share` of the requests went over one that had carried another, `resent` went out twice.

    Of several client `processes` lags are the worst and the others sums; `busiest_share` is the
    largest share of a core that one of their event loops, or the thread that hands requests over,
    used or waited for. `crashed` of them ended by themselves.

    `client_bound` says why the client was the limit; empty if it was not. None of a figure says
    that the point did not last long enough, or that this system does not tell.
    """

    loop: Text
    loop_lag_p50_s: NonNegative | None
    loop_lag_p99_s: NonNegative | None
    loop_lag_max_s: NonNegative | None
    cpu_share: NonNegative | None
    wait_share: NonNegative | None
    schedule_delay_p50_s: NonNegative | None
    schedule_delay_p99_s: NonNegative | None
    handover_p50_s: NonNegative | None
    handover_p99_s: NonNegative | None
    achieved_share: NonNegative | None
    requests: Count
    connections: Count
    reuse_share: NonNegative | None
    resent: Count
    processes: Annotated[int, Field(ge=1)] = 1
    busiest_share: NonNegative | None = None
    crashed: Count = 0
    calibration: ClientCalibration | None = None
    client_bound: tuple[ClientLimit, ...] = ()
