from harness.report.run_page import LONGEST_DETAIL, client, ending, hashes, readings, remark
from harness.schema.decision import RecordReference
from harness.schema.record import Failure, Verdict
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


def test_a_model_from_a_hub_is_tied_by_its_commit_and_its_files():
    files = {"model.safetensors": "b" * 64, "config.json": "a" * 64}
    source = {"hub": "small/llama", "revision": "c" * 40, "files": files}
    record = make_record(session={"model_source": source})
    pin = RecordReference(id=record.id, label="chat on cpu", sha256="0" * 64)
    others = hashes(make_record(), pin)

    found = hashes(record, pin)
    assert [row for row in found if row not in others] == [
        ("Model small/llama, commit", "c" * 40),
        ("Model file config.json, sha256", "a" * 64),
        ("Model file model.safetensors, sha256", "b" * 64),
    ]
    assert hashes(make_record(session={"model_source": "broken"}), pin) == others


def test_of_a_long_failure_the_end_is_shown_which_names_the_cause():
    long = "Traceback\n" + "  in a call\n" * 1000 + "ValueError: the cause"
    failure = Failure(kind="exception", message="it failed", detail=long)
    told = ending(make_record(status="failed", failure=failure))

    assert told.endswith("ValueError: the cause")
    assert told.startswith("…")
    assert len(told) == LONGEST_DETAIL + 1
    assert ending(make_record()) == ""
