"""The roofline and the state of the machine in `harness show RECORD`."""

from harness.cli.record_text import record_lines
from harness.schema.record import Roofline
from tests.factories import make_record

DRAWN = Roofline(
    unit="output tokens",
    bytes_per_unit=4.38e8,
    operations_per_unit=2.2e8,
    bandwidth_bytes_per_s=40.7e9,
    operations_per_s=209e9,
    cache_bytes=33.5e6,
    source="measured with 2 threads",
    bound="memory",
    limit_per_s=100.0,
    achieved_per_s=86.0,
    share=0.86,
)


def shown(**update: object) -> str:
    return "\n".join(record_lines(make_record().model_copy(update=update), {}))


def test_the_work_the_ceilings_and_the_share_are_shown() -> None:
    text = shown(roofline=DRAWN)
    for line in (
        "Bytes that one needs at least: 438 MB",
        "Operations that one needs at least: 220,000,000",
        "Memory bandwidth: 40,700,000,000 bytes/s",
        "Bound by: memory",
        "Limit: 100 output tokens/s",
        "Achieved: 86.0 output tokens/s",
        "Share of the limit: 86 %",
    ):
        assert f"  {line}" in text


def test_a_roofline_without_a_share_says_why() -> None:
    text = shown(roofline=Roofline(reason="the target is simulated"))
    assert "Why there is no share: the target is simulated" in text


def test_a_record_of_before_has_no_roofline() -> None:
    assert "\nroofline" not in shown(roofline=None)


def test_what_others_did_meanwhile_is_shown_in_per_cent() -> None:
    told = {"foreign_cores": 0.3, "cpu_share": 0.66, "quota_share": "not applicable: no limit"}
    text = shown(session={"disturbance": told})
    assert "the machine meanwhile" in text
    assert "  cpu_share: 66 %" in text
    assert "  foreign_cores: 0.3" in text
    assert "  quota_share: not applicable: no limit" in text
