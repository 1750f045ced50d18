"""A user's real fraud model is one YAML file: validated, measured and judged end to end."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.store import Store
from tests.factories import make_target
from tests.models.own import NAMES, draw_rows, lightgbm_file, onnx_file, write_csv

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


def example() -> str:
    """Return the YAML file that docs/models.md shows."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    (block,) = [block for block in blocks if "family: lightgbm" in block and "task:" in block]
    return block


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What the page tells a user to have: a YAML file, a model, rows and labelled rows."""
    pytest.importorskip("lightgbm")
    folder = tmp_path / "catalog" / "workloads"
    (folder / "data").mkdir(parents=True)
    (folder / "card-fraud.yaml").write_text(example())
    lightgbm_file(folder / "data" / "model.txt")
    write_csv(folder / "data" / "rows.csv", draw_rows(500, seed=5)[0])
    write_csv(folder / "data" / "labelled.csv", *draw_rows(600, seed=6))
    targets = tmp_path / "catalog" / "targets"
    targets.mkdir()
    for name in ("onnxruntime", "lightgbm"):
        target = make_target(name, runtime={"adapter": name, "options": {"threads": 1}})
        tree = target.model_dump(mode="json", exclude_none=True)
        (targets / f"{name}.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path


def harness(place: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments, "--catalog", "catalog"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "HARNESS_CACHE": str(place / "cache")},
    )
    return done.returncode, done.stdout + done.stderr


def change(place: Path, old: str, new: str) -> None:
    path = place / "catalog" / "workloads" / "card-fraud.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def validate(place: Path) -> tuple[int, str]:
    status, text = harness(place, "validate", "catalog/workloads")
    return status, text


@pytest.mark.slow
def test_the_example_of_the_page_is_measured_on_two_runtimes_that_agree(place):
    assert validate(place) == (0, "1 file fine\n")
    status, text = harness(
        place, "run", "-w", "card-fraud", "-t", "onnxruntime", "-t", "lightgbm",
        "-s", "single_stream", "--results", "results",
    )  # fmt: skip
    assert status == 0, text
    records = [stored.record for stored in Store(place / "results").records()]
    assert {record.target.name for record in records} == {"onnxruntime", "lightgbm"}
    for record in records:
        assert record.status == "ok", record.failure
        checks = {check.metric: check for check in record.quality}
        assert checks["pr_auc_ratio"].passed
        assert checks["pr_auc_ratio"].value == pytest.approx(1, abs=1e-6)
        assert checks["score_difference"].passed
        assert checks["score_difference"].value < 1e-5
        assert set(record.cell.files) == {"data/model.txt", "data/rows.csv", "data/labelled.csv"}
    native = next(r for r in records if r.target.name == "lightgbm")
    assert native.session["model"] == "the user's own file"


@pytest.mark.slow
def test_an_onnx_file_is_measured_and_judged_too(place):
    onnx_file(place / "catalog/workloads/data/model.onnx")
    change(place, "family: lightgbm", "family: onnx")
    change(place, "file: data/model.txt", "file: data/model.onnx\n  column: 1")
    assert validate(place)[0] == 0
    status, text = harness(
        place, "run", "-w", "card-fraud", "-t", "onnxruntime", "-t", "lightgbm",
        "-s", "single_stream", "--results", "results",
    )  # fmt: skip
    # A refusal is a finding about the target, not a failure of the run.
    assert status == 0, text
    records = {r.record.target.name: r.record for r in Store(place / "results").records()}
    assert all(check.passed for check in records["onnxruntime"].quality)
    assert len(records["onnxruntime"].quality) == 2
    refused = records["lightgbm"]
    assert refused.status == "unsupported"
    assert "not 'onnx'" in refused.failure.message
    status, text = harness(place, "plan", "-w", "card-fraud", "--json")
    assert {cell["target"]: bool(cell["unsupported"]) for cell in json.loads(text)}["lightgbm"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("file: data/model.txt", "file: data/modell.txt", r":\d+:\d+: model.file: no such file"),
        ("file: data/rows.csv", "file: data/row.csv", r":\d+:\d+: inputs.file: no such file"),
        ("file: data/labelled.csv", "file: none.csv", r":\d+:\d+: quality\[0\].file: no such file"),
        ("file: data/model.txt", "file: ../model.txt", "outside its folder"),
        ("file: data/model.txt", "file: /tmp/model.txt", "outside its folder"),
        ("kind: rows", "kind: transactions", r":\d+:\d+"),
        ("family: lightgbm", "family: catboost", r":\d+:\d+: model"),
        ("kind: labelled_rows", "kind: pr_auc", "labelled_rows|quality"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_column(place, old, new, said):
    change(place, old, new)
    status, text = validate(place)
    assert status == 2
    assert re.search(said, text), text


@pytest.mark.slow
def test_a_model_with_other_columns_fails_its_cell_with_the_reason(place):
    features = draw_rows(50)[0]
    path = place / "catalog/workloads/data/rows.csv"
    write_csv(path, features)
    swapped = path.read_text().replace("amount,age", "age,amount", 1)
    path.write_text(swapped)
    change(place, f"columns: [{', '.join(NAMES)}]", "count: 40")
    status, _ = harness(
        place, "run", "-w", "card-fraud", "-t", "onnxruntime", "-s", "single_stream",
        "--results", "results",
    )  # fmt: skip
    assert status == 1
    (record,) = [stored.record for stored in Store(place / "results").records()]
    assert "feature 1 of the model data/model.txt is 'amount'" in record.failure.message
