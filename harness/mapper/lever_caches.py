"""Levers that change what reaches the fleet: prefix and result caches, work that may wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from harness import units
from harness.economics import scaled
from harness.mapper.lever_bench import Bench, Served, outcome_of, priced, quality_of, unknown
from harness.schema.inputs import PromptInputs
from harness.schema.levers import Batching, LeverOutcome, PrefixCaching, ResultCaching
from harness.schema.option import Option
from harness.schema.record import Record


def prefix_cached(
    bench: Bench, served: Served, today: Option, lever: PrefixCaching
) -> LeverOutcome:
    """Return the choice's cost when a cache holds `hit` of the prompt tokens."""
    what = f"a cache that holds {units.percent(lever.hit)} of the prompt tokens"
    what += _in_place_of(served.demand.prefix_hit)
    formula = "throughput / (1 - phi hit), phi the share of a request's time in its prompt"
    if not isinstance(served.workload.inputs, PromptInputs):
        return unknown("prefix_caching", what, today, formula, "the workload has no prompts")
    if lever.measured_as is not None:
        return _measured_prefix(bench, served, today, lever, what)
    target = bench.targets[today.target]
    demand = served.demand.model_copy(update={"prefix_hit": lever.hit})
    if target.price is not None and target.price.kind == "api":
        option = priced(bench, served, today.target, demand)
        return outcome_of(
            "prefix_caching",
            what,
            today,
            option,
            "cached prompt tokens at the price of cached input, the others at that of input",
            measured=False,
            assumptions=(f"the provider's cache hits {units.percent(lever.hit)}",),
            needs=("the provider's bill for a sample of own requests",),
        )
    phi, why = lever.prompt_time_share, "as stated"
    if phi is None:
        phi = _prompt_share(served.streams.get(today.target, ()))
        why = "median TTFT / median latency of the single stream"
    if phi is None:
        return unknown(
            "prefix_caching",
            what,
            today,
            formula,
            "no single stream with a time to the first token was measured, so the share of the "
            "prompt is not known",
            f"harness run -w {served.workload.name} -t {today.target}",
        )
    operating = served.points[today.target]
    faster = replace(operating, throughput=scaled(operating.throughput, 1 / (1 - phi * lever.hit)))
    return outcome_of(
        "prefix_caching",
        what,
        today,
        priced(bench, served, today.target, demand, faster),
        f"throughput / (1 - {units.number(phi)} x {units.number(lever.hit)}); {why}",
        measured=False,
        assumptions=(
            "a hit saves its part of the prompt's time and nothing else; in a batch the prompt's "
            "share is another than in a single stream",
            "the SLO is kept at the higher throughput, and a unit draws what it was measured to",
            f"{units.percent(lever.hit)} of the prompt tokens are in the cache when they come",
        ),
        needs=(
            "a runtime with a prefix cache, and memory for it",
            "a measurement with 'shared_prefix' in the workload's inputs ('measured_as')",
        ),
    )


def _measured_prefix(
    bench: Bench, served: Served, today: Option, lever: PrefixCaching, what: str
) -> LeverOutcome:
    """Return the fleet of the workload that measured the cache."""
    assert lever.measured_as is not None
    other = bench.workloads[lever.measured_as]
    formula = f"cost of the best fleet as {other.name} measured it / cost of the choice"
    if other.model != served.workload.model:
        return unknown("prefix_caching", what, today, formula, f"{other.name} is of another model")
    found = bench.decide(other, served.demand)
    option = found.decision.choice
    if option is None:
        return unknown("prefix_caching", what, today, formula, found.decision.reason)
    inputs = other.inputs
    shared = isinstance(inputs, PromptInputs) and inputs.shared_prefix is not None
    assumptions = [f"the hits of that measurement are {units.percent(lever.hit)}, as stated"]
    if not shared:
        assumptions.append(f"{other.name} declares no 'shared_prefix' for a cache to hold")
    if other.slo != served.workload.slo:
        assumptions.append(f"the throughput of {other.name} is at its own SLO")
    return outcome_of(
        "prefix_caching",
        what,
        today,
        option,
        formula,
        measured=shared and other.slo == served.workload.slo,
        assumptions=tuple(assumptions),
        quality=quality_of(found.points[option.target]),
        needs=("own prompts that share their beginnings as those of the measurement do",),
    )


def _prompt_share(streams: Sequence[Record]) -> float | None:
    """Return TTFT / latency of medians of the single stream; None without either."""
    shares = []
    for point in (point for record in streams for point in record.points):
        first, whole = point.metrics.get("ttft_s.p50"), point.metrics.get("latency_s.p50")
        if first is not None and whole is not None and first.value and whole.value:
            shares.append(min(first.value / whole.value, 1.0))
    return median(shares) if shares else None


def other_demand(
    bench: Bench, served: Served, today: Option, lever: ResultCaching | Batching
) -> LeverOutcome:
    """Return the choice's cost when fewer requests arrive, or some of them at other hours."""
    if isinstance(lever, ResultCaching):
        demand = served.demand.model_copy(update={"result_cache_hit": lever.hit})
        what = f"a cache that answers {units.percent(lever.hit)} of the requests"
        what += _in_place_of(served.demand.result_cache_hit)
        formula = f"requests and peak x (1 - {units.number(lever.hit)})"
        assumptions: tuple[str, ...] = (
            "requests that the cache answers are no shorter or longer than the others, at any hour",
            "the cache itself costs nothing",
        )
        needs: tuple[str, ...] = (
            "the share of own requests that come again, measured",
            "answers that may be given twice: no personal data across users, an age limit",
        )
    else:
        demand = served.demand.model_copy(update={"batchable_share": lever.share})
        what = f"{units.percent(lever.share)} of the requests wait for other hours"
        what += _in_place_of(served.demand.batchable_share)
        formula = (
            f"sized for {units.number(1 - lever.share)} x peak + {units.number(lever.share)} x mean"
        )
        assumptions = (
            "what may wait is spread evenly over all hours, and keeps the SLO when it runs",
        )
        needs = ("a queue that holds requests back, and users who wait for them",)
    return outcome_of(
        lever.kind,
        what,
        today,
        priced(bench, served, today.target, demand),
        formula,
        measured=False,
        assumptions=assumptions,
        needs=needs,
    )


def _in_place_of(share: float) -> str:
    """Return the share that the demand states already, which the lever's replaces; empty: none."""
    return f", in place of {units.percent(share)} today" if share else ""
