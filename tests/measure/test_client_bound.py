import pytest

from harness.measure.client_bound import client_reasons, judge_client
from harness.schema.record import Reason, Verdict
from harness.schema.workload import SloLimit

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
