from harness.report.provenance import environment
from harness.schema.record import EnvironmentField
from tests.factories import make_record


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
