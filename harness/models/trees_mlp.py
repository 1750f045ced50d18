"""The fraud model: gradient-boosted trees and a small network, in numpy, torch and ONNX.

One set of arrays is the model; every form here is made from it and takes the same side at every
threshold. Names and shapes of the arrays: `SHAPES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError

if TYPE_CHECKING:
    import onnx
    import torch

Weights = Mapping[str, NDArray[np.generic]]

SHAPES: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "trees.root": ("int32", ("trees",)),
    "trees.feature": ("int32", ("nodes",)),
    "trees.threshold": ("float32", ("nodes",)),
    "trees.left": ("int32", ("nodes",)),
    "trees.right": ("int32", ("nodes",)),
    "trees.value": ("float32", ("nodes",)),
    "trees.base_score": ("float32", (1,)),
    "normalise.mean": ("float32", ("features",)),
    "normalise.deviation": ("float32", ("features",)),
    "mlp.0.weight": ("float32", ("hidden_0", "features")),
    "mlp.0.bias": ("float32", ("hidden_0",)),
    "mlp.1.weight": ("float32", ("hidden_1", "hidden_0")),
    "mlp.1.bias": ("float32", ("hidden_1",)),
    "mlp.2.weight": ("float32", (1, "hidden_1")),
    "mlp.2.bias": ("float32", (1,)),
}
"""Every array with its type and shape; equal names are equal sizes.

A row goes to `left` where its feature is <= the threshold, both float32, else to `right`. A leaf
is its own left and right child, and only leaves have a `value` (in log-odds).
"""

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8


def check_weights(weights: Weights) -> None:
    """Raise SpecError unless `weights` are whole: names, types, shapes, finite, trees that end."""
    if set(weights) != set(SHAPES):
        odd = ", ".join(sorted(set(weights) ^ set(SHAPES)))
        raise SpecError(f"the fraud model's weights do not have the right names: {odd}")
    sizes: dict[str, int] = {}
    for name, (kind, shape) in SHAPES.items():
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
    nodes = sizes["nodes"]
    for name in ("trees.root", "trees.left", "trees.right", "trees.feature"):
        top = sizes["features"] if name == "trees.feature" else nodes
        index = np.asarray(weights[name], dtype=np.int64)
        if index.size and (index.min() < 0 or index.max() >= top):
            raise SpecError(f"the fraud model's '{name}' points outside [0, {top})")
    itself = np.arange(nodes)
    left = np.asarray(weights["trees.left"], dtype=np.int64)
    right = np.asarray(weights["trees.right"], dtype=np.int64)
    if ((left != itself) != (right != itself)).any():
        raise SpecError("the fraud model has a node that is its own child on one side only")
    # Children after their parents: no walk can go round in a circle.
    if (left < itself).any() or (right < itself).any():
        raise SpecError("the fraud model has a node whose child comes before it")


def depth(weights: Weights) -> int:
    """Return the number of steps that take every row from its root to a leaf."""
    left, right = weights["trees.left"], weights["trees.right"]
    front, steps = np.unique(weights["trees.root"]), 0
    while (left[front] != front).any():
        front, steps = np.unique(np.concatenate([left[front], right[front]])), steps + 1
    return steps


def tree_margin(weights: Weights, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the trees' log-odds of fraud (float64 [n]) for float32 [n, features]."""
    rows = np.arange(len(features))[:, None]
    node = np.broadcast_to(weights["trees.root"], (len(features), len(weights["trees.root"])))
    for _ in range(depth(weights)):
        below = features[rows, weights["trees.feature"][node]] <= weights["trees.threshold"][node]
        node = np.where(below, weights["trees.left"][node], weights["trees.right"][node])
    leaves = np.asarray(weights["trees.value"], dtype=np.float64)[node]
    margin: NDArray[np.float64] = leaves.sum(axis=1) + float(weights["trees.base_score"][0])
    return margin


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

    score = (sigmoid(trees) + sigmoid(network)) / 2, computed in float64. Features must be finite.
    Raises SpecError if `features` is not float32 or has another number of columns.
    """
    wanted = len(weights["normalise.mean"])
    if features.dtype != np.float32 or features.ndim != 2 or features.shape[1] != wanted:
        raise SpecError(
            f"features are {features.dtype} {list(features.shape)}, not float32 [rows, {wanted}]"
        )
    scores = [
        (_sigmoid(tree_margin(weights, part)) + _sigmoid(mlp_margin(weights, part))) / 2
        for part in np.array_split(features, max(1, len(features) // 4096))
    ]
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
            for name in SHAPES:
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
    nodes, constants = (
        _standard_trees(weights) if dialect == "standard" else _portable_trees(weights)
    )
    constants |= {
        "base_score": weights["trees.base_score"],
        "mean": weights["normalise.mean"],
        "deviation": weights["normalise.deviation"],
        "two": np.array([2.0], dtype=np.float32),
        "flat": np.array([-1], dtype=np.int64),
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
        helper.make_node("Reshape", ["tree_sum", "flat"], ["tree_flat"]),
        helper.make_node("Add", ["tree_flat", "base_score"], ["tree_margin"]),
        helper.make_node("Sigmoid", ["tree_margin"], ["tree_score"]),
        helper.make_node("Add", ["tree_score", "mlp_score"], ["both"]),
        helper.make_node("Div", ["both", "two"], ["score"]),
    ]
    width = len(weights["normalise.mean"])
    graph = helper.make_graph(
        nodes,
        f"trees_mlp_{dialect}",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width])],
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


def _standard_trees(weights: Weights) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """Return one TreeEnsembleRegressor from "features" to "tree_sum" [batch, 1]; no constants."""
    from onnx import helper

    tree: list[int] = []
    local: list[int] = []
    left: list[int] = []
    right: list[int] = []
    order: list[int] = []
    for number, root in enumerate(weights["trees.root"].tolist()):
        members = _members(weights, root)
        place = {node: index for index, node in enumerate(members)}
        order += members
        tree += [number] * len(members)
        local += range(len(members))
        # The operator wants 0 as the children of a leaf.
        left += [place[c] if (c := int(weights["trees.left"][n])) != n else 0 for n in members]
        right += [place[c] if (c := int(weights["trees.right"][n])) != n else 0 for n in members]
    is_leaf = weights["trees.left"][order] == order
    leaves = np.flatnonzero(is_leaf)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        ["tree_sum"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=tree,
        nodes_nodeids=local,
        nodes_featureids=weights["trees.feature"][order].tolist(),
        nodes_values=weights["trees.threshold"][order].tolist(),
        nodes_modes=["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf],
        nodes_truenodeids=left,
        nodes_falsenodeids=right,
        target_treeids=[tree[index] for index in leaves],
        target_nodeids=[local[index] for index in leaves],
        target_ids=[0] * len(leaves),
        target_weights=weights["trees.value"][order][leaves].tolist(),
    )
    return [node], {}


def _portable_trees(weights: Weights) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """Return the walk from "features" to "tree_sum" [batch], one group of nodes for each level."""
    from onnx import helper

    constants: dict[str, Any] = {
        "root": weights["trees.root"][None, :],
        "feature": weights["trees.feature"],
        "threshold": weights["trees.threshold"],
        "left": weights["trees.left"],
        "right": weights["trees.right"],
        "value": weights["trees.value"],
        "trees": np.array([len(weights["trees.root"])], dtype=np.int64),
        "first": np.array([0], dtype=np.int64),
        "last": np.array([1], dtype=np.int64),
        "axis": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["features"], ["shape"]),
        helper.make_node("Slice", ["shape", "first", "last"], ["batch"]),
        helper.make_node("Concat", ["batch", "trees"], ["walkers"], axis=0),
        helper.make_node("Expand", ["root", "walkers"], ["node_0"]),
    ]
    levels = depth(weights)
    for level in range(levels):
        at = f"node_{level}"
        parts = ("feature", "threshold", "left", "right")
        nodes += [helper.make_node("Gather", [p, at], [f"{p}_{level}"]) for p in parts]
        nodes += [
            helper.make_node(
                "GatherElements", ["features", f"feature_{level}"], [f"reached_{level}"], axis=1
            ),
            helper.make_node(
                "LessOrEqual", [f"reached_{level}", f"threshold_{level}"], [f"below_{level}"]
            ),
            helper.make_node(
                "Where",
                [f"below_{level}", f"left_{level}", f"right_{level}"],
                [f"node_{level + 1}"],
            ),
        ]
    nodes += [
        helper.make_node("Gather", ["value", f"node_{levels}"], ["leaf_values"]),
        helper.make_node("ReduceSum", ["leaf_values", "axis"], ["tree_sum"], keepdims=0),
    ]
    return nodes, constants


def _members(weights: Weights, root: int) -> list[int]:
    """Return the nodes of the tree at `root`, the root first."""
    members, left, right = [root], weights["trees.left"], weights["trees.right"]
    for node in members:
        if left[node] != node:
            members += [int(left[node]), int(right[node])]
    return members


def _wide(weights: Weights, name: str) -> NDArray[np.float64]:
    return np.asarray(weights[name], dtype=np.float64)


def _sigmoid(margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-margin)) without overflow."""
    small = np.exp(-np.abs(margin))
    return np.where(margin >= 0, 1.0, small) / (1.0 + small)
