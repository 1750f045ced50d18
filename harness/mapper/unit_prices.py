"""A yearly cost as what a million tokens, 1,000 requests, an hour of audio and a task cost."""

from __future__ import annotations

from statistics import median

from harness import units
from harness.economics import scaled
from harness.mapper.capacity import Work
from harness.mapper.operating import Operating
from harness.mapper.terms import Usage, cached_rate
from harness.schema.base import Interval
from harness.schema.costs import TokenCosts
from harness.schema.demand import Demand
from harness.schema.target import Price

MILLION = 1e6


def per_request_of(cost: Interval, work: Work) -> Interval:
    """Return the cost of a request from that of `work.unit_size` of what is counted."""
    return scaled(cost, work.per_request / work.unit_size)


def per_audio_hour(cost: Interval, work: Work) -> Interval | None:
    """Return the cost of an hour of audio from that of `work.unit_size` clips of one mean length.

    None for what is no audio.
    """
    if work.audio_s is None:
        return None
    return scaled(cost, 3600 / (work.audio_s * work.unit_size))


def per_task(request: Interval, demand: Demand | None) -> Interval | None:
    """Return calls x (1 - result cache hits) x the cost of a request; None without an agent."""
    if demand is None or demand.agent is None:
        return None
    return scaled(request, demand.agent.calls_per_task * (1 - demand.result_cache_hit))


def token_costs(
    request: Interval, price: Price, usage: Usage, operating: Operating
) -> TokenCosts | None:
    """Return what a million tokens cost by kind, from the cost of a request; None for no text.

    An API states it. Of a fleet the share TTFT / (TTFT + (out - 1) TPOT) of the cost, of measured
    medians at the operating point, falls to the prompts that no cache holds, the rest to the
    answers. What a cached token costs a fleet is not measured.
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    fresh, answer = usage.input_tokens, usage.output_tokens
    blended = scaled(request, MILLION / (fresh + usage.cached_tokens + answer))
    if price.kind == "api":
        if price.usd_per_million_input_tokens is None:
            basis = "the API's price does not follow the tokens; only all together are known"
            return _only(blended, basis)
        return TokenCosts(
            blended=blended,
            input=_exact(price.usd_per_million_input_tokens),
            cached_input=_exact(cached_rate(price)),
            output=_exact(price.usd_per_million_output_tokens),
            prefill_share=None,
            basis="as the API's price states them; staff and integration are in the blended figure "
            "only",
        )
    first = _median(operating, "ttft_s.p50")
    each = _median(operating, "tpot_s.p50")
    if not first or each is None or answer <= 1 or not fresh:
        return _only(
            blended,
            "nothing measured says how the cost divides (it takes the times to the first and per "
            "token of answers of several tokens)",
        )
    share = first / (first + (answer - 1) * each)
    return TokenCosts(
        blended=blended,
        input=scaled(request, share * MILLION / fresh),
        cached_input=None,
        output=scaled(request, (1 - share) * MILLION / answer),
        prefill_share=share,
        basis=f"{units.percent(share)} of the cost to the prompts: TTFT {units.seconds(first)} of "
        f"TTFT + (out - 1) TPOT, {units.seconds(each)} each, medians at the operating point; what "
        "a cached token costs was not measured",
    )


def _only(blended: Interval, basis: str) -> TokenCosts:
    return TokenCosts(
        blended=blended, input=None, cached_input=None, output=None, prefill_share=None, basis=basis
    )


def _exact(usd: float | None) -> Interval | None:
    return None if usd is None else Interval(value=usd, low=usd, high=usd)


def _median(operating: Operating, name: str) -> float | None:
    """Return the repeats' median of a metric at the operating point; None if one lacks it."""
    found = [point.metrics.get(name) for point in operating.points]
    values = [metric.value for metric in found if metric is not None and metric.value is not None]
    return median(values) if values and len(values) == len(found) else None
