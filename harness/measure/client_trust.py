"""The trust block of an operating point: what the client did while the point was measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.adapters.trust import ClientWork
from harness.measure.delays import Columns, own_delays
from harness.measure.samples import OK
from harness.schema.trust import Trust


def trust_of(
    before: ClientWork,
    after: ClientWork,
    elapsed_s: float,
    columns: Columns,
    *,
    slots: int | None,
    open_loop: bool,
) -> Trust:
    """Return the trust block of the samples in `columns`, measured in `elapsed_s`.

    `before` is the client's work when the point began, `after` its work since. `slots` is how many
    requests the session has at once, None without a limit. `open_loop`: a rate was requested.
    """
    due_ns, own_ns = own_delays(columns, slots)
    waited = None
    if after.waited_s is not None and before.waited_s is not None and elapsed_s > 0:
        waited = (after.waited_s - before.waited_s) / elapsed_s
    requests = after.requests - before.requests
    return Trust(
        loop=after.loop,
        loop_lag_p50_s=after.loop_lag_p50_s,
        loop_lag_p99_s=after.loop_lag_p99_s,
        loop_lag_max_s=after.loop_lag_max_s,
        cpu_share=after.cpu_share,
        wait_share=waited,
        schedule_delay_p50_s=_quantile_s(own_ns, 0.5),
        schedule_delay_p99_s=_quantile_s(own_ns, 0.99),
        handover_p50_s=after.handover_p50_s,
        handover_p99_s=after.handover_p99_s,
        achieved_share=_achieved(due_ns, own_ns) if open_loop else None,
        requests=requests,
        connections=after.connections - before.connections,
        reuse_share=(after.reused - before.reused) / requests if requests else None,
        resent=after.resent - before.resent,
        processes=max(1, len(after.cores) - 1),
        busiest_share=_busiest(before, after, elapsed_s),
        crashed=after.crashed - before.crashed,
    )


def _busiest(before: ClientWork, after: ClientWork, elapsed_s: float) -> float | None:
    """Return the largest share of a core that one thread of several used or waited for."""
    if elapsed_s <= 0 or not after.cores or len(after.cores) != len(before.cores):
        return None
    used = (
        (new.cpu_s + (new.waited_s or 0.0)) - (old.cpu_s + (old.waited_s or 0.0))
        for old, new in zip(before.cores, after.cores, strict=True)
    )
    return max(0.0, *used) / elapsed_s


def typical_s(columns: Columns) -> float | None:
    """Return the median time from due to the first token, of a silent reply to its end."""
    ok = columns["status"] == OK
    if not ok.any():
        return None
    first, ended = columns["first_ns"][ok], columns["ended_ns"][ok]
    return float(np.median(np.where(first >= 0, first, ended) - columns["scheduled_ns"][ok])) / 1e9


def _achieved(due_ns: NDArray[np.int64], own_ns: NDArray[np.int64]) -> float | None:
    """Return the rate at which requests were issued over that at which they were due."""
    if due_ns.size < 2:
        return None
    issued = due_ns + own_ns
    span = float(issued.max() - issued.min())
    return float(due_ns.max() - due_ns.min()) / span if span else None


def _quantile_s(values_ns: NDArray[np.int64], share: float) -> float | None:
    return float(np.quantile(values_ns, share)) / 1e9 if values_ns.size else None
