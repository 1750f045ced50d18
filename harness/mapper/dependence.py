"""Requests that do not come independently: formulas of independent arrivals are not theirs."""

from __future__ import annotations

from harness import units
from harness.schema.demand import Demand
from harness.schema.tasks import in_words
from harness.schema.workload import Workload


def together(workload: Workload, demand: Demand) -> str | None:
    """Return how calls belong together, as measured or else as demanded; None: each is alone."""
    agent = workload.agent or demand.agent
    if workload.turns is not None:
        return in_words(workload.agent, workload.turns)
    if agent is None or agent.calls_per_task == 1:
        return None
    return f"tasks of {units.count(agent.calls_per_task)} {agent.order} calls"


def not_one_queue(workload: Workload, demand: Demand) -> str | None:
    """Return why a queue of independent arrivals says nothing of the fleet; None if it may."""
    words = together(workload, demand)
    if words is None:
        return None
    text = f"the calls come as {words}, and Erlang C takes independent ones"
    if workload.agent is None and workload.turns is None:
        return f"{text}, as the throughput does, which was measured with single calls"
    return f"{text}; the count holds where a unit has whole ones, as they were measured"


def taken_as_independent(workload: Workload, demand: Demand) -> str | None:
    """Return that a figure takes calls as independent although they are not; None: they are."""
    words = together(workload, demand)
    if words is None:
        return None
    return f"its requests are taken as independent, although they come as {words}"
