import functools
import json

import jsonschema
import pytest
from click.testing import CliRunner

from harness import hardware
from harness.cli import calibrate as command
from harness.cli import main
from harness.execute import run
from harness.execute.ledger import Ledger, Options
from harness.execute.process import Ending
from harness.measure.calibrate import Effort, latest
from harness.plan import make_plan
from harness.schema import DOCUMENTS
from harness.schema.record import Failure
from harness.store import Store, new_ulid
from tests.factories import make_fraud_workload, make_target

SMALL = Effort(sleeps=2, lag_s=0.02, rounds=1, round_s=0.01, pause_s=0.01)


@pytest.fixture(autouse=True)
def _short(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
    short = functools.partial(command.calibrate, effort=SMALL)
    monkeypatch.setattr(command, "calibrate", short)


def calibrate(*arguments, status=0):
    result = CliRunner().invoke(main, ["calibrate", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


def test_it_shows_what_it_kept(tmp_path):
    result = calibrate("--results", tmp_path)
    found = latest(tmp_path)
    assert found is not None
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["what", "median", "p99", "longest"]
    assert sum("issue at" in line for line in lines) == 3
    late = next(line for line in lines if line.startswith("sleep of 1 ms"))
    assert "not supported by n" in late
    assert "memory bandwidth, 1 thread" in result.stdout
    assert found.ceilings[0].threads == 1
    assert str(tmp_path / "calibration" / f"{found.id}.json") in result.stdout
    assert lines[-1].startswith("next: ")
    assert "calibrating" in result.stderr


def test_json_is_the_document(tmp_path):
    result = calibrate("--results", tmp_path, "--json")
    tree = json.loads(result.stdout)
    jsonschema.Draft202012Validator(DOCUMENTS["calibration"].model_json_schema()).validate(tree)
    found = latest(tmp_path)
    assert found is not None
    assert tree == found.model_dump(mode="json")
    assert result.stderr == ""


def test_not_while_a_run_holds_the_folder(tmp_path):
    with Store(tmp_path).lock():
        result = calibrate("--results", tmp_path, status=1)
    assert "is in use by" in result.stderr
    assert latest(tmp_path) is None


class Silent:
    def start(self, number, total, planned, left_s) -> None:
        pass

    def event(self, event) -> None:
        pass

    def end(self, planned, stored, spent_s) -> None:
        pass


def test_records_name_the_calibration_of_their_machine(tmp_path, monkeypatch):
    failure = Failure(kind="crash", message="declared")
    monkeypatch.setattr(run, "run_cell", lambda job, on_event: Ending(None, failure))
    workload = make_fraud_workload(scenarios=[{"kind": "single_stream"}])
    plan = make_plan([(workload, tmp_path)], [make_target()], hardware.detect())
    store = Store(tmp_path / "results")

    def named():
        cells = [planned.cell.id for planned in plan]
        ledger = Ledger.begin(store.root, new_ulid(), Options((), (), (), "quick", 0), cells)
        stored = run.run_plan(plan, store, ledger, tmp_path, Silent()).stored
        assert len(stored) == 1
        assert store.read(stored[0].folder) == stored[0]
        record = stored[0].record
        assert record.environment["calibration"].value == (
            "current" if record.calibration else None
        )
        return record.calibration

    assert named() is None
    calibrate("--results", store.root)
    taken = latest(store.root)
    assert taken is not None
    assert named() == taken.id
    monkeypatch.setattr("harness.measure.calibrate.platform.node", lambda: "another")
    assert named() is None
