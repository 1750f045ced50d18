"""Every rule that speaks against a target: named, with number, limit, margin and remedy."""

import pytest

from harness.mapper import decide
from harness.schema.record import QualityCheck, Reason, SloCheck, Verdict
from harness.schema.workload import SloLimit
from tests.factories import (
    make_brief,
    make_fraud_workload,
    make_metric,
    make_point,
    make_record,
    make_stored,
    make_target,
    make_workload,
)

WORKLOAD = make_workload()


def outcome(*records, workload=WORKLOAD, target=None, brief=None):
    """Return the outcome of the one target `box`."""
    target = target or make_target()
    decision = decide(
        brief or make_brief(workload.name), [workload], [target], [make_stored(r) for r in records]
    )
    return decision.workloads[0].outcomes[0]


def rules(found):
    return [rejection.rule for rejection in found.rejections]


def the(found, rule):
    (rejection,) = [r for r in found.rejections if r.rule == rule]
    assert not found.feasible
    return rejection


def check(value, limit=0.01, better="lower", passed=False, **changes):
    return QualityCheck(
        gate="gate",
        metric="figure",
        value=value,
        limit=limit,
        better=better,
        passed=passed,
        **changes,
    )


def test_a_measured_priced_and_allowed_target_is_feasible():
    found = outcome(make_record(WORKLOAD))

    assert found.feasible
    assert found.rejections == ()


def test_without_a_record_the_remedy_is_the_command():
    found = the(outcome(), "not_measured")

    assert found.remedy == "harness run -w chat -t box"


def test_another_scenario_never_stands_for_the_throughput_at_the_slo():
    found = the(outcome(make_record(WORKLOAD, scenario="offline")), "not_measured")

    assert "only of offline" in found.text


def test_a_workload_without_a_server_scenario_is_told_so():
    workload = make_workload(scenarios=[{"kind": "offline"}])
    found = the(
        outcome(make_record(workload, scenario="offline"), workload=workload), "not_measured"
    )

    assert "declares no 'server' scenario" in found.text


def test_a_changed_workload_is_not_measured_and_says_what_changed():
    newer = make_workload(version=2)
    found = the(outcome(make_record(WORKLOAD), workload=newer), "not_measured")

    assert "the workload's version" in found.text


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("unsupported", "found unsupported before a change of the workload's version, and not "),
        ("failed", "tried without success (crash) before a change of the workload's version, "),
    ],
)
def test_a_pair_that_never_had_figures_is_not_called_measured_after_a_change(status, said):
    newer = make_workload(version=2)
    found = the(outcome(make_record(WORKLOAD, status=status), workload=newer), "not_measured")

    assert found.text.startswith(said)
    assert found.remedy.startswith("harness run -w chat")


def test_a_pair_with_figures_was_measured_before_a_change_whatever_came_after():
    records = make_record(WORKLOAD, number=1), make_record(WORKLOAD, number=2, status="failed")
    found = the(outcome(*records, workload=make_workload(version=2)), "not_measured")

    assert found.text == "measured before a change of the workload's version"


def test_a_failed_cell_keeps_its_kind_and_message():
    found = the(outcome(make_record(WORKLOAD, status="failed")), "failed")

    assert "crash: the cell ended: crash" in found.text
    assert found.remedy == "harness run -w chat -t box"


def test_an_unsupported_model_is_a_rule_of_its_own():
    assert rules(outcome(make_record(WORKLOAD, status="unsupported"))) == ["unsupported"]


def test_an_invalid_measurement_gives_its_reasons_and_no_slo_verdict():
    verdict = Verdict(
        state="invalid",
        reasons=(Reason(code="schedule-lag", text="issued late", value=0.2, limit=0.05),),
    )
    record = make_record(
        WORKLOAD, verdict=verdict, points=(make_point(WORKLOAD, latency_s=9.0),), headline=None
    )
    found = outcome(record)

    assert rules(found) == ["invalid"]
    assert "issued late" in found.rejections[0].text
    assert (found.rejections[0].number, found.rejections[0].limit) == (0.2, 0.05)


@pytest.mark.parametrize(
    ("evidence", "minimum", "feasible"),
    [
        ("imported", "measured", False),
        ("imported", "imported", True),
        ("claimed", "projected", False),
        ("measured", "claimed", True),
    ],
)
def test_evidence_below_what_the_brief_asks_for(evidence, minimum, feasible):
    brief = make_brief(constraints={"minimum_evidence": minimum})
    found = outcome(make_record(WORKLOAD, evidence=evidence), brief=brief)

    assert found.feasible == feasible
    assert rules(found) == ([] if feasible else ["evidence"])


@pytest.mark.parametrize(
    ("failed", "margin"),
    [
        (check(0.03), -2.0),
        (check(0.90, limit=0.99, better="higher"), (0.90 - 0.99) / 0.99),
    ],
)
def test_a_missed_quality_gate_has_its_figure(failed, margin):
    good = check(0.001, passed=True)
    found = the(outcome(make_record(WORKLOAD, quality=(good, failed))), "quality")

    assert (found.number, found.limit, found.unit) == (failed.value, failed.limit, "figure")
    assert found.margin == pytest.approx(margin)


def test_a_quality_figure_that_could_not_be_had_gives_its_reason():
    failed = check(None, reason="the output is not finite")
    found = the(outcome(make_record(WORKLOAD, quality=(failed,))), "quality")

    assert found.number is None
    assert found.margin is None
    assert "not finite" in found.text


def test_quality_that_was_not_evaluated_is_not_quality():
    assert "not evaluated" in the(outcome(make_record(WORKLOAD, quality=())), "quality").text


def test_the_slo_is_missed_as_of_the_load_that_comes_nearest():
    points = tuple(
        make_point(WORKLOAD, latency_s=latency, load=load)
        for load, latency in ((0.5, 0.4), (0.8, 2.0))
    )
    found = the(outcome(make_record(WORKLOAD, points=points, headline=None)), "slo")

    assert found.number == pytest.approx(0.6)
    assert found.limit == 0.5
    assert found.margin == pytest.approx(-0.2)
    assert "p90 latency is 600 ms at 50 % load" in found.text


def test_every_missed_promise_is_listed():
    workload = make_workload(
        slo=[
            {"metric": "latency", "percentile": 90, "limit_s": 0.1},
            {"metric": "ttft", "percentile": 90, "limit_s": 0.01},
            {"metric": "tpot", "percentile": 90, "limit_s": 9.0},
        ]
    )
    record = make_record(workload, points=(make_point(workload),), headline=None)
    found = outcome(record, workload=workload)

    assert rules(found) == ["slo", "slo"]
    assert [r.text.split()[1] for r in found.rejections] == ["latency", "ttft"]
    assert all(r.margin < 0 for r in found.rejections)


def test_failures_that_swallow_the_percentile_are_told_as_failures():
    point = make_point(WORKLOAD, failed=60)
    lost = point.slo[0].model_copy(update={"value_s": None, "high_s": None, "state": "missed"})
    point = point.model_copy(update={"slo": (lost,), "slo_state": "missed"})
    found = the(outcome(make_record(WORKLOAD, points=(point,), headline=None)), "slo")

    assert found.number is None
    assert "60 of 100 requests failed" in found.text


def test_a_record_without_the_throughput_that_is_needed_does_not_pass():
    point = make_point(WORKLOAD)
    metrics = {
        **point.metrics,
        "throughput_output_tokens_per_s": make_metric(None, unit="tokens/s", better="higher"),
    }
    record = make_record(WORKLOAD, points=(point.model_copy(update={"metrics": metrics}),))

    assert "not supported by n" in the(outcome(record), "not_measured").text


@pytest.mark.parametrize(
    ("demand", "constraints", "allowed"),
    [
        ((), (), True),
        (("eu",), (), True),
        (("us",), (), False),
        ((), ("us",), False),
        (("eu", "us"), ("us",), False),
        (("eu", "us"), ("eu",), True),
        (("eu",), ("us",), False),
    ],
)
def test_residency_of_workload_and_brief_both_bind(demand, constraints, allowed):
    brief = make_brief(
        workloads=[{"workload": "chat", "demand": {"residency": demand}}],
        constraints={"residency": constraints},
    )
    found = outcome(make_record(WORKLOAD), brief=brief)

    assert rules(found) == ([] if allowed else ["residency"])


def test_the_tier_is_bound_by_the_demand():
    brief = make_brief(workloads=[{"workload": "chat", "demand": {"tiers": ["edge"]}}])
    found = the(outcome(make_record(WORKLOAD), brief=brief), "tier")

    assert "cloud" in found.text
    assert "edge" in found.text


def test_without_a_price_no_target_can_be_bought():
    target = make_target(price=None)

    assert rules(outcome(make_record(WORKLOAD, target), target=target)) == ["price"]


@pytest.mark.parametrize(("days", "feasible"), [(365, True), (366, False)])
def test_the_age_of_a_price_counts_from_the_briefs_day(days, feasible):
    price = {**make_target().price.model_dump(mode="json"), "date": "2025-10-01"}
    target = make_target(price=price)
    brief = make_brief(as_of="2026-10-01" if days == 365 else "2026-10-02")
    found = outcome(make_record(WORKLOAD, target), target=target, brief=brief)

    assert found.feasible == feasible
    if not feasible:
        rejection = the(found, "price_age")
        assert (rejection.number, rejection.limit, rejection.unit) == (366, 365, "days")
        assert rejection.margin == pytest.approx(-1 / 365)


def test_all_rules_that_speak_against_a_target_are_listed():
    target = make_target(price=None, site={"tier": "edge", "region": "x", "jurisdiction": "mars"})
    brief = make_brief(constraints={"tiers": ["cloud"], "residency": ["eu"]})
    record = make_record(
        WORKLOAD,
        target,
        evidence="claimed",
        quality=(check(0.5),),
        points=(make_point(WORKLOAD, latency_s=9.0),),
        headline=None,
    )

    assert rules(outcome(record, target=target, brief=brief)) == [
        "evidence",
        "quality",
        "slo",
        "tier",
        "residency",
        "price",
    ]


def test_a_fraud_workload_is_counted_in_requests():
    workload = make_fraud_workload()
    record = make_record(workload, points=(make_point(workload, latency_s=0.001),))

    assert outcome(record, workload=workload).feasible


@pytest.mark.parametrize(
    ("metric", "value_s", "said"),
    [
        ("latency", 0.55, "promise 550 ms for p90 latency, and measure against that ("),
        # Rounded up: a promise of 1.23 s would be missed.
        ("latency", 1.2312, "promise 1.24 s for p90 latency, and measure against that ("),
        # Missed by values that the percentile leaves out: a limit below it is no relaxation.
        ("tpot", 0.4, None),
    ],
)
def test_a_relaxed_promise_names_its_metric_and_is_never_below_what_was_measured(
    metric, value_s, said
):
    limit = SloLimit(metric=metric, percentile=90, limit_s=0.5)
    slo = (SloCheck(limit=limit, value_s=value_s, high_s=None, state="missed"),)
    point = make_point(WORKLOAD, slo=slo, slo_state="missed")
    found = outcome(make_record(WORKLOAD, points=(point,), headline=None))

    (rejection,) = found.rejections
    relaxation = rejection.relaxation
    assert (relaxation is None) if said is None else relaxation.text.startswith(said)


def test_an_accepted_quality_figure_is_not_better_than_the_one_that_is_there():
    gate = check(0.020361)
    found = outcome(make_record(WORKLOAD, quality=(gate,)))

    (rejection,) = found.rejections
    assert rejection.relaxation.text.startswith(f"accept a {gate.metric} of 0.0204 (")
