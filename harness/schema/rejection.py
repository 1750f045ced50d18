"""Why a target is not chosen, and the least that would have to change to let it in."""

from __future__ import annotations

from typing import Literal

from harness.schema.base import Name, Share, Spec, Text


class Change(Spec):
    """One field with another value: of the brief, or as its first word says of WORKLOAD or TARGET.

    `constraints.NAME` and `demand.NAME` are the brief's, the latter of the workload spoken of. A
    list is given whole; None is no limit.
    """

    field: Text
    present: float | bool | str | tuple[str, ...] | None
    needed: float | bool | str | tuple[str, ...] | None


class Relaxation(Spec):
    """The least that has to change for a rule, or several together, to let the target `of` in.

    `exact`: nothing else is needed, since all other rules were checked; False where a measurement
    against the new limit has to show it. `share` is the largest change over the present value, None
    where it is not about a number; `usd_per_year` what the target then costs, where known.
    """

    rule: Text
    of: Name
    changes: tuple[Change, ...]
    exact: bool
    share: float | None = None
    usd_per_year: float | None = None
    text: Text


class Rejection(Spec):
    """Why a target is not chosen: a named rule with the number, the limit and the margin.

    `margin` is (limit - number) / limit in the direction that hurts: negative means by how much of
    the limit the target misses. None where the rule is not about a number. `p_meets` is the chance
    that a promise on a measured quantile is kept. `relaxation` is what this rule alone would take
    to let the target in; None where no specification changes it.
    """

    rule: Literal[
        "not_measured",
        "failed",
        "unsupported",
        "invalid",
        "evidence",
        "quality",
        "slo",
        "residency",
        "tier",
        "price",
        "price_age",
        "rate_limit",
        "cost",
        "memory",
        "precision",
        "air_gap",
        "lead_time",
        "power",
        "space",
        "vendor",
        "budget",
        "edge_latency",
        "operators",
    ]
    text: Text
    number: float | None = None
    limit: float | None = None
    margin: float | None = None
    unit: str | None = None
    remedy: str | None = None
    p_meets: Share | None = None
    relaxation: Relaxation | None = None
