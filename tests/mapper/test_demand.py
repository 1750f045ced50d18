"""Demand beyond a volume and a peak: profiles, work that waits, caches, tasks, lots of units."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import SpecError
from harness.mapper import decide
from harness.mapper.candidate import units_in
from harness.mapper.capacity import load_of, planned_peak_factor, prompt_tokens, units_bought
from harness.mapper.demand import demand_of
from harness.mapper.draws import Future
from harness.schema import canonical_json, content_hash
from harness.schema.brief import DemandOverride, Uncertainty
from harness.schema.demand import Demand
from tests.factories import (
    make_brief,
    make_fraud_workload,
    make_point,
    make_record,
    make_stored,
    make_target,
    make_workload,
)
from tests.mapper.candidates import make_candidate, make_contest

WORKLOAD = make_workload()
BUSY = 300_000_000
AGENT = {"calls_per_task": 5, "order": "sequential"}
DAY = [1.0] * 16 + [4.0] * 8


def price(**changes):
    return {
        "kind": "rent",
        "sale_unit": "1 card",
        "usd_per_hour": 1.0,
        "source": "list",
        "date": "2026-10-01",
        **changes,
    }


def decided(demand=None, *, workload=WORKLOAD, brief=None, **of_price):
    target = make_target(price=price(**of_price))
    broke = make_point(workload, rate=21.0, load=0.9, latency_s=9.0)
    points = (make_point(workload, rate=20.0, load=0.8), broke)
    record = make_record(workload, target, points=points, headline=0)
    asked = brief or make_brief(workloads=[{"workload": "chat", "demand": demand or {}}])
    return decide(asked, [workload], [target], [make_stored(record)])


def test_a_profile_gives_the_peak_factor():
    demand = Demand(requests_per_month=1000, hourly_profile=DAY)

    assert demand.peak_factor == pytest.approx(4 / 2)
    assert Demand.model_validate(demand.model_dump()) == demand
    assert Demand.model_validate_json(demand.model_dump_json(), strict=True) == demand


@pytest.mark.parametrize("weights", [[1.0] * 23, [0.0] * 24, [-1.0] + [1.0] * 23])
def test_a_profile_is_of_a_day_or_a_week_and_not_empty(weights):
    with pytest.raises(ValidationError, match=r"hourly profile|greater than"):
        Demand(requests_per_month=1, hourly_profile=weights)


def test_a_profile_and_another_peak_factor_exclude_each_other():
    with pytest.raises(ValidationError, match="leave one out"):
        Demand(requests_per_month=1, hourly_profile=DAY, peak_factor=3.0)
    with pytest.raises(ValidationError, match="leave one of the two out"):
        DemandOverride(hourly_profile=DAY, peak_factor=3.0)


def test_tasks_need_an_agent():
    assert Demand(tasks_per_month=10, agent=AGENT).requests_per_month == 50
    with pytest.raises(ValidationError, match="needs an 'agent'"):
        Demand(tasks_per_month=10)
    with pytest.raises(ValidationError, match="leave one out"):
        Demand(tasks_per_month=10, agent=AGENT, requests_per_month=49)


def test_the_briefs_statement_ends_the_workloads_other_one():
    declared = Demand(tasks_per_month=10, agent=AGENT, hourly_profile=DAY)

    peak = demand_of(declared, DemandOverride(peak_factor=7))
    assert (peak.peak_factor, peak.hourly_profile) == (7, None)
    volume = demand_of(declared, DemandOverride(requests_per_month=8))
    assert (volume.requests_per_month, volume.tasks_per_month) == (8, None)
    calls = demand_of(declared, DemandOverride(agent={"calls_per_task": 3, "order": "parallel"}))
    assert calls.requests_per_month == 30
    flat = demand_of(
        Demand(requests_per_month=1, peak_factor=9), DemandOverride(hourly_profile=DAY)
    )
    assert flat.peak_factor == 2
    with pytest.raises(SpecError, match="brief b: 'tasks_per_month' needs an 'agent'"):
        demand_of(Demand(requests_per_month=1), DemandOverride(tasks_per_month=5), "brief b")


def test_what_may_wait_is_sized_at_the_mean():
    demand = Demand(requests_per_month=1000, peak_factor=3.0, batchable_share=0.25)
    plain = load_of(demand.model_copy(update={"batchable_share": 0.0}), 3)

    assert planned_peak_factor(demand) == pytest.approx(0.75 * 3 + 0.25 * 1)
    assert load_of(demand, 3).peak == pytest.approx(0.75 * plain.peak + 0.25 * plain.mean)
    assert load_of(demand, 3).mean == plain.mean


def test_what_a_cache_answers_never_reaches_the_fleet():
    demand = Demand(requests_per_month=1000, peak_factor=3.0, result_cache_hit=0.4)
    plain = load_of(demand.model_copy(update={"result_cache_hit": 0.0}), 3)

    for name in ("requests", "mean", "peak", "horizon_peak"):
        assert getattr(load_of(demand, 3), name) == pytest.approx(0.6 * getattr(plain, name))


def test_a_prefix_cache_changes_what_is_paid_for_tokens_and_no_work():
    workload = make_workload(
        inputs={
            "kind": "prompts",
            "count": 8,
            "prompt_tokens": {"kind": "uniform", "minimum": 4, "maximum": 16},
            "output_tokens": {"kind": "fixed", "value": 8},
            "shared_prefix": {"tokens": 20, "share": 0.5},
        }
    )
    demand = Demand(requests_per_month=1000, prefix_hit=0.25)

    assert prompt_tokens(workload, demand) == pytest.approx((15.0, 5.0))
    assert prompt_tokens(make_fraud_workload(), demand) is None
    with_hits, without = decided({"prefix_hit": 0.25}), decided()
    first, second = (d.workloads[0].choice for d in (with_hits, without))
    assert first.cost_per_year_usd == second.cost_per_year_usd
    assert first.throughput == second.throughput


def test_defaults_that_are_spelt_out_give_the_same_bytes():
    spelt = {"batchable_share": 0.0, "result_cache_hit": 0.0, "prefix_hit": 0.0}
    workload = make_workload(demand={"requests_per_month": 1e6, "peak_factor": 3.0, **spelt})
    brief = make_brief()

    assert canonical_json(decided(brief=brief, workload=workload)) == canonical_json(
        decided(brief=brief)
    )
    assert content_hash(workload) == content_hash(WORKLOAD)
    tree = json.loads(canonical_json(decided(brief=brief)))
    assert set(tree["workloads"][0]["demand"]) == {
        "requests_per_month",
        "growth_per_year",
        "peak_factor",
        "residency",
        "tiers",
    }
    assert not {"burst", "levers"} & set(tree["workloads"][0])
    assert "levers" not in tree["brief"]


def test_every_part_of_the_demand_is_an_assumption_given_or_not():
    text = {(a.value, a.source) for a in decided().assumptions}
    assert ("0 % of the requests may wait for other hours", "workload chat") in text
    asked = decided({"batchable_share": 0.2, "hourly_profile": DAY, "burst": {"duration_s": 60}})
    text = {(a.value, a.source) for a in asked.assumptions}
    waits = "20 % of the requests may wait for other hours, and run at the mean rate of all hours"
    assert (waits, "brief question") in text
    assert ("busiest hour 2.00 x the mean", "brief question") in text
    assert any(value.startswith("a burst of 10.0 times") for value, _ in text)
    names = {a.name for a in asked.assumptions}
    assert {"chat: utilisation", "spread of the batchable share"} <= names


def test_the_utilisation_follows_from_the_demand_and_spreads_with_it():
    used = decided({"requests_per_month": BUSY}).workloads[0]

    assert used.utilisation.value == used.choice.utilisation
    assert used.utilisation.low < used.utilisation.value < used.utilisation.high
    sure = make_brief(
        uncertainty=dict.fromkeys(
            ("price", "volume", "peak_factor", "growth", "electricity", "unit_to_unit"), 0.0
        )
        | {"throughput_open": 0.0, "draws": 100}
    )
    assert decided(brief=sure).workloads[0].utilisation.low == pytest.approx(
        decided(brief=sure).workloads[0].choice.utilisation, rel=0.1
    )


@given(st.floats(0, 0.98), st.floats(0, 0.98))
@settings(max_examples=25, deadline=None)
def test_more_cache_hits_never_cost_more(first, second):
    low, high = sorted((first, second))
    costs = [
        decided({"requests_per_month": BUSY, "result_cache_hit": hit}).workloads[0].choice
        for hit in (low, high)
    ]
    assert costs[1].cost_per_year_usd <= costs[0].cost_per_year_usd
    assert costs[1].replicas <= costs[0].replicas


@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_more_work_that_may_wait_never_costs_more(first, second):
    low, high = sorted((first, second))
    costs = [
        decided({"requests_per_month": BUSY, "batchable_share": share}).workloads[0].choice
        for share in (low, high)
    ]
    assert costs[1].cost_per_year_usd <= costs[0].cost_per_year_usd


def test_hits_and_waiting_work_are_drawn_about_their_shares():
    spread = Uncertainty(volume=0, peak_factor=0, growth=0)
    demand = Demand(requests_per_month=BUSY, peak_factor=3.0, result_cache_hit=0.5)
    cases = Future("chat", demand, spread).cases([])

    plain = load_of(demand.model_copy(update={"result_cache_hit": 0.0}), 3)
    assert np.median(cases.mean) == pytest.approx(plain.mean / 2, rel=0.01)
    assert np.std(cases.mean) == pytest.approx(0.05 * plain.mean, rel=0.1)
    waits = Demand(requests_per_month=BUSY, peak_factor=3.0, batchable_share=0.4)
    peaks = Future("chat", waits, spread).cases([]).peak
    assert np.median(peaks) == pytest.approx(load_of(waits, 3).peak, rel=0.01)
    assert np.std(peaks) == pytest.approx(2 * 0.05 * plain.mean, rel=0.1)


# ---- what fails together, and what is sold together


@pytest.mark.parametrize(
    ("needed", "spare", "together", "lot", "bought"),
    [
        (5, 1, 1, 1, 6),
        (5, 0, 8, 1, 5),
        (5, 1, 8, 1, 13),
        (5, 1, 8, 8, 16),
        (16, 0, 1, 8, 16),
        (17, 0, 1, 8, 24),
    ],
)
def test_a_node_fails_whole_and_is_sold_whole(needed, spare, together, lot, bought):
    of = make_target(price=price(failure_domain_units=together, sold_in_units=lot)).price
    assert units_bought(needed, spare, of) == bought

    brief = make_brief(
        workloads=[{"workload": "chat", "demand": {"requests_per_month": needed * 12e6}}],
        constraints={"spare_units": spare},
    )
    answer = decided(brief=brief, failure_domain_units=together, sold_in_units=lot).workloads[0]
    sizing = answer.choice.sizing
    assert sizing.needed == needed
    assert (answer.choice.replicas, sizing.spare) == (bought, bought - needed)
    assert answer.choice.cost_per_year_usd == 8760 * bought
    assert ("fail together" in sizing.basis) == (together > 1)


def test_the_draws_buy_whole_lots_and_spare_whole_nodes():
    plain = make_candidate("a")
    nodes = replace(plain, failure_domain_units=8, sold_in_units=8)
    contest = make_contest([plain, nodes], spare=1, volume=0.5)
    cases = contest.cases()

    fleets = units_in(contest.candidates, cases, contest.utilisation_max, contest.spare)
    needed = fleets[0] - 1
    assert fleets[1].tolist() == (np.ceil((needed + 8) / 8) * 8).tolist()


def test_a_target_sold_by_the_unit_keeps_its_identity():
    assert content_hash(make_target(price=price(failure_domain_units=1, sold_in_units=1))) == (
        content_hash(make_target(price=price()))
    )
