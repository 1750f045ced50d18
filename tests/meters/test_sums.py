import math

import pytest

from harness.errors import MeasurementError
from harness.meters.sums import add
from harness.schema.record import EnergyReading


def reading(joules=100.0, **changes):
    tree = {
        "meter": "rapl",
        "joules": joules,
        "duration_s": 10.0,
        "boundary": "package",
        "covers": ("cpu:0",),
        "provenance": "counter",
        "uncertainty": 0.05,
        "parts": {"sensor": 0.03, "quantisation": 0.04},
        **changes,
    }
    return EnergyReading(**tree)


def test_parts_of_one_boundary_add_up_and_shared_errors_do_not_average_out():
    whole = add([reading(), reading(300.0, covers=("cpu:1",), flags=("wrap_corrected",))])
    assert whole.joules == 400
    assert whole.covers == ("cpu:0", "cpu:1")
    assert whole.flags == ("wrap_corrected",)
    assert whole.parts["sensor"] == pytest.approx(0.03)
    assert whole.parts["quantisation"] == pytest.approx(math.hypot(4, 12) / 400)
    assert whole.uncertainty == pytest.approx(math.hypot(*whole.parts.values()))


def test_the_order_of_the_readings_does_not_change_the_sum():
    one, two = reading(), reading(7.0, covers=("cpu:1",))
    assert add([one, two]) == add([two, one])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "both hold cpu:0"),
        ({"boundary": "dram", "covers": ("dram:0",)}, "different boundaries (dram, package)"),
        ({"covers": ()}, "does not say what it covers"),
        ({"covers": ("cpu:1",), "parts": {}}, "does not say what its uncertainty is made of"),
        ({"covers": ("cpu:1",), "duration_s": 11.0}, "windows are of different length"),
        ({"covers": ("cpu:1",), "provenance": "modelled"}, "known in different ways"),
        ({"joules": None, "covers": ("cpu:1",), "reason": "reset"}, "has no joules (reset)"),
    ],
)
def test_a_sum_without_meaning_is_refused_with_its_reason(changes, reason):
    with pytest.raises(MeasurementError) as caught:
        add([reading(), reading(**changes)])
    assert reason in caught.value.message


def test_no_readings_have_no_sum():
    with pytest.raises(MeasurementError, match="there is none"):
        add([])
