"""What a brief limits, and what it leaves free, in words: the assumptions on its constraints."""

from __future__ import annotations

from harness import units
from harness.schema.brief import Constraints


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


def _vendors(limits: Constraints) -> str:
    allowed = ", ".join(limits.vendors_allowed) or "any"
    barred = ", ".join(limits.vendors_excluded)
    return f"{allowed}, but not {barred}" if barred else allowed
