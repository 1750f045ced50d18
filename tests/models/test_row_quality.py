"""The gate on a user's own rows: a good target passes, a ruined one does not."""

import numpy as np
import onnx
import pytest

from harness.errors import SpecError
from harness.models.build import build_model
from harness.models.onnx_file import onnx_scores
from harness.models.quality import evaluate
from harness.models.requests import Output
from harness.models.trees_mlp import reference_scores
from tests.models.own import NAMES, draw_rows, lightgbm_file, onnx_file, own_workload, write_csv

TREES = {"family": "lightgbm", "file": "model.txt"}
GRAPH = {"family": "onnx", "file": "model.onnx", "column": 1}


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("lightgbm")
    lightgbm_file(tmp_path / "model.txt")
    onnx_file(tmp_path / "model.onnx")
    features, labels = draw_rows(400, seed=6)
    write_csv(tmp_path / "rows.csv", features[:50])
    write_csv(tmp_path / "labelled.csv", features, labels)
    return tmp_path


def judge(folder, spec, spoil=lambda rows: rows, shift=lambda scores: scores, **changes):
    """Return the gate's checks, by metric, of a target that spoils its rows or its scores."""
    workload = own_workload(spec, **changes)
    model = build_model(workload.model, workload.task, cache=folder / "cache", data=folder)

    def ask(requests):
        rows = spoil(np.stack([request.features for request in requests]))
        if spec is TREES:
            scores = reference_scores(model.weights(), rows)
        else:
            scores = onnx_scores(model.onnx("standard"), rows)
        return [Output(score=float(score)) for score in shift(scores)]

    (gate,) = workload.quality
    checks = evaluate(
        gate, workload=workload, model=model, ask=ask, data=folder, cache=folder / "cache"
    )
    return {check.metric: check for check in checks}


@pytest.mark.parametrize("spec", [TREES, GRAPH])
def test_a_faithful_target_passes(folder, spec):
    checks = judge(folder, spec)
    assert checks["score_difference"].value == 0
    assert checks["pr_auc_ratio"].value == 1
    assert all(check.passed for check in checks.values())


@pytest.mark.parametrize("spec", [TREES, GRAPH])
def test_permuted_features_fail_both_limits(folder, spec):
    checks = judge(folder, spec, spoil=lambda rows: np.ascontiguousarray(rows[:, ::-1]))
    assert not checks["score_difference"].passed
    if spec is TREES:
        assert not checks["pr_auc_ratio"].passed


def test_scores_that_are_no_probabilities_fail_with_the_reason(folder):
    checks = judge(folder, TREES, shift=lambda scores: scores * 3 - 1)
    assert all("not in [0, 1]" in check.reason for check in checks.values())


def test_without_a_label_only_the_scores_are_compared(folder):
    gate = {"kind": "labelled_rows", "file": "labelled.csv", "rows": 100}
    inputs = {"kind": "rows", "file": "rows.csv", "columns": list(NAMES)}
    assert set(judge(folder, TREES, quality=[gate], inputs=inputs)) == {"score_difference"}


def test_a_limit_that_one_score_for_all_rows_would_keep_is_refused(folder):
    gate = [{"kind": "labelled_rows", "file": "labelled.csv", "score_difference_max": 0.999}]
    inputs = {"kind": "rows", "file": "rows.csv", "columns": list(NAMES)}
    with pytest.raises(SpecError, match=r"one score would pass with score_difference_max: 0\.999"):
        judge(folder, TREES, quality=gate, inputs=inputs)


def test_an_onnx_file_whose_output_is_wider_than_declared_is_refused(folder):
    model = onnx.load(folder / "model.onnx")
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(SpecError, match="gives 800 scores for 400 rows"):
        judge(folder, {"family": "onnx", "file": "model.onnx"})


@pytest.mark.parametrize(
    ("label", "said"), [("outcome", "no column 'outcome'"), ("age", "one of the features")]
)
def test_a_wrong_label_is_refused(folder, label, said):
    gate = {"kind": "labelled_rows", "file": "labelled.csv", "label": label}
    with pytest.raises(SpecError, match=said):
        judge(folder, TREES, quality=[gate])


def test_labels_other_than_0_and_1_are_named_by_line(folder):
    lines = (folder / "labelled.csv").read_text().splitlines()
    lines[7] = lines[7].rpartition(",")[0] + ",2"
    (folder / "labelled.csv").write_text("\n".join(lines))
    with pytest.raises(SpecError, match=r"labelled.csv:8:1: the label 'fraud' is 2"):
        judge(folder, TREES)
