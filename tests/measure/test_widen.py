import pytest

from harness.measure.disturbance import Disturbance
from harness.measure.widen import amounts, widen
from harness.schema.record import Reason, Verdict
from tests.factories import make_metric, make_point, make_workload

WORKLOAD = make_workload(slo=[{"metric": "latency", "percentile": 90, "limit_s": 0.2}])
HALF_TAKEN = Disturbance(0.5, 0.0, 1.0, None, cores=4.0)
QUIET = Disturbance(0.0, 0.0, 1.0, 0.0, cores=4.0)


def noisy(*codes, value=None) -> Verdict:
    reasons = tuple(Reason(code=code, text="declared", value=value) for code in codes)
    return Verdict(state="noisy", reasons=reasons)


@pytest.mark.parametrize(
    ("code", "disturbed", "amount"),
    [
        # 0.08 cores' time stolen of the 1.28 that were wanted.
        ("steal", Disturbance(0.2, 0.02, 1.0, 0.0, cores=4.0), 0.08 / 1.2),
        # A target of four cores had 3.5.
        ("foreign-load", HALF_TAKEN, 0.5 / 3.5),
        # Others had all the cores: no more than if all their time had been the target's.
        ("foreign-load", Disturbance(3.5, 0.0, 1.0, None, cores=4.0), 3.5),
        ("harness-share", Disturbance(0.0, 0.0, 2.0, None, cores=2.0, harness_cores=0.5), 0.25),
        # A task waited for a core in a twentieth of the time: no more can have been lost.
        ("foreign-load", Disturbance(2.0, 0.0, 1.0, 0.05, cores=4.0), 0.05 / 0.95),
        ("foreign-load", Disturbance(2.0, 0.0, 1.0, 0.9, cores=4.0), 1.0),
        ("thread-wait", Disturbance(0.0, 0.0, 1.0, 0.0, waited_share=0.05), 0.5),
        ("throttle", Disturbance(0.0, 0.0, 1.0, 0.0, throttled_share=0.2), 0.25),
        ("throttle", Disturbance(0.0, 0.0, 1.0, 0.0, clock_change=-0.2), 0.25),
        ("throttle", Disturbance(0.0, 0.0, 1.0, 0.0, clock_change=0.25), 0.25),
        ("throttle", Disturbance(0.0, 0.0, 1.0, 0.0, throttle_events=3), 0.1),
        ("foreign-gpu", Disturbance(0.0, 0.0, 1.0, 0.0, foreign_processes=2), 2.0),
    ],
)
def test_each_disturbance_has_an_amount(code, disturbed, amount) -> None:
    assert amounts(noisy(code), disturbed) == {code: pytest.approx(amount)}


def test_drift_widens_by_what_the_level_moved() -> None:
    assert amounts(noisy("drift", value=-0.3), QUIET) == {"drift": pytest.approx(0.3)}


@pytest.mark.parametrize(
    "code",
    ["pressure", "pause", "clock", "too-few", "errors", "rate", "short", "cpu-quota"],
)
def test_what_is_in_the_figures_already_widens_nothing(code) -> None:
    point = make_point(WORKLOAD)
    verdict = noisy(code, value=0.9)
    pressed = Disturbance(0.0, 0.0, 2.0, 1.0, cores=2.0)
    assert widen([point], verdict, pressed) == ((point,), verdict)


def test_the_bounds_move_by_the_amount_and_say_so() -> None:
    point = make_point(WORKLOAD)
    (wide,), verdict = widen([point], noisy("foreign-load"), HALF_TAKEN)
    w = 1 / 7
    for name in ("latency_s.p90", "ttft_s.p50", "tpot_s.p90", "throughput_output_tokens_per_s"):
        before, after = point.metrics[name], wide.metrics[name]
        assert after.value == before.value
        assert after.low == pytest.approx(before.low / (1 + w))
        assert after.high == pytest.approx(before.high * (1 + w))
        assert after.widened == pytest.approx(w)
    assert wide.metrics["error_rate"] == point.metrics["error_rate"]
    assert [reason.code for reason in verdict.reasons] == ["foreign-load", "widened"]
    assert verdict.reasons[-1].value == pytest.approx(w)
    assert "14.3 %" in verdict.reasons[-1].text


def test_a_promise_that_was_just_met_is_unproven_and_a_clear_one_stays_met() -> None:
    # p90 is 0.15 s, its upper bound 0.1575 s; widened by a seventh 0.18 s.
    (clear,), _ = widen([make_point(WORKLOAD)], noisy("foreign-load"), HALF_TAKEN)
    assert clear.slo_state == "met"
    near = make_point(WORKLOAD, latency_s=0.12)
    assert near.slo_state == "met"
    (wide,), _ = widen([near], noisy("foreign-load"), HALF_TAKEN)
    assert wide.slo_state == "unproven"
    assert wide.slo[0].state == "unproven"
    assert wide.slo[0].high_s == pytest.approx(near.slo[0].high_s * 8 / 7)


def test_a_promise_that_was_missed_stays_missed() -> None:
    (wide,), _ = widen([make_point(WORKLOAD, latency_s=0.5)], noisy("foreign-load"), HALF_TAKEN)
    assert wide.slo_state == "missed"


def test_the_largest_amount_counts_not_the_sum() -> None:
    disturbed = Disturbance(0.5, 0.02, 1.0, None, cores=4.0)
    (wide,), verdict = widen([make_point(WORKLOAD)], noisy("steal", "foreign-load"), disturbed)
    assert wide.metrics["latency_s.p50"].widened == pytest.approx(1 / 7)
    assert "(foreign-load)" in verdict.reasons[-1].text


@pytest.mark.parametrize("state", ["valid", "invalid"])
def test_only_a_noisy_cell_is_widened(state) -> None:
    verdict = Verdict(state=state, reasons=noisy("foreign-load").reasons)
    point = make_point(WORKLOAD)
    assert widen([point], verdict, HALF_TAKEN) == ((point,), verdict)


def test_a_figure_without_an_interval_stays_without_one() -> None:
    bare = make_metric(1.0).model_copy(update={"low": None, "high": None})
    none = make_metric(None)
    point = make_point(WORKLOAD)
    metrics = {**point.metrics, "latency_s.p99": bare, "latency_s.p99.9": none}
    (wide,), _ = widen(
        [point.model_copy(update={"metrics": metrics})], noisy("foreign-load"), HALF_TAKEN
    )
    assert wide.metrics["latency_s.p99"] == bare
    assert wide.metrics["latency_s.p99.9"] == none


def test_an_overload_stays_a_miss_whatever_the_percentiles_say() -> None:
    point = make_point(WORKLOAD).model_copy(update={"overload": "it grows", "slo_state": "missed"})
    (wide,), _ = widen([point], noisy("foreign-load"), HALF_TAKEN)
    assert wide.slo_state == "missed"
