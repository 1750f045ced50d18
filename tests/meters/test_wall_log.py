"""Golden logs and hand-made ones: what is read, what is dropped, what is refused with its place."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.meters.wall_log import Columns, find_zone, read_wall_log

LOGS = Path(__file__).parent / "wall_logs"
UTC_ZONE = find_zone("UTC")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def written(folder, *lines, name="log.csv"):
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def ptd(*moments, watts=100.0):
    return [f"Time,{m},Watts,{watts},Volts,230.0,Amps,0.5,PF,0.9,Mark,x" for m in moments]


def refused(path, **options):
    with pytest.raises(SpecError) as caught:
        read_wall_log(path, **{"zone": UTC_ZONE, **options})
    return caught.value


def test_a_ptdaemon_log_reads_month_first_and_local():
    log = read_wall_log(LOGS / "steady.txt", zone=find_zone("+02:00"))
    assert log.format == "ptd"
    assert log.at_s[0] == at("2026-11-01 10:00:00.500")
    assert (log.at_s.size, log.period_s, log.dropped) == (121, 1.0, {})
    assert sorted(set(log.watts)) == [200, 500]


def test_what_cannot_be_true_is_dropped_and_counted():
    log = read_wall_log(LOGS / "faulty.txt", zone=UTC_ZONE)
    assert log.dropped == {
        "negative": 1,
        "not a number": 1,
        "absurd": 1,
        "duplicate": 1,
        "back in time": 1,
    }
    assert log.at_s.size == 121 - 3 - 5
    assert log.untrue_s.size == 3
    assert 0 < log.watts.min() <= log.watts.max() < 500


def test_times_that_come_twice_are_refused_and_asked_about():
    error = refused(LOGS / "clocks-change.txt", zone=find_zone("Europe/Berlin"))
    assert f"{LOGS / 'clocks-change.txt'}:1:6: " in str(error)
    assert "comes twice" in str(error)
    assert "--timezone +02:00" in error.hint


def test_a_stated_offset_settles_times_that_come_twice():
    log = read_wall_log(LOGS / "clocks-change.txt", zone=find_zone("+02:00"))
    assert log.at_s[0] == at("2026-10-25 00:59:40")
    assert log.dropped == {"back in time": 20}


def test_times_that_the_clocks_skip_are_refused(tmp_path):
    path = written(tmp_path, *ptd("03-29-2026 02:30:00.000"))
    assert "does not exist" in str(refused(path, zone=find_zone("Europe/Berlin")))


def test_a_day_in_the_place_of_the_month_asks_for_the_order(tmp_path):
    path = written(tmp_path, *ptd("23-12-2026 10:00:00.000", "23-12-2026 10:00:01.000"))
    error = refused(path)
    assert str(error).startswith(f"{path}:1:6: '23-12-2026 10:00:00.000': month must be in 1..12")
    assert "--day-first" in error.hint
    assert read_wall_log(path, zone=UTC_ZONE, day_first=True).at_s[0] == at("2026-12-23 10:00:00")


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ("Zeit,11-01-2026 12:00:02.000,Watts,1", "3:1", "begins with 'Time,'"),
        ("Time,yesterday,Watts,1", "3:6", "is no time as MM-DD-YYYY"),
        ("Time,11-01-2026 12:00:02.000,Watts,many", "3:36", "'many' is no number of watts"),
        ("Time,11-01-2026 12:00:02.000,Volts,230", "3:1", "holds no 'Watts'"),
    ],
)
def test_a_faulty_line_is_named_with_its_place(tmp_path, line, place, message):
    good = ptd("11-01-2026 12:00:00.000", "11-01-2026 12:00:01.000")
    path = written(tmp_path, *good, line)
    error = refused(path)
    assert f"{path}:{place}: " in str(error)
    assert message in str(error)


def test_half_a_line_at_the_end_is_a_logger_still_writing(tmp_path):
    lines = ptd("11-01-2026 12:00:00.000", "11-01-2026 12:00:01.000")
    path = tmp_path / "spl.txt"
    path.write_text("\n".join([*lines, "Time,11-01-20"]))
    assert read_wall_log(path, zone=UTC_ZONE).at_s.size == 2


def test_a_power_strips_csv_reads_iso_times_and_the_epoch(tmp_path):
    rows = [
        "2026-11-01T12:00:00Z,a,10.5",
        "2026-11-01T13:00:10+01:00,a,11",
        "2026-11-01 12:00:20,a,",
    ]
    log = read_wall_log(written(tmp_path, "Timestamp,Outlet,Watts", *rows), zone=UTC_ZONE)
    assert log.format == "pdu"
    assert log.at_s.tolist() == [at("2026-11-01 12:00:00"), at("2026-11-01 12:00:10")]
    assert log.dropped == {"not a number": 1}
    for scale in (1, 1000):
        rows = [f"{1_793_534_400 * scale};10", f"{1_793_534_410 * scale};12"]
        log = read_wall_log(written(tmp_path, "epoch;power_w", *rows))
        assert log.at_s.tolist() == [1_793_534_400, 1_793_534_410]


def test_columns_of_other_names_are_asked_for_and_can_be_named(tmp_path):
    path = written(tmp_path, "", "when,L1", "2026-11-01T12:00:00Z,5", "2026-11-01T12:00:01Z,6")
    error = refused(path)
    assert f"{path}:2:1: no column is known as the time" in str(error)
    assert "there are: when, L1; say --time-column" in error.hint
    log = read_wall_log(path, columns=Columns("when", "L1"))
    assert log.watts.tolist() == [5, 6]


@pytest.mark.parametrize("text", ["20261101", "12:00", "5e9"])
def test_a_time_that_could_mean_anything_is_refused(tmp_path, text):
    path = written(tmp_path, "time,watts", f"{text},5")
    assert f"{path}:2:1: " in str(refused(path))


def test_a_log_without_two_samples_is_refused_with_what_was_dropped(tmp_path):
    path = written(tmp_path, "time,watts", "1793534400,-5", "1793534401,5")
    assert "1 usable samples; dropped: 1 negative" in refused(path).message
    assert "cannot read" in refused(tmp_path / "none.csv").message


@pytest.mark.parametrize("name", ["Mars/Olympus", "+25:00", "Europe", ""])
def test_an_unknown_zone_is_refused(name):
    with pytest.raises(SpecError, match="no time zone"):
        find_zone(name)
