"""Calls that belong together: the turns of a conversation, and the calls of an agent's task."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.schema.base import Positive, Spec
from harness.schema.lengths import Distribution, Durations

SCENARIOS = ("single_stream", "closed_loop", "server")
"""The traffic that tasks and conversations can come in."""


class Turns(Spec):
    """How many turns a conversation has, and how long its user thinks before each but the first.

    Each turn's prompt holds all that was said before: the prompts and the answers as they came.
    Without `think_s` a turn is due when the answer before it has ended.
    """

    count: Distribution
    think_s: Positive | Durations | None = None

    @model_validator(mode="after")
    def _has_known_counts(self) -> Self:
        if self.count.kind == "empirical":
            raise ValueError("'count' is fixed, uniform or lognormal: decisions read no file")
        return self


class AgentTask(Spec):
    """A task of several calls: each due when the last has ended, or all at once.

    With `inputs.turns` the turns of a conversation are the calls of the task.
    """

    calls_per_task: Annotated[int, Field(ge=1, le=50)]
    order: Literal["sequential", "parallel"]


def in_words(agent: AgentTask | None, turns: Turns | None) -> str | None:
    """Return how calls belong together: `tasks of 4 sequential calls`; None if each is alone."""
    if agent is None:
        return None if turns is None else "conversations of several turns"
    text = f"tasks of {agent.calls_per_task} {agent.order} calls"
    return text if turns is None else f"{text}, the turns of a conversation"


def task_problem(
    agent: AgentTask | None,
    turns: Turns | None,
    scenarios: tuple[str, ...],
    metrics: tuple[str, ...],
    demanded: tuple[int, str] | None,
) -> str | None:
    """Return what does not go together in a workload; None if all does.

    `scenarios` are its kinds of traffic, `metrics` those of its SLO, `demanded` the calls per task
    and the order that its demand states.
    """
    if agent is None and "task_latency" in metrics:
        return "'task_latency' is the promise of a task: say in 'agent' how many calls it has"
    if agent is None and turns is None:
        return None
    what = "tasks" if turns is None else "conversations"
    for kind in scenarios:
        if kind not in SCENARIOS:
            return (
                f"the scenario '{kind}' sends single requests and cannot send {what}: "
                f"use {', '.join(SCENARIOS)}"
            )
    if agent is None:
        return None
    if demanded is not None and demanded != (agent.calls_per_task, agent.order):
        return (
            f"'demand.agent' has {demanded[0]} {demanded[1]} calls per task, 'agent' "
            f"{agent.calls_per_task} {agent.order} ones: state the same"
        )
    if turns is not None and agent.order == "parallel":
        return "the turns of a conversation follow each other: with 'turns' an agent is sequential"
    if turns is not None and turns.count.value != agent.calls_per_task:
        return (
            "with 'turns' and 'agent' the turns are the calls of a task: "
            f"turns.count must be {{kind: fixed, value: {agent.calls_per_task}}}"
        )
    return None
