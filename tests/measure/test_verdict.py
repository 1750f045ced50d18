import re
from pathlib import Path

import numpy as np
import pytest

from harness.measure import client_bound, widen
from harness.measure import verdict as verdict_module
from harness.measure.disturbance import Disturbance
from harness.measure.samples import Samples
from harness.measure.summary import Window, summarise
from harness.measure.verdict import _worst, judge
from harness.schema.record import Reason
from harness.schema.workload import SloLimit

SLO = (SloLimit(metric="latency", percentile=90, limit_s=1.0),)
PAGE = Path(__file__).parents[2] / "docs" / "validity.md"
QUIET = Disturbance(foreign_cores=0.0, steal_share=0.0, own_cores=1.0, pressure_share=0.0)


def window_of(latency_s, *, failed=0, late_s=0.0, tokens=0, asked=()) -> Window:
    samples = Samples(0, 0)
    at = 0.0
    for number, each in enumerate(latency_s):
        end = at + late_s + each
        row = (at, at + late_s, -1, end)
        status = 1 if number < failed else 0
        stamps = (round(t * 1e9) if t >= 0 else -1 for t in row)
        samples.rows.append((0, 0, *stamps, 0, tokens, 1, status))
        at = end
    return Window(samples, [0.0], asked)


def verdict_of(
    window: Window,
    disturbed=QUIET,
    load=None,
    complaints=(),
    simulated=False,
    least_s=0.0,
    slo=SLO,
    errors=(),
    **options,
):
    point = summarise(
        window,
        task="tabular_classification",
        scenario="single_stream" if load is None else "server",
        slo=slo,
        energy=[],
        load=load,
        requested_rate=None if load is None else 10.0,
    )
    return judge(
        [window],
        [point],
        slo,
        0,
        disturbed,
        complaints,
        simulated,
        least_s,
        errors=[errors],
        **options,
    )


def codes(verdict) -> set[str]:
    return {reason.code for reason in verdict.reasons}


STEADY = np.full(200, 0.1)


def test_a_quiet_steady_run_is_valid() -> None:
    verdict = verdict_of(window_of(STEADY))
    assert verdict.state == "valid"
    assert verdict.reasons == ()


@pytest.mark.parametrize(
    ("disturbed", "state", "code"),
    [
        (Disturbance(0.5, 0.0, 1.0, 0.0), "noisy", "foreign-load"),
        (Disturbance(0.0, 0.02, 1.0, 0.0), "noisy", "steal"),
        (Disturbance(0.0, 0.2, 1.0, 0.0), "invalid", "steal"),
        (Disturbance(0.0, 0.0, 1.0, 0.3), "noisy", "pressure"),
    ],
)
def test_what_others_did_is_judged(disturbed: Disturbance, state: str, code: str) -> None:
    verdict = verdict_of(window_of(STEADY), disturbed)
    assert verdict.state == state
    assert codes(verdict) == {code}


def test_errors() -> None:
    assert verdict_of(window_of(STEADY, failed=1)).state == "noisy"
    many = verdict_of(window_of(STEADY, failed=10))
    assert many.state == "invalid"
    assert "errors" in codes(many)


def test_errors_are_told_with_the_commonest_on_one_line() -> None:
    refused = "ConnectError: \n\n refused\x1b[2J" + "x" * 500
    verdict = verdict_of(window_of(STEADY, failed=3), errors=["late", refused, refused])
    (text,) = [reason.text for reason in verdict.reasons if reason.code == "errors"]
    assert text.startswith("3 of 200 requests failed; for example ConnectError: refused [2Jxxx")
    assert len(text) < 300


def test_too_few() -> None:
    verdict = verdict_of(window_of(STEADY[:10]))
    assert verdict.state == "noisy"
    assert codes(verdict) == {"too-few"}


@pytest.mark.parametrize(("tokens", "state"), [(32, "valid"), (30, "valid"), (20, "invalid")])
def test_answers_cut_short_are_no_answers(tokens: int, state: str) -> None:
    verdict = verdict_of(window_of(STEADY, tokens=tokens, asked=[32]))
    assert verdict.state == state
    assert codes(verdict) == (set() if state == "valid" else {"output-length"})


@pytest.mark.parametrize(("tokens", "state"), [(0, "valid"), (4, "noisy"), (10, "valid")])
def test_answers_whose_tokens_no_server_counted_are_not_told_as_short(tokens, state) -> None:
    """As of a transcription that is only text: how long it is, nobody knows."""
    window = window_of(STEADY, tokens=tokens, asked=[10])
    verdict = verdict_of(window, free_length=True)
    assert verdict.state == state
    assert codes(verdict) == (set() if state == "valid" else {"output-length"})


def test_drift() -> None:
    verdict = verdict_of(window_of(np.linspace(0.1, 0.13, 200)))
    assert "drift" in codes(verdict)


def test_the_harness_own_lag_spoils_an_open_loop() -> None:
    assert verdict_of(window_of(STEADY, late_s=0.2), load=0.5).state == "invalid"
    assert verdict_of(window_of(STEADY, late_s=0.05), load=0.5).state == "valid"


def test_lag_at_a_load_that_does_not_stand_for_the_record_is_noise() -> None:
    windows = [window_of(STEADY), window_of(STEADY, late_s=0.2)]
    points = [
        summarise(
            window,
            task="tabular_classification",
            scenario="server",
            slo=SLO,
            energy=[],
            load=load,
            requested_rate=10.0,
        )
        for window, load in zip(windows, (0.5, 1.1), strict=True)
    ]
    states = [judge(windows, points, SLO, at, QUIET, (), False, 0.0).state for at in (0, 1, None)]
    assert states == ["noisy", "invalid", "invalid"]


def test_a_late_issue_does_not_change_the_time_between_tokens() -> None:
    tpot = SloLimit(metric="tpot", percentile=90, limit_s=0.05)
    late = window_of(STEADY, late_s=0.02)
    assert "schedule-lag" not in codes(verdict_of(late, load=0.5, slo=(*SLO, tpot)))
    assert "schedule-lag" in codes(verdict_of(late, load=0.5, slo=(tpot,)))
    later = window_of(STEADY, late_s=0.2)
    assert "schedule-lag" in codes(verdict_of(later, load=0.5, slo=(*SLO, tpot)))


@pytest.mark.parametrize(("growth_s", "told"), [(0.0, set()), (0.3, {"rate"})])
def test_the_last_answer_s_own_time_is_no_rate_that_was_not_served(growth_s, told) -> None:
    """One request a second, answered after 4 s: the window ends 4 s after the last was due."""
    samples = Samples(0, 0)
    for due in range(20):
        end = round((due + 4 + growth_s * due) * 1e9)
        samples.rows.append((0, 0, due * 10**9, due * 10**9, -1, end, 0, 0, 1, 0))
    slo = (SloLimit(metric="latency", percentile=90, limit_s=100.0),)
    verdict = verdict_of(Window(samples, [0.0]), load=0.5, slo=slo)
    assert codes(verdict) - {"too-few"} == told


def test_one_long_pause_of_the_harness_is_told() -> None:
    """A hundredth of the requests are late only by the queue behind one pause; p99 may miss it."""
    window = window_of(STEADY)
    window.lag_s = np.where(np.arange(200) == 100, 1.5, 0.0)
    verdict = verdict_of(window, load=0.5)
    assert verdict.state == "noisy"
    assert codes(verdict) == {"pause"}


def test_threads_that_hold_each_other_up_spoil_the_cell() -> None:
    beside = {"own_cores": 1.25, "pressure_share": None, "cores": 2.0, "threads": 2}
    held_up = Disturbance(0.75, 0.0, **beside, waited_share=0.37)
    assert verdict_of(window_of(STEADY), held_up).state == "invalid"
    less = Disturbance(0.75, 0.0, **beside, waited_share=0.05)
    assert verdict_of(window_of(STEADY), less).state == "noisy"
    assert "thread-wait" in codes(verdict_of(window_of(STEADY), less))
    hardly = Disturbance(0.75, 0.0, **beside, waited_share=0.01)
    assert "thread-wait" not in codes(verdict_of(window_of(STEADY), hardly))


def test_threads_of_the_target_s_own_that_are_too_many_are_its_own_affair() -> None:
    alone = Disturbance(
        0.0, 0.0, own_cores=1.9, pressure_share=None, cores=2.0, threads=2, waited_share=0.2
    )
    assert verdict_of(window_of(STEADY), alone).state == "valid"


def test_broken_contract_and_simulation_are_invalid() -> None:
    assert codes(verdict_of(window_of(STEADY), complaints=["completed twice"])) == {"contract"}
    assert verdict_of(window_of(STEADY), simulated=True).state == "invalid"


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({"clock_step_s": -0.2}, "clock"),
        ({"suspended_s": 0.02}, "clock"),
        ({"throttle_events": 1}, "throttle"),
        ({"throttled_share": 0.01}, "throttle"),
        ({"gpu_slowed": ("GPU 0: power brake",)}, "throttle"),
        ({"clock_change": -0.11}, "throttle"),
        ({"clock_change": 0.11}, "throttle"),
        ({"foreign_processes": 1}, "foreign-gpu"),
        ({"quota_share": 0.02}, "cpu-quota"),
        ({"harness_cores": 0.2, "cores": 1.9}, "harness-share"),
        ({"harness_cores": 0.2, "cores": 64.0, "allowed_cores": 1.5}, "harness-share"),
    ],
)
def test_what_the_machine_did_is_judged(found: dict, code: str) -> None:
    verdict = verdict_of(window_of(STEADY), Disturbance(0.0, 0.0, 1.0, 0.0, **found))
    assert verdict.state == "noisy"
    assert codes(verdict) == {code}


@pytest.mark.parametrize(
    "found",
    [
        {"clock_step_s": 0.05},
        {"suspended_s": 0.005},
        {"throttle_events": 0, "throttled_share": 0.0},
        {"gpu_power_capped": True},
        {"clock_change": 0.05},
        {"foreign_processes": 0},
        {"quota_share": 0.005},
        {"harness_cores": 0.05, "cores": 1.0},
        {"harness_cores": 0.9, "cores": 2.5},
    ],
)
def test_what_cannot_have_mattered_is_not(found: dict) -> None:
    assert verdict_of(window_of(STEADY), Disturbance(0.0, 0.0, 1.0, 0.0, **found)).state == "valid"


def test_a_window_that_ended_before_its_profile_wants_is_told() -> None:
    window = window_of(STEADY)  # 20 s
    assert codes(verdict_of(window, least_s=30.0)) == {"short"}
    assert codes(verdict_of(window, least_s=22.0)) == set()
    # Ten requests a second: the last of them may come a second before the end.
    assert codes(verdict_of(window, load=0.5, least_s=23.0)) == set()
    assert codes(verdict_of(window, load=0.5, least_s=30.0)) == {"short"}


def test_every_reason_is_documented() -> None:
    sources = [
        Path(module.__file__ or "").read_text() for module in (verdict_module, widen, client_bound)
    ]
    written = {code for text in sources for code in re.findall(r'code="([a-z-]+)"', text)}
    documented = set(re.findall(r"(?m)^\| `([a-z-]+)` \|", PAGE.read_text().split("\n## ")[0]))
    assert written == documented


def test_a_reason_of_several_loads_is_told_once_with_the_worst() -> None:
    many = [
        Reason(code="pause", text=f"stood still for {value} s", value=value, limit=0.01)
        for value in (0.02, 0.05, 0.03)
    ]
    (told,) = _worst(many)
    assert told.text == "stood still for 0.05 s, and at 2 other loads"
    assert _worst(many[:1]) == many[:1]


def busy(own: float, foreign: float, threads: int | None = 2) -> Disturbance:
    return Disturbance(
        foreign_cores=foreign,
        steal_share=0.0,
        own_cores=own,
        pressure_share=None,
        cores=2.0,
        threads=threads,
    )


def test_a_target_whose_cores_others_had_is_noisy() -> None:
    verdict = verdict_of(window_of(STEADY), busy(own=1.78, foreign=0.22))
    (reason,) = verdict.reasons
    assert (reason.code, reason.value) == ("cpu-share", pytest.approx(0.89))
    assert "2 threads computed for 89 % of the time" in reason.text.replace("%", " %")
    assert widen.amounts(verdict, busy(1.78, 0.22))["cpu-share"] > 0.1


def test_a_runtime_that_leaves_its_cores_idle_is_not_noisy() -> None:
    assert verdict_of(window_of(STEADY), busy(own=1.2, foreign=0.05)).state == "valid"
    assert verdict_of(window_of(STEADY), busy(own=1.9, foreign=0.1)).state == "valid"
    # One thread, and a neighbour on the other core.
    assert verdict_of(window_of(STEADY), busy(0.98, 0.24, threads=1)).state == "valid"
    assert verdict_of(window_of(STEADY), busy(0.1, 0.24, threads=None)).state == "valid"
