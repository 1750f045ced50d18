"""How far the units of a choice are really used: what follows from the demand, and its spread."""

from __future__ import annotations

import numpy as np

from harness.mapper.candidate import units_in
from harness.mapper.uncertainty import Contest
from harness.schema.base import Interval
from harness.schema.option import Option


def realised_utilisation(contest: Contest, choice: Option) -> Interval | None:
    """Return mean rate / (units x throughput at the SLO) as planned, with its 95 % range.

    The range is over the draws of demand and throughput, each with the units that it takes. None
    for what has no units.
    """
    own = contest.among([choice.target])
    planned = choice.utilisation
    if own.candidates[0].metered or planned is None:
        return None
    cases = own.cases()
    fleet = units_in(own.candidates, cases, own.utilisation_max, own.spare)[0]
    drawn = cases.mean * own.candidates[0].per_request / (fleet * cases.throughput[0])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(value=planned, low=min(float(low), planned), high=max(float(high), planned))
