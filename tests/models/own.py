"""A user's own models and rows, made once: what a company would bring."""

import csv
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.models.transactions import draw_transactions
from tests.factories import make_workload

NAMES = ("amount", "age", "hour", "country", "device")
ROWS = 3000


def draw_rows(count: int = ROWS, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 [count, 5] and labels 0 or 1 that depend on them."""
    features = np.ascontiguousarray(draw_transactions(count, seed)[0][:, : len(NAMES)])
    noise = np.random.default_rng(seed).normal(0, 0.5, count)
    centred = (features - features.mean(axis=0)) / features.std(axis=0)
    labels = (centred[:, 0] + centred[:, 1] * centred[:, 2] + noise > 1.2).astype(np.int64)
    return features, labels


def write_csv(path: Path, features: np.ndarray, labels: np.ndarray | None = None) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*NAMES, *(["fraud"] if labels is not None else [])])
        for index, row in enumerate(features.tolist()):
            writer.writerow([*row, *([int(labels[index])] if labels is not None else [])])


def lightgbm_file(path: Path, categories: tuple[int, ...] = (), **changes) -> Path:
    import lightgbm

    features, labels = draw_rows()
    for place in categories:
        features[:, place] = np.random.default_rng(0).integers(0, 20, len(features))
        labels = labels | (features[:, place] % 3 == 0)
    data = lightgbm.Dataset(
        features, labels, feature_name=list(NAMES), categorical_feature=list(categories)
    )
    settings = {"objective": "binary", "num_leaves": 15, "verbosity": -1, "num_threads": 1}
    lightgbm.train(settings | changes, data, 30).save_model(path)
    return path


def xgboost_file(path: Path, **changes) -> Path:
    import xgboost

    features, labels = draw_rows()
    data = xgboost.DMatrix(features, labels, feature_names=list(NAMES))
    settings = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1, "verbosity": 0}
    xgboost.train(settings | changes, data, 30).save_model(path)
    return path


def onnx_file(
    path: Path, kind: int = TensorProto.FLOAT, columns: int = 2, external: str | None = None
) -> Path:
    """Write a softmax over two classes (or a sigmoid), as a converter from scikit-learn would."""
    rng = np.random.default_rng(0)
    element = helper.tensor_dtype_to_np_dtype(kind)
    matrix = (rng.normal(0, 0.3, (len(NAMES), columns))).astype(element)
    tensor = numpy_helper.from_array(matrix, "coefficients")
    last = "Softmax" if columns > 1 else "Sigmoid"
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["X", "coefficients"], ["logits"]),
            helper.make_node(last, ["logits"], ["probabilities"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("X", kind, [None, len(NAMES)])],
        [helper.make_tensor_value_info("probabilities", kind, [None, columns])],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if external is None:
        onnx.save_model(model, path)
        return path
    tensor = model.graph.initializer[0]
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=external)
    path.write_bytes(model.SerializeToString())
    beside = path.parent / external
    if beside.parent.is_dir():
        beside.write_bytes(content)
    return path


def onnx_logits(features: np.ndarray, columns: int = 2) -> np.ndarray:
    matrix = np.random.default_rng(0).normal(0, 0.3, (len(NAMES), columns))
    return features.astype(np.float64) @ matrix


def own_workload(model: dict, **changes):
    gate = {"kind": "labelled_rows", "file": "labelled.csv", "label": "fraud", "rows": 400}
    return make_workload(
        "my-fraud",
        **{
            "task": "tabular_classification",
            "model": model,
            "inputs": {"kind": "rows", "file": "rows.csv", "count": 200},
            "slo": [{"metric": "latency", "percentile": 99, "limit_s": 0.01}],
            "quality": [gate],
            **changes,
        },
    )
