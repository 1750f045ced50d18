"""Joules of a request: only from a boundary that holds the device, never added up, never 0."""

import pytest

from harness.mapper.energy import energy_per_request
from harness.schema.target import Hardware
from tests.factories import make_point, make_workload
from tests.mapper.metered import metered, reading

WORKLOAD = make_workload()
CPU = Hardware(chip="CPU", vendor="Acme", kind="cpu")
GPU = Hardware(chip="GPU", vendor="Acme", kind="gpu", count=2)


def test_joules_are_divided_by_served_requests_with_their_uncertainty():
    found = energy_per_request([metered(reading(50.0, "package"))], CPU)

    assert found.figure.value == pytest.approx(0.5)
    assert (found.figure.low, found.figure.high) == (pytest.approx(0.45), pytest.approx(0.55))
    assert (found.boundary, found.reason, found.remedy) == ("package", None, None)


def test_failed_requests_do_not_share_the_joules():
    point = metered(reading(50.0, "package"), failed=50)

    assert energy_per_request([point], CPU).figure.value == pytest.approx(1.0)


def test_the_whole_machine_goes_before_the_package():
    point = metered(reading(50.0, "package"), reading(90.0, "node"))

    assert energy_per_request([point], CPU).boundary == "node"
    assert energy_per_request([point], CPU).figure.value == pytest.approx(0.9)


def test_a_cpu_package_says_nothing_about_a_gpu():
    found = energy_per_request([metered(reading(50.0, "package"))], GPU)

    assert (found.figure, found.boundary) == (None, None)
    assert "only package" in found.reason


def test_a_metered_boundary_goes_before_a_modelled_one():
    point = metered(
        reading(50.0, "package", provenance="modelled"), reading(80.0, "package", meter="rapl")
    )

    assert energy_per_request([point], CPU).figure.value == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("changes", "boundary"),
    [
        ({"provenance": "modelled"}, "package (modelled)"),
        ({"flags": ("simulated",)}, "package (simulated)"),
    ],
)
def test_joules_that_no_meter_read_are_marked(changes, boundary):
    assert (
        energy_per_request([metered(reading(50.0, "package", **changes))], CPU).boundary == boundary
    )


def test_repeats_at_different_boundaries_are_not_mixed():
    found = energy_per_request(
        [metered(reading(50.0, "package")), metered(reading(90.0, "node"))], CPU
    )

    assert found.figure is None
    assert "different boundaries" in found.reason


def test_without_a_meter_the_reason_and_the_remedy_are_the_meters():
    found = energy_per_request([make_point(WORKLOAD)], CPU)

    assert found.figure is None
    assert found.reason == "no powercap tree on this machine"
    assert found.remedy == "run on bare metal"


def test_one_repeat_without_joules_leaves_none():
    points = [metered(reading(50.0, "package")), make_point(WORKLOAD)]

    assert energy_per_request(points, CPU).figure is None


def test_flags_that_a_reader_must_know_go_with_the_figure():
    flags = ("cross_check_failed", "wrap_corrected")
    found = energy_per_request([metered(reading(50.0, "package", flags=flags))], CPU)

    assert found.flags == ("cross_check_failed",)


def test_a_reading_of_a_part_is_a_boundary_of_its_own():
    found = energy_per_request([metered(reading(5.0, "package", flags=("partial_coverage",)))], CPU)

    assert found.boundary == "package in part"


def test_joules_without_a_served_request_are_no_figure():
    found = energy_per_request([metered(reading(50.0, "package"), failed=100)], CPU)

    assert (found.figure, found.reason) == (None, "no request was served")
