"""Levers: what each would cost by hand, how that is known, and that none changes the choice."""

import pytest
from pydantic import ValidationError

from harness.errors import SpecError
from harness.mapper import decide
from harness.schema import canonical_json
from harness.schema.record import QualityCheck
from tests.factories import (
    make_brief,
    make_fraud_workload,
    make_point,
    make_record,
    make_stored,
    make_target,
    make_workload,
)

LARGE = make_workload("large")
SMALL = make_workload("small")
STEADY = {"requests_per_month": 100 * 730 * 3600, "peak_factor": 2.0}
"""100 requests/s in the mean, 200 in the busiest hour."""
HOUR = 8760.0


def served(workload, target, number, rate, *, quality=None):
    """Return the records of `workload` on `target`, which serves `rate` requests/s at the SLO."""
    broke = make_point(workload, rate=rate * 1.05, load=0.9, latency_s=9.0)
    points = (make_point(workload, rate=rate, load=0.8), broke)
    changes = {} if quality is None else {"quality": (quality,)}
    record = make_record(workload, target, points=points, headline=0, number=number, **changes)
    alone = make_record(workload, target, scenario="single_stream", number=number + 100)
    return [make_stored(record), make_stored(alone)]


def box(name="box", precision="fp32", usd_per_hour=1.0, chip="Test chip", **changes):
    price = {
        "kind": "rent",
        "sale_unit": "1 card",
        "usd_per_hour": usd_per_hour,
        "source": "list",
        "date": "2026-10-01",
    }
    hardware = {"chip": chip, "vendor": "Acme", "kind": "gpu"}
    runtime = {"adapter": "fake", "precision": precision}
    return make_target(name, price=price, hardware=hardware, runtime=runtime, **changes)


def quality(value, *, passed=True):
    return QualityCheck(
        gate="perplexity",
        metric="perplexity_ratio",
        value=value,
        limit=1.02,
        better="lower",
        passed=passed,
    )


def decided(
    *levers, targets=None, records=None, workloads=(LARGE, SMALL), demand=STEADY, **changes
):
    targets = targets or [box()]
    records = records or served(LARGE, targets[0], 1, 20.0)
    brief = make_brief(
        workloads=[{"workload": "large", "demand": demand}],
        levers=list(levers),
        **{"economics": {**make_brief().economics.model_dump(), "utilisation_max": 1.0}, **changes},
    )
    return decide(brief, workloads, targets, records)


def lever(kind, **fields):
    return {"kind": kind, "workload": "large", **fields}


def only(decision):
    (found,) = decision.workloads[0].levers
    return found


def test_no_lever_changes_the_choice_or_anything_else():
    levers = [
        lever("quantisation"),
        lever("smaller_model", smaller="small"),
        lever("prefix_caching", hit=0.5),
        lever("result_caching", hit=0.3),
        lever("batch", share=0.3),
        lever("routing", small="small", share=0.6),
    ]
    records = [*served(LARGE, box(), 1, 20.0), *served(SMALL, box(), 2, 80.0)]
    pulled = decided(*levers, records=records)
    plain = decided(records=records)

    assert [each.kind for each in pulled.workloads[0].levers] == [each["kind"] for each in levers]
    left = pulled.workloads[0].model_copy(update={"levers": ()})
    assert canonical_json(left) == canonical_json(plain.workloads[0])
    assert all(each.formula for each in pulled.workloads[0].levers)


def test_a_result_cache_takes_its_share_off_the_peak():
    found = only(decided(lever("result_caching", hit=0.25)))

    assert found.today_usd_per_year == 10 * HOUR
    assert found.usd_per_year == 8 * HOUR  # 150 requests/s at 20 each
    assert found.change == pytest.approx(-0.2)
    assert found.evidence == "projected"
    assert found.units == 8


def test_work_that_waits_is_sized_at_the_mean():
    found = only(decided(lever("batch", share=0.4)))

    assert found.usd_per_year == 8 * HOUR  # 0.6 x 200 + 0.4 x 100 = 160
    assert found.evidence == "projected"
    assert "0.600 x peak + 0.400 x mean" in found.formula


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("result_cache_hit", lever("result_caching", hit=0.3)),
        ("batchable_share", lever("batch", share=0.3)),
        ("prefix_hit", lever("prefix_caching", hit=0.3)),
    ],
)
def test_a_share_that_the_demand_states_already_is_said_to_be_replaced(field, asked):
    assert only(decided(asked, demand={**STEADY, field: 0.9})).what.endswith(
        ", in place of 90 % today"
    )
    assert "today" not in only(decided(asked)).what


def test_a_prefix_cache_is_projected_from_the_prompts_share_of_the_time():
    found = only(decided(lever("prefix_caching", hit=0.8)))

    # TTFT is a quarter of the latency: 20 / (1 - 0.25 x 0.8) = 25 requests/s.
    assert found.usd_per_year == 8 * HOUR
    assert found.evidence == "projected"
    assert "0.250 x 0.800" in found.formula
    stated = only(decided(lever("prefix_caching", hit=0.5, prompt_time_share=0.8)))
    assert stated.usd_per_year == 6 * HOUR  # 20 / 0.6 = 33.3


def test_a_prefix_cache_of_which_nothing_is_known_has_no_figure():
    found = only(
        decided(lever("prefix_caching", hit=0.8), records=served(LARGE, box(), 1, 20.0)[:1])
    )

    assert found.usd_per_year is None
    assert "no single stream" in found.reason
    assert found.needs == ("harness run -w large -t box",)


def test_a_prefix_cache_that_was_measured_is_measured():
    inputs = {**LARGE.inputs.model_dump(), "shared_prefix": {"tokens": 16}}
    cached = make_workload("cached", inputs=inputs)
    records = [*served(LARGE, box(), 1, 20.0), *served(cached, box(), 2, 40.0)]
    pull = lever("prefix_caching", hit=0.8, measured_as="cached")
    found = only(decided(pull, records=records, workloads=(LARGE, cached)))

    assert (found.usd_per_year, found.evidence) == (5 * HOUR, "measured")
    assert len(found.records) == 2
    other = make_workload("cached", model={**LARGE.model.model_dump(), "layers": 3})
    found = only(decided(pull, records=records, workloads=(LARGE, other)))
    assert (found.usd_per_year, found.reason) == (None, "cached is of another model")


def test_another_precision_of_the_chip_is_told_with_its_quality():
    targets = [box(), box("small", "int8", 2.0), box("other", "int8", 2.0, chip="Other chip")]
    records = [
        *served(LARGE, targets[0], 1, 20.0),
        *served(LARGE, targets[1], 2, 25.0, quality=quality(1.01)),
        *served(LARGE, targets[2], 3, 25.0),
    ]
    decision = decided(lever("quantisation"), targets=targets, records=records)
    found = only(decision)

    assert decision.workloads[0].choice.target == "box"
    assert (found.target, found.usd_per_year) == ("small", 16 * HOUR)
    assert found.change == pytest.approx(0.6)
    assert found.evidence == "measured"
    assert found.quality == ("perplexity: perplexity_ratio 1.01, at most 1.02",)


def test_a_variant_that_fails_its_gate_has_no_figure():
    targets = [box(), box("small", "int4", 0.1)]
    records = [
        *served(LARGE, targets[0], 1, 20.0),
        *served(LARGE, targets[1], 2, 90.0, quality=quality(1.3, passed=False)),
    ]
    found = only(decided(lever("quantisation"), targets=targets, records=records))

    assert found.usd_per_year is None
    assert "small cannot be used: quality" in found.reason


def test_no_variant_is_said_to_be_none():
    found = only(decided(lever("quantisation")))

    assert found.reason == "no other precision of this chip is among the targets"


def test_a_smaller_model_that_was_measured_takes_all_requests():
    records = [*served(LARGE, box(), 1, 20.0), *served(SMALL, box(), 2, 50.0)]
    decision = decided(lever("smaller_model", smaller="small"), records=records)
    found = only(decision)

    assert (found.usd_per_year, found.evidence) == (4 * HOUR, "measured")
    assert any("good enough" in need for need in found.needs)
    assert {r.label for r in decision.records} >= {"small@box/server"}


def test_a_smaller_model_at_another_slo_is_projected():
    loose = make_workload("small", slo=[{"metric": "latency", "percentile": 90, "limit_s": 2.0}])
    records = [*served(LARGE, box(), 1, 20.0), *served(loose, box(), 2, 50.0)]
    pull = lever("smaller_model", smaller="small")
    found = only(decided(pull, records=records, workloads=(LARGE, loose)))

    assert found.evidence == "projected"
    assert "its own SLO" in found.assumptions[0]


def test_a_smaller_model_without_records_has_no_figure():
    found = only(decided(lever("smaller_model", smaller="small")))

    assert found.usd_per_year is None
    assert "harness run -w small" in found.reason


def test_routing_adds_two_fleets_and_counts_the_staff_once():
    records = [*served(LARGE, box(), 1, 20.0), *served(SMALL, box(), 2, 80.0)]
    economics = {
        **make_brief().economics.model_dump(),
        "utilisation_max": 1.0,
        "staff_usd_per_year": 1000.0,
    }
    pull = lever("routing", small="small", share=0.6)
    found = only(decided(pull, records=records, economics=economics))

    # 80 requests/s at 20 each, 120 at 80 each.
    assert found.usd_per_year == pytest.approx(4 * HOUR + 2 * HOUR + 1000)
    assert found.today_usd_per_year == pytest.approx(10 * HOUR + 1000)
    assert found.evidence == "projected"


def test_evidence_that_is_no_record_makes_a_projection():
    records = [*served(LARGE, box(), 1, 20.0), *served(SMALL, box(), 2, 50.0)]
    records = [
        make_stored(each.record.model_copy(update={"evidence": "claimed"})) for each in records
    ]
    found = only(
        decided(
            lever("smaller_model", smaller="small"),
            records=records,
            constraints={"minimum_evidence": "claimed"},
        )
    )
    assert found.evidence == "projected"


def test_without_a_choice_there_is_nothing_to_compare_with():
    found = only(decided(lever("batch", share=0.4), records=served(SMALL, box(), 1, 20.0)))

    assert (found.today_usd_per_year, found.usd_per_year) == (None, None)
    assert "nothing to compare" in found.reason


def test_a_workload_without_prompts_has_no_prefix_cache():
    fraud = make_fraud_workload(slo=[{"metric": "latency", "percentile": 90, "limit_s": 0.5}])
    brief = make_brief(
        "fraud", levers=[{"kind": "prefix_caching", "workload": "fraud", "hit": 0.5}]
    )
    found = decide(brief, [fraud], [box()], served(fraud, box(), 1, 20.0)).workloads[0].levers[0]

    assert found.reason == "the workload has no prompts"


def test_a_lever_is_on_a_workload_of_the_brief_and_on_known_ones():
    with pytest.raises(ValidationError, match="does not ask about"):
        make_brief("large", levers=[{"kind": "quantisation", "workload": "other"}])
    with pytest.raises(SpecError, match="unknown workload tiny"):
        decided(lever("smaller_model", smaller="tiny"))


@pytest.mark.parametrize("kind", ["result_caching", "batch", "prefix_caching"])
def test_more_of_a_lever_never_costs_more(kind):
    name = {"result_caching": "hit", "batch": "share", "prefix_caching": "hit"}[kind]
    levers = [lever(kind, **{name: value / 20}) for value in range(1, 20)]
    costs = [each.usd_per_year for each in decided(*levers).workloads[0].levers]

    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]
