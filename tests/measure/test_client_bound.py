import pytest

from harness.measure.client_bound import client_limits, client_reasons, judge_client
from harness.measure.scenario import find_headline
from harness.schema.record import Point, Reason, Verdict
from harness.schema.trust import ClientLimit, Trust
from harness.schema.workload import SloLimit
from tests.factories import make_point, make_workload

SLO = (
    SloLimit(metric="latency", percentile=99, limit_s=1.0),
    SloLimit(metric="tpot", percentile=95, limit_s=0.05),
)
GOOD = {"loop_lag_p99_s": 0.004, "cpu_share": 0.5}
VALID = Verdict(state="valid")


def test_a_client_that_keeps_up_changes_nothing() -> None:
    assert judge_client(VALID, GOOD, SLO) is VALID
    assert judge_client(VALID, None, SLO) is VALID


@pytest.mark.parametrize("change", [{"loop_lag_p99_s": 0.006}, {"cpu_share": 0.91}])
def test_a_client_that_was_the_limit_makes_the_record_invalid(change: dict[str, float]) -> None:
    noisy = Verdict(state="noisy", reasons=(Reason(code="steal", text="..."),))
    verdict = judge_client(noisy, GOOD | change, SLO)
    assert verdict.state == "invalid"
    assert [reason.code for reason in verdict.reasons] == ["client-bound", "steal"]
    reason = verdict.reasons[0]
    assert reason.value is not None
    assert reason.limit is not None
    assert reason.value > reason.limit


def test_lag_counts_against_the_tightest_limit_and_without_one_not_at_all() -> None:
    assert client_reasons(GOOD, 0.05) == []
    assert client_reasons(GOOD, 0.03)
    assert client_reasons(GOOD, None) == []
    assert client_reasons(GOOD | {"cpu_share": 0.95}, None)


def test_a_client_that_says_nothing_proves_nothing() -> None:
    for client in ({}, "unknown", {"loop_lag_p99_s": None, "cpu_share": None}):
        assert judge_client(VALID, client, SLO).state == "invalid"


def trust(**changes: object) -> Trust:
    figures: dict[str, object] = {
        "loop": "uvloop",
        "loop_lag_p50_s": 0.0002,
        "loop_lag_p99_s": 0.004,
        "loop_lag_max_s": 0.02,
        "cpu_share": 0.3,
        "wait_share": 0.05,
        "schedule_delay_p50_s": 0.0001,
        "schedule_delay_p99_s": 0.002,
        "handover_p50_s": 0.0001,
        "handover_p99_s": 0.001,
        "achieved_share": 1.0,
        "requests": 100,
        "connections": 1,
        "reuse_share": 0.99,
        "resent": 0,
    }
    return Trust.model_validate({**figures, **changes})


def calibrated(**changes: object) -> Trust:
    found: dict[str, object] = {
        "requests": 100,
        "streams": 8.0,
        "tokens": 8,
        "gap_s": 0.01,
        "first_error_p50_s": 0.001,
        "first_error_p99_s": 0.004,
        "itl_error_share": 0.001,
        "ceiling_per_s": 8_000.0,
    }
    return trust(calibration={**found, **changes})


def limits(block: Trust, **changes: object) -> tuple[ClientLimit, ...]:
    point: dict[str, object] = {"typical_s": 0.05, "rate": 100.0, "tightest_s": 0.05}
    return client_limits(block, **{**point, **changes})  # type: ignore[arg-type]


def test_a_client_that_waits_for_a_slow_server_is_not_the_limit() -> None:
    assert limits(calibrated()) == ()
    assert limits(calibrated(), typical_s=5.0, rate=0.2, tightest_s=2.0) == ()
    # A slow answer is no sign, however much of the requested rate was not served for it.
    assert limits(calibrated(), typical_s=60.0, rate=0.01, open_loop=True) == ()


@pytest.mark.parametrize(
    ("block", "changes"),
    [
        (trust(loop_lag_p99_s=0.006), {}),
        (trust(cpu_share=0.95), {}),
        (trust(cpu_share=0.5, wait_share=0.45), {}),
        (trust(achieved_share=0.9), {}),
        (trust(loop_lag_p50_s=0.007), {"tightest_s": None}),
        (trust(schedule_delay_p50_s=0.006), {}),
        (trust(handover_p50_s=0.006), {}),
        (calibrated(first_error_p50_s=0.006), {}),
        (calibrated(itl_error_share=-0.2), {}),
        (calibrated(), {"rate": 7_500.0}),
    ],
)
def test_each_sign_alone_makes_the_client_the_limit(
    block: Trust, changes: dict[str, object]
) -> None:
    (sign,) = limits(block, **changes)
    assert sign.value is not None
    assert sign.limit is not None


def test_a_point_too_short_to_tell_is_the_clients() -> None:
    (sign,) = limits(trust(loop_lag_p99_s=None, cpu_share=None))
    assert "long enough" in sign.text


def test_what_any_client_needs_on_an_idle_machine_is_an_error_and_no_limit() -> None:
    fast = calibrated(first_error_p50_s=0.0002)
    assert limits(fast, typical_s=0.0005) == ()
    workload = make_workload()
    point = make_point(workload, latency_s=0.0005).model_copy(update={"trust": fast})
    verdict = judge_client(VALID, GOOD, SLO, [point], 0)
    assert verdict.state == "noisy"
    assert [reason.code for reason in verdict.reasons] == ["client-error"]
    slow = make_point(workload, latency_s=0.5).model_copy(update={"trust": fast})
    assert judge_client(VALID, GOOD, SLO, [slow], 0) is VALID


def test_in_an_open_loop_the_clients_time_counts_above_a_share_of_the_tightest_limit() -> None:
    block = calibrated(first_error_p50_s=0.002)
    assert limits(block, typical_s=0.004, tightest_s=2.0)
    assert limits(block, typical_s=0.004, tightest_s=2.0, open_loop=True) == ()
    assert limits(block, typical_s=0.004, tightest_s=0.1, open_loop=True)


def searched(*states: tuple[float, str, bool]) -> list[Point]:
    """Return points of (load, state of the SLO, whether the client was the limit)."""
    bound = trust(client_bound=({"text": "too late"},))
    return [
        make_point(make_workload(), load=load).model_copy(
            update={"slo_state": state, "trust": bound if late else trust()}
        )
        for load, state, late in states
    ]


def state_of(points: list[Point]) -> str:
    return judge_client(VALID, GOOD, SLO, points, find_headline(points)).state


def test_a_client_bound_point_is_no_limit_of_the_server() -> None:
    points = searched((0.5, "met", False), (0.75, "missed", True), (0.9, "missed", False))
    assert find_headline(points) == 0
    # The server may do more than at 0.5: nobody knows.
    assert state_of(points) == "invalid"


def test_a_client_bound_point_above_the_servers_own_limit_decides_nothing() -> None:
    points = searched((0.5, "met", False), (0.75, "missed", False), (0.9, "missed", True))
    assert find_headline(points) == 0
    assert state_of(points) == "valid"


def test_a_client_bound_point_never_stands_for_the_record() -> None:
    points = searched((0.5, "met", False), (0.75, "met", True))
    assert find_headline(points) == 0
    assert state_of(points) == "invalid"
    points = searched((0.5, "met", True))
    assert find_headline(points) is None
    verdict = judge_client(VALID, GOOD, SLO, points, None)
    assert verdict.state == "invalid"
    assert verdict.reasons[0].text == "too late at load 0.5"


def test_a_single_point_without_a_load_is_invalid_where_the_client_was_the_limit() -> None:
    bound = trust(client_bound=({"text": "too late"},))
    point = make_point(make_workload()).model_copy(update={"trust": bound})
    assert judge_client(VALID, GOOD, SLO, [point], 0).state == "invalid"


def test_records_without_a_trust_block_stay_as_they_were() -> None:
    point = make_point(make_workload())
    assert "trust" not in point.model_dump()
    assert not point.client_bound
    assert Point.model_validate(point.model_dump(mode="json")) == point


def test_of_several_processes_one_that_is_busy_or_gone_makes_the_client_the_limit() -> None:
    # Together they use more than a core, none of them all of its own.
    shared = trust(processes=3, cpu_share=1.8, busiest_share=0.7)
    assert limits(shared) == ()
    (busy,) = limits(trust(processes=3, cpu_share=1.8, busiest_share=0.97))
    assert "97%" in busy.text
    assert (busy.value, busy.limit) == (0.97, 0.9)
    (gone,) = limits(trust(processes=3, cpu_share=1.8, busiest_share=0.7, crashed=1))
    assert "1 of the client's 3 processes ended" in gone.text
