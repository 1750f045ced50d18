"""What a session serves when it is never idle: the rate that loads are shares of."""

from __future__ import annotations

from dataclasses import replace

from harness.adapters.base import Session
from harness.measure.drive import Driver, StopRule
from harness.measure.profile import Profile
from harness.measure.samples import OK, Samples

MOST_FLYING = 256
"""Queries in flight, in looking for the most that a session without a limit serves."""
GROWTH = 1.25
"""More in flight pay as long as the rate grows by this factor."""


def back_to_back(
    session: Session, driver: Driver, profile: Profile, most_sent: int | None = None
) -> tuple[float, float | None]:
    """Return the requests per second that `session` serves when never idle, and the most.

    One request a query, and one query in flight; where the session takes several at once, as
    many as still raise the rate: 4 times as many while it grows by more than a quarter. The
    most is what batches give as well, where it takes them; None where the rate still grows.
    `most_sent`: how many the client sends at once.
    """
    limit = session.max_concurrency
    rule = StopRule(profile.least_s / 2, profile.most_s, 8)
    best = _rate(driver.closed(rule))
    flying, grown = 1, True
    most_flying = limit or min(MOST_FLYING, most_sent or MOST_FLYING)
    while grown and flying < most_flying:
        flying = min(4 * flying, most_flying)
        found = _rate(driver.closed_loop(flying, replace(rule, count=2 * flying)))
        grown = found > GROWTH * best
        best = max(best, found)
    if limit is None and (grown or session.max_batch > 1):
        return best, None
    if session.max_batch == 1:
        return best, best
    return best, max(best, _rate(driver.offline(rule)))


def _rate(samples: Samples) -> float:
    """Return the answers per second: of one at least, so that there is something to offer."""
    columns = samples.columns()
    answered = int((columns["status"] == OK).sum())
    return float(max(1, answered) / (columns["ended_ns"].max() / 1e9))
