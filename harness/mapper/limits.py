"""What a brief limits, and what it leaves free, in words: the assumptions on its limits."""

from __future__ import annotations

from collections.abc import Callable

from harness import units
from harness.schema.brief import Constraints
from harness.schema.portfolio import Portfolio


def limit_texts(limits: Constraints) -> list[tuple[str, str]]:
    """Return each constraint's name and value; those that are left free say so."""
    kilowatts, space = limits.power_kw_max, limits.rack_units_max
    budget, edge_s = limits.budget_usd_per_year, limits.edge_latency_s
    return [
        ("tiers", ", ".join(limits.tiers) or "any that the workload allows"),
        ("residency", ", ".join(limits.residency) or "any that the workload allows"),
        ("precisions", ", ".join(limits.precisions) or "any that keeps the quality gate"),
        (
            "air gap",
            "no cloud and no API" if limits.air_gap else "not asked for",
        ),
        (
            "needed by",
            "no day is stated, so lead times are not looked at"
            if limits.need_by is None
            else limits.need_by.isoformat(),
        ),
        (
            "power",
            "no limit"
            if kilowatts is None
            else f"at most {units.watts(kilowatts * 1000)} a workload in the busiest hour, before "
            "the facility's overhead",
        ),
        (
            "space",
            "no limit" if space is None else f"at most {units.number(space)} rack units a workload",
        ),
        ("vendors", _vendors(limits)),
        (
            "budget",
            "no limit"
            if budget is None
            else f"at most {units.usd(budget)} a workload in the first year",
        ),
        (
            "edge class",
            "none: the way to a target is not in its measured times, and not looked at"
            if edge_s is None
            else f"promises of {units.seconds(edge_s)} or less are not kept in a cloud",
        ),
        ("memory", f"at most {units.percent(limits.memory_share_max)} of what a target states"),
    ]


def portfolio_texts(asked: Portfolio, spare_units: int) -> list[tuple[str, str]]:
    """Return what the shared fleet must keep, limit by limit; those that are left free say so.

    `spare_units` is what stands by for each workload alone, where the portfolio says nothing else.
    """
    most, share = asked.targets_per_workload_max, units.percent(asked.share_least)
    vendor = asked.vendor_share_max
    spare = spare_units if asked.spare is None else asked.spare
    return [
        ("purchases", _at_most(asked.budget_usd, units.usd)),
        ("yearly cost", _at_most(asked.budget_usd_per_year, units.usd)),
        (
            "power",
            _at_most(asked.power_kw, lambda kilowatts: units.watts(kilowatts * 1000))
            + ("" if asked.power_kw is None else " at each site, PUE included"),
        ),
        ("stacks", _at_most(asked.stacks_max, units.count)),
        (
            "share of a vendor",
            _at_most(vendor, units.percent)
            + ("" if vendor is None else " of what the units and their use cost a year"),
        ),
        (
            "second source",
            "asked of no workload"
            if not asked.second_source
            else f"two vendors for {', '.join(asked.second_source)}",
        ),
        (
            "targets for a workload",
            f"at most {units.count(most)}, each with at least {share} of it",
        ),
        (
            "spare",
            f"{units.count(spare)} failure{'' if spare == 1 else 's'} of each target, "
            + (
                "as the constraints' spare_units" if asked.spare is None else "for the shared fleet"
            ),
        ),
        (
            "stock",
            ", ".join(f"{units.count(each.units)} of {each.target}" for each in asked.stock)
            or "as many units as are needed, of every target",
        ),
        (
            "search",
            f"ended after {units.seconds(asked.time_limit_s)}, if it has not ended by itself",
        ),
    ]


def _at_most(limit: float | None, text: Callable[[float], str]) -> str:
    return "no limit" if limit is None else f"at most {text(limit)}"


def _vendors(limits: Constraints) -> str:
    allowed = ", ".join(limits.vendors_allowed) or "any"
    barred = ", ".join(limits.vendors_excluded)
    return f"{allowed}, but not {barred}" if barred else allowed
