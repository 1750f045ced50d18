import hashlib
import os
from pathlib import Path

import pytest

from harness import data_files
from harness.catalog import Catalog
from harness.compare.sides import incomparable
from harness.data_files import digests, named_files
from harness.plan import make_plan
from harness.schema import Workload
from tests.factories import make_fraud_workload, make_record, make_target, make_workload

TRACE = {"kind": "trace", "file": "weights/day.csv"}
SINGLE = {"kind": "single_stream"}


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    made = make_fraud_workload(scenarios=[SINGLE, TRACE])
    for name in named_files(made, made.scenario("trace")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return made


def ids(workload: Workload, data: Path) -> dict[str, str]:
    plan = make_plan([(workload, data)], [make_target()], {})
    return {planned.cell.scenario.kind: planned.cell.id for planned in plan}


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("fraud-detection", ["weights/fraud.safetensors"]),
        ("llm-chat", ["weights/bytes-heldout.txt", "weights/bytes-llama.safetensors"]),
        (
            "speech-to-text",
            ["weights/digits-heldout.safetensors", "weights/digits-whisper.safetensors"],
        ),
    ],
)
def test_every_file_that_a_workload_names_is_found(name: str, files: list[str]) -> None:
    workload = Catalog.find(None).workload(name)
    assert list(named_files(workload, workload.scenarios[0])) == files


def test_a_trace_belongs_to_its_own_scenario_only(workload: Workload, tmp_path: Path) -> None:
    single = digests(workload, workload.scenario("single_stream"), tmp_path)
    trace = digests(workload, workload.scenario("trace"), tmp_path)
    assert trace.keys() - single.keys() == {"weights/day.csv"}
    assert trace["weights/day.csv"] == hashlib.sha256(b"weights/day.csv").hexdigest()


@pytest.mark.parametrize("scenario", ["single_stream", "trace"])
def test_a_changed_file_makes_another_cell(workload: Workload, tmp_path: Path, scenario) -> None:
    before = ids(workload, tmp_path)
    assert ids(workload, tmp_path) == before
    changed = "weights/day.csv" if scenario == "trace" else workload.model.weights
    assert changed is not None
    (tmp_path / changed).write_bytes(b"another")
    after = ids(workload, tmp_path)
    assert after[scenario] != before[scenario]
    assert (after["single_stream"] == before["single_stream"]) is (scenario == "trace")


def test_a_file_of_the_same_size_and_content_elsewhere_is_the_same_cell(
    workload: Workload, tmp_path: Path
) -> None:
    before = ids(workload, tmp_path)
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    assert ids(workload, moved) == before


def test_a_file_is_read_once(workload: Workload, tmp_path: Path, monkeypatch) -> None:
    read = []
    real = data_files.sha256_of
    monkeypatch.setattr(data_files, "sha256_of", lambda path: read.append(path) or real(path))
    for _ in range(3):
        make_plan([(workload, tmp_path)], [make_target("a"), make_target("b")], {}, repeats=3)
    assert len(read) == len(set(read)) == len(named_files(workload, workload.scenario("trace")))
    path = tmp_path / "weights/day.csv"
    state = path.stat()
    path.write_bytes(b"WEIGHTS/DAY.CSV")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    ids(workload, tmp_path)
    assert read[-1] == path


def test_a_file_that_is_missing_does_not_stop_the_plan(workload: Workload, tmp_path: Path) -> None:
    (tmp_path / "weights/day.csv").unlink()
    trace = workload.scenario("trace")
    assert "weights/day.csv" not in digests(workload, trace, tmp_path)
    assert len(ids(workload, tmp_path)) == 2


def test_records_of_different_contents_are_not_compared() -> None:
    def record(number: int, **files: str):
        made = make_record(make_workload(), number=number)
        return made.model_copy(update={"cell": made.cell.model_copy(update={"files": files})})

    old, new, unknown = record(1, weights="a" * 64), record(2, weights="b" * 64), record(3)
    reason = incomparable([old], [new])
    assert reason == "different contents of weights: aaaaaaaa and bbbbbbbb"
    assert incomparable([old], [record(4, weights="a" * 64)]) is None
    assert incomparable([old], [unknown]) is None
