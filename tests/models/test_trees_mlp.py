import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from harness.errors import SpecError
from harness.models.training.train_fraud import flatten_trees, round_down, train_trees
from harness.models.transactions import draw_transactions
from harness.models.trees import depth, tree_margin
from harness.models.trees_mlp import (
    SHAPES,
    build_onnx,
    check_weights,
    mlp_margin,
    reference_scores,
    torch_module,
)

FRAUD = Path(__file__).parents[2] / "workloads" / "weights" / "fraud.safetensors"


@pytest.fixture(scope="module")
def weights():
    return load_file(FRAUD)


@pytest.fixture(scope="module")
def features(weights):
    """Transactions; then rows of values exactly at thresholds, just below and just above them."""
    rows, _, _ = draw_transactions(1500, 7)
    rng = np.random.default_rng(0)
    inner = np.flatnonzero(weights["trees.left"] != np.arange(len(weights["trees.left"])))
    edges = rows[rng.integers(len(rows), size=1500)].copy()
    for row in edges:
        for node in rng.choice(inner, size=60):
            row[weights["trees.feature"][node]] = weights["trees.threshold"][node]
    above = np.nextafter(edges[:500], np.float32(np.inf))
    below = np.nextafter(edges[500:1000], np.float32(-np.inf))
    return np.concatenate([rows, edges, above, below])


@pytest.fixture(scope="module")
def scores(weights, features):
    return reference_scores(weights, features)


def slow_scores(weights, features):
    """The definition, one row and one node at a time."""
    results = []
    for row in features:
        margin = float(weights["trees.base_score"][0])
        for root in weights["trees.root"]:
            node = root
            while weights["trees.left"][node] != node:
                left = row[weights["trees.feature"][node]] <= weights["trees.threshold"][node]
                node = weights["trees.left" if left else "trees.right"][node]
            margin += float(weights["trees.value"][node])
        value = (row - weights["normalise.mean"]) / weights["normalise.deviation"]
        for layer in range(3):
            value = weights[f"mlp.{layer}.weight"] @ value + weights[f"mlp.{layer}.bias"]
            value = np.maximum(value, 0) if layer < 2 else value
        results.append((1 / (1 + np.exp(-margin)) + 1 / (1 + np.exp(-value[0]))) / 2)
    return np.array(results)


def test_the_committed_weights_are_whole_and_small(weights):
    check_weights(weights)
    assert FRAUD.stat().st_size < 1_000_000
    assert len(weights["trees.root"]) == 150
    assert depth(weights) == 8


def test_the_reference_follows_the_definition(weights, features, scores):
    some = np.concatenate([np.arange(25), np.arange(1500, 1525)])
    assert scores.dtype == np.float64
    assert scores[some] == pytest.approx(slow_scores(weights, features[some]), abs=1e-6)


def test_the_scores_do_not_depend_on_the_batch(weights, features, scores):
    alone = np.concatenate([reference_scores(weights, features[i : i + 1]) for i in range(50)])
    assert alone == pytest.approx(scores[:50], abs=1e-12)
    many = np.tile(features, (3, 1))
    assert reference_scores(weights, many) == pytest.approx(np.tile(scores, 3), abs=1e-12)


def test_rows_at_thresholds_take_sides(weights, features):
    edges = features[1500:2000]
    above = features[3000:3500]
    assert (tree_margin(weights, edges) != tree_margin(weights, above)).mean() > 0.5


def test_torch_agrees(weights, features, scores):
    torch = pytest.importorskip("torch")
    module = torch_module(weights)
    with torch.inference_mode():
        given = module(torch.from_numpy(features))
        single = module(torch.from_numpy(features[:1]))
    assert given.shape == (len(features),)
    assert given.dtype == torch.float32
    assert np.abs(given.numpy() - scores).max() <= 1e-5
    assert np.abs(single.numpy() - scores[:1]).max() <= 1e-5


def test_torch_refuses_rounded_thresholds(weights, features):
    torch = pytest.importorskip("torch")
    module = torch_module(weights).to(torch.bfloat16)
    with pytest.raises(TypeError, match="float32 only"):
        module(torch.from_numpy(features[:1]).to(torch.bfloat16))
    with pytest.raises(TypeError, match="float32 only"):
        module(torch.from_numpy(features[:1]))


@pytest.mark.parametrize("dialect", ["standard", "portable"])
def test_onnxruntime_agrees(dialect, weights, features, scores, tmp_path):
    import onnxruntime

    build_onnx(weights, tmp_path, dialect)
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert [value.name for value in session.get_inputs()] == ["features"]
    for batch in (1, 7, len(features)):
        (given,) = session.run(["score"], {"features": features[:batch]})
        assert given.shape == (batch,)
        assert given.dtype == np.float32
        assert np.abs(given - scores[:batch]).max() <= 1e-5


def test_openvino_agrees_on_the_portable_dialect(weights, features, scores, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "OPENVINO_TELEMETRY_ENABLED", "0")
    openvino = pytest.importorskip("openvino")
    build_onnx(weights, tmp_path, "portable")
    core = openvino.Core()
    model = core.compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch in (1, 7, len(features)):
        given = model([features[:batch]])[0]
        assert given.shape == (batch,)
        assert np.abs(given - scores[:batch]).max() <= 1e-5


def test_the_portable_dialect_has_no_tree_operator(weights, tmp_path):
    import onnx

    build_onnx(weights, tmp_path, "portable")
    model = onnx.load(tmp_path / "model.onnx")
    assert {entry.domain for entry in model.opset_import} == {""}
    assert {node.domain for node in model.graph.node} == {""}
    build_onnx(weights, tmp_path, "standard")
    names = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert names.count("TreeEnsembleRegressor") == 1
    assert "Where" not in names


def test_the_trees_are_lightgbms():
    pytest.importorskip("lightgbm", reason="LightGBM is the independent judge of the trees")
    rows, labels, _ = draw_transactions(8000, 3)
    booster, base_score = train_trees(rows, labels, rounds=12)
    arrays = flatten_trees(booster, base_score)
    fresh, _, _ = draw_transactions(2000, 4)
    inner = np.flatnonzero(arrays["trees.left"] != np.arange(len(arrays["trees.left"])))
    edges = fresh[: len(inner)].copy()
    at = arrays["trees.threshold"][inner]
    columns, numbers = arrays["trees.feature"][inner], np.arange(len(edges))
    edges[numbers, columns] = at[: len(edges)]
    above, below = edges.copy(), edges.copy()
    above[numbers, columns] = np.nextafter(at, np.float32(np.inf))
    below[numbers, columns] = np.nextafter(at, np.float32(-np.inf))
    for part in (fresh, edges, above, below):
        # float64 input: LightGBM must compare the very float32 value that we compare.
        margin = booster.predict(part.astype(np.float64), raw_score=True) + base_score
        assert np.abs(tree_margin(arrays, part) - margin).max() <= 1e-5
    changed = tree_margin(arrays, edges) != tree_margin(arrays, above)
    assert changed.any()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0.5, np.float32(0.5)),
        (np.nextafter(0.5, 0), np.nextafter(np.float32(0.5), np.float32(0))),
        (np.nextafter(0.5, 1), np.float32(0.5)),
        (-np.nextafter(0.5, 0), np.float32(-0.5)),
        (1.0000000180025095e-35, np.float32(1e-35)),
    ],
)
def test_thresholds_round_down(value, wanted):
    rounded = round_down(np.float64(value))
    assert rounded == wanted
    assert rounded.dtype == np.float32
    assert float(rounded) <= value < float(np.nextafter(rounded, np.float32(np.inf)))


def broken(name, change):
    def apply(weights):
        weights[name] = change(weights[name].copy())

    return apply


def put(index, value):
    def change(array):
        array.flat[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("mlp.1.bias"), "right names: mlp.1.bias"),
        (lambda w: w.update(extra=np.zeros(1)), "right names: extra"),
        (broken("mlp.0.weight", lambda a: a[:, :-1]), r"'mlp.0.weight' is float32 \[128, 29\]"),
        (broken("trees.value", lambda a: a.astype(np.float64)), "'trees.value' is float64"),
        (broken("trees.left", lambda a: a[:-1]), "'trees.left'"),
        (broken("mlp.1.bias", put(0, np.nan)), "not finite"),
        (broken("trees.feature", put(0, 30)), r"outside \[0, 30\)"),
        (broken("trees.root", put(0, -1)), "points outside"),
        (broken("trees.left", put(0, 0)), "on one side only"),
        (broken("trees.right", put(1, 0)), "comes before it"),
    ],
)
def test_broken_weights_are_named(change, message, weights):
    copy = dict(weights)
    change(copy)
    with pytest.raises(SpecError, match=message):
        check_weights(copy)


def test_wrong_features_are_refused(weights, features):
    with pytest.raises(SpecError, match="float64"):
        reference_scores(weights, features.astype(np.float64))
    with pytest.raises(SpecError, match=r"\[5, 29\]"):
        reference_scores(weights, features[:5, :-1])


def test_another_dialect_is_refused(weights, tmp_path):
    with pytest.raises(SpecError, match="'fancy'"):
        build_onnx(weights, tmp_path, "fancy")


def test_extreme_margins_do_not_overflow(weights, features):
    loud = dict(weights)
    loud["trees.base_score"] = np.array([-2000], dtype=np.float32)
    loud["mlp.2.bias"] = np.array([2000], dtype=np.float32)
    assert reference_scores(loud, features[:10]) == pytest.approx(0.5)


def test_every_array_has_a_documented_shape(weights):
    assert set(weights) == set(SHAPES)
    assert mlp_margin(weights, draw_transactions(3, 0)[0]).shape == (3,)
