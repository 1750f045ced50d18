"""`harness plan` and `harness run` of a workload whose calls belong together."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.measure.samples import read_parquet
from harness.schema import content_hash
from harness.store import Store
from tests.factories import make_fraud_workload, make_target, make_workload

WEIGHTS = Path(__file__).parents[2] / "workloads" / "weights" / "fraud.safetensors"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    workload = make_fraud_workload(
        scenarios=[{"kind": "single_stream"}],
        agent={"calls_per_task": 5, "order": "sequential"},
        slo=[{"metric": "task_latency", "percentile": 90, "limit_s": 0.5}],
    )
    runtime = {"adapter": "fake", "options": {"latency_s": 0.004}}
    for kind, document in {
        "workloads": workload,
        "targets": make_target("steady", runtime=runtime),
    }.items():
        folder = tmp_path / "catalog" / kind
        folder.mkdir(parents=True)
        tree = document.model_dump(mode="json", exclude_none=True)
        (folder / f"{document.name}.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    (tmp_path / "catalog/workloads/weights").mkdir()
    shutil.copy(WEIGHTS, tmp_path / "catalog/workloads/weights")
    return tmp_path


def harness(place: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "harness.cli", *arguments, "--catalog", "catalog"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_a_plan_says_how_calls_belong_together(place: Path) -> None:
    assert "fraud: tasks of 5 sequential calls" in harness(place, "plan")
    (cell, *_) = json.loads(harness(place, "plan", "--json", "-w", "fraud"))
    assert cell["calls"] == "tasks of 5 sequential calls"


def test_a_run_of_tasks_leaves_a_record_of_tasks(place: Path) -> None:
    harness(place, "run", "--results", "results", "-w", "fraud", "-t", "steady")
    (stored,) = Store(place / "results").records()
    (point,) = stored.record.points
    metrics = point.metrics
    mean = metrics["task_latency_s.mean"].value
    assert mean is not None
    assert 5 * 0.004 <= mean < 1
    assert [check.limit.metric for check in point.slo] == ["task_latency"]
    rows = read_parquet(stored.folder / "samples.parquet")
    assert rows["turn"].tolist()[:5] == [0, 1, 2, 3, 4]
    assert "task_latency_s.p90" in harness(place, "show", str(stored.folder))


def test_workloads_without_tasks_are_written_as_before() -> None:
    tree = make_workload().model_dump(mode="json")
    assert "agent" not in tree
    assert "turns" not in tree["inputs"]
    assert content_hash(make_workload(agent=None)) == content_hash(make_workload())
