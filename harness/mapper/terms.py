"""What a target's price means to one workload: per request, per site, once for a stack."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from harness import units
from harness.economics import capital_recovery_factor, hourly_rent
from harness.mapper.capacity import Load, Work, prompt_tokens
from harness.mapper.relax import margin_below, rejection
from harness.schema.brief import Brief, Economics
from harness.schema.costs import CostLine, PriceAge
from harness.schema.demand import Demand
from harness.schema.option import Sizing
from harness.schema.rejection import Rejection
from harness.schema.target import Price, Target
from harness.schema.workload import Workload

BYTES_PER_GB = 1e9

OLD_PRICE_SHARE = 0.75
"""Share of the age a price may have from which on it is worth a warning."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a mean request asks for, as far as a provider may charge for it; None: it has no such.

    `cached_tokens` are those of the prompt that the provider finds in its cache, beside the others.
    """

    input_tokens: float | None = None
    cached_tokens: float = 0.0
    output_tokens: float | None = None
    audio_s: float | None = None


@dataclass(frozen=True, slots=True)
class PerRequest:
    """What is paid for each request, in USD; None: not known, with why in `basis`."""

    name: Literal["usage", "egress"]
    usd: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What a target charges for one workload beside its units, and where these stand.

    `metered`: an API, which is paid by use and has no units. `integration_usd` is paid once.
    """

    metered: bool
    sites: int
    per_request: PerRequest | None
    integration_usd: float
    integration: CostLine | None
    warnings: tuple[str, ...]

    def lines(self, requests: float) -> tuple[CostLine, ...]:
        """Return the cost lines of a year with so many requests that do not follow the units."""
        found = []
        if self.per_request is not None:
            usd = self.per_request.usd
            found.append(
                CostLine(
                    name=self.per_request.name,
                    usd_per_year=None if usd is None else usd * requests,
                    basis=self.per_request.basis[:2000],
                )
            )
        if self.integration is not None:
            found.append(self.integration)
        return tuple(found)


def terms_of(target: Target, usage: Usage, inputs: Economics) -> Terms:
    """Return what `target` (which has a price) charges for `usage` under the brief's economics."""
    price = target.price
    assert price is not None
    warnings: tuple[str, ...] = ()
    if price.kind == "rent":
        warnings = hourly_rent(price, inputs.rent_mix).warnings
        years, mix = price.commitment_years, inputs.rent_mix
        if years is not None and mix is not None and mix.reserved and years > inputs.horizon_years:
            warnings += (
                f"the reserved hours are committed to for {years:g} years, beyond the horizon of "
                f"{inputs.horizon_years:g}; what is left of them then is not in the figures",
            )
    stack = stack_of(target)
    return Terms(
        metered=price.kind == "api",
        sites=inputs.edge_sites if target.site.tier == "edge" and price.kind != "api" else 1,
        per_request=per_request(price, inputs, usage),
        integration_usd=integration_usd(stack, inputs),
        integration=integration_line(stack, inputs),
        warnings=warnings,
    )


def usage_of(workload: Workload, demand: Demand, work: Work) -> Usage:
    """Return what a mean request of `workload` asks for, from its declared lengths.

    Of the prompt's tokens the share `prefix_hit` of the demand is found in a cache.
    """
    prompt = prompt_tokens(workload, demand)
    if prompt is None:
        return Usage(audio_s=work.audio_s)
    return Usage(input_tokens=prompt[0], cached_tokens=prompt[1], output_tokens=work.per_request)


def per_request(price: Price, economics: Economics, usage: Usage) -> PerRequest | None:
    """Return what is paid for each request; None: nothing is. An API must cover it (`api_gap`).

    API: input p_in + cached input p_cached + output p_out + p_request + audio hours x p_audio.
    Rent: the bytes that the brief declares x the price of egress.
    """
    if price.kind == "rent" and price.egress_usd_per_gb is not None:
        sent = economics.egress_bytes_per_request
        if sent is None:
            return PerRequest("egress", None, "the brief states no egress_bytes_per_request")
        usd = price.egress_usd_per_gb
        basis = f"{units.data(sent)} a request at {units.usd(usd)} per GB"
        return PerRequest("egress", sent / BYTES_PER_GB * usd, basis)
    if price.kind != "api":
        return None
    found = list(_usage_parts(price, usage))
    return PerRequest(
        "usage",
        math.fsum(usd for usd, _ in found),
        f"{units.usd(math.fsum(usd for usd, _ in found))} a request: "
        + " + ".join(text for _, text in found),
    )


def _usage_parts(price: Price, usage: Usage) -> Iterator[tuple[float, str]]:
    """Yield what a mean request pays for each thing that an API charges for, in USD and words."""
    input_usd, output_usd = price.usd_per_million_input_tokens, price.usd_per_million_output_tokens
    if input_usd is not None and usage.input_tokens is not None:
        cached_usd = cached_rate(price)
        fresh, cached = usage.input_tokens, usage.cached_tokens
        yield fresh * input_usd / 1e6, _tokens(fresh, "input", input_usd)
        if cached:
            assert cached_usd is not None
            yield cached * cached_usd / 1e6, _tokens(cached, "cached input", cached_usd)
    if output_usd is not None and usage.output_tokens is not None:
        sent = usage.output_tokens
        yield sent * output_usd / 1e6, _tokens(sent, "output", output_usd)
    if price.usd_per_request is not None:
        yield price.usd_per_request, f"{units.usd(price.usd_per_request)} for the request"
    if price.usd_per_audio_hour is not None and usage.audio_s is not None:
        usd = price.usd_per_audio_hour
        yield (
            usage.audio_s / 3600 * usd,
            f"{units.seconds(usage.audio_s)} of audio at {units.usd(usd)} an hour",
        )


def cached_rate(price: Price) -> float | None:
    """Return what an API charges for a million cached input tokens: as input if it states none."""
    cached = price.usd_per_million_cached_input_tokens
    return price.usd_per_million_input_tokens if cached is None else cached


def _tokens(count: float, which: str, usd: float) -> str:
    return f"{units.number(count)} {which} tokens at {units.usd(usd)} per million"


def api_gap(price: Price, usage: Usage) -> str | None:
    """Return why the price of an API does not say what a request costs; None: it does, or no API.

    A price per token says nothing of audio, nor one per hour of audio of text.
    """
    if price.kind != "api":
        return None
    tokens = price.usd_per_million_input_tokens is not None
    audio = price.usd_per_audio_hour is not None
    if (
        (tokens and usage.input_tokens is not None)
        or (audio and usage.audio_s is not None)
        or (price.usd_per_request is not None and not tokens and not audio)
    ):
        if any(usd for usd, _ in _usage_parts(price, usage)):
            return None
        return "by the API's price this workload's requests cost nothing, which is no price"
    stated = " and ".join(
        text for has, text in ((tokens, "per token"), (audio, "per hour of audio")) if has
    )
    return f"the API's price is {stated}, which this workload's requests are not counted in"


def stack_of(target: Target) -> str:
    """Return what a team has to know to run `target`: its server's protocol, else its adapter."""
    return target.runtime.adapter if target.server is None else target.server.protocol


def integration_usd(stack: str, economics: Economics) -> float:
    """Return what taking up `stack` costs once: weeks x USD a week, 0 for one that is known."""
    if stack in economics.known_stacks:
        return 0.0
    return economics.integration_weeks_per_stack * economics.integration_usd_per_week


def integration_line(stack: str, economics: Economics) -> CostLine | None:
    """Return a year of taking up `stack`, CRF(r, horizon) x its cost; None if that is nothing."""
    usd = integration_usd(stack, economics)
    if not usd:
        return None
    years = economics.horizon_years
    return CostLine(
        name="integration",
        usd_per_year=capital_recovery_factor(economics.discount_rate, years) * usd,
        basis=f"{economics.integration_weeks_per_stack:g} weeks at "
        f"{units.usd(economics.integration_usd_per_week)} to take up {stack}, over {years:g} years "
        f"at {units.percent(economics.discount_rate)}",
    )


def price_rules(target: Target, usage: Usage, load: Load) -> tuple[Rejection, ...]:
    """Return what speaks against an API's price: it does not fit the requests, or their number."""
    price = target.price
    if price is None or price.kind != "api":
        return ()
    found = []
    if gap := api_gap(price, usage):
        remedy = f"add what it charges for this workload to the price of '{target.name}'"
        found.append(Rejection(rule="price", text=gap, remedy=remedy))
    asked, limit = load.peak * 60, price.requests_per_minute_max
    if limit is not None and asked > limit:
        found.append(
            rejection(
                "rate_limit",
                target,
                f"the busiest hour asks for {units.number(asked)} requests a minute; the "
                f"provider takes {units.number(limit)}",
                [("target.price.requests_per_minute_max", limit, asked)],
                f"have the provider take {units.number(asked)} requests a minute",
                number=asked,
                limit=limit,
                margin=margin_below(asked, limit),
                unit="requests/min",
                remedy="ask the provider for a higher limit, and state it in the price",
            )
        )
    return tuple(found)


def price_age(price: Price, brief: Brief) -> PriceAge:
    """Return how old `price` is on the brief's day; stale from three quarters of the limit on."""
    days, limit = (brief.as_of - price.date).days, brief.constraints.max_price_age_days
    state: Literal["current", "stale", "younger_than_the_brief"] = "current"
    if days < 0:
        state = "younger_than_the_brief"
    elif days > OLD_PRICE_SHARE * limit:
        state = "stale"
    return PriceAge(days=days, limit_days=limit, state=state)


def at_sites(sizing: Sizing, sites: int) -> Sizing:
    """Return `sizing` of a fleet over `sites`, which no queue joins; as it is for one."""
    if sites == 1:
        return sizing
    return Sizing(
        needed=sizing.needed,
        spare=sizing.spare,
        pooled=None,
        basis=f"each of {units.count(sites)} sites has units and spare of its own for an equal "
        "part of the demand; no queue is shared between sites",
    )
