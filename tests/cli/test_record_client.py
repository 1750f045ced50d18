"""`harness show`: how well the client of a served target kept up."""

from harness.cli.record_text import record_lines
from harness.schema import Point
from harness.schema.trust import ClientCalibration, ClientLimit, Trust
from tests.factories import make_point, make_record, make_workload

TRUST = Trust(
    loop="uvloop",
    loop_lag_p50_s=0.0002,
    loop_lag_p99_s=0.004,
    loop_lag_max_s=0.02,
    cpu_share=0.31,
    wait_share=None,
    schedule_delay_p50_s=0.0001,
    schedule_delay_p99_s=0.002,
    handover_p50_s=0.0001,
    handover_p99_s=0.001,
    achieved_share=0.998,
    requests=1_200,
    connections=12,
    reuse_share=0.99,
    resent=1,
    calibration=ClientCalibration(
        requests=300,
        streams=8,
        rate=100,
        tokens=8,
        gap_s=0.01,
        first_error_p50_s=0.00035,
        first_error_p99_s=0.0021,
        itl_error_share=0.004,
        ceiling_per_s=5_200,
    ),
)


def shown(trust: Trust | None) -> str:
    workload = make_workload()
    point: Point = make_point(workload, load=0.5).model_copy(update={"trust": trust})
    return "\n".join(record_lines(make_record(workload, points=(point,)), {}))


def test_the_clients_own_error_is_beside_the_figures() -> None:
    text = shown(TRUST)
    assert "the client at load 50 %" in text
    assert "late by 200 µs (p50), 4.00 ms (p99)" in text
    assert "its core: used 31 % of the time, waited for (not told)" in text
    assert "requested rate issued: 99.8 %" in text
    assert "1,200 requests, 12 connections opened, 99 % reused, 1 resent" in text
    assert "350 µs (p50), 2.10 ms (p99) late" in text
    assert "off by 0.400 %" in text
    assert "at most 5,200 requests/s" in text


def test_a_point_of_the_client_says_so() -> None:
    bound = TRUST.model_copy(update={"client_bound": (ClientLimit(text="it was too late"),)})
    assert "load 50 %: the client was the limit: it was too late" in shown(bound)


def test_what_is_not_known_is_told_and_other_targets_have_no_section() -> None:
    none = ClientCalibration(requests=0, streams=0, tokens=0, gap_s=0, reason="nothing came")
    assert "not calibrated: nothing came" in shown(TRUST.model_copy(update={"calibration": none}))
    assert "not calibrated" in shown(TRUST.model_copy(update={"calibration": None}))
    assert "the client" not in shown(None)
