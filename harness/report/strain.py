"""What the fleet does under more than single requests: tasks of many calls, and a sudden burst."""

from __future__ import annotations

from harness import units
from harness.report import words
from harness.report.answers import figure
from harness.report.horizon import named
from harness.report.plot import Charted
from harness.report.view import WorkloadView
from harness.schema.decision import BurstOutcome
from harness.schema.option import Option, TaskFigures, TaskQuantile

ORDERS = {"sequential": "one after another", "parallel": "all at once"}


def tasks(view: WorkloadView) -> tuple[Charted, ...]:
    """Return how long a task takes and what it costs on each option; empty without tasks."""
    found = [
        (row, row.option, row.option.task)
        for row in view.rows
        if row.option is not None and row.option.task is not None
    ]
    if not found:
        return ()
    first = found[0][2]
    percentiles = [each.percentile for each in first.quantiles]
    calls = f"{units.count(first.calls_per_task)} calls, {ORDERS[first.order]}"
    bases = dict.fromkeys(task.basis for _, _, task in found)
    return (
        Charted(
            heading=f"A task of {calls}",
            caption=f"Latency and cost of a task of {calls}, {view.decision.title}",
            plot=None,
            legend=(),
            note=f"How the figures come about: {'; '.join(bases)}.",
            heads=(
                ("Target", False),
                ("Mean", True),
                *((f"p{percentile:g}", True) for percentile in percentiles),
                ("Promise of a task", False),
                ("Cost of a task", True),
            ),
            rows=tuple(
                (
                    named(row),
                    units.seconds(task.mean_s),
                    *(_quantile(task, percentile) for percentile in percentiles),
                    _promise(task),
                    _cost(option),
                )
                for row, option, task in found
            ),
        ),
    )


def _quantile(task: TaskFigures, percentile: float) -> str:
    found = next((q for q in task.quantiles if q.percentile == percentile), None)
    return "not told" if found is None else _told(found)


def _told(found: TaskQuantile) -> str:
    if found.value_s is None:
        return found.reason or "not supported by n"
    most = "" if found.high_s is None else f" (at most {units.seconds(found.high_s)})"
    return f"{units.seconds(found.value_s)}{most}"


def _promise(task: TaskFigures) -> str:
    if task.slo is None or task.state is None:
        return "none asked for"
    limit = f"p{task.slo.percentile:g} within {units.seconds(task.slo.limit_s)}"
    text = f"{words.sign(task.state)} {words.state(task.state)}: {limit}"
    if task.per_call_percentile is not None:
        text += f", which is p{task.per_call_percentile:.6g} of a call"
    return text


def _cost(option: Option) -> str:
    if option.cost_per_task_usd is None:
        return "not told"
    return figure(option.cost_per_task_usd, "USD")


def burst(view: WorkloadView) -> tuple[Charted, ...]:
    """Return what the choice does in the burst that was asked about; empty if none was."""
    found = view.decision.burst
    if found is None:
        return ()
    times = f"{units.bare(found.factor)} times the peak"
    return (
        Charted(
            heading=f"A burst of {times}",
            caption=f"A burst of {times} for {units.duration(found.duration_s)} on the choice, "
            f"{view.decision.title}",
            plot=None,
            legend=(),
            note=f"{found.text[:1].upper()}{found.text[1:]}. By formula, not measured.",
            heads=(("Figure", False), ("Value", True)),
            rows=_burst(found),
        ),
    )


def _burst(found: BurstOutcome) -> tuple[tuple[str, str], ...]:
    needed = units.count(found.units_needed)
    most = found.units_needed_low_throughput
    if most is not None:
        needed += f" (at the lower bound of the throughput {units.count(most)})"
    rows = [
        ("Arriving", units.rate(found.rate, "requests/s")),
        ("Served within the SLO", units.rate(found.carried, "requests/s")),
        ("Units of the choice", units.count(found.units)),
        ("Units that would keep the SLO throughout", needed),
        ("SLO kept throughout", "✓ yes" if found.kept else "✕ no"),
    ]
    if not found.kept:
        rows += [
            ("Longest queue, requests", units.count(found.queued)),
            ("Longest wait", units.duration(found.longest_wait_s)),
            ("Given up at the deadline, requests", units.count(found.timed_out, "no deadline")),
            ("Queue gone after the burst", units.duration(found.drained_s, "never")),
        ]
    return tuple(rows)
