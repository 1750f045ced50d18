from harness.report.ceiling import NOT_ASSESSED, ceiling, parts
from harness.schema.record import Roofline
from tests.factories import make_record

KNOWN = Roofline(
    unit="rows",
    bytes_per_unit=172.0,
    bandwidth_bytes_per_s=4e10,
    bound="compute",
    limit_per_s=8_000_000.0,
    achieved_per_s=80_000.0,
    share=0.01,
    source="measured with 2 threads",
    notes=("what a pass reads fits in the cache",),
)


def test_a_share_stands_with_its_limit_and_source():
    found = ceiling("The box", "box", make_record(roofline=KNOWN), "noisy")
    assert (found.limit, found.bound) == ("8,000,000 rows/s", "arithmetic")
    assert (found.achieved, found.share) == ("80,000 rows/s", "1 %")
    assert (found.source, found.remark, found.reason) == ("measured with 2 threads", "noisy", "")


def test_without_a_share_there_is_a_reason_and_no_figure():
    record = make_record(roofline=Roofline(reason="a trace has no roofline"))
    found = ceiling("The box", "box", record)
    assert (found.reason, found.share, found.limit) == ("a trace has no roofline", "", "")
    assert ceiling("The box", "box", make_record()).reason == NOT_ASSESSED


def test_only_known_parts_are_listed():
    names = [name for name, _ in parts(KNOWN)]
    assert "Operations that one needs at least" not in names
    assert ("Bytes that one needs at least", "172 B") in parts(KNOWN)
    assert names[-1] == "Left out"
    assert parts(Roofline(reason="none")) == [("Why there is no share", "none")]
