"""The decision: order, ties, what is said, and what must hold whatever the figures are."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import SpecError
from harness.mapper import decide
from harness.schema import canonical_json
from harness.schema.record import EnvironmentField, Reason, Verdict
from tests.factories import (
    make_brief,
    make_fraud_workload,
    make_point,
    make_record,
    make_stored,
    make_target,
    make_workload,
)

WORKLOAD = make_workload()
BUSY = {"requests_per_month": 300_000_000, "peak_factor": 3.0}


def rent(usd_per_hour, **changes):
    return {
        "kind": "rent",
        "sale_unit": "1 instance",
        "usd_per_hour": usd_per_hour,
        "source": "price list",
        "date": "2026-10-01",
        **changes,
    }


def purchase(**changes):
    return {
        "kind": "purchase",
        "sale_unit": "1 server",
        "purchase_usd": 10_000.0,
        "life_years": 4.0,
        "source": "quote",
        "date": "2026-10-01",
        **changes,
    }


def answer(rows, *, workload=WORKLOAD, brief=None, **changes):
    """Return the decision for targets given as (name, usd per hour or price, point or None)."""
    targets, records = [], []
    for number, (name, price, point) in enumerate(rows, 1):
        target = make_target(name, price=price if isinstance(price, dict) else rent(price))
        targets.append(target)
        if point is not None:
            records.append(make_record(workload, target, number=number, points=(point,), **changes))
    brief = brief or make_brief(workload.name)
    return decide(brief, [workload], targets, [make_stored(r) for r in records])


def names(decision):
    return [option.target for option in decision.workloads[0].options]


# ---- order and words


def node_point(joules):
    """Return a point whose node drew `joules` in its 10 s."""
    point = make_point(WORKLOAD, joules=joules)
    energy = point.energy[0].model_copy(update={"boundary": "node", "meter": "bmc"})
    return point.model_copy(update={"energy": (energy,)})


def test_the_cheapest_at_the_buyers_demand_is_chosen_and_the_rest_say_how_much_dearer():
    found = answer(
        [
            ("dear", 2.0, make_point(WORKLOAD, rate=100)),
            ("cheap", 1.0, make_point(WORKLOAD, rate=10)),
        ]
    ).workloads[0]

    assert (found.choice.target, found.runner_up.target) == ("cheap", "dear")
    rule = found.runner_up.rejection
    assert rule.rule == "cost"
    assert rule.number == found.runner_up.cost_per_unit_usd.value
    assert rule.limit == found.choice.cost_per_unit_usd.value
    assert rule.margin == pytest.approx(-1.0)
    assert "100 % more than cheap" in rule.text
    assert found.clear is True
    assert "50 % less than dear" in found.reason
    assert "meets p90 latency <= 500 ms with 150 ms" in found.reason


def test_the_cost_is_what_the_formulas_say():
    brief = make_brief(workloads=[{"workload": "chat", "demand": BUSY}])
    found = answer([("box", 1.0, make_point(WORKLOAD, rate=100))], brief=brief).workloads[0]

    # 300e6 / 2,628,000 s = 114.155 requests/s, x 3 = 342.466 in the peak, at 100 x 0.7 a unit.
    option = found.choice
    assert found.mean_rate == pytest.approx(114.155, abs=1e-3)
    assert found.peak_rate == pytest.approx(342.466, abs=1e-3)
    assert option.replicas == 5
    assert option.utilisation == pytest.approx(114.155 / 500, abs=1e-5)
    assert option.cost_per_year_usd == 5 * 8760
    tokens = 12 * 300e6 * 8
    assert option.cost_per_unit_usd.value == pytest.approx(5 * 8760 / tokens * 1e6)
    # At the upper bound, 105 requests/s, it is five as well; at the lower, 95, it takes six.
    assert option.cost_per_unit_usd.low == option.cost_per_unit_usd.value
    assert option.cost_per_unit_usd.high == pytest.approx(6 * 8760 / tokens * 1e6)
    full = option.cost_per_unit_full_usd
    assert full.value == pytest.approx(1.0 / 3600 / 800 * 1e6)
    assert (full.low, full.high) == (
        pytest.approx(full.value / 1.05),
        pytest.approx(full.value / 0.95),
    )


def test_a_tie_at_this_demand_is_decided_at_full_load_and_said_so():
    found = answer(
        [
            ("a-slow", 1.0, make_point(WORKLOAD, rate=20)),
            ("b-fast", 1.0, make_point(WORKLOAD, rate=40)),
        ]
    ).workloads[0]

    assert found.choice.target == "b-fast"
    assert found.choice.cost_per_unit_usd == found.runner_up.cost_per_unit_usd
    assert found.clear is True
    assert "the same as a-slow at this demand (1 unit of either would do)" in found.reason
    assert "50 % less than a-slow" in found.reason
    rule = found.runner_up.rejection
    assert rule.number == found.runner_up.cost_per_unit_full_usd.value
    assert rule.margin == pytest.approx(-1.0)


def test_overlapping_intervals_are_not_clear():
    found = answer(
        [
            ("a", 1.0, make_point(WORKLOAD, rate=20, width=0.2)),
            ("b", 1.0, make_point(WORKLOAD, rate=22, width=0.2)),
        ]
    ).workloads[0]

    assert found.choice.target == "b"
    assert found.clear is False
    assert "intervals overlap" in found.reason


def test_equal_in_cost_the_faster_and_then_the_name_comes_first():
    rows = [
        ("c", 1.0, make_point(WORKLOAD, latency_s=0.10)),
        ("b", 1.0, make_point(WORKLOAD, latency_s=0.10)),
        ("d", 1.0, make_point(WORKLOAD, latency_s=0.05)),
    ]
    decision = answer(rows)

    assert names(decision) == ["d", "b", "c"]
    assert decision.workloads[0].clear is False
    assert decision.workloads[0].options[1].rejection.unit == "share of the SLO limit"


def test_an_unproven_slo_never_beats_a_met_one():
    found = answer(
        [
            ("cheap", 0.1, make_point(WORKLOAD, latency_s=0.33)),
            ("dear", 5.0, make_point(WORKLOAD, latency_s=0.1)),
        ]
    ).workloads[0]

    assert [o.slo_state for o in found.options] == ["met", "unproven"]
    assert found.choice.target == "dear"
    assert found.clear is False
    rule = found.runner_up.rejection
    assert rule.rule == "slo"
    assert rule.number == pytest.approx(0.33 * 1.5 * 1.05)
    assert rule.margin == pytest.approx((0.5 - rule.number) / 0.5)
    assert rule.remedy == "measure longer: harness run -w chat -t cheap --profile rigorous"


def test_a_choice_whose_slo_is_unproven_says_so():
    found = answer([("box", 1.0, make_point(WORKLOAD, latency_s=0.33))]).workloads[0]

    assert found.choice.slo_state == "unproven"
    assert "does not prove p90 latency <= 500 ms" in found.reason


def test_noisy_evidence_may_win_but_is_marked():
    verdict = Verdict(state="noisy", reasons=(Reason(code="steal", text="the host took time"),))
    decision = answer([("box", 1.0, make_point(WORKLOAD))], verdict=verdict)

    assert decision.workloads[0].choice.verdict == "noisy"
    assert "noisy (the host took time)" in decision.workloads[0].reason
    assert any("noisy measurement: the host took time" in w for w in decision.warnings)


def test_unknown_energy_of_a_purchase_is_missing_and_leaves_no_upper_bound():
    decision = answer([("own", purchase(), make_point(WORKLOAD))])
    option = decision.workloads[0].choice

    energy = next(line for line in option.cost_lines if line.name == "energy")
    assert energy.usd_per_year is None
    assert "no powercap tree" in energy.basis
    assert option.cost_per_unit_usd.high is None
    assert option.cost_per_unit_full_usd.high is None
    assert "the cost of energy is not known and not in it" in decision.workloads[0].reason
    assert any("the cost of energy is not in the figures" in w for w in decision.warnings)


def test_a_purchase_with_unknown_energy_is_never_clearly_cheaper():
    found = answer(
        [
            ("own", purchase(purchase_usd=10.0), make_point(WORKLOAD)),
            ("rented", 5.0, make_point(WORKLOAD)),
        ]
    ).workloads[0]

    assert found.choice.target == "own"
    assert found.clear is False
    assert "a bound of the two costs is missing" in found.reason


def test_metered_energy_of_a_purchase_is_paid_for_and_named():
    decision = answer([("own", purchase(), node_point(1000.0))])
    option = decision.workloads[0].choice

    energy = next(line for line in option.cost_lines if line.name == "energy")
    assert energy.usd_per_year == pytest.approx(0.1 * 1.3 * 8760 * 0.15)
    assert option.cost_per_unit_usd.high > option.cost_per_unit_usd.value
    assert any(
        a.name == "own: energy for chat" and "boundary node" in a.value
        for a in decision.assumptions
    )


def test_the_energy_of_a_package_does_not_pay_for_the_machine():
    option = answer([("own", purchase(), make_point(WORKLOAD, joules=1000.0))]).workloads[0].choice

    energy = next(line for line in option.cost_lines if line.name == "energy")
    assert energy.usd_per_year is None
    assert "only package was metered" in energy.basis
    assert option.energy_j_per_request is not None


def test_a_modelled_or_flagged_energy_is_among_the_warnings():
    point = make_point(WORKLOAD, joules=1000.0)
    energy = point.energy[0].model_copy(update={"flags": ("shared_device",)})
    hardware = {
        **make_target().hardware.model_dump(),
        "host_power_w": {"value": 50.0, "source": "rating plate", "date": "2026-01-01"},
    }
    target = make_target("own", price=purchase(), hardware=hardware)
    record = make_record(WORKLOAD, target, points=(point.model_copy(update={"energy": (energy,)}),))
    decision = decide(make_brief(), [WORKLOAD], [target], [make_stored(record)])

    option = decision.workloads[0].choice
    assert any(
        "energy in the cost is not metered: 8,760 hours; modelled" in w for w in option.warnings
    )
    assert "the energy of a request is flagged: shared device" in option.warnings
    assert {line.name for line in option.energy_lines if line.modelled} >= {"facility_energy"}


def test_energy_does_not_decide_between_targets():
    thrifty = make_point(WORKLOAD, joules=10.0)
    decision = answer(
        [("thrifty", 2.0, thrifty), ("cheap", 1.0, make_point(WORKLOAD, joules=1000.0))]
    )

    assert decision.workloads[0].choice.target == "cheap"
    assert [o.target for o in decision.workloads[0].options] == ["cheap", "thrifty"]
    assert any(
        a.name == "energy" and "no target is chosen" in a.value for a in decision.assumptions
    )


def test_a_target_that_the_newest_run_skipped_says_why():
    skipped = {"other": "no NVIDIA GPU on this machine"}
    decision = decide(
        make_brief(), [WORKLOAD], [make_target("other")], [], skipped=skipped
    ).workloads[0]

    (rejection,) = decision.outcomes[0].rejections
    assert rejection.rule == "not_measured"
    assert "skipped the target: no NVIDIA GPU on this machine" in rejection.text
    assert rejection.remedy == "on a machine that can run it: harness run -w chat -t other"


def test_the_lines_add_up_to_the_yearly_cost():
    economics = {**make_brief().economics.model_dump(), "staff_usd_per_year": 3000.0}
    brief = make_brief(economics=economics)
    option = answer([("own", purchase(), node_point(1000.0))], brief=brief).workloads[0].choice

    assert [line.name for line in option.cost_lines] == [
        "capital",
        "maintenance",
        "colocation",
        "energy",
        "staff",
    ]
    assert sum(line.usd_per_year for line in option.cost_lines) == pytest.approx(
        option.cost_per_year_usd
    )


def test_staff_is_shared_by_the_workloads_of_the_brief():
    fraud = make_fraud_workload()
    target = make_target()
    economics = {**make_brief().economics.model_dump(), "staff_usd_per_year": 3000.0}
    decision = decide(
        make_brief("chat", "fraud", economics=economics),
        [WORKLOAD, fraud],
        [target],
        [
            make_stored(make_record(WORKLOAD, target, number=1)),
            make_stored(
                make_record(fraud, target, number=2, points=(make_point(fraud, latency_s=0.001),))
            ),
        ],
    )

    staff = [
        line.usd_per_year
        for each in decision.workloads
        for line in each.choice.cost_lines
        if line.name == "staff"
    ]
    assert staff == [1500.0, 1500.0]
    assert decision.workloads[1].choice.cost_unit == "1,000 requests"


def test_speech_also_has_its_cost_per_hour_of_audio():
    workload = make_workload(
        "speech",
        task="speech_to_text",
        model={
            "family": "whisper",
            "vocabulary": 64,
            "hidden": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "heads": 4,
        },
        inputs={
            "kind": "audio",
            "duration_s": 30.0,
            "output_tokens": {"kind": "fixed", "value": 8},
        },
    )
    option = answer([("box", 1.0, make_point(workload))], workload=workload).workloads[0].choice

    # 120 clips of 30 s are an hour.
    assert option.cost_per_audio_hour_usd.value == pytest.approx(
        option.cost_per_unit_usd.value * 120 / 1000
    )


def test_growth_shows_in_the_units_at_the_horizon():
    demand = {**BUSY, "growth_per_year": 1.0}
    brief = make_brief(workloads=[{"workload": "chat", "demand": demand}])
    option = answer([("box", 1.0, make_point(WORKLOAD, rate=100))], brief=brief).workloads[0].choice

    assert option.replicas == 10  # 684.9 / 70
    assert option.replicas_at_horizon == 40  # 2,739.7 / 70


# ---- nothing feasible


def test_without_any_measurement_the_reason_is_the_command():
    found = answer([("a", 1.0, None), ("b", 1.0, None)]).workloads[0]

    assert (found.choice, found.runner_up, found.clear) == (None, None, None)
    assert "harness run -w chat" in found.reason


def test_without_a_feasible_target_the_nearest_miss_is_named():
    found = answer(
        [
            ("far", 1.0, make_point(WORKLOAD, latency_s=2.0)),
            ("near", 1.0, make_point(WORKLOAD, latency_s=0.4)),
            ("unknown", 1.0, None),
        ],
        headline=None,
    ).workloads[0]

    assert found.choice is None
    assert "Nearest is near" in found.reason
    assert "600 ms" in found.reason
    assert found.reason.endswith("(1 not measured).")


def test_the_nearest_miss_is_one_that_was_measured():
    dear = [("a-unknown", 1.0, None), ("missed", 1.0, make_point(WORKLOAD, latency_s=0.4))]
    found = answer(dear, headline=None).workloads[0]

    assert "Nearest is missed" in found.reason


# ---- inputs that do not fit


def test_names_that_are_not_there_are_errors():
    with pytest.raises(SpecError, match="unknown workload gone"):
        decide(make_brief("gone"), [WORKLOAD], [], [])
    with pytest.raises(SpecError, match="unknown target gone"):
        decide(make_brief(targets=["gone"]), [WORKLOAD], [make_target()], [])
    with pytest.raises(SpecError, match="twice"):
        decide(make_brief("chat", "chat"), [WORKLOAD], [make_target()], [])


def test_a_pue_below_one_is_an_error():
    economics = make_brief().economics.model_dump()
    economics["pue"] = {**economics["pue"], "value": 0.3}

    with pytest.raises(SpecError, match="pue"):
        decide(make_brief(economics=economics), [WORKLOAD], [make_target()], [])


def test_the_brief_narrows_the_targets():
    targets = [make_target("a"), make_target("b")]
    decision = decide(make_brief(targets=["b"]), [WORKLOAD], targets, [])

    assert [o.target for o in decision.workloads[0].outcomes] == ["b"]


# ---- warnings and provenance


def test_prices_near_their_age_and_from_the_future_are_warned_about():
    decision = answer(
        [
            ("old", rent(1.0, date="2025-11-15"), None),
            ("young", rent(1.0, date="2026-12-24"), None),
            ("fine", 1.0, None),
        ]
    )

    assert [w.split(":")[0] for w in decision.warnings] == ["old", "young"]


def test_what_could_not_be_read_is_a_warning():
    decision = decide(make_brief(), [WORKLOAD], [make_target()], [], problems=["x.json: torn"])

    assert decision.warnings == ("not read: x.json: torn",)


def test_detected_cpus_that_differ_are_warned_about():
    records, targets = [], []
    for number, model in enumerate(("Alpha", "Beta"), 1):
        hardware = {"chip": "this CPU", "vendor": "detected", "kind": "cpu", "detect": True}
        target = make_target(f"cpu-{number}", hardware=hardware)
        environment = {"cpu_model": EnvironmentField(value=model)}
        targets.append(target)
        records.append(
            make_stored(make_record(WORKLOAD, target, number=number, environment=environment))
        )

    both = decide(make_brief(), [WORKLOAD], targets, records)
    one = decide(make_brief(), [WORKLOAD], targets, records[:1])

    assert any("Alpha: cpu-1; Beta: cpu-2" in w for w in both.warnings)
    assert one.warnings == ()


def test_cited_records_are_pinned_by_their_digest():
    stored = make_stored(make_record(WORKLOAD))
    unused = make_stored(make_record(WORKLOAD, make_target("elsewhere"), number=2))
    decision = decide(make_brief(), [WORKLOAD], [make_target()], [stored, unused])

    assert [(r.id, r.sha256, r.label) for r in decision.records] == [
        (stored.record.id, stored.sha256, "chat@box/server")
    ]


def test_pinned_records_are_in_the_order_of_their_ids():
    rows = [("b", 1.0, make_point(WORKLOAD)), ("a", 1.0, make_point(WORKLOAD))]
    ids = [reference.id for reference in answer(rows).records]

    assert len(ids) == 2
    assert ids == sorted(ids)


def test_every_figure_of_the_brief_is_an_assumption_with_a_source():
    brief = make_brief(workloads=[{"workload": "chat", "demand": {"peak_factor": 2.0}}])
    found = decide(brief, [WORKLOAD], [make_target()], []).assumptions

    text = {(a.value, a.source) for a in found}
    assert ("$0.150 per kWh", "tariff, 2026-01-01") in text
    assert ("1,000,000 requests a month", "workload chat") in text
    assert ("busiest hour 2.00 x the mean", "brief question") in text
    assert ("$1.00 an hour for 1 instance", "price list of Acme, 2026-10-01") in text
    assert {"discount rate", "utilisation", "PUE", "replicas", "peak"} <= {a.name for a in found}


# ---- the same answer, always


def whole_case():
    """Return a case with repeats, failures, ties and other scenarios."""
    fraud = make_fraud_workload()
    targets = [make_target(name, price=rent(1.0)) for name in ("a", "b", "c", "d")]
    records = []
    number = 0
    for target in targets[:3]:
        for workload in (WORKLOAD, fraud):
            for repeat in (0, 1):
                number += 1
                point = make_point(workload, rate=10 + number % 5, latency_s=0.001)
                records.append(
                    make_record(workload, target, number=number, repeat=repeat, points=(point,))
                )
    records.append(make_record(WORKLOAD, targets[3], number=90, status="failed"))
    records.append(make_record(WORKLOAD, targets[0], number=91, scenario="offline"))
    return make_brief("chat", "fraud"), [WORKLOAD, fraud], targets, records


def digest_of_case(seed=None):
    brief, workloads, targets, records = whole_case()
    stored = [make_stored(record) for record in records]
    if seed is not None:
        for each in (workloads, targets, stored):
            random.Random(seed).shuffle(each)
    return canonical_json(decide(brief, workloads, targets, stored))


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_inputs_changes_no_byte(seed):
    assert digest_of_case(seed) == digest_of_case()


def test_hash_seed_and_environment_change_no_byte():
    root = Path(__file__).parents[2]
    code = "from tests.mapper.test_decide import digest_of_case; print(digest_of_case())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }

    assert outputs == {digest_of_case()}


def test_the_decision_survives_its_json():
    decision = type(decide(*_small())).model_validate(json.loads(digest_of_case()))

    assert canonical_json(decision) == digest_of_case()


def _small():
    return make_brief(), [WORKLOAD], [make_target()], []


# ---- properties

ROW = st.tuples(
    st.floats(0.01, 50),  # USD per hour
    st.floats(0.5, 500),  # requests/s
    st.floats(0.01, 1.0),  # median latency in s; p90 is 1.5 times as much
    st.sampled_from(["valid", "noisy", "invalid"]),
    st.booleans(),  # measured at all
)
ROWS = st.lists(ROW, min_size=1, max_size=5)


def drawn(rows, *, limit_s=0.5, volume=1e7, factor=1.0, dearer=None):
    """Return the answer for drawn rows; `factor` raises the price of the target at `dearer`."""
    workload = make_workload(slo=[{"metric": "latency", "percentile": 90, "limit_s": limit_s}])
    targets, records = [], []
    for number, (usd, rate, latency_s, verdict, measured) in enumerate(rows):
        price = usd * factor if number == dearer else usd
        target = make_target(f"t{number}", price=rent(price))
        targets.append(target)
        if measured:
            point = make_point(workload, rate=rate, latency_s=latency_s)
            records.append(
                make_record(
                    workload,
                    target,
                    number=number,
                    points=(point,),
                    headline=0 if point.slo_state != "missed" else None,
                    verdict=Verdict(state=verdict),
                )
            )
    brief = make_brief(workloads=[{"workload": "chat", "demand": {"requests_per_month": volume}}])
    return decide(brief, [workload], targets, [make_stored(r) for r in records]).workloads[0]


def feasible(found):
    return {outcome.target for outcome in found.outcomes if outcome.feasible}


@given(rows=ROWS, factor=st.floats(1.0, 20.0), data=st.data(), volume=st.floats(1e5, 1e9))
@settings(deadline=None)
def test_a_dearer_target_never_moves_up(rows, factor, data, volume):
    number = data.draw(st.integers(0, len(rows) - 1))
    before = [o.target for o in drawn(rows, volume=volume).options]
    after = [o.target for o in drawn(rows, volume=volume, factor=factor, dearer=number).options]

    assert sorted(before) == sorted(after)
    if f"t{number}" in before:
        assert after.index(f"t{number}") >= before.index(f"t{number}")


@given(rows=ROWS, limit_s=st.floats(0.01, 2.0), stricter=st.floats(0.1, 1.0))
@settings(deadline=None)
def test_a_stricter_slo_never_enlarges_the_feasible_set(rows, limit_s, stricter):
    loose, strict = drawn(rows, limit_s=limit_s), drawn(rows, limit_s=limit_s * stricter)

    assert feasible(strict) <= feasible(loose)


@given(rows=ROWS, volume=st.floats(1e5, 1e9))
@settings(deadline=None)
def test_what_holds_for_every_answer(rows, volume):
    found = drawn(rows, volume=volume)

    assert [o.target for o in found.outcomes] == sorted(f"t{n}" for n in range(len(rows)))
    assert feasible(found) == {option.target for option in found.options}
    assert (found.choice is None) == (not found.options)
    for option in found.options:
        _, rate, _, verdict, measured = rows[int(option.target[1:])]
        assert measured
        assert verdict != "invalid"
        assert 0 < option.utilisation <= 0.7 + 1e-9
        assert option.replicas * rate * 0.7 >= found.peak_rate * (1 - 1e-8)
        cost = option.cost_per_unit_usd
        assert cost.low <= cost.value <= cost.high
        full = option.cost_per_unit_full_usd
        assert full.low <= full.value <= full.high
        assert full.value <= cost.value
    keys = [(o.slo_state != "met", o.cost_per_unit_usd.value) for o in found.options]
    assert keys == sorted(keys)
    for outcome in found.outcomes:
        assert outcome.feasible or outcome.rejections
        for rule in outcome.rejections:
            if rule.margin is not None:
                assert rule.margin == pytest.approx((rule.limit - rule.number) / rule.limit)
            if not outcome.feasible and rule.rule in ("slo", "quality", "price_age"):
                assert rule.margin < 0
