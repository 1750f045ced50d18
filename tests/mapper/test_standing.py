"""Which records stand: the newest run, while what decides the figures is still declared."""

import itertools

import pytest

from harness.mapper.standing import changed_parts, standing
from harness.schema.record import Verdict
from tests.factories import make_record, make_target, make_workload, ulid

WORKLOAD, TARGET = make_workload(), make_target()


def record(number=1, *, run=1, **changes):
    return make_record(WORKLOAD, TARGET, number=number, run=ulid(10_000 + run), **changes)


def test_the_newest_run_stands_with_all_its_repeats():
    old = record(1, run=1)
    new = [record(2, run=2), record(3, run=2, repeat=1)]

    found = standing(WORKLOAD, TARGET, [old, *new])

    assert found.records == tuple(new)
    assert found.warnings == ()


def test_the_order_of_the_records_does_not_matter():
    records = [record(1, run=1), record(2, run=2), record(3, run=2, repeat=1, status="failed")]

    found = {repr(standing(WORKLOAD, TARGET, each)) for each in itertools.permutations(records)}

    assert len(found) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"price": {**TARGET.price.model_dump(), "usd_per_hour": 9.0}},
        {"title": "Another title"},
        {"hardware": {**TARGET.hardware.model_dump(), "tdp_w": None}},
    ],
)
def test_a_new_price_or_title_does_not_age_a_measurement(changes):
    assert changed_parts(record(), WORKLOAD, make_target(**changes)) == ()


def test_a_new_demand_does_not_age_a_measurement():
    workload = make_workload(demand={"requests_per_month": 7.0})

    assert changed_parts(record(), workload, TARGET) == ()


@pytest.mark.parametrize(
    ("workload", "target", "part"),
    [
        ({"version": 2}, {}, "the workload's version"),
        ({"slo": [{"metric": "latency", "percentile": 90, "limit_s": 0.4}]}, {}, "slo"),
        ({"scenarios": [{"kind": "server", "load": [0.3]}]}, {}, "scenario server"),
        ({}, {"runtime": {"adapter": "other"}}, "the target's runtime"),
        ({}, {"hardware": {"chip": "New", "vendor": "Acme", "kind": "cpu"}}, "the target's chip"),
    ],
)
def test_what_decides_the_figures_does_age_a_measurement(workload, target, part):
    found = standing(make_workload(**workload), make_target(**target), [record()])

    assert found.records == ()
    assert part in " ".join(found.outdated)


def test_a_failed_attempt_after_a_good_run_is_a_warning():
    found = standing(WORKLOAD, TARGET, [record(1), record(2, run=2, status="failed")])

    assert [r.id for r in found.records] == [ulid(1)]
    assert "crash" in found.warnings[0]
    assert ulid(2) in {r.id for r in found.cited}


def test_a_failed_attempt_before_a_good_run_is_history():
    found = standing(WORKLOAD, TARGET, [record(1, status="failed"), record(2, run=2)])

    assert found.warnings == ()
    assert found.failed is None


def test_invalid_repeats_are_left_out_if_others_remain_and_said_so():
    bad = record(2, repeat=1, verdict=Verdict(state="invalid"))

    found = standing(WORKLOAD, TARGET, [record(1), bad])

    assert [r.id for r in found.records] == [ulid(1)]
    assert "1 of 2 repeats" in found.warnings[0]
    assert standing(WORKLOAD, TARGET, [bad]).records == (bad,)


def test_an_older_valid_run_does_not_replace_a_newer_invalid_one():
    newer = record(2, run=2, verdict=Verdict(state="invalid"))

    assert standing(WORKLOAD, TARGET, [record(1), newer]).records == (newer,)


def test_other_scenarios_are_known_but_do_not_stand():
    found = standing(WORKLOAD, TARGET, [record(1, scenario="offline")])

    assert found.records == ()
    assert found.elsewhere == ("offline",)
