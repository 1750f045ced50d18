"""Repeats as one operating point, and joules only from a boundary that holds the device."""

import pytest

from harness.mapper.operating import energy_per_request, operating_point, power_of
from harness.schema.record import EnergyReading, Verdict
from harness.schema.target import Hardware
from tests.factories import make_metric, make_point, make_record, make_workload

WORKLOAD = make_workload()
RATE = "throughput_requests_per_s"
CPU = Hardware(chip="CPU", vendor="Acme", kind="cpu")
GPU = Hardware(chip="GPU", vendor="Acme", kind="gpu", count=2)


def repeats(*points, **changes):
    return [
        make_record(WORKLOAD, number=i + 1, repeat=i, points=(point,), **changes)
        for i, point in enumerate(points)
    ]


def reading(joules, boundary, **changes):
    tree = {
        "meter": "meter",
        "joules": joules,
        "duration_s": 10.0,
        "boundary": boundary,
        "covers": ("x",),
        "provenance": "counter",
        "uncertainty": 0.1,
    }
    return EnergyReading(**{**tree, **changes})


def metered(*readings, **changes):
    return make_point(WORKLOAD, rate=10.0, energy=tuple(readings), **changes)


def test_repeats_become_the_median_with_the_widest_interval():
    records = repeats(*(make_point(WORKLOAD, rate=rate, width=0.1) for rate in (10, 30, 14)))

    found = operating_point(records, RATE)

    assert found.throughput.value == 14
    assert found.throughput.low == pytest.approx(9)
    assert found.throughput.high == pytest.approx(33)
    assert found.record == records[2]


def test_a_promise_that_one_repeat_breaks_is_not_kept():
    good, slow = make_point(WORKLOAD), make_point(WORKLOAD, latency_s=0.5)

    assert operating_point(repeats(good, slow), RATE) is None
    assert operating_point(repeats(good, good), RATE) is not None


def test_the_worst_state_of_the_repeats_stands():
    met, unproven = make_point(WORKLOAD), make_point(WORKLOAD, latency_s=0.33)
    records = repeats(met, unproven)
    records[1] = records[1].model_copy(update={"verdict": Verdict(state="noisy")})

    found = operating_point(records, RATE)

    assert (found.slo_state, found.verdict) == ("unproven", "noisy")
    assert found.slo[0].state == "unproven"
    assert found.slo[0].high_s == unproven.slo[0].high_s


def test_the_weakest_evidence_of_the_repeats_stands():
    records = repeats(make_point(WORKLOAD), make_point(WORKLOAD))
    records[1] = records[1].model_copy(update={"evidence": "imported"})

    assert operating_point(records, RATE).evidence == "imported"


def test_a_missing_bound_of_one_repeat_is_missing_in_all():
    points = [make_point(WORKLOAD), make_point(WORKLOAD)]
    bare = make_metric(10.0, unit="requests/s", better="higher").model_copy(
        update={"low": None, "high": None}
    )
    points[1] = points[1].model_copy(update={"metrics": {**points[1].metrics, RATE: bare}})

    found = operating_point(repeats(*points), RATE)

    assert (found.throughput.low, found.throughput.high) == (None, None)


@pytest.mark.parametrize("value", [None, 0.0])
def test_a_point_without_throughput_is_no_operating_point(value):
    point = make_point(WORKLOAD)
    metric = make_metric(value, unit="requests/s", better="higher")
    point = point.model_copy(update={"metrics": {**point.metrics, RATE: metric}})

    assert operating_point(repeats(point), RATE) is None


def test_joules_are_divided_by_served_requests_with_their_uncertainty():
    figure, boundary, reason = energy_per_request([metered(reading(50.0, "package"))], CPU)

    assert figure.value == pytest.approx(0.5)
    assert (figure.low, figure.high) == (pytest.approx(0.45), pytest.approx(0.55))
    assert (boundary, reason) == ("package", None)


def test_failed_requests_do_not_share_the_joules():
    point = metered(reading(50.0, "package"), failed=50)

    assert energy_per_request([point], CPU)[0].value == pytest.approx(1.0)


def test_the_whole_machine_goes_before_the_package():
    point = metered(reading(50.0, "package"), reading(90.0, "node"))

    assert energy_per_request([point], CPU)[1] == "node"
    assert power_of([point], CPU)[0].watts == pytest.approx(9.0)


def test_a_cpu_package_says_nothing_about_a_gpu():
    figure, boundary, reason = energy_per_request([metered(reading(50.0, "package"))], GPU)

    assert (figure, boundary) == (None, None)
    assert "only package" in reason
    assert power_of([metered(reading(50.0, "package"))], GPU)[0] is None


def test_a_cards_own_joules_are_shown_but_not_paid_for():
    point = metered(reading(50.0, "chip"))

    assert energy_per_request([point], GPU)[1] == "chip"
    power, reason = power_of([point], GPU)
    assert power is None
    assert "only chip was metered" in reason


def test_without_a_meter_the_tdp_of_all_chips_is_taken_and_named():
    target = Hardware.model_validate(
        {
            **GPU.model_dump(),
            "tdp_w": {"value": 300.0, "source": "data sheet", "date": "2026-01-01"},
        }
    )

    power, _ = power_of([make_point(WORKLOAD)], target)

    assert power.watts == 600
    assert "TDP of 2 chips" in power.basis
    assert "data sheet" in power.basis


def test_without_meter_and_tdp_the_power_is_unknown_with_the_meters_reason():
    power, reason = power_of([make_point(WORKLOAD)], CPU)

    assert power is None
    assert "no powercap tree" in reason


def test_modelled_joules_are_marked():
    point = metered(reading(50.0, "package", provenance="modelled"))

    assert energy_per_request([point], CPU)[1] == "package (modelled)"


def test_repeats_at_different_boundaries_are_not_mixed():
    points = [metered(reading(50.0, "package")), metered(reading(90.0, "node"))]

    figure, _, reason = energy_per_request(points, CPU)

    assert figure is None
    assert "different boundaries" in reason


def test_one_repeat_without_joules_leaves_none():
    points = [metered(reading(50.0, "package")), make_point(WORKLOAD)]

    assert energy_per_request(points, CPU)[0] is None
    assert power_of(points, CPU)[0] is None


def test_the_capacity_lies_between_the_last_load_kept_and_the_first_one_broken():
    workload = make_workload()
    kept = make_point(workload, rate=10.0, load=0.5)
    broken = make_point(workload, rate=13.0, load=0.65, latency_s=9.0)
    record = make_record(workload, points=(kept, broken), headline=0)
    throughput = operating_point([record], "throughput_requests_per_s").throughput
    assert throughput.value == 10.0
    assert throughput.low == pytest.approx(9.5)
    assert throughput.high == pytest.approx(13.0)


def test_without_a_broken_load_there_is_no_upper_bound():
    workload = make_workload()
    points = tuple(make_point(workload, rate=20 * load, load=load) for load in (0.5, 0.8))
    record = make_record(workload, points=points)
    assert operating_point([record], "throughput_requests_per_s").throughput.high is None
