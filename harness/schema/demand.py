"""What the buyer needs of a workload: how much, when, how it arrives, and what never arrives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from harness.schema.base import Name, NonNegative, Percentile, Positive, Share, Spec, Tier, absent

HOURS = (24, 168)
"""Lengths that an hourly profile may have: the hours of a day, or of a week."""

SAME = 1e-9
"""Relative difference of two statements of one figure that is arithmetic."""


def _whole_profile(weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Raise ValueError unless `weights` are those of a day or a week, and not all 0."""
    if weights is None:
        return None
    if len(weights) not in HOURS:
        raise ValueError(
            f"an hourly profile has {HOURS[0]} weights (a day) or {HOURS[1]} (a week), not "
            f"{len(weights)}"
        )
    if not sum(weights):
        raise ValueError("an hourly profile needs a weight above 0")
    return weights


Profile = Annotated[tuple[NonNegative, ...], AfterValidator(_whole_profile)]
"""Relative weights of the hours of a day or a week."""

HitShare = Annotated[float, Field(ge=0, lt=1)]


def profile_peak(weights: object) -> float | None:
    """Return max / mean of the weights of an hourly profile; None if they are no such weights."""
    if not isinstance(weights, list | tuple) or len(weights) not in HOURS:
        return None
    numbers = [float(w) for w in weights if isinstance(w, int | float) and w >= 0]
    total = math.fsum(numbers)
    if len(numbers) < len(weights) or not 0 < total < math.inf:
        return None
    return max(1.0, max(numbers) * len(numbers) / total)


class TaskSlo(Spec):
    """The promise of a whole task: its `percentile` takes at most `limit_s`."""

    percentile: Percentile
    limit_s: Positive


class Agent(Spec):
    """Tasks that take several calls of the model, one after another or all at once.

    A sequential task ends with its last call, a parallel one with its slowest. What happens between
    the calls (tools, own code) is not in the task's latency.
    """

    calls_per_task: Annotated[int, Field(ge=1, le=50)]
    order: Literal["sequential", "parallel"]
    slo: TaskSlo | None = None


class StatedBurst(Spec):
    """A burst to be told about: `factor` times the rate of the busiest hour for `duration_s`."""

    factor: Annotated[float, Field(gt=1, le=1000)] = 10.0
    duration_s: Positive


def _requests_may_be_derived(schema: JsonDict) -> None:
    """Say in the JSON Schema that either the requests or the tasks are needed."""
    schema.pop("required", None)
    schema["anyOf"] = [{"required": ["requests_per_month"]}, {"required": ["tasks_per_month"]}]


class Demand(Spec):
    """What the buyer needs of this workload.

    `peak_factor` is the peak hour over the mean hour; `growth_per_year` 0.3 means +30 %.
    `residency` lists the jurisdictions in which data may be processed; empty means anywhere.

    `hourly_profile` gives the peak factor instead: max / mean of its weights. `batchable_share` of
    the requests may wait for other hours. Of the requests `result_cache_hit` are answered from a
    cache and never reach the fleet; `prefix_hit` is the share of prompt tokens that a prefix cache
    serves: it lowers what is paid for input tokens, never the measured work of a request. With an
    `agent` each request is one call of a task, and `tasks_per_month` may stand for
    `requests_per_month`: tasks x calls. See docs/demand.md.
    """

    model_config = ConfigDict(json_schema_extra=_requests_may_be_derived)

    requests_per_month: Positive
    growth_per_year: Annotated[float, Field(ge=-0.9, le=10)] = 0.0
    peak_factor: Annotated[float, Field(ge=1)] = 1.0
    residency: tuple[Name, ...] = ()
    tiers: tuple[Tier, ...] = ("cloud", "on_premises", "edge")
    # Left out where they say nothing: documents from before stay what they were, to the byte.
    tasks_per_month: Positive | None = Field(default=None, exclude_if=absent)
    hourly_profile: Profile | None = Field(default=None, exclude_if=absent)
    batchable_share: Share = Field(default=0.0, exclude_if=lambda v: v == 0)
    result_cache_hit: HitShare = Field(default=0.0, exclude_if=lambda v: v == 0)
    prefix_hit: Share = Field(default=0.0, exclude_if=lambda v: v == 0)
    agent: Agent | None = Field(default=None, exclude_if=absent)
    burst: StatedBurst | None = Field(default=None, exclude_if=absent)

    @model_validator(mode="before")
    @classmethod
    def _derived(cls, data: object) -> object:
        """Fill in the peak factor of a profile and the requests of tasks, where they are left out.

        A document that was written out holds both; then they must agree.
        """
        if not isinstance(data, Mapping):
            return data
        # A validator that runs before turns JSON's lists into Python's, which are no tuples.
        tree = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        _fill(tree, "peak_factor", profile_peak(tree.get("hourly_profile")), "hourly_profile")
        tasks, calls = tree.get("tasks_per_month"), _calls(tree.get("agent"))
        if tasks is not None and tree.get("agent") is None:
            raise ValueError("'tasks_per_month' needs an 'agent', which says how many calls a task")
        if isinstance(tasks, int | float):
            # Without calls the agent is at fault, and says so itself.
            _fill(tree, "requests_per_month", tasks * (calls or 1), "tasks_per_month")
        return tree


def _calls(agent: object) -> int | None:
    """Return the calls per task of an agent, read or not yet read."""
    if isinstance(agent, Agent):
        return agent.calls_per_task
    calls = agent.get("calls_per_task") if isinstance(agent, Mapping) else None
    return calls if isinstance(calls, int) else None


def _fill(tree: dict[str, object], name: str, value: float | None, source: str) -> None:
    """Put `value` in the place of a missing `name`; ValueError if another is stated there."""
    if value is None:
        return
    stated = tree.get(name)
    if name not in tree:
        tree[name] = value
    elif isinstance(stated, int | float) and not math.isclose(stated, value, rel_tol=SAME):
        raise ValueError(
            f"'{source}' gives '{name}' ({value:g}), and {stated:g} is stated beside it: leave one "
            "out"
        )
