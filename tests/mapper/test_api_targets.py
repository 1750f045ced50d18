"""APIs among the options, from records: cost by use, no units, and what the answer then holds."""

import pytest

from harness.mapper import decide
from harness.schema import Decision
from tests.factories import make_brief, make_point, make_record, make_stored, make_target
from tests.mapper.metered import metered, reading
from tests.mapper.test_decide import BUSY, WORKLOAD, purchase, rent

SERVER = {"url": "http://127.0.0.1:1/v1", "protocol": "openai-chat", "model": "m"}
API = {
    "kind": "api",
    "sale_unit": "pay as you go",
    "usd_per_million_input_tokens": 1.0,
    "usd_per_million_cached_input_tokens": 0.1,
    "usd_per_million_output_tokens": 2.0,
    "source": "provider's list",
    "date": "2026-10-01",
}
STEADY = {"requests_per_month": 26_280_000, "peak_factor": 1.0}
PER_REQUEST = 26e-6
"""10 x 1 + 8 x 2 USD per million, of the prompt's mean of 10 tokens and 8 answered ones."""


def make_api(name="api", **changes):
    return make_target(
        name,
        price={**API, **changes},
        runtime={"adapter": "http", "device": "remote"},
        server=SERVER,
    )


def answer(*pairs, brief=None, workload=WORKLOAD):
    """Return the decision for (target, point) pairs."""
    stored = [
        make_stored(make_record(workload, target, number=number, points=(point,)))
        for number, (target, point) in enumerate(pairs, 1)
    ]
    brief = brief or make_brief(workload.name)
    return decide(brief, [workload], [target for target, _ in pairs], stored)


def option(decision, name="api"):
    return next(o for o in decision.workloads[0].options if o.target == name)


def test_an_api_costs_what_the_volume_uses_and_has_no_units():
    """A million requests a month: 12 M x 26e-6."""
    decision = answer((make_api(), make_point(WORKLOAD)))

    found = option(decision)
    assert found.cost_per_year_usd == pytest.approx(12e6 * PER_REQUEST)
    assert (found.kind, found.replicas, found.utilisation) == ("api", 0, None)
    assert (found.sizing, found.replicas_at_horizon) == (None, None)
    assert [line.name for line in found.cost_lines] == ["usage"]
    cost = found.cost_per_unit_usd
    assert cost.low == cost.value == cost.high
    assert cost.value == pytest.approx(PER_REQUEST / 8 * 1e6)
    assert found.cost_per_unit_full_usd == cost
    assert found.cost_per_1000_requests_usd.value == pytest.approx(PER_REQUEST * 1000)
    tokens = found.token_costs
    assert tokens.blended.value == pytest.approx(PER_REQUEST / 18 * 1e6)
    prices = (tokens.input.value, tokens.cached_input.value, tokens.output.value)
    assert prices == (1.0, 0.1, 2.0)
    assert found.price_age.state == "current"


def test_two_apis_that_cost_the_same_have_no_units_that_would_do():
    point = make_point(WORKLOAD)
    reason = answer((make_api(), point), (make_api("other"), point)).workloads[0].reason

    assert "the same as other at this demand and at full load (both are paid as used)" in reason


def test_the_energy_of_an_api_is_not_known_and_not_zero():
    found = option(answer((make_api(), make_point(WORKLOAD))))

    assert all(line.figure is None for line in found.energy_lines)
    assert "does not state its energy" in found.energy_lines[0].basis


def test_a_busiest_hour_beyond_what_was_measured_is_said():
    brief = make_brief(workloads=[{"workload": "chat", "demand": BUSY}])

    (text,) = option(answer((make_api(), make_point(WORKLOAD)), brief=brief)).warnings

    assert "the API was measured up to 10.0 requests/s" in text


def test_an_api_above_its_rate_limit_or_priced_for_other_work_is_ruled_out():
    point = make_point(WORKLOAD)
    audio = {k: None for k in API if k.startswith("usd")} | {"usd_per_audio_hour": 0.3}
    decision = answer(
        (make_api("limited", requests_per_minute_max=10.0), point),
        (make_api("speech", **audio), point),
    )

    rules = {o.target: o.rejections for o in decision.workloads[0].outcomes}
    assert rules["limited"][0].rule == "rate_limit"
    assert rules["speech"][0].rule == "price"
    assert "per hour of audio" in rules["speech"][0].text
    assert decision.workloads[0].choice is None


def test_an_api_wins_the_small_demand_and_loses_the_large_one():
    fleet = (make_target("box", price=rent(1.0)), make_point(WORKLOAD, rate=1000.0))
    api = (make_api(), make_point(WORKLOAD))

    def chosen(volume):
        asked = {"requests_per_month": volume, "peak_factor": 1.0}
        brief = make_brief(workloads=[{"workload": "chat", "demand": asked}])
        return answer(fleet, api, brief=brief).workloads[0].choice.target

    # 730 USD a month for the box: 28 M requests at 26e-6.
    assert chosen(25e6) == "api"
    assert chosen(32e6) == "box"


def test_api_cloud_and_on_premises_are_compared_in_pairs():
    own = make_target(
        "own",
        price=purchase(purchase_usd=20_000.0),
        site={"tier": "on_premises", "region": "hall", "jurisdiction": "eu"},
    )
    brief = make_brief(
        workloads=[{"workload": "chat", "demand": {"requests_per_month": 28e6}}],
        economics={**make_brief().economics.model_dump(), "utilisation_max": 1.0},
    )
    decision = answer(
        (make_api(), make_point(WORKLOAD)),
        (make_target("box", price=rent(1.0)), make_point(WORKLOAD, rate=1000.0)),
        (own, metered(reading(3000.0, "node"), rate=1000.0)),
        brief=brief,
    )

    pairs = {pair.kinds: pair for pair in decision.workloads[0].break_evens}
    assert list(pairs) == [("api", "cloud"), ("api", "on_premises"), ("cloud", "on_premises")]
    found = pairs["api", "cloud"]
    assert found.targets == ("api", "box")
    assert found.crossings[0].requests_per_month == pytest.approx(730 / PER_REQUEST, rel=1e-6)
    assert Decision.model_validate_json(decision.model_dump_json()) == decision


def test_the_bill_is_there_for_what_the_answer_compares_and_the_total_for_all():
    point = make_point(WORKLOAD)
    decision = answer(
        *((make_target(f"box-{n}", price=rent(1.0 + n)), point) for n in range(4)),
        (make_api(), point),
    )

    options = decision.workloads[0].options
    assert all(o.tco is not None for o in options)
    assert {o.target for o in options if o.bill} == {"api", "box-0"}
    assert len(options[0].bill) == 36
    assert decision.workloads[0].choice == options[0]


def test_documents_without_the_new_fields_stay_what_they_were():
    target, brief = make_target(), make_brief()

    assert "licence_usd_per_year" not in target.model_dump_json()
    assert "rent_mix" not in brief.model_dump_json()
    assert "edge_sites" not in brief.model_dump_json()


def test_the_cost_of_a_fleet_divides_by_the_measured_times():
    """TTFT .025 s, TPOT .005 s, 8 tokens: .025 / (.025 + 7 x .005) of the cost to 10 tokens."""
    found = option(answer((make_target("box"), make_point(WORKLOAD))), "box")

    tokens, request = found.token_costs, found.cost_per_1000_requests_usd.value / 1000
    assert tokens.prefill_share == pytest.approx(0.025 / 0.06)
    assert tokens.input.value == pytest.approx(request * 0.025 / 0.06 / 10 * 1e6)
    assert tokens.output.value == pytest.approx(request * 0.035 / 0.06 / 8 * 1e6)
    assert tokens.cached_input is None
    whole = (tokens.input.value * 10 + tokens.output.value * 8) / 1e6
    assert whole == pytest.approx(request)


def test_without_the_times_only_the_blended_figure_is_given():
    point = make_point(WORKLOAD)
    kept = {k: v for k, v in point.metrics.items() if not k.startswith("tpot_s.p50")}
    found = option(answer((make_target("box"), point.model_copy(update={"metrics": kept}))), "box")

    assert (found.token_costs.input, found.token_costs.output) == (None, None)
    assert "nothing measured says" in found.token_costs.basis
    assert found.token_costs.blended.value > 0


def test_a_task_of_several_calls_costs_as_many_requests():
    demand = {"requests_per_month": 1e6, "agent": {"calls_per_task": 5, "order": "sequential"}}
    brief = make_brief(workloads=[{"workload": "chat", "demand": demand}])

    found = option(answer((make_api(), make_point(WORKLOAD)), brief=brief))

    assert found.cost_per_task_usd.value == pytest.approx(5 * PER_REQUEST)


def test_edge_units_stand_at_every_site():
    """10 requests/s of demand on 4 sites: 2.5 each, of 10/s at 70 %, one unit and one spare."""
    edge = make_target("edge", site={"tier": "edge", "region": "shops", "jurisdiction": "eu"})
    base = make_brief()
    brief = make_brief(
        workloads=[{"workload": "chat", "demand": STEADY}],
        economics={**base.economics.model_dump(), "edge_sites": 4},
        constraints={"spare_units": 1},
    )

    decision = answer((edge, make_point(WORKLOAD)), brief=brief)

    found = option(decision, "edge")
    assert found.replicas == 8
    assert (found.sizing.needed, found.sizing.spare) == (4, 4)
    assert found.cost_per_year_usd == pytest.approx(8 * 8760)
    assert found.tco.fleets == ((1, 8),)


def test_licence_egress_and_integration_are_lines_of_the_year():
    price = rent(1.0, licence_usd_per_year=500.0, egress_usd_per_gb=0.1)
    economics = {
        **make_brief().economics.model_dump(),
        "egress_bytes_per_request": 1e6,
        "integration_weeks_per_stack": 2,
        "integration_usd_per_week": 1000,
        "discount_rate": 0.0,
    }
    brief = make_brief(economics=economics)

    found = option(
        answer((make_target("box", price=price), make_point(WORKLOAD)), brief=brief), "box"
    )

    lines = {line.name: line.usd_per_year for line in found.cost_lines}
    assert lines == pytest.approx(
        {"rent": 8760, "licence": 500, "egress": 12e6 * 1e6 / 1e9 * 0.1, "integration": 2000 / 3}
    )
    # At full load 10 requests/s of 8 tokens, each with its own egress.
    fixed = (8760 + 500 + 2000 / 3) / (80 * 8760 * 3600) * 1e6
    assert found.cost_per_unit_full_usd.value == pytest.approx(fixed + 1e-4 / 8 * 1e6)
    assert found.tco.integration_usd == 2000
    assert found.bill[0].once_usd == 2000


def test_an_egress_that_cannot_be_worked_out_leaves_the_cost_without_an_upper_bound():
    price = rent(1.0, egress_usd_per_gb=0.1)

    found = option(answer((make_target("box", price=price), make_point(WORKLOAD))), "box")

    assert found.cost_per_unit_usd.high is None
    assert "the cost of egress is not in the figures" in found.warnings[0]


def test_the_reserved_share_lowers_the_rent_of_the_year_and_of_the_draws():
    price = rent(1.0, reserved_usd_per_hour=0.5, commitment_years=1.0)
    economics = {**make_brief().economics.model_dump(), "rent_mix": {"reserved": 1.0}}
    brief = make_brief(economics=economics)
    point = make_point(WORKLOAD)

    decision = answer(
        (make_target("box", price=price), point),
        (make_target("other", price=rent(0.8)), point),
        brief=brief,
    )

    assert option(decision, "box").cost_per_year_usd == pytest.approx(4380)
    assert decision.workloads[0].choice.target == "box"
    assert option(decision, "other").cost_per_year_usd == pytest.approx(0.8 * 8760)
    assert "no reserved rate" in option(decision, "other").warnings[-1]
