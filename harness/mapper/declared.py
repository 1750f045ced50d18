"""The rules on what a target declares: where it stands, what it is, its price and its delivery."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from harness import units
from harness.mapper.makers import is_by, maker_of
from harness.mapper.memory import memory_need, unknown_size
from harness.mapper.relax import Changed, margin_below, rejection
from harness.schema.brief import Brief
from harness.schema.demand import Demand
from harness.schema.record import Record
from harness.schema.rejection import Rejection
from harness.schema.target import Target
from harness.schema.workload import Workload

DAYS_PER_WEEK = 7


def declared(
    brief: Brief, workload: Workload, demand: Demand, target: Target, records: Sequence[Record]
) -> list[Rejection]:
    """Return the rules on its declaration that speak against `target`; `records` are its own."""
    found = [
        _tier(brief, demand, target),
        _residency(brief, demand, target),
        _air_gap(brief, target),
        _vendor(brief, target, records),
        _precision(brief, target),
        _edge_latency(brief, workload, target),
        _memory(brief, workload, target, records),
        _price(target),
        _price_age(brief, target),
        _lead_time(brief, target),
    ]
    return [each for each in found if each is not None]


def undeclared(
    brief: Brief, workload: Workload, target: Target, records: Sequence[Record]
) -> list[str]:
    """Return what is not known of `target` although the brief limits it: no pass, and no miss."""
    found = []
    if open_size := unknown_size(workload, target, records):
        found.append(open_size)
    if brief.constraints.vendors_excluded and maker_of(target, records) is None:
        found.append(
            "who makes its chip is not known, so whether the brief excludes it is not either; name "
            "the vendor in its hardware"
        )
    price, limits = target.price, brief.constraints
    if limits.need_by is not None and price is not None and price.lead_time_weeks is None:
        found.append(
            f"its lead time is not stated, so whether it serves by {limits.need_by.isoformat()} is "
            "not known; add lead_time_weeks to its price"
        )
    return found


def unpriced(targets: Sequence[Target]) -> list[str]:
    """Return that nothing can be chosen where no target at all has a price."""
    if not targets or any(target.price is not None for target in targets):
        return []
    return [
        "no target has a price, so none can be chosen: add one, with its source and date, to a "
        "target's file, or an offer to the brief"
    ]


def _tier(brief: Brief, demand: Demand, target: Target) -> Rejection | None:
    tier, asked = target.site.tier, brief.constraints.tiers
    tiers = both(demand.tiers, asked)
    if tiers is None or tier in tiers:
        return None
    return rejection(
        "tier",
        target,
        f"stands in tier {tier}; allowed: {', '.join(tiers) or 'none'}",
        [*_added("constraints.tiers", asked, tier), *_added("demand.tiers", demand.tiers, tier)],
        f"allow tier {tier}",
    )


def _residency(brief: Brief, demand: Demand, target: Target) -> Rejection | None:
    site, asked = target.site, brief.constraints.residency
    places = both(demand.residency, asked)
    if places is None or site.jurisdiction in places:
        return None
    return rejection(
        "residency",
        target,
        f"data would fall under {site.jurisdiction} ({site.region}); "
        f"allowed: {', '.join(places) or 'none'}",
        [
            *_added("constraints.residency", asked, site.jurisdiction),
            *_added("demand.residency", demand.residency, site.jurisdiction),
        ],
        f"allow data under {site.jurisdiction}",
    )


def both(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...] | None:
    """Return what both lists allow; an empty list allows all. None: everything is allowed."""
    if not first or not second:
        return tuple(first or second) or None
    return tuple(name for name in first if name in second)


def outside(target: Target) -> bool:
    """Whether requests to `target` leave the buyer's site: it is in a cloud, or sold as an API."""
    return target.site.tier == "cloud" or (
        target.price is not None and target.price.kind not in ("rent", "purchase")
    )


def _air_gap(brief: Brief, target: Target) -> Rejection | None:
    if not brief.constraints.air_gap or not outside(target):
        return None
    return rejection(
        "air_gap",
        target,
        f"stands outside the buyer's site ({target.site.tier}, {target.site.region}); the brief "
        "asks for an air gap",
        [("constraints.air_gap", True, False)],
        "give up the air gap",
    )


def _vendor(brief: Brief, target: Target, records: Sequence[Record]) -> Rejection | None:
    limits = brief.constraints
    if not limits.vendors_allowed and not limits.vendors_excluded:
        return None
    vendor, allowed = maker_of(target, records), limits.vendors_allowed
    if vendor is None:
        return _unknown_maker(target, allowed) if allowed else None
    changes: list[Changed] = []
    if barred := [name for name in limits.vendors_excluded if is_by(name, vendor)]:
        left = tuple(name for name in limits.vendors_excluded if name not in barred)
        changes.append(("constraints.vendors_excluded", limits.vendors_excluded, left))
    if allowed and not any(is_by(name, vendor) for name in allowed):
        changes.append(("constraints.vendors_allowed", allowed, (*allowed, vendor)))
    if not changes:
        return None
    text = f"is made by {vendor}"
    if barred:
        text += f"; the brief excludes {', '.join(barred)}"
    if allowed:
        text += f"; allowed: {', '.join(allowed)}"
    return rejection("vendor", target, text, changes, f"allow {vendor}")


def _unknown_maker(target: Target, allowed: Sequence[str]) -> Rejection:
    return rejection(
        "vendor",
        target,
        f"who makes its chip is not known; allowed: {', '.join(allowed)}",
        [("constraints.vendors_allowed", tuple(allowed), ())],
        "allow any vendor",
        remedy="name the vendor in its hardware",
    )


def _precision(brief: Brief, target: Target) -> Rejection | None:
    asked, precision = brief.constraints.precisions, target.runtime.precision
    if not asked or precision in asked:
        return None
    return rejection(
        "precision",
        target,
        f"computes in {precision}; allowed: {', '.join(asked)}",
        _added("constraints.precisions", asked, precision),
        f"allow {precision}",
    )


def tightest_promise(workload: Workload) -> float | None:
    """Return the least limit in s of the promises that the way to a target is part of.

    The time per token is the same wherever the tokens travel to.
    """
    return min((slo.limit_s for slo in workload.slo if slo.metric != "tpot"), default=None)


def _edge_latency(brief: Brief, workload: Workload, target: Target) -> Rejection | None:
    limit, tightest = brief.constraints.edge_latency_s, tightest_promise(workload)
    if limit is None or tightest is None or target.site.tier != "cloud" or tightest > limit:
        return None
    return rejection(
        "edge_latency",
        target,
        f"stands in a cloud, and the way there is not in its measured times; a promise of "
        f"{units.seconds(tightest)} is of the edge class ({units.seconds(limit)} or less)",
        [("constraints.edge_latency_s", limit, None)],
        "give up the edge class",
        number=tightest,
        limit=limit,
        margin=(tightest - limit) / limit,
        unit="s",
    )


def _memory(
    brief: Brief, workload: Workload, target: Target, records: Sequence[Record]
) -> Rejection | None:
    stated = target.hardware.memory_gb
    if stated is None or not stated.value:
        return None
    need = memory_need(workload, target, records)
    total = stated.value * target.hardware.count
    most = brief.constraints.memory_share_max
    if need is None or need.gigabytes / total <= most:
        return None
    share = need.gigabytes / total
    changes: list[Changed] = []
    if share <= 1:
        changes.append(("constraints.memory_share_max", most, share))
    return rejection(
        "memory",
        target,
        f"takes {units.gigabytes(need.gigabytes)} ({need.basis}); at most {units.percent(most)} of "
        f"{units.gigabytes(total)} ({stated.source}, {stated.date.isoformat()})",
        changes,
        f"fill up to {units.percent(share)} of the memory",
        number=need.gigabytes,
        limit=most * total,
        margin=margin_below(need.gigabytes, most * total),
        unit="GB",
        remedy=None if changes else "a lower precision, or more chips a unit",
    )


def _price(target: Target) -> Rejection | None:
    if target.price is not None:
        return None
    return Rejection(
        rule="price",
        text="the target has no price",
        remedy=f"add a price with its source and date to the target '{target.name}'",
    )


def _price_age(brief: Brief, target: Target) -> Rejection | None:
    if target.price is None:
        return None
    age = (brief.as_of - target.price.date).days
    limit = brief.constraints.max_price_age_days
    if age <= limit:
        return None
    return rejection(
        "price_age",
        target,
        f"the price of {target.price.date.isoformat()} is {age} days old on "
        f"{brief.as_of.isoformat()}; at most {limit}",
        [("constraints.max_price_age_days", float(limit), float(age))],
        f"accept prices of up to {age} days",
        number=age,
        limit=limit,
        margin=margin_below(age, limit),
        unit="days",
        remedy=f"look the price up again ({target.price.source})"[:2000],
    )


def _lead_time(brief: Brief, target: Target) -> Rejection | None:
    price, need_by = target.price, brief.constraints.need_by
    if need_by is None or price is None or price.lead_time_weeks is None:
        return None
    days, left = price.lead_time_weeks * DAYS_PER_WEEK, (need_by - brief.as_of).days
    if days <= left:
        return None
    ready = brief.as_of + timedelta(days=-(-days // 1))
    return rejection(
        "lead_time",
        target,
        f"takes {units.number(price.lead_time_weeks)} weeks from the order, so it serves on "
        f"{ready.isoformat()}; needed by {need_by.isoformat()} ({price.source}, "
        f"{price.date.isoformat()})",
        [("constraints.need_by", need_by.isoformat(), ready.isoformat())],
        f"wait until {ready.isoformat()}",
        number=days,
        limit=left,
        margin=margin_below(days, left),
        unit="days",
    )


def _added(field: str, present: Sequence[str], name: str) -> list[Changed]:
    """Return the change that lets `name` into a list; none where the list is empty or has it."""
    return [(field, tuple(present), (*present, name))] if present and name not in present else []
