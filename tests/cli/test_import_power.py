"""`harness import power` end to end: a document beside the records, joined when they are read."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.schema import DOCUMENTS
from harness.store import Store
from tests.factories import make_point, make_record, make_workload

LOGS = Path(__file__).parents[1] / "meters" / "wall_logs"
BEGAN = datetime(2026, 11, 1, 12, 0, 30, 500_000, tzinfo=UTC)
WORKLOAD = make_workload()


def point(began_at=BEGAN, duration_s=60.0, **changes):
    made = make_point(WORKLOAD, duration_s=duration_s, began_at=began_at, **changes)
    reading = made.energy[0].model_copy(update={"duration_s": duration_s})
    return made.model_copy(update={"energy": (reading,)})


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def store(results, *points):
    draft = Store(results).draft()
    return draft.commit(make_record(WORKLOAD, id=draft.id, points=points))


def run(results, record, *arguments, logs=("steady.txt",)):
    names = [str(LOGS / log) if isinstance(log, str) else str(log) for log in logs]
    extra = [str(argument) for argument in arguments]
    result = CliRunner().invoke(
        main,
        ["import", "power", *names, "--run", record.id, "--results", str(results), *extra],
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_energy_of_a_point_joins_its_record_and_the_record_stays(results):
    stored = store(results, point())
    before = (stored.folder / "record.json").read_bytes()
    result = run(results, stored.record, "--timezone", "UTC")
    assert result.exit_code == 0, result.output
    assert "30.0 kJ" in result.stdout
    assert "500 W" in result.stdout
    assert "1 of 1 points have wall energy" in result.stdout
    assert (stored.folder / "record.json").read_bytes() == before
    (read,) = Store(results).records()
    wall = read.record.points[0].energy[-1]
    assert (wall.boundary, wall.provenance, round(wall.joules)) == ("wall", "external", 30_000)
    metric = read.record.points[0].metrics["energy_j_per_request@wall"]
    assert metric.value == pytest.approx(30_000 / read.record.points[0].requests)
    assert metric.low < metric.value < metric.high
    assert read.sha256 == stored.sha256
    assert len(read.imports) == 1


def test_the_json_is_the_document_and_follows_its_schema(results):
    stored = store(results, point())
    tree = json.loads(run(results, stored.record, "--timezone", "UTC", "--json").stdout)
    path = Path(tree.pop("path"))
    assert json.loads(path.read_text()) == tree
    jsonschema.Draft202012Validator(DOCUMENTS["power-import"].model_json_schema()).validate(tree)
    assert tree["readings"][0]["record_sha256"] == stored.sha256
    assert tree["logs"][0]["samples"] == 121


def test_a_shown_record_has_the_readings_that_were_joined_to_it(results):
    stored = store(results, point())
    run(results, stored.record, "--timezone", "UTC")
    shown = CliRunner().invoke(main, ["show", str(stored.folder)]).stdout
    assert "wall, external" in shown
    assert "energy_j_per_request@wall" in shown
    assert "wall-meter imports" in shown


def test_a_later_import_takes_the_place_of_an_earlier_one(results):
    stored = store(results, point())
    run(results, stored.record, "--timezone", "UTC")
    run(results, stored.record, "--timezone", "UTC", "--uncertainty", "3%")
    (read,) = Store(results).records()
    (wall,) = (one for one in read.record.points[0].energy if one.boundary == "wall")
    assert wall.parts["sensor"] == 0.03


def test_a_wrong_zone_writes_nothing_and_says_what_the_log_covers(results):
    stored = store(results, point())
    result = run(results, stored.record, "--timezone", "+05:00")
    assert result.exit_code == 1
    assert "the log runs from 2026-11-01 06:59:59 UTC" in result.stdout
    assert "--timezone" in result.stderr
    assert not (results / "energy").exists()
    (read,) = Store(results).records()
    assert read.imports == {}


def test_warm_up_shares_the_joules_and_time_beside_the_traffic_lowers_the_bound(results):
    measured = point(warm_up_requests=50, requests=100)
    looked = measured.energy[0].model_copy(update={"duration_s": 60.0})
    store(results, measured.model_copy(update={"duration_s": 30.0, "energy": (looked,)}))
    (first,) = Store(results).records()
    run(results, first.record, "--timezone", "UTC")
    (read,) = Store(results).records()
    wall = read.record.points[0].energy[-1]
    metric = read.record.points[0].metrics["energy_j_per_request@wall"]
    assert metric.value == pytest.approx(30_000 / 150)
    assert metric.low == pytest.approx(metric.value * 45 / 60 * (1 - wall.uncertainty))


def test_points_outside_the_log_stay_without_wall_energy(results):
    stored = store(results, point(), point(BEGAN + timedelta(hours=1), load=0.5))
    result = run(results, stored.record, "--timezone", "UTC")
    assert result.exit_code == 0
    assert "1 of 2 points have wall energy" in result.stdout
    (read,) = Store(results).records()
    assert [len(each.energy) for each in read.record.points] == [2, 1]


def test_a_record_that_does_not_say_when_it_began_is_refused(results):
    stored = store(results, point(began_at=None))
    result = run(results, stored.record, "--timezone", "UTC")
    assert result.exit_code == 1
    assert "does not say when its points began" in result.stdout


def test_two_feeds_of_one_machine_are_added(results, tmp_path):
    stored = store(results, point())
    second = tmp_path / "feed-2.txt"
    second.write_bytes((LOGS / "steady.txt").read_bytes().replace(b"Watts,500.", b"Watts,300."))
    run(results, stored.record, "--timezone", "UTC", logs=("steady.txt", second))
    (read,) = Store(results).records()
    wall = read.record.points[0].energy[-1]
    assert wall.joules == pytest.approx(60 * 800)
    assert wall.covers == ("wall:feed-2", "wall:steady")


def test_the_same_log_twice_is_refused(results):
    stored = store(results, point())
    result = run(results, stored.record, logs=("steady.txt", "steady.txt"))
    assert result.exit_code == 2
    assert "two of the logs are the same" in result.stderr


def test_an_import_for_a_record_that_is_no_longer_the_same_does_not_join(results):
    stored = store(results, point())
    run(results, stored.record, "--timezone", "UTC")
    path = stored.folder / "record.json"
    path.write_text(path.read_text() + "\n")
    (read,) = Store(results).records()
    assert read.imports == {}


def test_an_unreadable_import_is_named(results):
    store(results, point())
    (results / "energy").mkdir()
    (results / "energy" / "broken.json").write_text("{}")
    opened = Store(results)
    assert len(list(opened.records())) == 1
    assert "broken.json: not a readable import" in opened.problems[0]


def test_a_faulty_line_is_shown_with_its_place(results, tmp_path):
    stored = store(results, point())
    path = tmp_path / "bad.csv"
    path.write_text("time,watts\nsoon,5\n")
    result = run(results, stored.record, logs=(path,))
    assert result.exit_code == 2
    assert f"{path}:2:1: 'soon' is no time of ISO 8601" in result.stderr


def test_wrong_options_are_usage_errors(results):
    stored = store(results, point())
    assert "is no uncertainty" in run(results, stored.record, "--uncertainty", "5").stderr
    assert "needs --uncertainty" in run(results, stored.record, "--uncertainty-source", "x").stderr
