import pytest

from harness.report.provenance import environment, software, vendor
from harness.schema.record import EnvironmentField
from tests.factories import make_record, make_target


def test_what_cannot_be_read_is_told_from_what_is_not_there():
    fields = {
        "gpu_count": EnvironmentField(value=None, not_applicable="no NVIDIA driver is loaded"),
        "cpu_governor": EnvironmentField(value=None, unavailable="the host sets the clocks"),
        "logical_cores": EnvironmentField(value=4),
    }
    assert dict(environment([make_record(environment=fields)])) == {
        "gpu count": "none: no NVIDIA driver is loaded",
        "cpu governor": "unavailable: the host sets the clocks",
        "logical cores": "4",
    }


FOUND = {"chip": "CPU of this machine", "vendor": "detected", "kind": "cpu", "detect": True}


def test_the_vendor_of_a_cpu_that_was_found_is_in_the_name_that_it_gave_itself():
    fields = {"cpu_model": EnvironmentField(value="Example E7")}
    record = make_record(target=make_target(hardware=FOUND), environment=fields)

    assert vendor(record) == "detected: Example E7"
    assert software([record])[0].hardware == "CPU of this machine (detected: Example E7)"


@pytest.mark.parametrize(
    "fields", [{}, {"cpu_model": EnvironmentField(value=None, unavailable="hidden")}]
)
def test_a_cpu_that_did_not_tell_its_name_is_said_to_be_so(fields):
    record = make_record(target=make_target(hardware=FOUND), environment=fields)

    assert vendor(record) == "detected, but its name was not told"


def test_a_vendor_that_is_stated_stands_whatever_was_found():
    assert vendor(make_record()) == "Acme"
