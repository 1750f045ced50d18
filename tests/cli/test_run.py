"""`harness run` on simulated targets: interruption, kill -9, resuming, exit codes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from harness.cli.run import Lines
from harness.execute.ledger import skipped
from harness.schema.record import Reason, Verdict
from harness.store import Store
from tests.factories import (
    make_fraud_workload,
    make_point,
    make_record,
    make_target,
    make_workload,
)

WEIGHTS = Path(__file__).parents[2] / "workloads" / "weights" / "fraud.safetensors"


def write(folder: Path, document) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tree = document.model_dump(mode="json", exclude_none=True, exclude_defaults=False)
    (folder / f"{document.name}.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a catalog of one workload and three simulated targets, one of which crashes."""
    workloads = tmp_path / "catalog" / "workloads"
    write(workloads, make_fraud_workload(scenarios=[{"kind": "single_stream"}]))
    (workloads / "weights").mkdir()
    shutil.copy(WEIGHTS, workloads / "weights")
    targets = tmp_path / "catalog" / "targets"
    for name, options in {
        "steady": {"latency_s": 0.001},
        "slow": {"latency_s": 0.004},
        "crashes": {"fault": "segfault", "fault_at": 2},
    }.items():
        write(targets, make_target(name, runtime={"adapter": "fake", "options": options}))
    return tmp_path


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "harness.cli",
            "run",
            "--catalog",
            "catalog",
            "--results",
            "results",
            *arguments,
        ],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HARNESS_CACHE": str(place / "cache")},
        # A shell ignores Ctrl-C for what it starts in the background, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run(place: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(place, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


THREE = ("-w", "fraud", "-t", "steady", "-t", "slow", "-t", "crashes")


@pytest.mark.slow
def test_a_run_measures_reports_and_says_what_is_next(place: Path) -> None:
    code, out, err = run(place, *THREE)
    assert code == 1, err  # one cell failed
    assert "3 cells measured, 1 failed" in out
    *_, broken, following = out.strip().splitlines()
    assert following == (
        "next: harness map FILE --catalog catalog --results results, a brief that names fraud"
    )
    folder = Path(broken.removeprefix("what failed last: harness show "))
    assert Store(place / "results").read(place / folder).record.cell.target == "crashes"
    assert "fraud@steady/single_stream" in err
    assert "crash: the process was ended by SIGSEGV" in err
    records = [s.record for s in Store(place / "results").records()]
    assert {r.cell.target: r.status for r in records} == {
        "steady": "ok",
        "slow": "ok",
        "crashes": "failed",
    }
    assert run(place, "--resume")[0] == 0
    listed = subprocess.run(
        [sys.executable, "-m", "harness.cli", "index", "--results", "results", "--json"],
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [row["id"] for row in json.loads(listed.stdout)] == [r.id for r in records]


def test_a_cell_is_told_as_its_record_is_and_not_as_it_was_before_a_disturbance_widened_it(
    tmp_path: Path, capsys
) -> None:
    workload, draft = make_workload(), Store(tmp_path).draft()
    point = make_point(workload, load=0.5).model_copy(update={"slo_state": "unproven"})
    stored = draft.commit(make_record(workload, points=(point,), headline=0, id=draft.id))
    lines = Lines()
    lines.event({"event": "note", "text": "10 requests/s, SLO met at load 0.5 of 1 measured"})

    lines.end(None, stored, 1.0)

    told = capsys.readouterr().err
    assert "SLO unproven at load 0.5 of 1 measured" in told
    assert "SLO met" not in told


def test_a_cell_whose_figures_cannot_be_used_says_why(tmp_path: Path, capsys) -> None:
    workload, draft = make_workload(), Store(tmp_path).draft()
    late = Reason(code="schedule-lag", text="the harness itself issued requests late")
    other = Reason(code="foreign-load", text="other processes kept 1 core busy")
    stored = draft.commit(
        make_record(
            workload,
            points=(make_point(workload, load=0.5),),
            headline=0,
            id=draft.id,
            verdict=Verdict(state="invalid", reasons=(late, other)),
        )
    )
    Lines().end(None, stored, 1.0)

    assert "    invalid: the harness itself issued requests late (" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_is_measured_and_resume_goes_on(
    place: Path, sent: signal.Signals
) -> None:
    process = start(place, *THREE)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[2/3]"):
            break
    # As soon as the second cell's process is there: on a busy machine a pause may outlast it.
    while not psutil.Process(process.pid).children():
        time.sleep(0.01)
    process.send_signal(sent)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "next: harness run --resume --catalog catalog --results results" in rest
    first = [s.record for s in Store(place / "results").records()]
    assert [r.cell.target for r in first] == ["steady"]
    code, out, err = run(place, "--resume")
    assert code == 1, err
    assert "2 cells measured, 1 was there already, 1 failed" in out
    records = [s.record for s in Store(place / "results").records()]
    assert [r.cell.target for r in records] == ["steady", "slow", "crashes"]
    assert len({r.run for r in records}) == 1


@pytest.mark.slow
def test_kill_minus_9_loses_no_record_and_repeats_none(place: Path) -> None:
    chance = random.Random(5)
    arguments: tuple[str, ...] = THREE
    ended: list[str] = []
    for _ in range(6):
        process = start(place, *arguments)
        time.sleep(chance.uniform(0.8, 5.0))
        process.kill()
        process.communicate()
        now = [s.record.id for s in Store(place / "results").records()]
        assert now[: len(ended)] == ended  # nothing that was there is gone
        ended = now
        if list((place / "results" / "ledger").glob("*.jsonl")):
            arguments = ("--resume",)
    code, _, err = run(place, *arguments)
    assert code in (0, 1), err
    store = Store(place / "results")
    records = [s.record for s in store.records()]
    assert store.problems == []
    assert sorted(r.cell.target for r in records) == ["crashes", "slow", "steady"]
    assert len({r.cell.id for r in records}) == 3
    assert not list((place / "results").glob(".tmp-*"))
    # No cell of a killed run is still running.
    running = subprocess.run(["pgrep", "-f", str(place)], capture_output=True, text=True)
    assert running.stdout.strip() == ""


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("-w", "fraut"), 2, "fraud"),
        (("-t", "stead"), 2, "steady"),
        (("-s", "sideways"), 2, "sideways"),
        (("--resume", "-w", "fraud"), 2, "leave --workload away"),
        (("--resume", "--profile", "standard"), 2, "leave --profile away"),
        (("--limit", "0"), 2, "limit"),
    ],
)
def test_wrong_words_are_usage_errors_without_a_traceback(
    place: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    status, out, err = run(place, *arguments)
    assert status == code
    assert text in err
    assert "Traceback" not in err
    assert out == ""
    assert not (place / "results" / "ledger").exists()


def test_nothing_to_resume_is_said(place: Path) -> None:
    code, _, err = run(place, "--resume")
    assert code == 0
    assert "nothing to resume" in err


def test_a_machine_that_can_run_nothing_says_why(place: Path) -> None:
    target = make_target("gpu", runtime={"adapter": "nonesuch"})
    write(place / "catalog" / "targets", target)
    code, _, err = run(place, "-t", "gpu")
    assert code == 3
    assert "skipped gpu" in err
    assert "nonesuch" in err
    assert "nonesuch" in skipped(place / "results")["gpu"]


def test_a_plan_is_shown_without_running(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "plan", "--catalog", "catalog", "--json"],
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    cells = [c for c in json.loads(done.stdout) if c["workload"] == "fraud"]
    assert {c["target"] for c in cells} >= {"steady", "slow", "crashes"}
    assert not (place / "results").exists()


def test_a_cache_that_cannot_be_written_is_a_missing_prerequisite(place: Path) -> None:
    (place / "cache").write_text("")
    code, _, err = run(place, *THREE)
    assert code == 3
    assert f"cannot write the cache {place / 'cache'}" in err
    assert "HARNESS_CACHE" in err
    assert not list((place / "results").glob("ledger/*"))
