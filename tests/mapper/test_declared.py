"""The rules on what a target declares and on its fleet: each with number, limit and the way out."""

from datetime import date

import pytest

from harness.mapper import decide
from harness.mapper.memory import (
    kept_values,
    memory_need,
    positions,
    requests_at_once,
    shape_of,
    weight_count,
)
from harness.schema.portfolio import Portfolio
from harness.schema.record import EnvironmentField, SloCheck
from harness.schema.workload import SloLimit
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
FACT = {"source": "data sheet", "date": date(2026, 10, 1)}


def answer(target, *, workload=WORKLOAD, records=None, **constraints):
    """Return the decision on `workload` for one target that was measured well."""
    brief = make_brief(workload.name, constraints=constraints)
    records = [make_record(workload, target)] if records is None else records
    return decide(brief, [workload], [target], [make_stored(r) for r in records])


def outcome(target, **constraints):
    return answer(target, **constraints).workloads[0].outcomes[0]


def only(found, rule):
    """Return the one rejection of `found`, which is `rule`, with an exact way out."""
    (rejection,) = found.rejections
    assert rejection.rule == rule
    assert found.nearest == rejection.relaxation.model_copy(
        update={"usd_per_year": found.nearest.usd_per_year}
    )
    assert found.nearest.exact
    assert found.binding == ()
    return rejection


def the_change(rejection):
    (change,) = rejection.relaxation.changes
    return change.field, change.present, change.needed


def own(**changes):
    """Return a target that the buyer owns, on premises, with its power modelled."""
    hardware = {
        "chip": "Test chip",
        "vendor": "Acme",
        "kind": "gpu",
        "tdp_w": {"value": 300, **FACT},
        "host_power_w": {"value": 200, **FACT},
        **changes.pop("hardware", {}),
    }
    price = {
        "kind": "purchase",
        "sale_unit": "1 server",
        "purchase_usd": 10_000.0,
        "life_years": 4.0,
        "source": "quote 1",
        "date": "2026-10-01",
        **changes.pop("price", {}),
    }
    return make_target(
        hardware=hardware,
        price=price,
        site={"tier": "on_premises", "region": "own hall", "jurisdiction": "eu"},
        **changes,
    )


# ---- each rule


def test_a_precision_that_is_not_allowed_is_a_rule_and_says_which_is():
    target = make_target(runtime={"adapter": "fake", "precision": "int8"})
    found = only(outcome(target, precisions=["fp32", "bf16"]), "precision")

    assert "computes in int8; allowed: fp32, bf16" in found.text
    assert the_change(found) == (
        "constraints.precisions",
        ("fp32", "bf16"),
        ("fp32", "bf16", "int8"),
    )


def test_an_air_gap_keeps_out_clouds_and_lets_in_the_own_site():
    found = only(outcome(make_target(), air_gap=True), "air_gap")

    assert the_change(found) == ("constraints.air_gap", True, False)
    assert outcome(own(), air_gap=True).feasible


def test_a_server_of_the_buyers_own_is_inside_the_air_gap():
    target = own(
        runtime={"adapter": "http", "device": "remote"},
        server={
            "url": "http://10.0.0.1:8000/v1",
            "protocol": "openai-completions",
            "model": "chat",
        },
    )

    assert outcome(target, air_gap=True).feasible


@pytest.mark.parametrize(("need_by", "feasible"), [("2026-12-13", True), ("2026-12-12", False)])
def test_the_lead_time_counts_from_the_briefs_day(need_by, feasible):
    found = outcome(own(price={"lead_time_weeks": 6.0}), need_by=need_by)

    assert found.feasible == feasible
    if not feasible:
        rejection = only(found, "lead_time")
        assert (rejection.number, rejection.limit, rejection.unit) == (42, 41, "days")
        assert rejection.margin == pytest.approx(-1 / 41)
        assert the_change(rejection) == ("constraints.need_by", need_by, "2026-12-13")


def test_a_lead_time_that_is_not_stated_is_a_warning_and_no_pass():
    decision = answer(own(), need_by="2026-12-31")

    assert decision.workloads[0].choice is not None
    assert any("lead time is not stated" in text for text in decision.warnings)


def test_vendors_are_compared_whatever_their_case():
    found = only(outcome(make_target(), vendors_excluded=["ACME", "Other"]), "vendor")

    assert the_change(found) == ("constraints.vendors_excluded", ("ACME", "Other"), ("Other",))
    assert outcome(make_target(), vendors_allowed=["acme"]).feasible


def test_a_detected_chip_is_known_by_the_model_that_was_found():
    hardware = {"chip": "this CPU", "vendor": "detected", "kind": "cpu", "detect": True}
    target = make_target(hardware=hardware)
    environment = {"cpu_model": EnvironmentField(value="Intel(R) Xeon(R) 6")}
    record = make_record(WORKLOAD, target, environment=environment)

    assert not outcome(target, records=[record], vendors_excluded=["Intel"]).feasible
    assert not outcome(target, records=[record], vendors_allowed=["AMD"]).feasible
    assert outcome(target, records=[record], vendors_allowed=["Intel"]).feasible


def test_a_chip_that_nobody_knows_the_maker_of_is_no_pass():
    hardware = {"chip": "this CPU", "vendor": "detected", "kind": "cpu", "detect": True}
    target = make_target(hardware=hardware)
    records = [make_record(WORKLOAD, target, environment={})]
    decision = answer(target, records=records, vendors_excluded=["Intel"])

    assert any("who makes its chip is not known" in text for text in decision.warnings)
    found = only(outcome(target, records=records, vendors_allowed=["Intel"]), "vendor")
    assert the_change(found) == ("constraints.vendors_allowed", ("Intel",), ())


@pytest.mark.parametrize(("edge_s", "feasible"), [(0.01, False), (0.009, True), (None, True)])
def test_a_promise_of_the_edge_class_is_not_kept_in_a_cloud(edge_s, feasible):
    workload = make_fraud_workload()
    record = make_record(workload, points=(make_point(workload, latency_s=0.001),))
    found = outcome(make_target(), workload=workload, records=[record], edge_latency_s=edge_s)

    assert found.feasible == feasible
    if not feasible:
        rejection = only(found, "edge_latency")
        assert (rejection.number, rejection.limit) == (0.01, 0.01)
        assert the_change(rejection) == ("constraints.edge_latency_s", 0.01, None)


def test_an_operator_that_the_runtime_lacks_is_a_rule_of_its_own():
    failed = make_record(WORKLOAD, status="unsupported")
    message = "operator ai.onnx.Foo: fake has no implementation"
    failure = failed.failure.model_copy(update={"message": message})
    found = outcome(make_target(), records=[failed.model_copy(update={"failure": failure})])

    assert [r.rule for r in found.rejections] == ["operators"]
    assert found.nearest is None
    assert found.binding == ("operators",)


def test_operators_that_the_session_could_not_run_speak_against_it():
    session = {"runtime": "fake", "operators": {"unsupported": ["Foo", "Bar"]}}
    found = outcome(make_target(), records=[make_record(WORKLOAD, session=session)])

    (rejection,) = found.rejections
    assert (rejection.rule, rejection.number) == ("operators", 2)
    assert "Foo, Bar" in rejection.text


# ---- memory


def memory(gigabytes, **changes):
    hardware = {"chip": "Test chip", "vendor": "Acme", "kind": "gpu", **changes}
    return make_target(hardware={**hardware, "memory_gb": {"value": gigabytes, **FACT}})


def test_weights_and_kept_values_are_counted_by_hand():
    # 2 layers of 32 x 8 x (2 x 4 + 2 x 2) + 3 x 32 x 64 + 64 norms, 64 x 32 tokens, 32 last norms.
    assert weight_count(WORKLOAD.model) == 2 * (3072 + 6144 + 64) + 2048 + 32
    # Keys and values of 2 layers, 2 heads of 8, for 16 + 8 positions.
    assert positions(WORKLOAD.inputs, ()).count == 24
    assert kept_values(WORKLOAD.model, 24) == 2 * 2 * 2 * 8 * 24
    assert shape_of(make_fraud_workload(), ()) is None


def test_requests_at_once_are_rate_times_mean_latency():
    # 10 requests of 1.01^-232 s and 5 of 1.01^-231 s, at 1,000/s: 99.8 of them at once.
    point = make_point(WORKLOAD, rate=1000.0)
    mean_s = (10 * 1.01**-231.5 + 5 * 1.01**-230.5) / 15

    assert requests_at_once(make_record(WORKLOAD, points=(point,))) == -(-1000 * mean_s // 1)


def test_a_model_that_fills_the_memory_is_ruled_out_by_formula():
    bytes_needed = 4 * (20_640 + 2 * 1536)
    found = only(outcome(memory(bytes_needed / 0.95 / 1e9)), "memory")

    assert found.number == pytest.approx(bytes_needed / 1e9)
    assert the_change(found)[2] == pytest.approx(0.95)
    assert "2 requests at once" in found.text
    assert outcome(memory(bytes_needed / 0.89 / 1e9)).feasible


def test_a_model_larger_than_the_memory_has_no_relaxation_but_a_remedy():
    found = outcome(memory(1e-6))

    assert found.nearest is None
    assert found.binding == ("memory",)
    assert "lower precision" in found.rejections[0].remedy


SHAPE = {"family": "llama", "vocabulary": 64, "hidden": 32, "layers": 2, "heads": 4, "kv_heads": 2,
         "intermediate": 64, "context": 128, "tied_embeddings": True}  # fmt: skip
"""What a record tells of a model in a file: that of WORKLOAD."""
OWN = {"kind": "prompts_file", "file": "p.jsonl", "tokenizer": "t.json",
       "output_tokens": {"kind": "fixed", "value": 8}}  # fmt: skip
ANSWERS = {"kind": "exact_answers", "file": "q.jsonl", "tokenizer": "t.json", "accuracy_min": 0.5}


def from_file(model, **inputs):
    """Return a workload whose model and prompts are in files."""
    return make_workload(model=model, inputs=OWN | inputs, quality=[ANSWERS])


def test_own_prompts_keep_what_is_declared_of_the_longest_else_what_was_counted():
    declared = make_workload(inputs=OWN | {"prompt_tokens_max": 16})
    left_to_the_record = make_workload(inputs=OWN)
    counted = {"inputs": {"prompt_tokens": {"mean": 9.0, "minimum": 2, "maximum": 12}}}
    record = make_record(left_to_the_record, memory(1.0), session=counted)

    assert positions(declared.inputs, ()).count == 24
    assert positions(left_to_the_record.inputs, [record]).count == 20
    need = memory_need(left_to_the_record, memory(1.0), ())
    assert need.gigabytes == pytest.approx(4 * (20_640 + 2 * 2 * 2 * 8 * 8) / 1e9)
    assert "without those of the prompts, whose longest is not known" in need.basis


def test_a_model_in_a_folder_takes_what_its_record_tells_of_it():
    workload = from_file({"family": "hugging_face", "folder": "own"}, prompt_tokens_max=16)
    record = make_record(workload, memory(1.0), session={"model_shape": SHAPE})
    need = memory_need(workload, memory(1.0), [record])

    at_once = requests_at_once(record)
    assert need.gigabytes == pytest.approx(4 * (20_640 + at_once * 1536) / 1e9)


@pytest.mark.parametrize(("precision", "bytes_kept"), [("fp32", 4), ("int4", 2)])
def test_a_gguf_file_takes_its_own_bytes_and_keys_of_the_size_that_llama_cpp_keeps(
    precision, bytes_kept
):
    workload = from_file({"family": "gguf", "file": "own.gguf"}, prompt_tokens_max=16)
    target = memory(1.0).model_copy(
        update={"runtime": make_target(runtime={"adapter": "fake", "precision": precision}).runtime}
    )
    session = {"model_shape": SHAPE, "weight_bytes": 30_000}
    record = make_record(workload, target, session=session)
    need = memory_need(workload, target, [record])

    at_once = requests_at_once(record)
    assert need.gigabytes == pytest.approx((30_000 + at_once * 1536 * bytes_kept) / 1e9)


def test_a_model_in_a_folder_that_no_record_tells_of_is_a_warning_and_no_pass():
    workload = from_file({"family": "hugging_face", "folder": "own"}, prompt_tokens_max=16)
    decision = answer(memory(1.0), workload=workload)
    told = answer(
        memory(1.0),
        workload=workload,
        records=[make_record(workload, memory(1.0), session={"model_shape": SHAPE})],
    )

    assert any("whether its memory is enough is not known: what is in own" in w
               for w in decision.warnings)  # fmt: skip
    assert not any("memory is enough" in w for w in told.warnings)


def test_a_measured_peak_takes_the_place_of_the_formula():
    target = memory(1.0, count=2)
    record = make_record(WORKLOAD, target, session={"peak_memory_bytes": 1.9e9})
    found = only(outcome(target, records=[record]), "memory")

    assert "while it was measured" in found.text
    assert (found.number, found.limit) == (1.9, pytest.approx(1.8))


# ---- the fleet


def test_the_power_of_the_fleet_is_held_against_what_there_is():
    found = only(outcome(own(), power_kw_max=0.4), "power")

    assert (found.number, found.limit, found.unit) == (0.5, 0.4, "kW")
    assert the_change(found) == ("constraints.power_kw_max", 0.4, 0.5)
    assert outcome(own(), power_kw_max=0.5).feasible


def test_a_power_that_is_not_known_is_a_warning_and_no_pass():
    decision = answer(own(hardware={"host_power_w": None}), power_kw_max=0.001)

    assert any("whether its power stays within 1.00 W is not known" in w for w in decision.warnings)


def test_a_cloud_takes_none_of_the_buyers_power_or_space():
    assert outcome(make_target(), power_kw_max=0.001, rack_units_max=1).feasible


def test_the_space_of_the_fleet_counts_all_its_units():
    target = own(hardware={"rack_units": 4.0})
    found = only(outcome(target, rack_units_max=6, spare_units=1), "space")

    assert (found.number, found.limit) == (8, 6)
    assert "2 units take 8" in found.text
    decision = answer(own(), rack_units_max=6)
    assert any("add rack_units" in text for text in decision.warnings)


def test_the_budget_is_held_against_the_cost_of_the_year():
    found = only(outcome(make_target(), budget_usd_per_year=8000), "budget")

    assert found.number == pytest.approx(8760)
    assert found.margin == pytest.approx(-760 / 8000)
    assert the_change(found)[2] == found.number
    assert outcome(make_target(), budget_usd_per_year=8760).feasible


def test_a_budget_kept_without_a_cost_that_is_missing_is_a_warning():
    decision = answer(own(hardware={"tdp_w": None}), budget_usd_per_year=9000)

    assert any("whether it keeps the budget of $9,000 is not known" in w for w in decision.warnings)


# ---- what the SLO says


def test_a_missed_promise_gives_its_upper_bound_and_the_chance_that_it_is_kept():
    limit = SloLimit(metric="latency", percentile=90, limit_s=0.5)
    check = SloCheck(limit=limit, value_s=0.55, high_s=0.66, state="missed")
    point = make_point(WORKLOAD, slo=(check,), slo_state="missed")
    found = outcome(make_target(), records=[make_record(WORKLOAD, points=(point,), headline=None)])
    (rejection,) = found.rejections

    # ln(0.5 / 0.55) / (ln(0.66 / 0.55) / 1.96) = -1.025: Phi is 0.153.
    assert rejection.p_meets == pytest.approx(0.153, abs=5e-4)
    assert "the upper bound is 660 ms, P(meets) 15.3 %" in rejection.text
    assert not found.nearest.exact
    assert the_change(rejection) == ("workload.slo.p90 latency.limit_s", 0.5, 0.55)


# ---- what is assumed


def test_every_constraint_is_an_assumption_whether_it_is_set_or_not():
    free = {a.name: a.value for a in answer(make_target()).assumptions}
    bound = {
        a.name: a.value
        for a in answer(
            make_target(),
            precisions=["int8"],
            air_gap=True,
            need_by="2027-01-01",
            power_kw_max=2,
            rack_units_max=8,
            vendors_allowed=["Acme"],
            vendors_excluded=["Other"],
            budget_usd_per_year=5000,
            edge_latency_s=0.01,
            memory_share_max=0.8,
        ).assumptions
    }

    changed = {n: bound[n] for n, value in free.items() if n in bound and bound[n] != value}
    assert changed == {
        "precisions": "int8",
        "air gap": "no cloud and no API",
        "needed by": "2027-01-01",
        "power": "at most 2.00 kW a workload in the busiest hour, before the facility's overhead",
        "space": "at most 8.00 rack units a workload",
        "vendors": "Acme, but not Other",
        "budget": "at most $5,000 a workload in the first year",
        "edge class": "promises of 10.0 ms or less are not kept in a cloud",
        "memory": "at most 80 % of what a target states",
    }
    assert {"tiers", "residency"} <= free.keys()


def test_every_limit_of_a_shared_fleet_is_an_assumption_whether_it_is_set_or_not():
    def told(**portfolio):
        brief = make_brief("chat", portfolio=portfolio, constraints={"spare_units": 1})
        decision = decide(
            brief, [WORKLOAD], [make_target()], [make_stored(make_record(WORKLOAD, make_target()))]
        )
        names = {a.name: a.value for a in decision.assumptions}
        return {k.removeprefix("shared fleet: "): v for k, v in names.items() if "shared" in k}

    free = told()
    assert free == {
        "purchases": "no limit",
        "yearly cost": "no limit",
        "power": "no limit",
        "stacks": "no limit",
        "share of a vendor": "no limit",
        "second source": "asked of no workload",
        "targets for a workload": "at most 2, each with at least 5 % of it",
        "spare": "1 failure of each target, as the constraints' spare_units",
        "stock": "as many units as are needed, of every target",
        "search": "ended after 30.0 s, if it has not ended by itself",
    }
    bound = told(
        budget_usd=1e6,
        budget_usd_per_year=2e6,
        power_kw=3.0,
        stacks_max=4,
        vendor_share_max=0.6,
        second_source=["chat"],
        targets_per_workload_max=3,
        share_least=0.1,
        spare=2,
        stock=[{"target": "box", "units": 9}],
        time_limit_s=5.0,
    )
    assert not [name for name in free if free[name] == bound[name]]
    assert bound["share of a vendor"].startswith("at most 60 % of what")
    assert bound["spare"] == "2 failures of each target, for the shared fleet"
    assert len(Portfolio.model_fields) == len(free) + 1  # share_least stands with the targets
