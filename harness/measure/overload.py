"""Tells a rate that a target keeps up with from one at which its queue grows without end.

A window of seconds can end before the queue of an overloaded target has grown so long that an SLO
of seconds is missed. In the long run it would be missed at any such rate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import units
from harness.measure.samples import OK

TOLERANCE = 0.03
"""By how much more than was served at best may be offered: so well are the rates known."""


def served_rate(columns: dict[str, NDArray[np.int64]]) -> float | None:
    """Return the requests per second that an open loop served, from its samples' columns.

    The answers over the time to the last one, less the least time that an answer took. So the last
    answer does not count against a target that keeps up, and one that is never idle shows the rate
    at which it works. None if none was answered.
    """
    answered = columns["status"] == OK
    if not answered.any():
        return None
    ended, due = columns["ended_ns"][answered], columns["scheduled_ns"][answered]
    busy_s = float(ended.max() - (ended - due).min()) / 1e9
    return float(answered.sum() / busy_s) if busy_s > 0 else None


def overload(rate: float, most: float) -> str | None:
    """Return why a target does not keep up with `rate` (requests/s); None where it does.

    `most` is the highest rate that it served at any load, or back to back.
    """
    if rate <= (1 + TOLERANCE) * most:
        return None
    return (
        f"{units.rate(rate, 'requests/s')} are more than the {units.rate(most, 'requests/s')} "
        "that were ever served: the queue grows without end"
    )
