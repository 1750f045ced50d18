"""The nearest miss: exactly the change that is named lets the target in, and no less does."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.mapper import decide
from harness.mapper.relax import MEASURE, nearest, relaxation, relaxed
from harness.schema.rejection import Rejection
from tests.factories import (
    make_brief,
    make_fraud_workload,
    make_point,
    make_record,
    make_stored,
    make_target,
)

WORKLOAD = make_fraud_workload("chat")
PLACES = ("eu", "us", "mars")
TIERS = ("cloud", "on_premises", "edge")
PRECISIONS = ("fp32", "int8")
VENDORS = ("Acme", "Other")
FACT = {"source": "data sheet", "date": "2026-10-01"}


def some(names, most=3):
    return st.lists(st.sampled_from(names), unique=True, max_size=most)


@st.composite
def targets(draw, name):
    price = {"source": "quote", "date": draw(st.sampled_from(["2026-10-01"] * 5 + ["2025-03-01"]))}
    if draw(st.booleans()):
        price |= {"kind": "rent", "usd_per_hour": draw(st.floats(0.1, 9))}
    else:
        price |= {"kind": "purchase", "purchase_usd": draw(st.floats(500, 9e4)), "life_years": 4.0}
    lead = draw(st.none() | st.floats(0, 30))
    hardware = {
        "chip": "Test chip",
        "vendor": draw(st.sampled_from(VENDORS)),
        "kind": "gpu",
        "tdp_w": {"value": 300, **FACT},
        "host_power_w": {"value": 200, **FACT},
    }
    if draw(st.booleans()):
        hardware["rack_units"] = draw(st.floats(1, 8))
    return make_target(
        name,
        hardware=hardware,
        runtime={"adapter": "fake", "precision": draw(st.sampled_from(PRECISIONS))},
        site={
            "tier": draw(st.sampled_from(TIERS)),
            "region": "x",
            "jurisdiction": draw(st.sampled_from(PLACES)),
        },
        price={"sale_unit": "1 server", **price, "lead_time_weeks": lead},
    )


@st.composite
def questions(draw):
    """Return a brief with many constraints, and up to three targets that were measured."""
    limits = {
        "tiers": draw(some(TIERS)),
        "residency": draw(some(PLACES)),
        "precisions": draw(some(PRECISIONS)),
        "air_gap": True,
        "need_by": draw(st.sampled_from(["2026-11-01", "2026-12-24", "2027-03-01"])),
        "power_kw_max": draw(st.floats(0.01, 1)),
        "rack_units_max": draw(st.floats(1, 8)),
        "vendors_allowed": draw(some(VENDORS)),
        "vendors_excluded": draw(some(VENDORS)),
        "budget_usd_per_year": draw(st.floats(100, 2e4)),
        "edge_latency_s": draw(st.sampled_from([0.001, 0.01])),
        "minimum_evidence": draw(st.sampled_from(["measured", "projected"])),
    }
    demand = {
        "requests_per_month": draw(st.floats(1e4, 1e9)),
        "tiers": draw(st.none() | some(TIERS)),
        "residency": draw(st.none() | st.none() | some(PLACES)),
    }
    brief = make_brief(
        workloads=[{"workload": "chat", "demand": demand}],
        constraints={name: limits[name] for name in draw(some(sorted(limits), 3))},
        uncertainty={"draws": 100},
    )
    found = [draw(targets(f"t{number}")) for number in range(draw(st.integers(1, 3)))]
    records = [
        make_record(
            WORKLOAD,
            target,
            number=number,
            evidence=draw(st.sampled_from(["measured", "imported"])),
            points=(make_point(WORKLOAD, rate=200.0, latency_s=0.003),),
        )
        for number, target in enumerate(found, 1)
    ]
    return brief, found, [make_stored(record) for record in records]


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(questions())
def test_the_nearest_miss_made_is_a_target_let_in(question):
    brief, found, records = question
    answer = decide(brief, [WORKLOAD], found, records).workloads[0]

    for outcome in answer.outcomes:
        if outcome.feasible:
            assert outcome.nearest is None
            assert outcome.binding == ()
            continue
        rules = {r.rule for r in outcome.rejections}
        if len(rules) > 1:
            assert outcome.nearest is None
            assert set(outcome.binding) == rules
            continue
        change = outcome.nearest
        assert change is not None
        assert change.exact
        again = decide(relaxed(brief, "chat", change), [WORKLOAD], found, records).workloads[0]
        (same,) = [o for o in again.outcomes if o.target == outcome.target]
        assert same.feasible
        assert change.usd_per_year == pytest.approx(
            next(o.cost_per_year_usd for o in again.options if o.target == outcome.target)
        )


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(questions())
def test_each_relaxation_of_the_whole_gives_a_choice(question):
    brief, found, records = question
    answer = decide(brief, [WORKLOAD], found, records).workloads[0]

    # All rules here are on what the brief or a target declares, so that there is always a way out.
    assert (answer.choice is None) == bool(answer.relaxations)
    for change in answer.relaxations:
        again = decide(relaxed(brief, "chat", change), [WORKLOAD], found, records).workloads[0]
        assert again.choice is not None


@pytest.mark.parametrize(
    ("field", "limit"),
    [("budget_usd_per_year", 8000.0), ("power_kw_max", 0.4), ("rack_units_max", 3.0)],
)
def test_a_little_less_than_the_nearest_miss_lets_nothing_in(field, limit):
    target = make_target(
        hardware={
            "chip": "c",
            "vendor": "v",
            "kind": "gpu",
            "rack_units": 4.0,
            "tdp_w": {"value": 300, **FACT},
            "host_power_w": {"value": 200, **FACT},
        },
        site={"tier": "edge", "region": "x", "jurisdiction": "eu"},
    )
    record = make_stored(
        make_record(WORKLOAD, target, points=(make_point(WORKLOAD, latency_s=0.003),))
    )
    brief = make_brief(constraints={field: limit})
    (outcome,) = decide(brief, [WORKLOAD], [target], [record]).workloads[0].outcomes
    (change,) = outcome.nearest.changes
    less = make_brief(constraints={field: change.needed * (1 - 1e-6)})
    (still,) = decide(less, [WORKLOAD], [target], [record]).workloads[0].outcomes

    assert change.field == f"constraints.{field}"
    assert outcome.nearest.share == pytest.approx(change.needed / limit - 1)
    assert not still.feasible


def test_both_lists_that_keep_a_target_out_change_together():
    brief = make_brief(
        workloads=[{"workload": "chat", "demand": {"tiers": ["edge"]}}],
        constraints={"tiers": ["edge", "on_premises"]},
    )
    record = make_stored(make_record(WORKLOAD, points=(make_point(WORKLOAD, latency_s=0.003),)))
    (change,) = decide(brief, [WORKLOAD], [make_target()], [record]).workloads[0].relaxations

    assert [c.field for c in change.changes] == ["constraints.tiers", "demand.tiers"]
    assert relaxed(brief, "chat", change).workloads[0].demand.tiers == ("edge", "cloud")


def test_of_equal_changes_the_cheapest_target_is_named_and_smaller_changes_come_first():
    dear, cheap = (
        make_target(name, price={**make_target().price.model_dump(), "usd_per_hour": usd})
        for name, usd in (("dear", 3.0), ("cheap", 2.0))
    )
    far = make_target(
        "far",
        site={"tier": "edge", "region": "x", "jurisdiction": "us"},
        price={**make_target().price.model_dump(), "usd_per_hour": 1.1},
    )
    brief = make_brief(
        workloads=[{"workload": "chat", "demand": {"residency": ["us"]}}],
        constraints={"budget_usd_per_year": 9000},
    )
    points = (make_point(WORKLOAD, latency_s=0.003),)
    records = [
        make_stored(make_record(WORKLOAD, t, number=n, points=points))
        for n, t in enumerate((dear, cheap, far), 1)
    ]
    answer = decide(brief, [WORKLOAD], [dear, cheap, far], records).workloads[0]

    assert [each.of for each in answer.relaxations] == ["far"]
    assert {o.target: o.binding for o in answer.outcomes}["cheap"] == ("residency", "budget")

    wide = brief.model_copy(
        update={"constraints": brief.constraints.model_copy(update={"budget_usd_per_year": 5e4})}
    )
    answer = decide(wide, [WORKLOAD], [dear, cheap], records[:2]).workloads[0]
    assert [(each.rule, each.of) for each in answer.relaxations] == [("residency", "cheap")]


def test_where_no_single_change_is_enough_the_fewest_together_are_named():
    points = (make_point(WORKLOAD, latency_s=0.003),)
    near, far = (
        make_target(name, site={"tier": tier, "region": "x", "jurisdiction": "us"})
        for name, tier in (("near", "edge"), ("far", "cloud"))
    )
    records = [
        make_stored(make_record(WORKLOAD, t, number=n, points=points))
        for n, t in enumerate((near, far), 1)
    ]
    brief = make_brief(
        workloads=[{"workload": "chat", "demand": {"residency": ["eu"]}}],
        constraints={"budget_usd_per_year": 8000, "air_gap": True},
    )
    (change,) = decide(brief, [WORKLOAD], [near, far], records).workloads[0].relaxations

    assert (change.rule, change.of, change.exact) == ("residency and budget", "near", True)
    assert [each.field for each in change.changes] == [
        "demand.residency",
        "constraints.budget_usd_per_year",
    ]
    again = decide(relaxed(brief, "chat", change), [WORKLOAD], [near, far], records)
    assert again.workloads[0].choice.target == "near"


def test_the_limits_of_one_rule_change_together_and_other_rules_bind():
    def against(rule, field):
        change = relaxation(rule, "box", [(field, 1.0, 2.0)], f"more {field}")
        return Rejection(rule=rule, text="no", relaxation=change)

    whole, binding = nearest("box", [against("slo", "a"), against("slo", "b")])
    assert [c.field for c in whole.changes] == ["a", "b"]
    assert not whole.exact
    assert binding == ()
    assert nearest("box", [against("slo", "a"), against("power", "b")]) == (
        None,
        ("slo", "power"),
    )


def test_promises_of_several_metrics_are_named_and_measured_once():
    changes = [
        relaxation("slo", "box", [(f"workload.slo.{name}.limit_s", 0.1, value)],
                   f"promise {text} for {name}{MEASURE}")
        for name, value, text in (("p90 ttft", 0.4, "400 ms"), ("p90 tpot", 0.075, "75.0 ms"))
    ]  # fmt: skip
    against = [Rejection(rule="slo", text="no", relaxation=change) for change in changes]
    whole, _ = nearest("box", against)

    assert whole.text.startswith(
        "promise 400 ms for p90 ttft; promise 75.0 ms for p90 tpot, and measure against that ("
    )


def test_two_changes_of_one_field_are_one_the_farther():
    against = [
        Rejection(
            rule="slo",
            text="no",
            relaxation=relaxation("slo", "box", [("constraints.x", 1.0, needed)], f"{needed}"),
        )
        for needed in (1.5, 3.0, 2.0)
    ]
    whole, _ = nearest("box", against)

    assert [(c.field, c.needed) for c in whole.changes] == [("constraints.x", 3.0)]
    assert whole.text == "3.0 (constraints.x: 1.00 -> 3.00)"


def test_what_is_shown_lets_in_too():
    change = relaxation("budget", "box", [("constraints.x", 1.0, 1.2345)], "spend more")
    assert "1 -> 1.24" in change.text.replace("1.00", "1")


def test_a_change_of_a_workload_cannot_be_made_in_the_brief():
    change = relaxation("slo", "box", [("workload.slo.p90 latency.limit_s", 1.0, 2.0)], "wait")

    with pytest.raises(ValueError, match="not a field of the brief"):
        relaxed(make_brief(), "chat", change)
