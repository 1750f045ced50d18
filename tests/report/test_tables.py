import pytest

from harness.report.option_tables import option_tables
from harness.report.record_tables import record_tables
from harness.report.tables import dictionary, plain, table
from harness.report.view import workload_views
from tests.report.kinds import EVIDENCE, all_kinds


@pytest.fixture(scope="module")
def answer():
    return all_kinds()


@pytest.fixture(scope="module")
def tables(answer):
    decision, records = answer
    made = (*option_tables(workload_views(*answer)), *record_tables(decision, records))
    return {each.name: each for each in made}


def rows(tables, name, **wanted):
    return [
        row
        for row in tables[name].rows
        if all(row[column] == value for column, value in wanted.items())
    ]


def one(tables, name, **wanted):
    (row,) = rows(tables, name, **wanted)
    return row


def test_every_pair_of_workload_and_target_has_one_option_row(tables, answer):
    pairs = [(r["workload"], r["target"]) for r in tables["options"].rows]
    assert len(pairs) == len(set(pairs)) == 15
    assert [r["standing"] for r in rows(tables, "options", workload="fraud")][:2] == [
        "chosen",
        "runner_up",
    ]


def test_the_figures_of_an_option_are_those_of_the_decision(tables, answer):
    for each in answer[0].workloads:
        for option in each.options:
            row = one(tables, "options", workload=each.workload, target=option.target)
            assert row["throughput"] == option.throughput.value
            assert row["throughput_low"] == option.throughput.low
            assert row["cost_usd_per_unit"] == option.cost_per_unit_usd.value
            assert row["cost_usd_per_unit_high"] == option.cost_per_unit_usd.high
            assert row["replicas"] == option.replicas
            assert row["no_figures"] is None
            odds = next(o for o in each.confidence.odds if o.target == option.target)
            assert row["p_best"] == odds.p_best


def test_each_class_of_evidence_is_told_apart_in_every_table(tables):
    for name in ("options", "points", "energy", "records"):
        for target, evidence in EVIDENCE.items():
            found = rows(tables, name, target=target)
            told = {row["evidence"] for row in found if row["record"]}
            assert told == {evidence}, (name, target)


def test_a_noisy_measurement_says_so_and_why_in_every_table(tables):
    for name in ("options", "points", "energy", "records"):
        found = rows(tables, name, target="acme-cpu-16-int8", scenario="server")
        assert {row["validity"] for row in found} == {"noisy"}
    row = one(tables, "options", workload="fraud", target="acme-cpu-16-int8")
    assert "other processes kept 0.41 cores busy" in row["validity_reasons"]
    p50 = rows(tables, "points", target="acme-cpu-16-int8", metric="latency_s.p50", load=0.3)
    assert {row["widened"] for row in p50} == {0.12}


def test_what_failed_cannot_run_or_was_not_measured_has_no_figure_and_says_which(tables):
    told = {
        row["workload"]: (row["validity"], row["rule"], row["no_figures"])
        for row in rows(tables, "options", target="edge-box")
    }
    assert told == {
        "chat": ("unsupported", "unsupported", "excluded: Cannot run this workload; No price"),
        "speech": ("failed", "failed", "excluded: Measurement failed; No price"),
        "fraud": ("not measured", "not_measured", "excluded: Not measured; No price"),
    }
    for row in rows(tables, "options", target="edge-box"):
        assert row["evidence"] is None
        assert row["throughput"] is row["replicas"] is row["cost_usd_per_year"] is None
        assert row["energy_j_per_request"] is None
        assert row["energy_reason"] == "the target is no option"
        assert row["rules"] == 2
        assert len(rows(tables, "rejections", workload=row["workload"], target="edge-box")) == 2
    assert (
        "crash" in one(tables, "records", target="edge-box", validity="failed")["validity_reasons"]
    )


def test_a_number_that_is_missing_is_none_with_its_reason_and_never_0(tables):
    missing = [row for row in tables["points"].rows if row["value"] is None]
    assert missing
    assert {row["reason"] for row in missing} == {"not supported by n"}
    assert all(row["low"] is row["high"] is row["certified"] is None for row in missing)
    for row in tables["points"].rows:
        assert (row["value"] is None) == (row["reason"] is not None)
    unmetered = rows(tables, "energy", target="acme-cpu-16")
    assert unmetered
    for row in unmetered:
        assert row["joules"] is row["joules_low"] is row["joules_high"] is None
        assert row["reason"] == "no powercap tree on this machine"
        assert row["remedy"] == "run on bare metal"
    option = one(tables, "options", workload="chat", target="acme-cpu-16")
    assert option["energy_j_per_request"] is option["energy_modelled"] is None
    assert option["energy_reason"] == "no powercap tree on this machine"
    assert option["energy_remedy"] == "run on bare metal"


def test_energy_keeps_its_boundary_and_how_it_was_metered(tables):
    option = one(tables, "options", workload="fraud", target="far-cloud")
    assert (option["energy_boundary"], option["energy_provenance"]) == ("package", "modelled")
    assert option["energy_modelled"] is True
    option = one(tables, "options", workload="fraud", target="owned-gpu")
    assert (option["energy_boundary"], option["energy_provenance"]) == ("chip", "counter")
    assert option["energy_modelled"] is False
    assert option["cost_energy_modelled"] is True
    reading = rows(tables, "energy", target="owned-gpu", boundary="chip", load=0.5)[0]
    assert reading["joules"] == 3600 * 0.7
    assert reading["joules_low"] == pytest.approx(reading["joules"] * 0.95)
    assert {r["flags"] for r in rows(tables, "energy", provenance="sampled")} == {"gaps"}


def test_a_modelled_line_of_the_fleets_year_is_marked(tables):
    lines = rows(tables, "fleet_year", workload="fraud", target="owned-gpu")
    assert {r["line"] for r in lines if r["modelled"]} >= {"energy", "it_energy"}
    unknown = [r for r in tables["fleet_year"].rows if r["figure"] is None]
    assert unknown
    assert all(r["basis"] for r in unknown)


def test_every_record_of_the_decision_is_there_with_its_hash(tables, answer):
    pins = {pin.id: pin.sha256 for pin in answer[0].records}
    assert {row["record"]: row["sha256"] for row in tables["records"].rows} == pins


def test_every_point_and_metric_of_every_record_is_a_row(tables, answer):
    every = sum(len(point.metrics) for record in answer[1] for point in record.points)
    assert len(tables["points"].rows) == every > 400


def test_every_column_is_explained(tables):
    told = dictionary([*tables.values()])
    assert len(told.rows) == sum(len(each.columns) for each in tables.values())
    assert all(str(row["meaning"]).endswith(".") for row in told.rows)


def test_the_order_of_the_records_does_not_matter(answer):
    decision, records = answer
    assert record_tables(decision, records[::-1]) == record_tables(decision, records)


def test_a_value_of_the_wrong_kind_or_a_column_too_many_is_refused():
    columns = (("share", "number", "A share."),)
    assert table("t", columns, [{"share": 1}]).rows == ({"share": 1.0},)
    for bad in ("0.5", True):
        with pytest.raises(ValueError, match=r"column 't\.share' holds a number"):
            table("t", columns, [{"share": bad}])
    with pytest.raises(ValueError, match="'t' has a row with other columns: other"):
        table("t", columns, [{"other": 1.0}])
    with pytest.raises(ValueError, match="holds a count"):
        table("t", (("n", "count", "A count."),), [{"n": 1.5}])


def test_text_is_one_harmless_line():
    assert plain("a\n b\t\x1b[31mred\x07\u202e\r") == "a b \\x1b[31mred\\x07\\u202e\\r"
    assert len(plain("x" * 10_000)) == 2000
