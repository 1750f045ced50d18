"""The latency of a task of several calls, from the measured latencies of single calls.

Sequential calls add up, parallel ones end with the slowest. Calls are taken as independent of each
other. Formulas, sources and what a sample is too small to say: docs/demand.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

import numpy as np

from harness import units
from harness.mapper.feasibility import promise
from harness.mapper.operating import Operating
from harness.mapper.relax import margin_below, relaxation
from harness.mapper.task_latency import Calls, Tasks, calls_of, per_call, tasks_of
from harness.mapper.task_measured import TOLD, measured_tasks
from harness.schema.demand import Agent, Demand, TaskSlo
from harness.schema.option import Option, TaskFigures, TaskQuantile
from harness.schema.record import Point
from harness.schema.rejection import Rejection
from harness.statistics import interval_positions, minimum_samples


def task_quantile(calls: Calls, tasks: Tasks, agent: Agent, percentile: float) -> TaskQuantile:
    """Return a percentile of the task's latency, or why the sample is too small to say it.

    It needs as many independent calls as the percentile `per_call` of a single one does, in either
    order: a stall that is too rare to be in the sample can hit any of the K calls of a task.
    """
    count, share = agent.calls_per_task, percentile / 100
    of_call = per_call(percentile, count) / 100
    needed = minimum_samples(of_call)
    independent = math.floor(calls.n_eff)
    if independent < needed:
        return TaskQuantile(
            percentile=percentile,
            needed=needed,
            reason=f"not supported by n: {units.count(independent)} independent calls, "
            f"{units.count(needed)} needed",
        )
    value = tasks.quantile(share)
    if math.isinf(value):
        return TaskQuantile(
            percentile=percentile,
            needed=needed,
            reason="more tasks than the percentile leaves out have a call that failed",
            failed=True,
        )
    bound = tasks.upper(share)
    if agent.order == "parallel":
        _, upper = interval_positions(calls.n_eff, of_call)
        bound = calls.of_rank(math.ceil((upper or 1.0) * (calls.count + 1)))
    return TaskQuantile(
        percentile=percentile,
        needed=needed,
        value_s=value,
        high_s=None if math.isinf(bound) else max(bound, value) * calls.margin,
    )


def task_figures(points: Sequence[Point], agent: Agent) -> TaskFigures | None:
    """Return the latency of the tasks of `agent` at `points`, repeats of one operating point.

    Medians of the values, the highest of the bounds, the worst state. None where a point has no
    latencies.
    """
    each = [_figures(calls, agent) for point in points if (calls := calls_of(point)) is not None]
    if not each or len(each) < len(points):
        return None
    state = None
    if agent.slo is not None:
        state = next(s for s in ("missed", "unproven", "met") if s in {f.state for f in each})
    return each[0].model_copy(
        update={
            "mean_s": median(f.mean_s for f in each),
            "quantiles": tuple(
                _combined(same) for same in zip(*(f.quantiles for f in each), strict=True)
            ),
            "n_eff": min(f.n_eff for f in each),
            "state": state,
        }
    )


def with_tasks(
    option: Option, operating: Operating, demand: Demand
) -> tuple[Option, tuple[Rejection, ...]]:
    """Return `option` with the latency of the tasks of `demand`, and what it speaks against it.

    A promise on tasks that is missed is a rule against the option; one that is not proven leaves
    its SLO unproven. Without an agent nothing changes.
    """
    agent = demand.agent
    if agent is None:
        return option, ()
    measured = measured_tasks(operating.record, operating.points, agent)
    found = measured or task_figures(operating.points, agent)
    if found is None:
        late = Rejection(rule="slo", text="the record has no latencies to make tasks of")
        return option, () if agent.slo is None else (late,)
    worst_s = None
    if agent.slo is not None and found.state == "missed":
        several = measured is None and len(operating.points) > 1
        worst_s = _worst_s(operating.points, agent) if several else _of_promise(found).value_s
    meeting = measured is None and 0 < option.replicas < agent.calls_per_task
    if agent.order == "parallel" and meeting:
        found = _meeting(found, option.replicas)
    told = option.model_copy(update={"task": found})
    if found.state == "unproven":
        told = told.model_copy(update={"slo_state": "unproven"})
    if agent.slo is None or found.state != "missed":
        return told, ()
    return told, (_missed(option.target, found, worst_s, agent.slo),)


def _missed(target: str, found: TaskFigures, worst_s: float | None, slo: TaskSlo) -> Rejection:
    """Return the promise on tasks as a rule against `target`, with the least that is kept.

    `worst_s` is the promised percentile of the worst repeat: a promise must hold in each.
    """
    text = promise_text(found)
    median_s = _of_promise(found).value_s
    if worst_s is not None and median_s is not None and worst_s > median_s:
        text += f"; that of the worst repeat is {units.seconds(worst_s)}"
    return Rejection(
        rule="slo",
        text=text,
        number=worst_s,
        limit=slo.limit_s,
        margin=None if worst_s is None else margin_below(worst_s, slo.limit_s),
        unit="s",
        relaxation=None
        if worst_s is None or worst_s <= slo.limit_s
        else relaxation(
            "slo",
            target,
            [("demand.agent.slo.limit_s", slo.limit_s, worst_s)],
            promise(worst_s, f"p{slo.percentile:g} of tasks"),
        ),
    )


def _worst_s(points: Sequence[Point], agent: Agent) -> float | None:
    """Return the highest value of the promised percentile at `points`; None if one has none."""
    each = [_figures(calls, agent) for point in points if (calls := calls_of(point)) is not None]
    values = [_of_promise(figures).value_s for figures in each]
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _meeting(found: TaskFigures, fleet: int) -> TaskFigures:
    """Return the figures of parallel calls that cannot all have a unit of their own.

    Those that share one wait for each other, so that a promise is not proven by single calls.
    """
    kept = found.state if found.state != "met" else "unproven"
    which = f"{units.count(fleet)} unit{'s' if fleet > 1 else ''}"
    return found.model_copy(
        update={
            "state": kept,
            "basis": f"{found.basis}; with {which} some calls of every task share one",
        }
    )


def promise_text(task: TaskFigures) -> str:
    """Return how the tasks stand to their promise: `p99 of tasks ... is 12 s; at most 10 s`."""
    assert task.slo is not None
    figure = _of_promise(task)
    each = "one after another" if task.order == "sequential" else "at once"
    calls = f"{units.count(task.calls_per_task)} calls {each}"
    value = f"is {units.seconds(figure.value_s)}"
    if figure.value_s is None:
        value = f"is not known: {figure.reason}"
        if task.state == "missed" and not figure.failed:
            value += ", but surely fewer than promised keep the limit"
    elif task.state == "unproven":
        value += (
            ", and the sample supports no upper bound"
            if figure.high_s is None
            else f", its upper bound {units.seconds(figure.high_s)}"
        )
        if figure.high_s is not None and figure.high_s <= task.slo.limit_s:
            value += ", but the fleet has fewer units than a task has calls, and what those wait "
            value += "for each other was not measured"
    limit = units.seconds(task.slo.limit_s)
    return f"p{task.slo.percentile:g} of tasks of {calls} {value}; at most {limit}"


def _of_promise(task: TaskFigures) -> TaskQuantile:
    assert task.slo is not None
    return next(q for q in task.quantiles if q.percentile == task.slo.percentile)


def _figures(calls: Calls, agent: Agent) -> TaskFigures:
    tasks = tasks_of(calls, agent)
    slo = agent.slo
    told = sorted({*TOLD, *(() if slo is None else (slo.percentile,))})
    found = {p: task_quantile(calls, tasks, agent, p) for p in told}
    count = agent.calls_per_task
    how = (
        f"the sum of {units.count(count)} calls"
        if agent.order == "sequential"
        else f"the slowest of {units.count(count)} calls"
    )
    return TaskFigures(
        calls_per_task=count,
        order=agent.order,
        mean_s=tasks.mean_s,
        quantiles=tuple(found.values()),
        n_eff=calls.n_eff,
        slo=slo,
        state=None if slo is None else _state(found[slo.percentile], tasks, agent),
        per_call_percentile=None
        if slo is None or agent.order == "sequential"
        else per_call(slo.percentile, count),
        basis=f"{how}, independent of each other, at the load that the throughput is of; "
        "what happens between the calls is not in it"
        + (
            "; calls that reach one unit together wait for each other, which independent arrivals "
            "do not show"
            if agent.order == "parallel" and count > 1
            else ""
        ),
    )


def _state(found: TaskQuantile, tasks: Tasks, agent: Agent) -> Literal["met", "missed", "unproven"]:
    """Return whether the promise of a task is met, missed or unproven.

    Missed, too, where the sample is too small for the percentile, but shows surely that fewer tasks
    than promised keep the limit.
    """
    assert agent.slo is not None
    limit = agent.slo.limit_s
    if found.failed:
        return "missed"
    if found.value_s is None:
        place = int(np.searchsorted(tasks.seconds, limit, side="right")) - 1
        within = float(tasks.below[place] + tasks.half[place]) if place >= 0 else 0.0
        return "missed" if within < agent.slo.percentile / 100 else "unproven"
    if found.value_s > limit:
        return "missed"
    return "met" if found.high_s is not None and found.high_s <= limit else "unproven"


def _combined(same: Sequence[TaskQuantile]) -> TaskQuantile:
    values = [q.value_s for q in same if q.value_s is not None]
    if len(values) < len(same):
        return next(q for q in same if q.value_s is None)
    bounds = [q.high_s for q in same if q.high_s is not None]
    return same[0].model_copy(
        update={
            "value_s": median(values),
            "high_s": max(bounds) if len(bounds) == len(same) else None,
        }
    )
