"""What a brief asks for that no target can ever give: said before anything is looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import units
from harness.mapper.declared import both, outside, tightest_promise
from harness.mapper.demand import demand_of
from harness.schema.brief import Brief
from harness.schema.demand import Demand
from harness.schema.target import Target
from harness.schema.workload import Workload

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two demands that exclude each other: the place of one, what is wrong, and the least way out.

    `place` is the way to it in the brief's tree.
    """

    place: Place
    message: str
    hint: str


def contradictions(
    brief: Brief, workloads: Mapping[str, Workload], targets: Sequence[Target]
) -> list[Contradiction]:
    """Return what contradicts itself in `brief`; `targets` are those that it names or offers.

    Workloads that are not among `workloads`, and offers of other targets, are passed over.
    """
    found = [*_dates(brief), *_vendors(brief), *_offers(brief, targets)]
    for row in brief.workloads:
        workload = workloads.get(row.workload)
        if workload is None:
            continue
        demand = demand_of(workload.demand, row.demand, f"demand of {row.workload}")
        found += _lists(brief, workload, demand)
    named = [target.name for target in targets if target.name in brief.targets]
    if brief.constraints.air_gap and named and all(outside(target) for target in targets):
        found.append(
            Contradiction(
                ("constraints", "air_gap"),
                f"asks for an air gap, but all targets that the brief names stand outside the "
                f"buyer's site: {', '.join(named)}",
                "set air_gap to false, or name a target on premises or at the edge",
            )
        )
    return list(dict.fromkeys(found))


def _dates(brief: Brief) -> list[Contradiction]:
    need_by = brief.constraints.need_by
    if need_by is None or need_by >= brief.as_of:
        return []
    return [
        Contradiction(
            ("constraints", "need_by"),
            f"{need_by.isoformat()} is before the brief's own day, {brief.as_of.isoformat()}",
            f"the earliest day that can be asked for is {brief.as_of.isoformat()}",
        )
    ]


def _vendors(brief: Brief) -> list[Contradiction]:
    allowed = brief.constraints.vendors_allowed
    barred = {name.casefold() for name in brief.constraints.vendors_excluded}
    if not allowed or any(name.casefold() not in barred for name in allowed):
        return []
    return [
        Contradiction(
            ("constraints", "vendors_allowed"),
            f"every allowed vendor is excluded too: {', '.join(allowed)}",
            f"take {allowed[0]} out of vendors_excluded",
        )
    ]


def _offers(brief: Brief, targets: Sequence[Target]) -> list[Contradiction]:
    """Return the offers that price by use what is not asked over a network."""
    devices = {target.name: target.runtime.device for target in targets}
    return [
        Contradiction(
            ("offers", number, "price", "kind"),
            f"an api price goes with a target that is asked as a server ('device: remote' in its "
            f"'runtime'), but {offer.target} has 'device: {device}'",
            "offer it at a rent or purchase price, or make the offer of a target of the API itself",
        )
        for number, offer in enumerate(brief.offers)
        if offer.price.kind == "api" and (device := devices.get(offer.target, "remote")) != "remote"
    ]


def _lists(brief: Brief, asked_of: Workload, demand: Demand) -> list[Contradiction]:
    """Return the lists of the brief that leave nothing of what the workload allows."""
    limits, workload = brief.constraints, asked_of.name
    found = []
    for name, asked, own in (
        ("tiers", limits.tiers, demand.tiers),
        ("residency", limits.residency, demand.residency),
    ):
        if both(own, asked) == ():
            found.append(
                Contradiction(
                    ("constraints", name),
                    f"allows {', '.join(asked)}, but {workload} allows only {', '.join(own)}: "
                    "nothing is left",
                    f"add {own[0]} to constraints.{name}, or give {workload} the {name} "
                    f"[{', '.join(asked)}] under its demand",
                )
            )
    only_cloud = both(demand.tiers, limits.tiers) == ("cloud",)
    promise = tightest_promise(asked_of)
    edge_s = limits.edge_latency_s
    if only_cloud and edge_s is not None and promise is not None and promise <= edge_s:
        found.append(
            Contradiction(
                ("constraints", "edge_latency_s"),
                f"keeps promises of {units.seconds(edge_s)} or less out of clouds, but the only "
                f"tier allowed for {workload}, which promises {units.seconds(promise)}, is cloud",
                f"leave edge_latency_s out, or allow {workload} the tier on_premises or edge",
            )
        )
    if only_cloud and limits.air_gap:
        found.append(
            Contradiction(
                ("constraints", "air_gap"),
                f"asks for an air gap, but the only tier allowed for {workload} is cloud",
                f"set air_gap to false, or allow {workload} the tier on_premises or edge",
            )
        )
    return found
