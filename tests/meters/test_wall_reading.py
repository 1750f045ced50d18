"""The energy of windows of known profiles; the stated uncertainty is held against the truth."""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from harness.meters.wall_log import WallLog, find_zone, read_wall_log
from harness.meters.wall_reading import wall_meter, wall_reading

LOGS = Path(__file__).parent / "wall_logs"


def at(text):
    return datetime.fromisoformat(f"2026-11-01 {text}").replace(tzinfo=UTC).timestamp()


def golden(name, begin, end):
    log = read_wall_log(LOGS / name, zone=find_zone("UTC"))
    return wall_reading(log, wall_meter(log), at(begin), at(end))


def made(at_s, watts, untrue=(), log_format="ptd"):
    return WallLog(
        Path("made.txt"),
        log_format,
        "0" * 64,
        np.asarray(at_s, dtype=np.float64),
        np.asarray(watts, dtype=np.float64),
        {},
        np.asarray(untrue, dtype=np.float64),
    )


def test_a_steady_window_holds_power_times_time():
    reading = golden("steady.txt", "12:00:30.500", "12:01:30.500")
    assert reading.joules == pytest.approx(30_000)
    assert reading.duration_s == pytest.approx(60)
    assert (reading.boundary, reading.provenance) == ("wall", "external")
    assert reading.covers == ("wall:steady",)
    assert reading.flags == ()
    assert reading.parts == {
        "sensor": 0.01,
        "edge": pytest.approx(300 / 30_000),
        "skew": pytest.approx(240 / 30_000),
        "statistical": 0,
    }


@pytest.mark.parametrize("shift", [-0.8, 0.8])
def test_clocks_800_ms_apart_stay_within_the_stated_uncertainty(shift):
    log = read_wall_log(LOGS / "steady.txt", zone=find_zone("UTC"))
    begin, end = at("12:00:30.500") + shift, at("12:01:30.500") + shift
    reading = wall_reading(log, wall_meter(log, sensor=0.0), begin, end)
    assert reading.joules == pytest.approx(29_760)
    assert abs(reading.joules - 30_000) <= reading.uncertainty * reading.joules


def test_dropped_samples_and_gaps_are_flagged_and_widen():
    whole = golden("faulty.txt", "12:00:05", "12:00:35")
    assert whole.flags == ()
    faulty = golden("faulty.txt", "12:00:30", "12:01:40")
    assert faulty.flags == ("gaps", "negative_sample")
    assert faulty.parts["gaps"] > 0
    assert faulty.joules == pytest.approx(70 * 408, rel=faulty.uncertainty)
    assert faulty.joules > 0


def test_a_window_of_few_samples_is_short():
    assert golden("steady.txt", "12:00:40", "12:00:45").flags == ("short_window",)


@pytest.mark.parametrize(
    ("begin", "end", "reason"),
    [
        ("11:59:58", "12:00:30", "the log runs from 2026-11-01 11:59:59 UTC to"),
        ("12:01:50", "12:02:10", "the window from 2026-11-01 12:01:50 UTC to 2026-11-01 12:02:10"),
        ("12:00:10.600", "12:00:11.600", "fewer than two samples"),
        ("12:00:10", "12:00:10", "no length"),
    ],
)
def test_a_window_that_the_log_does_not_cover_has_no_joules(begin, end, reason):
    reading = golden("steady.txt", begin, end)
    assert reading.joules is None
    assert reason in reading.reason
    assert reading.remedy


def test_too_large_a_gap_gives_no_joules():
    reading = golden("faulty.txt", "12:01:05", "12:01:20")
    assert reading.joules is None
    assert "no usable sample for" in reading.reason
    assert "gaps" in reading.flags


def test_an_outlet_without_power_is_not_an_energy_of_zero():
    log = made(np.arange(60.0), np.zeros(60))
    reading = wall_reading(log, wall_meter(log), 10, 50)
    assert reading.joules is None
    assert "0 W" in reading.reason


def test_adjacent_windows_add_up():
    rng = np.random.default_rng(3)
    log = made(np.arange(200.0), rng.uniform(100, 900, 200))
    info = wall_meter(log)
    whole = wall_reading(log, info, 10.3, 150.7).joules
    parts = [wall_reading(log, info, a, b).joules for a, b in ((10.3, 70.2), (70.2, 150.7))]
    assert sum(parts) == pytest.approx(whole)


def test_the_users_word_on_the_meter_is_kept_as_theirs():
    log = made(np.arange(60.0), np.full(60, 100.0), log_format="pdu")
    assert wall_meter(log).sensor == 0.05
    assert wall_meter(log, 0.02).sensor_source == "stated by the user"
    assert wall_meter(log, 0.02, "calibration 4711").sensor_source == "calibration 4711"


def test_a_drift_that_the_analyzer_followed_is_no_uncertainty():
    watts = np.linspace(300, 500, 100)
    ptd, pdu = (made(np.arange(100.0), watts, log_format=kind) for kind in ("ptd", "pdu"))
    parts = [wall_reading(log, wall_meter(log), 20, 80).parts for log in (ptd, pdu)]
    assert parts[0]["statistical"] < 0.001
    assert parts[1]["statistical"] > 0.1


@pytest.mark.parametrize("log_format", ["ptd", "pdu"])
@pytest.mark.parametrize("kind", ["steps", "drift", "burst"])
def test_the_stated_uncertainty_covers_the_truth(kind, log_format):
    """Random loads between idle stretches, clocks up to 800 ms apart, the meter's own error.

    The analyzer shows means of a second, the power strip an instant every five.
    """
    rng = np.random.default_rng(["steps", "drift", "burst"].index(kind))
    fine, draws, covered = 0.02, 300, 0
    period = 1.0 if log_format == "ptd" else 5.0
    for _ in range(draws):
        begin, length = 60 + rng.uniform(0, 1), rng.uniform(20, 60) * math.sqrt(period)
        times = np.arange(0, begin + length + 60, fine)
        power = np.full(times.size, 150.0)
        loaded = (times >= begin) & (times < begin + length)
        since = times[loaded] - begin
        if kind == "steps":
            levels = rng.uniform(200, 700, 1000)
            power[loaded] = levels[(since // rng.uniform(0.3, 3)).astype(int)]
        elif kind == "drift":
            power[loaded] = 400 + 200 * since / length
        else:
            power[loaded] = np.where(np.sin(since * rng.uniform(0.5, 20)) > 0, 700, 200)
        energy = np.concatenate(([0.0], np.cumsum(power)[:-1] * fine))
        true_j = np.diff(np.interp([begin, begin + length], times, energy))[0]
        at_s = np.arange(period + rng.uniform(0, 1), times[-1], period)
        shown = np.interp(at_s, times, power)
        if log_format == "ptd":
            edges = np.concatenate(([at_s[0] - period], at_s))
            shown = np.diff(np.interp(edges, times, energy)) / period
        log = made(at_s + rng.uniform(-0.8, 0.8), shown, log_format=log_format)
        info = wall_meter(log)
        gain = 1 + rng.normal(0, info.sensor / 1.96)
        reading = wall_reading(log, info, begin, begin + length)
        joules = reading.joules * gain
        covered += abs(joules - true_j) <= reading.uncertainty * joules
    assert covered >= 0.95 * draws
