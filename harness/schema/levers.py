"""Levers: declared changes to how a workload is served, and what each would do to the cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.schema.base import Name, Share, Spec, Text
from harness.schema.demand import HitShare

OpenShare = Annotated[float, Field(gt=0, lt=1)]


class Quantisation(Spec):
    """The same chip at another precision: the measured variants among the targets."""

    kind: Literal["quantisation"]
    workload: Name


class SmallerModel(Spec):
    """Another, smaller model for all requests: `smaller` is the workload that measured it."""

    kind: Literal["smaller_model"]
    workload: Name
    smaller: Name


class PrefixCaching(Spec):
    """A cache that holds `hit` of the prompt tokens.

    `measured_as` names a workload that measured the same with the cache; without it the throughput
    is projected from the share of a request's time that goes into its prompt: `prompt_time_share`,
    or as a single stream shows it.
    """

    kind: Literal["prefix_caching"]
    workload: Name
    hit: OpenShare
    measured_as: Name | None = None
    prompt_time_share: OpenShare | None = None


class ResultCaching(Spec):
    """A cache that answers `hit` of the requests, so that they never reach the fleet."""

    kind: Literal["result_caching"]
    workload: Name
    hit: HitShare


class Batching(Spec):
    """`share` of the requests wait for other hours instead of being served at once."""

    kind: Literal["batch"]
    workload: Name
    share: Share


class Routing(Spec):
    """`share` of the requests go to a small model: `small` is the workload that measured it."""

    kind: Literal["routing"]
    workload: Name
    small: Name
    share: OpenShare


Lever = Annotated[
    Quantisation | SmallerModel | PrefixCaching | ResultCaching | Batching | Routing,
    Field(discriminator="kind"),
]


def other_workloads(lever: Lever) -> dict[str, str]:
    """Return the other workloads that `lever` needs the records of, by the key that names them."""
    found = {name: getattr(lever, name, None) for name in ("smaller", "small", "measured_as")}
    return {name: workload for name, workload in found.items() if workload is not None}


class LeverOutcome(Spec):
    """What a lever would do to the yearly cost of the choice; it never changes the choice.

    `usd_per_year` is the cost with it, of `target` (for a routing, of the small model's), against
    `today_usd_per_year`; `change` is their ratio - 1. None where there is no figure, with why in
    `reason`. The evidence is `measured` where records stand at both ends, `projected` where a
    formula with the stated assumptions does. `needs` says what has to be done or shown first.
    """

    kind: Literal[
        "quantisation", "smaller_model", "prefix_caching", "result_caching", "batch", "routing"
    ]
    what: Text
    today_usd_per_year: float | None = None
    usd_per_year: float | None = None
    change: float | None = None
    target: Name | None = None
    units: int | None = None
    evidence: Literal["measured", "projected"] | None = None
    formula: Text
    assumptions: tuple[Text, ...] = ()
    quality: tuple[Text, ...] = ()
    needs: tuple[Text, ...] = ()
    records: tuple[Text, ...] = ()
    reason: Text | None = None
