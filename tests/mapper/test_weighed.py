"""The whole decision, weighed: confidence, flips, break-even and sizing, from records."""

import itertools

from harness.mapper import decide
from harness.schema import Decision, canonical_json
from harness.schema.record import Histogram
from tests.factories import (
    make_brief,
    make_fraud_workload,
    make_point,
    make_record,
    make_stored,
    make_target,
)
from tests.mapper.metered import metered, reading
from tests.mapper.test_decide import BUSY, WORKLOAD, answer, purchase, rent

BRIEF = make_brief(workloads=[{"workload": "chat", "demand": BUSY}])


def rows():
    point = metered(reading(3000.0, "node"), rate=90)
    return [
        ("rented", rent(1.0, source="list"), make_point(WORKLOAD, rate=100)),
        ("bought", purchase(purchase_usd=15_000.0), point),
        ("faster", rent(2.2, source="list"), make_point(WORKLOAD, rate=200, width=0.1)),
    ]


def test_the_order_of_the_targets_changes_no_byte():
    found = {
        canonical_json(answer(order, brief=BRIEF).workloads[0].confidence)
        for order in itertools.permutations(rows())
    }

    assert len(found) == 1


def test_the_decision_survives_its_json_and_stays_small():
    decision = answer(rows(), brief=BRIEF)

    text = decision.model_dump_json(by_alias=True)
    assert Decision.model_validate_json(text) == decision
    # No figure for each draw is in it.
    assert len(text) < 60_000


def test_the_mapper_compares_renting_with_buying_beside_the_rule_of_thumb():
    found = answer(rows(), brief=BRIEF).workloads[0].break_even

    assert (found.rented, found.purchased) == ("rented", "bought")
    assert "the rule of thumb is 60 %-70 % utilisation" in found.text


def test_with_an_exact_brief_the_draws_give_the_planned_cost():
    exact = {
        "price": 0,
        "volume": 0,
        "peak_factor": 0,
        "growth": 0,
        "electricity": 0,
        "unit_to_unit": 0,
        "throughput_open": 0,
    }
    brief = make_brief(workloads=[{"workload": "chat", "demand": BUSY}], uncertainty=exact)
    sharp = [
        (name, price, point.model_copy(update={"metrics": _sharp(point.metrics)}))
        for name, price, point in rows()
    ]
    found = answer(sharp, brief=brief).workloads[0]

    planned = {option.target: option.cost_per_year_usd for option in found.options}
    for odds in found.confidence.odds:
        if odds.target != "bought":
            assert odds.expected_usd_per_year == planned[odds.target]
    assert found.confidence.p_best == 1.0
    # The power of a purchase has an interval of its own, to both sides of what is planned.
    bought = next(o for o in found.confidence.odds if o.target == "bought")
    assert abs(bought.expected_usd_per_year / planned["bought"] - 1) < 0.05


def _sharp(metrics):
    return {
        name: metric.model_copy(update={"low": metric.value, "high": metric.value})
        if name.startswith("throughput")
        else metric
        for name, metric in metrics.items()
    }


def test_a_single_stream_that_explains_the_capacity_gives_the_pooled_count():
    """Service of 2 ms, p99 within 20 ms: one server keeps it up to about 420/s."""
    workload = make_fraud_workload(
        slo=[{"metric": "latency", "percentile": 99, "limit_s": 0.020}],
        scenarios=[{"kind": "server"}, {"kind": "single_stream"}],
        demand={"requests_per_month": 2e10},
    )
    target = make_target("box")
    single = make_point(workload, latency=Histogram(counts=((-625, 100),)))
    records = [
        make_record(
            workload,
            target,
            number=1,
            points=(make_point(workload, rate=440, latency_s=0.002),),
        ),
        make_record(workload, target, scenario="single_stream", number=2, points=(single,)),
    ]

    decision = decide(make_brief("fraud"), [workload], [target], [make_stored(r) for r in records])

    choice = decision.workloads[0].choice
    assert choice.sizing.needed == choice.replicas
    assert choice.sizing.pooled is not None
    assert 0.8 * choice.replicas < choice.sizing.pooled <= choice.replicas
