"""The fraud model: gradient-boosted trees and a small network, in numpy, torch and ONNX.

One set of arrays is the model; every form here is made from it and takes the same side at every
threshold. Names and shapes of the arrays: `SHAPES`. Trees alone (`TREES` and `WIDTH`: what a user's
own file holds) are a model too; their score is sigmoid(trees).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError
from harness.models.trees import (
    TREES,
    WIDTH,
    Weights,
    check_walks,
    depth,
    sigmoid,
    tree_margin,
    tree_nodes,
)

if TYPE_CHECKING:
    import onnx
    import torch

SHAPES: dict[str, tuple[str, tuple[int | str, ...]]] = {
    **TREES,
    "normalise.mean": ("float32", ("features",)),
    "normalise.deviation": ("float32", ("features",)),
    "mlp.0.weight": ("float32", ("hidden_0", "features")),
    "mlp.0.bias": ("float32", ("hidden_0",)),
    "mlp.1.weight": ("float32", ("hidden_1", "hidden_0")),
    "mlp.1.bias": ("float32", ("hidden_1",)),
    "mlp.2.weight": ("float32", (1, "hidden_1")),
    "mlp.2.bias": ("float32", (1,)),
}
"""Every array with its type and shape; equal names are equal sizes."""
TREES_ALONE: dict[str, tuple[str, tuple[int | str, ...]]] = {**TREES, WIDTH: ("int32", (1,))}

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8


def check_weights(weights: Weights) -> None:
    """Raise SpecError unless `weights` are whole: names, types, shapes, finite, trees that end."""
    shapes = TREES_ALONE if WIDTH in weights else SHAPES
    if set(weights) != set(shapes):
        odd = ", ".join(sorted(set(weights) ^ set(shapes)))
        raise SpecError(f"the fraud model's weights do not have the right names: {odd}")
    sizes: dict[str, int] = {}
    for name, (kind, shape) in shapes.items():
        array = weights[name]
        wanted = tuple(
            size if isinstance(size, int) else sizes.setdefault(size, length)
            for size, length in zip(shape, array.shape, strict=False)
        )
        if array.dtype != kind or array.shape != wanted or len(shape) != array.ndim:
            raise SpecError(
                f"the fraud model's '{name}' is {array.dtype} {list(array.shape)}, "
                f"not {kind} {list(shape)}"
            )
        if kind == "float32" and not np.isfinite(array).all():
            raise SpecError(f"the fraud model's '{name}' holds a value that is not finite")
    check_walks(weights, width(weights))


def width(weights: Weights) -> int:
    """Return the number of features of a row."""
    return int(weights[WIDTH][0]) if WIDTH in weights else len(weights["normalise.mean"])


def has_network(weights: Weights) -> bool:
    """Return whether the score is the mean of trees and network, not of the trees alone."""
    return WIDTH not in weights


def mlp_margin(weights: Weights, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the network's log-odds of fraud (float64 [n]) for float32 [n, features]."""
    value = (features - _wide(weights, "normalise.mean")) / _wide(weights, "normalise.deviation")
    for layer in range(3):
        value = value @ _wide(weights, f"mlp.{layer}.weight").T + _wide(
            weights, f"mlp.{layer}.bias"
        )
        value = np.maximum(value, 0.0) if layer < 2 else value
    return value[:, 0]


def reference_scores(weights: Weights, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the fraud scores (float64 [n], in [0, 1]) of `features` (float32 [n, features]).

    score = (sigmoid(trees) + sigmoid(network)) / 2, of trees alone sigmoid(trees); computed in
    float64. Features must be finite. Raises SpecError if `features` is not float32 or has another
    number of columns.
    """
    wanted = width(weights)
    if features.dtype != np.float32 or features.ndim != 2 or features.shape[1] != wanted:
        raise SpecError(
            f"features are {features.dtype} {list(features.shape)}, not float32 [rows, {wanted}]"
        )
    scores = []
    for part in np.array_split(features, max(1, len(features) // 4096)):
        score = sigmoid(tree_margin(weights, part))
        if has_network(weights):
            score = (score + sigmoid(mlp_margin(weights, part))) / 2
        scores.append(score)
    return np.concatenate(scores)


def torch_module(weights: Weights) -> torch.nn.Module:
    """Return the model as a torch module: features float32 [n, features] -> score float32 [n].

    The trees are walked level by level, all rows and trees at once, on whatever device the module
    is moved to. A module cast to another type raises TypeError when called: rounded thresholds
    would send rows down the wrong branch unnoticed.
    """
    import torch

    class TreesMlp(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.depth = depth(weights)
            self.has_network = has_network(weights)
            for name in weights:
                array = torch.from_numpy(np.array(weights[name]))
                value = array if array.is_floating_point() else array.long()
                self.register_buffer(name.replace(".", "_"), value)

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            get = self.get_buffer
            if features.dtype != torch.float32 or get("trees_threshold").dtype != torch.float32:
                raise TypeError("the fraud model runs in float32 only")
            node = get("trees_root").expand(len(features), -1)
            for _ in range(self.depth):
                reached = features.gather(1, get("trees_feature")[node])
                below = reached <= get("trees_threshold")[node]
                node = torch.where(below, get("trees_left")[node], get("trees_right")[node])
            trees = get("trees_value")[node].sum(dim=1) + get("trees_base_score")
            if not self.has_network:
                return torch.sigmoid(trees)
            value = (features - get("normalise_mean")) / get("normalise_deviation")
            for layer in range(3):
                weight, bias = get(f"mlp_{layer}_weight"), get(f"mlp_{layer}_bias")
                value = torch.nn.functional.linear(value, weight, bias)
                value = torch.relu(value) if layer < 2 else value
            return (torch.sigmoid(trees) + torch.sigmoid(value[:, 0])) / 2

    return TreesMlp().eval()


def build_onnx(weights: Weights, folder: Path, dialect: str) -> None:
    """Write `folder`/model.onnx: "features" float32 [batch, features] -> "score" float32 [batch].

    The dialect "standard" keeps the trees whole as an ai.onnx.ml TreeEnsembleRegressor; "portable"
    lowers them to Gather, LessOrEqual and Where, for runtimes without tree operators. Raises
    SpecError for another dialect or broken weights.
    """
    import onnx
    from onnx import TensorProto, helper

    check_weights(weights)
    if dialect not in ("standard", "portable"):
        raise SpecError(f"the ONNX dialect is 'standard' or 'portable', not '{dialect}'")
    nodes, constants = tree_nodes(weights, dialect)
    constants |= {
        "base_score": weights["trees.base_score"],
        "flat": np.array([-1], dtype=np.int64),
    }
    nodes += [
        helper.make_node("Reshape", ["tree_sum", "flat"], ["tree_flat"]),
        helper.make_node("Add", ["tree_flat", "base_score"], ["tree_margin"]),
    ]
    if has_network(weights):
        _add_network(weights, nodes, constants)
    else:
        nodes.append(helper.make_node("Sigmoid", ["tree_margin"], ["score"]))
    graph = helper.make_graph(
        nodes,
        f"trees_mlp_{dialect}",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width(weights)])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])],
        [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    if dialect == "standard":
        opsets.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, folder / "model.onnx")


def _add_network(
    weights: Weights, nodes: list[onnx.NodeProto], constants: dict[str, NDArray[np.generic]]
) -> None:
    """Add the network to `nodes` and `constants`, and the "score" that it and the trees make."""
    from onnx import helper

    constants |= {
        "mean": weights["normalise.mean"],
        "deviation": weights["normalise.deviation"],
        "two": np.array([2.0], dtype=np.float32),
    }
    nodes += [
        helper.make_node("Sub", ["features", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "deviation"], ["value_0"]),
    ]
    for layer in range(3):
        constants[f"weight_{layer}"] = weights[f"mlp.{layer}.weight"]
        constants[f"bias_{layer}"] = weights[f"mlp.{layer}.bias"]
        wires = [f"value_{layer}", f"weight_{layer}", f"bias_{layer}"]
        nodes.append(helper.make_node("Gemm", wires, [f"linear_{layer}"], transB=1))
        if layer < 2:
            nodes.append(helper.make_node("Relu", [f"linear_{layer}"], [f"value_{layer + 1}"]))
    nodes += [
        helper.make_node("Reshape", ["linear_2", "flat"], ["mlp_margin"]),
        helper.make_node("Sigmoid", ["mlp_margin"], ["mlp_score"]),
        helper.make_node("Sigmoid", ["tree_margin"], ["tree_score"]),
        helper.make_node("Add", ["tree_score", "mlp_score"], ["both"]),
        helper.make_node("Div", ["both", "two"], ["score"]),
    ]


def _wide(weights: Weights, name: str) -> NDArray[np.float64]:
    return np.asarray(weights[name], dtype=np.float64)
