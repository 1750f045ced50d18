import gc
from datetime import timedelta

import numpy as np
import pytest
from pydantic import ValidationError

from harness import __version__
from harness.errors import StoreError
from harness.measure import calibrate as module
from harness.measure.calibrate import (
    Effort,
    NullSession,
    calibrate,
    latest,
    overhead,
    pauses,
    save,
    scheduling_lag,
    sleep_lag,
    spread,
    standing,
    timer,
)
from harness.schema.calibration import Calibration, Pauses, SchedulingLag, Spread
from harness.schema.record import EnvironmentField
from tests.factories import START, ulid
from tests.measure.virtual import VirtualClock

SMALL = Effort(sleeps=2, lag_s=0.02, rounds=1, round_s=0.01, pause_s=0.01)


class TickingClock(VirtualClock):
    """Moves on by the next of `steps_ns` at every reading, over and over."""

    def __init__(self, *steps_ns: int) -> None:
        super().__init__()
        self.steps_ns = steps_ns
        self.readings = 0

    def now_ns(self) -> int:
        self.at_ns += self.steps_ns[self.readings % len(self.steps_ns)]
        self.readings += 1
        return self.at_ns


class LateClock(VirtualClock):
    """Wakes 30 us after every time that it is asked to wait for."""

    def wait_until_ns(self, at_ns: int) -> None:
        if at_ns > self.at_ns:
            self.at_ns = at_ns + 30_000


class TimedSession(NullSession):
    """Answers in 5 us when called plainly, and takes `submit_s` when it is submitted to."""

    def __init__(self, clock: VirtualClock, submit_s: float) -> None:
        self.clock = clock
        self.submit_s = submit_s

    def answer(self, request):
        self.clock.spend(5e-6)
        return super().answer(request)

    def submit(self, query) -> None:
        self.clock.spend(self.submit_s)
        super().submit(query)


def make_calibration(number: int = 1, **changes) -> Calibration:
    one = Spread(n=500, p50_s=1e-6, p99_s=2e-6, most_s=3e-6)
    tree = {
        "schema": 1,
        "id": ulid(number),
        "started_at": START,
        "ended_at": START,
        "host": module.host_digest(),
        "environment": {"cpu_model": EnvironmentField(value="Test CPU")},
        "timer_step_s": 4e-8,
        "timer_cost_s": 5e-8,
        "sleep_lag": one,
        "scheduling_lag": (SchedulingLag(rate=1000.0, lag=one, unserved=0),),
        "bare_s": 6e-8,
        "in_band_s": 4e-8,
        "out_of_band_s": 3e-6,
        "sustained_rate": 300_000.0,
        "pauses": Pauses(observed_s=3.0, longest_s=1e-3, above_s=1e-4, count=2, paused_s=1.2e-3),
        "foreign_cores": 0.1,
        "steal_share": 0.0,
        "harness_version": "0.1.0",
    }
    return Calibration(**{**tree, **changes})


HERE = {"cpu_model": EnvironmentField(value="Test CPU")}


def test_spread_takes_the_ranks_of_the_percentiles_and_leaves_out_what_n_does_not_support():
    values = np.arange(1.0, 1001.0)
    np.random.default_rng(0).shuffle(values)
    assert spread(values) == Spread(n=1000, p50_s=501.0, p99_s=991.0, most_s=1000.0)
    assert spread(values[:368]).p99_s is not None
    assert spread(values[:367]).p99_s is None
    assert spread(np.array([2.0])) == Spread(n=1, p50_s=2.0, p99_s=None, most_s=2.0)


def test_a_spread_must_rise():
    with pytest.raises(ValidationError):
        Spread(n=500, p50_s=2.0, p99_s=1.0, most_s=3.0)
    with pytest.raises(ValidationError):
        Spread(n=5, p50_s=2.0, p99_s=None, most_s=1.0)


def test_timer_tells_the_smallest_step_and_the_usual_cost():
    assert timer(TickingClock(50, 50, 120, 0, 40, 50), 601) == (40e-9, 50e-9)


def test_sleep_lag_is_what_a_sleep_takes_beyond_what_was_asked():
    clock = VirtualClock()
    sleeps = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        clock.spend(seconds + (5e-3 if len(sleeps) == 100 else 80e-6))

    found = sleep_lag(clock, sleep, 500)
    assert set(sleeps) == {0.001}
    assert found.n == 500
    assert found.p50_s == pytest.approx(80e-6, abs=1e-9)
    assert found.p99_s == pytest.approx(80e-6, abs=1e-9)
    assert found.most_s == pytest.approx(5e-3, abs=1e-9)


def test_scheduling_lag_is_issued_less_scheduled():
    exact = scheduling_lag(NullSession(), VirtualClock(), 1000.0, 2.0)
    assert exact.lag.most_s == 0.0
    assert exact.lag.n == pytest.approx(2000, rel=0.1)
    late = scheduling_lag(NullSession(), LateClock(), 1000.0, 2.0)
    assert late.lag.p50_s == pytest.approx(30e-6, abs=1e-9)
    assert late.unserved == 0


def test_the_answer_is_not_in_the_scheduling_lag():
    clock = VirtualClock()
    found = scheduling_lag(TimedSession(clock, 1e-4), clock, 10.0, 20.0)
    assert found.lag.p50_s == 0.0


def test_a_machine_that_is_too_slow_shows_unserved_requests():
    clock = VirtualClock()
    found = scheduling_lag(TimedSession(clock, 10e-3), clock, 1000.0, 1.0)
    # 10 ms each: 200 of about 1,000 are issued within twice the window.
    assert found.lag.n == pytest.approx(200, abs=2)
    assert found.unserved == pytest.approx(800, rel=0.1)


def test_overhead_is_told_apart_inside_and_between():
    clock = VirtualClock()
    found = overhead(TimedSession(clock, 7e-6), clock, 3, 0.01)
    assert found.bare_s == pytest.approx(5e-6, abs=1e-9)
    assert found.latency_s == pytest.approx(7e-6, abs=1e-9)
    assert found.in_band_s == pytest.approx(2e-6, abs=1e-9)
    assert found.out_of_band_s == pytest.approx(0.0, abs=1e-9)
    assert found.sustained_rate == pytest.approx(1 / 7e-6, rel=1e-3)


def test_the_time_between_queries_is_not_in_the_latency():
    clock = VirtualClock()

    class Session(TimedSession):
        def submit(self, query) -> None:
            super().submit(query)
            clock.spend(3e-6)

    found = overhead(Session(clock, 7e-6), clock, 1, 0.01)
    assert found.latency_s == pytest.approx(7e-6, abs=1e-9)
    assert found.out_of_band_s == pytest.approx(3e-6, abs=1e-9)
    assert found.sustained_rate == pytest.approx(1 / 10e-6, rel=1e-3)


def test_pauses_are_the_steps_of_a_clock_that_is_read_all_the_time():
    steps = [1_000] * 998 + [5_000_000, 200_000]
    found = pauses(TickingClock(*steps), 6.198e-3)
    assert found.observed_s == pytest.approx(6.198e-3)
    assert found.longest_s == pytest.approx(5e-3)
    assert found.count == 2
    assert found.paused_s == pytest.approx(5.2e-3)
    assert pauses(TickingClock(100_000), 1e-3).count == 0  # not above the threshold


def test_a_calibration_of_this_machine():
    found = calibrate(ulid(7), effort=SMALL)
    assert found.id == ulid(7)
    assert [one.rate for one in found.scheduling_lag] == [1_000, 5_000, 20_000]
    assert found.started_at < found.ended_at
    assert found.sleep_lag.n == 2
    assert found.sleep_lag.p99_s is None
    assert found.pauses.observed_s >= 0.01
    assert found.environment["logical_cores"].value
    assert found.same_machine(module.host_digest(), found.environment)
    assert gc.isenabled()


def test_garbage_collection_comes_back_after_an_error():
    def fail(seconds: float) -> None:
        assert not gc.isenabled()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(ulid(1), sleep=fail, effort=SMALL)
    assert gc.isenabled()


def test_what_is_saved_is_found_again(tmp_path):
    assert latest(tmp_path, HERE) is None
    saved = make_calibration(5)
    path = save(saved, tmp_path)
    assert path == tmp_path / "calibration" / f"{ulid(5)}.json"
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert latest(tmp_path, HERE) == saved
    save(make_calibration(4), tmp_path)
    assert latest(tmp_path, HERE) == saved
    newer = make_calibration(6)
    save(newer, tmp_path)
    assert latest(tmp_path, HERE) == newer


def test_another_machine_is_never_taken(tmp_path):
    ours = make_calibration(1)
    save(ours, tmp_path)
    save(make_calibration(2, host="0" * 64), tmp_path)
    save(
        make_calibration(3, environment={"cpu_model": EnvironmentField(value="Other CPU")}),
        tmp_path,
    )
    save(make_calibration(4, environment={}), tmp_path)
    assert latest(tmp_path, HERE) == ours


def test_a_record_says_whether_its_calibration_still_holds():
    here = {**HERE, "kernel": EnvironmentField(value="6.1"), "python": EnvironmentField(value="3")}
    good = make_calibration(environment=here, harness_version=__version__)
    assert standing(good, here, START + timedelta(days=30)).value == "current"
    old = standing(good, here, START + timedelta(days=31)).value
    assert old == "doubtful: 31 days old; run `harness calibrate` again"
    updated = {**here, "kernel": EnvironmentField(value="6.2")}
    assert "taken under kernel 6.1" in str(standing(good, updated, START).value)
    other = make_calibration(environment=here, harness_version="0.0.1")
    assert "version 0.0.1 of the harness" in str(standing(other, here, START).value)
    none = standing(None, here, START)
    assert none.value is None
    assert "harness calibrate" in str(none.unavailable)


def test_the_processor_is_read_when_it_is_not_given(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "capture", lambda: HERE)
    save(make_calibration(1), tmp_path)
    assert latest(tmp_path) == make_calibration(1)


def test_a_damaged_or_misnamed_file_is_passed_over(tmp_path):
    good = make_calibration(1)
    save(good, tmp_path)
    torn = save(make_calibration(2), tmp_path)
    torn.write_text(torn.read_text()[:100])
    misnamed = save(make_calibration(3), tmp_path)
    misnamed.rename(misnamed.with_name(f"{ulid(4)}.json"))
    assert latest(tmp_path, HERE) == good


def test_a_disk_that_refuses_is_a_store_error(tmp_path):
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(StoreError, match="cannot write"):
        save(make_calibration(), tmp_path / "results")
