"""What a price means to a workload: usage of an API, egress, rent mix, sites, a new stack."""

import json
from datetime import date

import pytest

from harness.economics import hourly_rent
from harness.mapper.capacity import load_of, work_of
from harness.mapper.terms import (
    Usage,
    api_gap,
    at_sites,
    integration_line,
    per_request,
    price_age,
    price_rules,
    stack_of,
    terms_of,
    usage_of,
)
from harness.schema.brief import Economics
from harness.schema.demand import Demand
from harness.schema.option import Sizing
from harness.schema.target import Price
from tests.factories import make_brief, make_fraud_workload, make_target, make_workload

TOKENS = {"usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 2.0}


def api_price(**changes):
    tree = {"kind": "api", "sale_unit": "pay as you go", "source": "list", "date": "2026-10-01"}
    return Price.model_validate_json(json.dumps({**tree, **(changes or TOKENS)}))


def make_economics(**changes):
    tree = make_brief().economics.model_dump()
    return Economics.model_validate({**tree, **changes})


def rent(**changes):
    tree = {"kind": "rent", "sale_unit": "1 instance", "usd_per_hour": 10.0, "source": "list"}
    return Price.model_validate({**tree, "date": date(2026, 10, 1), **changes})


def test_a_request_to_an_api_costs_its_fresh_cached_and_answered_tokens():
    """10 prompt tokens (4 to 16), 40 % of them cached, 8 answered: 6 x 1 + 4 x .1 + 8 x 2."""
    workload = make_workload()
    demand = Demand(requests_per_month=1e6, prefix_hit=0.4)
    usage = usage_of(workload, demand, work_of(workload))
    price = api_price(**TOKENS, usd_per_million_cached_input_tokens=0.1)

    paid = per_request(price, make_economics(), usage)

    assert paid.name == "usage"
    assert paid.usd == pytest.approx(22.4e-6, rel=1e-12)


def test_cached_tokens_cost_as_others_where_no_price_for_them_is_stated():
    usage = Usage(input_tokens=6, cached_tokens=4, output_tokens=8)

    paid = per_request(api_price(), make_economics(), usage)

    assert paid.usd == pytest.approx(26e-6, rel=1e-12)


def test_the_shared_prefix_counts_among_the_input_tokens():
    """10 and half of 20 tokens: 20 x 1 + 8 x 2."""
    inputs = make_workload().inputs.model_dump()
    inputs["shared_prefix"] = {"tokens": 20, "share": 0.5}
    workload = make_workload(inputs=inputs)
    usage = usage_of(workload, workload.demand, work_of(workload))

    assert per_request(api_price(), make_economics(), usage).usd == pytest.approx(36e-6)


def test_a_price_of_nothing_is_no_price():
    free = api_price(**{**TOKENS, "usd_per_million_input_tokens": 0.0})
    unpaid = free.model_copy(update={"usd_per_million_output_tokens": 0.0})

    assert api_gap(free, Usage(input_tokens=5, output_tokens=5)) is None
    assert "cost nothing" in api_gap(unpaid, Usage(input_tokens=5, output_tokens=5))


def test_audio_costs_its_hours_and_a_request_its_fee():
    price = api_price(usd_per_audio_hour=0.36, usd_per_request=0.001)

    paid = per_request(price, make_economics(), Usage(audio_s=30.0))

    assert paid.usd == pytest.approx(0.36 * 30 / 3600 + 0.001)


@pytest.mark.parametrize(
    ("price", "usage", "said"),
    [
        (TOKENS, Usage(audio_s=30.0), "per token"),
        ({"usd_per_audio_hour": 0.36}, Usage(input_tokens=5, output_tokens=5), "hour of audio"),
        (TOKENS | {"usd_per_request": 0.1}, Usage(), "per token"),
        (TOKENS, Usage(input_tokens=5, output_tokens=5), None),
        ({"usd_per_request": 0.1}, Usage(), None),
        (TOKENS | {"usd_per_audio_hour": 0.1}, Usage(audio_s=1.0), None),
    ],
)
def test_a_price_in_units_that_the_workload_has_not_is_a_gap_and_not_free(price, usage, said):
    gap = api_gap(api_price(**price), usage)

    assert (gap is None) if said is None else (said in gap)


def test_a_busiest_hour_above_the_rate_limit_speaks_against_the_api():
    """1,460,000 requests in 730 h are 33.3 a minute, 100 in the busiest hour."""
    workload = make_workload()
    demand = Demand(requests_per_month=1_460_000, peak_factor=3.0)
    usage = usage_of(workload, demand, work_of(workload))

    def rules(limit):
        price = api_price(**TOKENS, requests_per_minute_max=limit).model_dump()
        target = make_target(
            "api",
            price=price,
            runtime={"adapter": "http", "device": "remote"},
            server={"url": "http://127.0.0.1:1/v1", "protocol": "openai-chat", "model": "m"},
        )
        return price_rules(target, usage, load_of(demand, 3.0))

    (rule,) = rules(80.0)
    assert (rule.rule, rule.limit) == ("rate_limit", 80.0)
    assert rule.number == pytest.approx(100.0)
    assert rule.margin == pytest.approx(-0.25)
    assert rule.relaxation.changes[0].needed == pytest.approx(100.0)
    assert rules(101.0) == ()
    assert price_rules(make_target(), usage, load_of(demand, 3.0)) == ()


def test_rent_is_paid_by_the_briefs_mix():
    """60 % at 10, 30 % at 6 and 10 % at 3 USD an hour."""
    price = rent(reserved_usd_per_hour=6.0, commitment_years=3.0, spot_usd_per_hour=3.0)
    mix = make_economics(rent_mix={"on_demand": 0.6, "reserved": 0.3, "spot": 0.1}).rent_mix

    hourly = hourly_rent(price, mix)

    assert hourly.usd == pytest.approx(6.0 + 1.8 + 0.3)
    assert "30 % reserved at $6.00 for 3 years" in hourly.basis
    (warning,) = hourly.warnings
    assert "10 % of the hours are spot" in warning


def test_a_way_to_pay_that_the_price_has_not_is_paid_on_demand_and_said():
    mix = make_economics(rent_mix={"reserved": 0.5, "spot": 0.5}).rent_mix

    hourly = hourly_rent(rent(spot_usd_per_hour=3.0), mix)

    assert hourly.usd == pytest.approx(0.5 * 10 + 0.5 * 3)
    assert "no reserved rate" in hourly.warnings[0]


def test_a_commitment_beyond_the_horizon_is_said():
    price = rent(reserved_usd_per_hour=6.0, commitment_years=5.0)
    target = make_target(price=price.model_dump())
    terms = terms_of(target, Usage(), make_economics(rent_mix={"reserved": 1.0}))

    assert "committed to for 5 years, beyond the horizon of 3" in terms.warnings[0]


def test_egress_is_bytes_times_price_and_unknown_without_them():
    price = rent(egress_usd_per_gb=0.09)

    stated = per_request(price, make_economics(egress_bytes_per_request=2e6), Usage())
    silent = per_request(price, make_economics(), Usage())

    assert stated.usd == pytest.approx(0.09 * 2e6 / 1e9)
    assert silent.usd is None
    assert "egress_bytes_per_request" in silent.basis
    assert per_request(rent(), make_economics(), Usage()) is None


def test_a_new_stack_costs_its_weeks_once_and_a_known_one_nothing():
    """6 weeks at 5,000 over 3 years at 8 %: CRF = .3880335."""
    inputs = make_economics(integration_weeks_per_stack=6, integration_usd_per_week=5000)

    assert integration_line("fake", inputs).usd_per_year == pytest.approx(
        30_000 * 0.3880335, rel=1e-6
    )
    known = inputs.model_copy(update={"known_stacks": ("fake",)})
    assert integration_line("fake", known) is None
    assert integration_line("fake", make_economics()) is None


def test_the_stack_of_a_served_target_is_its_protocol():
    served = make_target(
        runtime={"adapter": "http", "device": "remote"},
        server={"url": "http://127.0.0.1:1/v1", "protocol": "openai-chat", "model": "m"},
    )

    assert stack_of(served) == "openai-chat"
    assert stack_of(make_target()) == "fake"


def test_edge_targets_stand_at_every_site_and_others_at_one():
    inputs = make_economics(edge_sites=40)
    edge = make_target(site={"tier": "edge", "region": "shops", "jurisdiction": "eu"})

    assert terms_of(edge, Usage(), inputs).sites == 40
    assert terms_of(make_target(), Usage(), inputs).sites == 1
    sizing = Sizing(needed=40, spare=40, pooled=60, basis="x")
    spread = at_sites(sizing, 40)
    assert (spread.needed, spread.spare, spread.pooled) == (40, 40, None)
    assert at_sites(sizing, 1) is sizing


@pytest.mark.parametrize(
    ("day", "state"),
    [
        (date(2026, 10, 31), "current"),
        (date(2026, 1, 1), "stale"),
        (date(2026, 11, 2), "younger_than_the_brief"),
    ],
)
def test_each_price_says_how_old_it_is(day, state):
    age = price_age(rent(date=day), make_brief())

    assert (age.state, age.limit_days) == (state, 365)
    assert age.days == (date(2026, 11, 1) - day).days


def test_a_row_workload_asks_for_requests_only():
    workload = make_fraud_workload()

    assert usage_of(workload, workload.demand, work_of(workload)) == Usage()
