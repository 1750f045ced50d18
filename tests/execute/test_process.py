"""Every way in which a cell can end badly costs that cell only and is named in its record."""

import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from harness.execute.ledger import Ledger, Options
from harness.execute.process import LAST_LINE_CHARACTERS, last_line, run_cell
from harness.execute.run import measure_cell, run_plan
from harness.measure.job import Job, Result
from harness.measure.samples import read_parquet
from harness.plan import Planned, make_cell
from harness.schema.record import Failure
from harness.store import Store, Stored
from tests.factories import make_fraud_workload, make_record, make_target

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "workloads"
LIMIT_S = 6.0


class Silent:
    def start(self, number, total, planned, left_s):
        pass

    def event(self, event):
        pass

    def end(self, planned, stored, spent_s):
        pass


def planned_with(name: str, **options) -> Planned:
    workload = make_fraud_workload(scenarios=[{"kind": "single_stream"}])
    target = make_target(name, runtime={"adapter": "fake", "options": options})
    cell = make_cell(workload, target, workload.scenarios[0], profile="quick", seed=0)
    return Planned(cell, workload, target, WEIGHTS, None, 1.0)


def run(tmp_path: Path, cache: Path, limit_s: float | None = None, **options):
    store = Store(tmp_path / "results")
    return measure_cell(planned_with("box", **options), store, "0" * 26, cache, Silent(), limit_s)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_good_cell_leaves_a_whole_record(tmp_path: Path, cache: Path) -> None:
    stored = run(tmp_path, cache, latency_s=0.002)
    record = stored.record
    assert record.status == "ok", record.failure
    assert set(record.files) == {"samples.parquet"}
    point = record.headline_point
    assert point is not None
    columns = read_parquet(stored.folder / "samples.parquet")
    served = point.requests + point.warm_up_requests
    assert len(columns["ended_ns"]) == served
    # Each request slept for 2 ms; the upper side is the machine's business.
    assert (columns["ended_ns"] - columns["scheduled_ns"]).min() >= 2_000_000
    assert served >= 368
    assert record.verdict.state == "invalid"
    assert "simulated" in [reason.code for reason in record.verdict.reasons]
    # The fake answers are no fraud scores: the gate catches them.
    assert not record.quality_passed
    assert point.energy[0].joules is None or point.energy[0].boundary == "package"
    assert record.environment["python"].value
    assert Store(tmp_path / "results").read(stored.folder).record == record


FAULTS = {
    # fault, at: kind of failure or "ok", text in the message
    ("exception", "open"): ("exception", "as asked"),
    ("exception", 3): ("ok", ""),
    ("segfault", 3): ("crash", "SIGSEGV"),
    ("segfault", "open"): ("crash", "SIGSEGV"),
    ("abort", 3): ("crash", "SIGABRT"),
    ("sigkill", 3): ("crash", "SIGKILL"),
    ("exit", 3): ("exit", "exit code 7"),
    ("exit_0", 3): ("no_result", "exit code 0 and no result"),
    ("memory", "open"): ("out_of_memory", "MemoryError"),
    ("memory", 3): ("ok", ""),
    ("hang", 3): ("hang", "within"),
    ("hang_ignoring_sigterm", "open"): ("hang", "within"),
    ("spin", 3): ("hang", "within"),
    ("hang_closing_output", 3): ("hang", "within"),
    ("flood", 3): ("output_flood", "MB of output"),
    ("grandchild", 3): ("ok", ""),
    ("grandchild_setsid", 3): ("ok", ""),
    ("junk", 3): ("no_result", "cannot be read"),
}


@dataclass
class Seen:
    """What a cell left: its record, how long after its last word it was gone, what remained."""

    stored: Stored
    silent_s: float
    processes: set[psutil.Process]
    descriptors: int


class Watching(Silent):
    """Looks at this process after every cell."""

    def __init__(self) -> None:
        self.last_s = time.monotonic()
        self.seen: list[Seen] = []

    def start(self, number, total, planned, left_s):
        self.last_s = time.monotonic()

    def event(self, event):
        self.last_s = time.monotonic()

    def end(self, planned, stored, spent_s):
        silent_s = time.monotonic() - self.last_s
        self.seen.append(Seen(stored, silent_s, children(), descriptors()))


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(scope="module")
def gauntlet(tmp_path_factory, cache: Path):
    """Run all faults in one plan, between good cells; return what was there before, and after."""
    results = tmp_path_factory.mktemp("gauntlet")
    plan = [
        planned_with(f"fault-{number}", fault=fault, fault_at=at, memory_gb=60, flood_mb=200)
        for number, (fault, at) in enumerate(FAULTS)
    ]
    hanging = {fault for fault, (kind, _) in FAULTS.items() if kind == "hang"}
    # Only what hangs is given a short time: on a busy machine a good cell may need longer.
    patient, limited = (
        {f: p for f, p in zip(FAULTS, plan, strict=True) if (f in hanging) is short}
        for short in (False, True)
    )
    plan = [planned_with("good-first"), *patient.values(), planned_with("good-last")]
    watching = Watching()
    before = children(), descriptors()
    with pytest.MonkeyPatch.context() as patch:
        share = 1.2e9 / psutil.virtual_memory().total
        patch.setattr("harness.execute.run.MEMORY_SHARE", share)
        for number, (cells, limit_s) in enumerate(((plan, None), ([*limited.values()], LIMIT_S))):
            name = f"0{number + 1}" + "0" * 24
            ledger = Ledger.begin(results, name, Options((), (), (), "quick", 0), [])
            run_plan(cells, Store(results), ledger, cache, watching, limit_s)
    seen = watching.seen
    goods = [seen.pop(0), seen.pop(len(patient))]
    return before, goods, dict(zip((*patient, *limited), seen, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "at"), FAULTS)
def test_a_fault_is_named_in_its_record(gauntlet, fault: str, at: object) -> None:
    kind, text = FAULTS[fault, at]
    record = gauntlet[2][fault, at].stored.record
    if kind == "ok":
        assert record.status == "ok", record.failure
        # A process that was left behind does no harm to the figures, but is told.
        assert bool(record.session.get("left_running")) is fault.startswith("grandchild")
    else:
        assert record.failure is not None
        assert record.failure.kind == kind, record.failure
        assert text in record.failure.message
        assert record.status == "failed"
        assert record.points == ()
        assert record.files == {}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "at"), FAULTS)
def test_a_fault_stays_within_its_limit_and_leaves_nothing_behind(
    gauntlet, fault: str, at: object
) -> None:
    (processes, open_files), _, seen = gauntlet
    one = seen[fault, at]
    if FAULTS[fault, at][0] == "hang":
        # Since the last event, which began a phase: no phase may take longer, and then the end.
        assert one.silent_s < LIMIT_S + 3.0
    assert one.processes <= processes
    assert one.descriptors <= open_files


@pytest.mark.slow
def test_faults_leave_the_other_cells_alone(gauntlet) -> None:
    for one in gauntlet[1]:
        assert one.stored.record.status == "ok", one.stored.record.failure
        assert "left_running" not in one.stored.record.session
        assert one.stored.record.points
        assert Store(one.stored.folder.parents[4]).read(one.stored.folder) == one.stored


def test_a_crash_leaves_the_other_cells_alone(tmp_path: Path, cache: Path) -> None:
    plan = [
        planned_with("before"),
        planned_with("crashes", fault="segfault", fault_at="open"),
        planned_with("after"),
    ]
    store = Store(tmp_path)
    ledger = Ledger.begin(tmp_path, "01" + "0" * 24, Options((), (), (), "quick", 0), [])
    finished = run_plan(plan, store, ledger, cache, Silent())
    assert [s.record.status for s in finished.stored] == ["ok", "failed", "ok"]
    assert ledger.finished
    # The same run again has nothing left to do.
    again = run_plan(plan, store, ledger, cache, Silent())
    assert again.stored == ()
    assert again.already == 3


def test_an_unknown_adapter_is_a_failure_with_a_hint(tmp_path: Path, cache: Path) -> None:
    planned = planned_with("box")
    target = make_target("box", runtime={"adapter": "onnxruntim"})
    planned = Planned(planned.cell, planned.workload, target, WEIGHTS, None, 1.0)
    record = measure_cell(planned, Store(tmp_path), "0" * 26, cache, Silent()).record
    assert record.failure is not None
    assert "onnxruntim" in record.failure.message
    assert record.failure.hint


def ended_by(tmp_path: Path, monkeypatch, script: str) -> str:
    """Return the message of a cell whose process is a shell script."""
    planned = planned_with("box")
    program = tmp_path / "python"
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    record = measure_cell(planned, Store(tmp_path), "0" * 26, tmp_path, Silent()).record
    assert record.failure is not None
    return record.failure.message


def test_a_process_that_ends_without_a_reason_is_told_with_its_last_line(
    tmp_path: Path, monkeypatch
) -> None:
    error = "ModuleNotFoundError: No module named 'vendor'"
    said = f'printf "Traceback\\n  File\\n%s\\n\\n" "{error}" >&2'
    told = f"in phase 'start'; its last line of output: {error}"
    ended = {
        "exit 1": f"the process ended with exit code 1 {told}",
        "exit 0": f"the process ended with exit code 0 and no result {told}",
        "kill -ABRT $$": f"the process was ended by SIGABRT {told}",
    }
    for how, message in ended.items():
        assert ended_by(tmp_path, monkeypatch, f"{said}\n{how}") == message
    silent = "the process ended with exit code 1 in phase 'start'"
    assert ended_by(tmp_path, monkeypatch, "exit 1") == silent


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (None, None),
        (" \n----\n", None),
        ("one\ntwo  words\n-----\n\n", "two words"),
        ("10 %\r20 %\r", "20 %"),
        ("\x1b[31mred\x1b[0m\x07\u202e!", "red !"),
    ],
)
def test_the_last_line_is_one_that_says_something_and_can_be_printed(output, line) -> None:
    assert last_line(output) == line


def test_a_long_last_line_is_cut() -> None:
    cut = last_line("x" * 5000)
    assert cut is not None
    assert re.fullmatch("x+…", cut)
    assert len(cut) == LAST_LINE_CHARACTERS


def test_a_cell_that_fails_beforehand_leaves_its_record_and_starts_no_process(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("harness.execute.run.run_cell", None)
    failure = Failure(kind="prerequisite", message="no hub", hint="a network")
    planned = replace(planned_with("box"), failure=failure)
    record = measure_cell(planned, Store(tmp_path), "0" * 26, tmp_path, Silent()).record
    assert (record.status, record.failure, record.points) == ("failed", failure, ())


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("exit 0", None),
        ("sleep 60", "the process did not end within 1 s"),
        ("kill -SEGV $$", "the process ended with SIGSEGV"),
        ("exit 3", "the process ended with exit code 3"),
    ],
)
def test_what_goes_wrong_after_the_result_costs_no_measurement(
    tmp_path: Path, monkeypatch, end: str, told: str | None
) -> None:
    record = make_record()
    result = Result(
        **{name: getattr(record, name) for name in Result.model_fields if name != "session"},
        session={"runtime": "acme"},
    )
    line = tmp_path / "line"
    event = {"event": "result", "result": result.model_dump(mode="json")}
    line.write_text(f"{json.dumps(event)}\n")
    script = tmp_path / "python"
    script.write_text(f'#!/bin/bash\ncat <&"$3" >/dev/null; cat {line} >&"$4"\n{end}\n')
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    monkeypatch.setattr("harness.execute.process.END_LIMIT_S", 1.0)
    planned = planned_with("box")
    stored = measure_cell(planned, Store(tmp_path), "0" * 26, tmp_path, Silent()).record
    assert stored.failure is None
    assert stored.points == record.points
    assert stored.session.get("after_result") == told
    assert children() == set()


def test_junk_on_the_result_descriptor_is_no_result(tmp_path: Path, monkeypatch) -> None:
    planned = planned_with("box")
    job = Job(
        cell=planned.cell,
        workload=planned.workload,
        target=planned.target,
        data=WEIGHTS,
        cache=tmp_path,
        folder=tmp_path,
    )
    script = tmp_path / "python"
    script.write_text('#!/bin/bash\nprintf "%s\\n" "{" "[[[" >&"$4"\nexit 0\n')
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    ending = run_cell(job)
    assert ending.failure is not None
    assert ending.failure.kind == "no_result"
    assert ending.result is None
