"""A stated burst against a fleet: what would carry it, or how long the queue lasts. By formula."""

from __future__ import annotations

from harness import units
from harness.mapper.capacity import Load, Work, replicas_for
from harness.schema.decision import BurstOutcome
from harness.schema.demand import StatedBurst
from harness.schema.option import Option


def burst_of(
    stated: StatedBurst,
    option: Option,
    load: Load,
    work: Work,
    deadline_s: float | None = None,
    dependent: str | None = None,
) -> BurstOutcome | None:
    """Return what the fleet of `option` does in the burst; None for one that has no units.

    With n units of mu requests/s at the SLO each, R = factor x peak rate for D s, and lambda the
    peak rate before and after:

        units needed      ceil(R / mu)
        queue at the end  (R - n mu) D, at most n mu x deadline; the rest times out
        longest wait      queue / (n mu)
        drained after     queue / (n mu - lambda)

    A fluid queue before all units, each of which serves at the rate of its SLO. All n units serve,
    the spare ones too; no headroom is kept. `dependent` is said beside: that the calls of a task
    are taken as independent.
    """
    if not option.replicas:
        return None
    each = option.throughput.value / work.per_request
    rate, fleet = stated.factor * load.peak, option.replicas * each
    low = option.throughput.low
    needed = replicas_for(rate, each, 1.0)
    excess = max(rate - fleet, 0.0) if needed > option.replicas else 0.0
    grown = excess * stated.duration_s
    queued = grown if deadline_s is None else min(grown, fleet * deadline_s)
    spare = fleet - load.peak
    drained = 0.0 if not queued else queued / spare if spare > 0 else None
    found = BurstOutcome(
        factor=stated.factor,
        duration_s=stated.duration_s,
        rate=rate,
        carried=fleet,
        units=option.replicas,
        units_needed=needed,
        units_needed_low_throughput=replicas_for(rate, low / work.per_request, 1.0)
        if low
        else None,
        kept=not excess,
        queued=queued,
        longest_wait_s=queued / fleet,
        timed_out=None if deadline_s is None else grown - queued,
        drained_s=drained,
        text="to be said",
    )
    text = _text(found) if dependent is None else f"{_text(found)}; {dependent}"
    return found.model_copy(update={"text": text})


def _text(found: BurstOutcome) -> str:
    """Return the burst in words."""
    what = (
        f"{units.number(found.factor)} times the busiest hour's rate, "
        f"{units.rate(found.rate, 'requests/s')}, for {units.seconds(found.duration_s)}"
    )
    have = f"{units.count(found.units)} unit{'s' if found.units > 1 else ''}"
    if found.kept:
        return f"{what}: {have} carry it within the SLO"
    text = (
        f"{what}: {have} serve {units.rate(found.carried, 'requests/s')}, "
        f"{units.count(found.units_needed)} would keep the SLO; "
        f"{units.count(round(found.queued))} requests queue, the last of them waits "
        f"{units.seconds(found.longest_wait_s)}"
    )
    if found.timed_out:
        text += f", {units.count(round(found.timed_out))} time out"
    if found.drained_s is None:
        return f"{text}; the queue never empties at the rate of the busiest hour"
    return f"{text}; the queue is gone {units.seconds(found.drained_s)} after the burst"
