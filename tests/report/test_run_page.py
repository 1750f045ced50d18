from harness.report.run_page import client, readings, remark
from harness.schema.record import Verdict
from tests.factories import make_point, make_record, make_workload


def test_the_client_s_figures_have_their_units():
    said = {"loop_lag_p99_s": 0.0021, "cpu_share": 0.25, "reused": True, "connections": 8}
    assert client(make_record(session={"client": said})) == (
        ("connections", "8"),
        ("cpu share", "25 %"),
        ("loop lag p99 s", "2.10 ms"),
        ("reused", "yes"),
    )
    assert client(make_record(session={"client": "broken"})) == ()


def test_a_window_without_joules_gives_reason_and_remedy():
    (found,) = readings(make_record(points=(make_point(make_workload()),)))
    assert found.energy == ""
    assert found.reason == (
        "not measured: no powercap tree on this machine. To enable it: run on bare metal"
    )


def test_what_is_to_be_said_of_a_record():
    assert remark(make_record()) == ""
    noisy = Verdict(state="noisy")
    assert remark(make_record(evidence="claimed", verdict=noisy)) == "claimed, noisy"
