"""Waiting before c servers: Erlang C, its tail, and the servers that keep a promise.

Erlang C by the recursion of Erlang B, which does not overflow; variable service by the factor of
Allen and Cunneen, (ca^2 + cs^2) / 2 on the mean wait. Formulas and limits: docs/mapper.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.schema.option import Sizing
from harness.schema.record import Point, Record
from harness.schema.target import Price
from harness.schema.workload import SloLimit

AGREEMENT = 0.15
"""How far the model of one unit may be from its measured capacity and still be believed."""

MOST_SERVERS = 20_000
"""Fleets above this are not looked at: there pooling saves next to nothing."""

HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Service:
    """Service times as (seconds, share) of at least one bucket, with mean and squared cv."""

    buckets: tuple[tuple[float, float], ...]

    @property
    def mean_s(self) -> float:
        """The mean in s."""
        return math.fsum(s * share for s, share in self.buckets)

    @property
    def cv2(self) -> float:
        """Variance / mean^2."""
        second = math.fsum(s * s * share for s, share in self.buckets)
        return max(second / self.mean_s**2 - 1, 0.0)


def erlang_c(servers: int, load: float) -> float:
    """Return the share of arrivals that wait in M/M/c, `load` = rate x mean service < servers.

    B(0) = 1, B(k) = a B(k-1) / (k + a B(k-1)); C = B / (1 - rho (1 - B)), rho = a / c. Without room
    (load >= servers) all wait: 1.
    """
    if load >= servers:
        return 1.0
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return _waiting(servers, load, blocked)


def wait_exceeds(waiting: float, servers: int, load: float, wait: float, cv2: float = 1.0) -> float:
    """Return P(wait > `wait`), in mean service times: C exp(-(c - a) w / f).

    `waiting` is C(c, a). f = (1 + cs^2) / 2 stretches the wait of those who wait, so that their
    mean is that of Allen and Cunneen for Poisson arrivals (ca^2 = 1); exact for cs^2 = 1.
    """
    if wait < 0 or load >= servers:
        return 1.0
    factor = (1 + cv2) / 2
    return waiting * math.exp(-(servers - load) * wait / factor)


def servers_for(load: float, wait: float, share: float, cv2: float = 1.0) -> int:
    """Return the fewest servers at which at most `share` wait longer than `wait` service times."""
    blocked, servers = 1.0, 0
    while True:
        servers += 1
        blocked = load * blocked / (servers + load * blocked)
        if load < servers:
            waiting = _waiting(servers, load, blocked)
            if wait_exceeds(waiting, servers, load, wait, cv2) <= share:
                return servers


def service_of(points: Sequence[Point]) -> Service | None:
    """Return the service times in the latency histograms of `points`; None if they are empty.

    Of a stream of one request at a time: a latency without a queue. A bucket counts with its
    geometric middle.
    """
    counts: dict[float, int] = {}
    for point in points:
        growth = point.latency.growth
        for bucket, count in point.latency.counts:
            middle = growth ** (bucket + 0.5)
            counts[middle] = counts.get(middle, 0) + count
    total = sum(counts.values())
    if not total:
        return None
    return Service(tuple((s, counts[s] / total) for s in sorted(counts)))


def late_share(
    service: Service, servers: int, load: float, waiting: float, limit_s: float
) -> float:
    """Return P(wait + service > limit), summed over the buckets of the service time."""
    mean, cv2 = service.mean_s, service.cv2
    return math.fsum(
        share * wait_exceeds(waiting, servers, load, (limit_s - s) / mean, cv2)
        for s, share in service.buckets
    )


def capacity_of_one(service: Service, limits: Sequence[SloLimit]) -> float:
    """Return the highest rate in requests/s at which one server keeps all `limits`; 0: none."""
    low, high = 0.0, 1 / service.mean_s
    for _ in range(HALVINGS):
        rate = (low + high) / 2
        load = rate * service.mean_s
        kept = _kept(service, limits, 1, load, load)
        low, high = (rate, high) if kept else (low, rate)
    return low


def sizing_of(
    needed: int,
    spare: int,
    rate: float,
    capacity: float,
    limits: Sequence[SloLimit],
    streams: Sequence[Record],
    dependent: str | None = None,
) -> Sizing:
    """Return how `needed` units were counted, and how many one queue before all would need.

    `rate` is the peak in requests/s over the share of the throughput that planning may use,
    `capacity` the measured one of a unit at the SLO, `streams` the records of single streams,
    `dependent` why calls are not independent of each other. The pooled count is only given where
    they are, and where the same model says of one unit what was measured.
    """
    counted = "each unit has its own queue, which its measured throughput at the SLO contains"

    def without(why: str) -> Sizing:
        return Sizing(
            needed=needed,
            spare=spare,
            pooled=None,
            basis=f"{counted}; no count for one shared queue: {why}",
        )

    if dependent is not None:
        return without(dependent)
    timed = [limit for limit in limits if limit.metric == "latency"]
    if len(timed) < len(limits):
        return without("a promise is not on the whole latency")
    service = service_of([point for record in streams for point in record.points])
    if service is None:
        return without("no single stream was measured, so the service time is not known")
    if needed > MOST_SERVERS:
        return without(f"the fleet has more than {units.count(MOST_SERVERS)} units")
    alone = capacity_of_one(service, timed)
    if abs(alone - capacity) > AGREEMENT * capacity:
        return without(
            f"one server with the measured service times would keep the SLO up to "
            f"{units.rate(alone, 'requests/s')}, the unit does up to "
            f"{units.rate(capacity, 'requests/s')}, so it is no such server"
        )
    load, blocked, pooled = rate * service.mean_s, 1.0, needed
    for servers in range(1, needed + 1):
        blocked = load * blocked / (servers + load * blocked)
        if load < servers and _kept(
            service, timed, servers, load, _waiting(servers, load, blocked)
        ):
            pooled = servers
            break
    return Sizing(
        needed=needed,
        spare=spare,
        pooled=pooled,
        basis=f"{counted}; one shared queue would do with {units.count(pooled)} (Erlang C, squared "
        f"cv of the service time {units.number(service.cv2)}; the model puts one unit's capacity "
        f"at {units.rate(alone, 'requests/s')}, measured {units.rate(capacity, 'requests/s')})",
    )


def in_lots(sizing: Sizing, needed: int, bought: int, spare_units: int, price: Price) -> Sizing:
    """Return `sizing` of `bought` units, `needed` of them for the load: the others are spare.

    It says how failure domains and lots made the spare, where there are such.
    """
    sizing = sizing.model_copy(update={"needed": needed, "spare": bought - needed})
    together, lot = price.failure_domain_units, price.sold_in_units
    said = []
    if together > 1 and spare_units:
        said.append(
            f"{units.count(together)} units fail together, so {units.count(spare_units * together)}"
            f" stand by for {units.count(spare_units)} failure{'s' if spare_units > 1 else ''}"
        )
    elif together > 1:
        said.append(f"{units.count(together)} units fail together, and none stand by")
    if lot > 1:
        said.append(f"units are sold by {units.count(lot)}, and what is bought beyond stands by")
    if not said:
        return sizing
    return sizing.model_copy(update={"basis": "; ".join([sizing.basis, *said])[:2000]})


def _kept(
    service: Service, limits: Sequence[SloLimit], servers: int, load: float, waiting: float
) -> bool:
    return all(
        late_share(service, servers, load, waiting, limit.limit_s) <= 1 - limit.percentile / 100
        for limit in limits
    )


def _waiting(servers: int, load: float, blocked: float) -> float:
    return blocked / (1 - load / servers * (1 - blocked))
