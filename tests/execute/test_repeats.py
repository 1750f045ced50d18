"""`--repeats` and `--resume` together: every repeat is measured once, none twice."""

import hashlib
import json
from pathlib import Path

import pytest

from harness.execute import run as run_module
from harness.execute.ledger import Ledger, Options, latest_unfinished
from harness.execute.run import run_plan
from harness.plan import make_plan
from harness.store import Store, new_ulid
from tests.factories import make_record, make_target, make_workload


class Silent:
    def __init__(self):
        self.left_s = []

    def start(self, number, total, planned, left_s):
        self.left_s.append(left_s)

    def event(self, event):
        pass

    def end(self, planned, stored, spent_s):
        pass


def test_resuming_measures_only_the_repeats_that_are_missing(monkeypatch, tmp_path: Path) -> None:
    plan = make_plan(
        [(make_workload(), tmp_path)],
        [make_target("a"), make_target("b")],
        {},
        scenarios=["server"],
        repeats=3,
    )
    store = Store(tmp_path)
    options = Options((), (), ("server",), "quick", 0, 3)
    ledger = Ledger.begin(tmp_path, new_ulid(), options, [p.cell.id for p in plan])
    measured = []

    def measure(planned, store, run, *others):
        if len(measured) == 4 and "stopped" not in measured:
            measured.append("stopped")
            raise KeyboardInterrupt
        measured.append((planned.cell.target, planned.cell.repeat))
        draft = store.draft()
        return draft.commit(make_record(id=draft.id, run=run, cell=planned.cell))

    monkeypatch.setattr(run_module, "measure_cell", measure)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, store, ledger, tmp_path, Silent())
    found = latest_unfinished(tmp_path)
    assert found is not None
    assert found.options().repeats == 3
    heard = Silent()
    finished = run_plan(plan, store, found, tmp_path, heard)
    assert finished.already == 4
    assert heard.left_s == [sum(p.estimate_s for p in plan[n:]) for n in (4, 5)]
    assert measured == [
        ("a", 0),
        ("b", 0),
        ("b", 1),
        ("a", 1),
        "stopped",
        ("a", 2),
        ("b", 2),
    ]


def test_a_ledger_from_before_repeats_still_resumes(tmp_path: Path) -> None:
    ledger = Ledger.begin(tmp_path, "01RUN", Options(("w",), (), (), "quick", 3), ["a"])
    (event,) = ledger.events()
    del event["options"]["repeats"]
    body = json.dumps(event, sort_keys=True)
    checksum = hashlib.sha256(body.encode()).hexdigest()[:8]
    ledger.path.write_text(f"{checksum} {body}\n")
    assert ledger.options() == Options(("w",), (), (), "quick", 3, repeats=1)
