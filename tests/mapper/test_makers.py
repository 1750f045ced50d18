"""Who makes the chip of a target, by its own words or by the CPU that was found."""

import pytest

from harness.mapper.makers import vendor_of
from harness.schema.record import EnvironmentField
from tests.factories import make_record, make_target, make_workload

FOUND = {"chip": "this CPU", "vendor": "detected", "kind": "cpu", "detect": True}


@pytest.mark.parametrize(
    ("model", "vendor"),
    [
        ("AMD EPYC 7R13", "AMD"),
        ("Intel(R) Xeon(R) Platinum 8488C", "Intel"),
        ("Neoverse-V1", "Neoverse-V1"),
        (None, "detected"),
    ],
)
def test_a_found_cpu_is_named_by_the_first_word_of_its_model(model, vendor):
    target = make_target(hardware=FOUND)
    environment = {} if model is None else {"cpu_model": EnvironmentField(value=model)}
    assert (
        vendor_of(target, make_record(make_workload(), target, environment=environment)) == vendor
    )


def test_a_declared_vendor_is_taken_as_it_is():
    target = make_target(hardware={**FOUND, "vendor": "Acme Inc"})
    environment = {"cpu_model": EnvironmentField(value="AMD EPYC 7R13")}
    record = make_record(make_workload(), target, environment=environment)
    assert vendor_of(target, record) == "Acme Inc"
