"""Gradient-boosted trees as arrays: walked in numpy, and written as ONNX nodes.

A row goes to `left` where its feature is <= the threshold, both float32, else to `right`. A leaf is
its own left and right child, and only leaves have a `value` (in log-odds).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError

if TYPE_CHECKING:
    import onnx

Weights = Mapping[str, NDArray[np.generic]]

MOST_FEATURES = 1_000_000
"""Of one row: far above any table, and what a broken file is held against."""

TREES: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "trees.root": ("int32", ("trees",)),
    "trees.feature": ("int32", ("nodes",)),
    "trees.threshold": ("float32", ("nodes",)),
    "trees.left": ("int32", ("nodes",)),
    "trees.right": ("int32", ("nodes",)),
    "trees.value": ("float32", ("nodes",)),
    "trees.base_score": ("float32", (1,)),
}
"""The arrays of trees, with type and shape; equal names are equal sizes."""

WIDTH = "trees.width"
"""The number of features (int32 [1]), where no other array tells it."""


def check_walks(weights: Weights, features: int) -> None:
    """Raise SpecError unless every walk through the trees of a row of `features` ends in a leaf."""
    nodes = len(weights["trees.left"])
    for name in ("trees.root", "trees.left", "trees.right", "trees.feature"):
        top = features if name == "trees.feature" else nodes
        index = np.asarray(weights[name], dtype=np.int64)
        if index.size and (index.min() < 0 or index.max() >= top):
            raise SpecError(f"the model's '{name}' points outside [0, {top})")
    itself = np.arange(nodes)
    left = np.asarray(weights["trees.left"], dtype=np.int64)
    right = np.asarray(weights["trees.right"], dtype=np.int64)
    if ((left != itself) != (right != itself)).any():
        raise SpecError("the model has a node that is its own child on one side only")
    # Children after their parents: no walk can go round in a circle.
    if (left < itself).any() or (right < itself).any():
        raise SpecError("the model has a node whose child comes before it")


def depth(weights: Weights) -> int:
    """Return the number of steps that take every row from its root to a leaf."""
    left, right = weights["trees.left"], weights["trees.right"]
    front, steps = np.unique(weights["trees.root"]), 0
    while (left[front] != front).any():
        front, steps = np.unique(np.concatenate([left[front], right[front]])), steps + 1
    return steps


def tree_margin(weights: Weights, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the trees' log-odds (float64 [n]) for float32 [n, features]."""
    rows = np.arange(len(features))[:, None]
    node = np.broadcast_to(weights["trees.root"], (len(features), len(weights["trees.root"])))
    for _ in range(depth(weights)):
        below = features[rows, weights["trees.feature"][node]] <= weights["trees.threshold"][node]
        node = np.where(below, weights["trees.left"][node], weights["trees.right"][node])
    leaves = np.asarray(weights["trees.value"], dtype=np.float64)[node]
    margin: NDArray[np.float64] = leaves.sum(axis=1) + float(weights["trees.base_score"][0])
    return margin


def tree_nodes(
    weights: Weights, dialect: str
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[np.generic]]]:
    """Return ONNX nodes from "features" [batch, n] to "tree_sum", and the constants they need.

    "standard" is one TreeEnsembleRegressor, "portable" a walk of Gather, LessOrEqual and Where.
    """
    return _standard_trees(weights) if dialect == "standard" else _portable_trees(weights)


def sigmoid(margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-margin)) without overflow."""
    small = np.exp(-np.abs(margin))
    return np.where(margin >= 0, 1.0, small) / (1.0 + small)


def _standard_trees(
    weights: Weights,
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[np.generic]]]:
    """Return one TreeEnsembleRegressor from "features" to "tree_sum" [batch, 1]; no constants."""
    from onnx import helper

    tree: list[int] = []
    local: list[int] = []
    left: list[int] = []
    right: list[int] = []
    order: list[int] = []
    for number, root in enumerate(weights["trees.root"].tolist()):
        nodes = members(weights, root)
        place = {node: index for index, node in enumerate(nodes)}
        order += nodes
        tree += [number] * len(nodes)
        local += range(len(nodes))
        # The operator wants 0 as the children of a leaf.
        left += [place[c] if (c := int(weights["trees.left"][n])) != n else 0 for n in nodes]
        right += [place[c] if (c := int(weights["trees.right"][n])) != n else 0 for n in nodes]
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


def _portable_trees(
    weights: Weights,
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[np.generic]]]:
    """Return the walk from "features" to "tree_sum" [batch], one group of nodes for each level."""
    from onnx import helper

    constants: dict[str, NDArray[np.generic]] = {
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


def members(weights: Weights, root: int) -> list[int]:
    """Return the nodes of the tree at `root`, the root first."""
    nodes, left, right = [root], weights["trees.left"], weights["trees.right"]
    for node in nodes:
        if left[node] != node:
            nodes += [int(left[node]), int(right[node])]
    return nodes


class Forest:
    """Collects trees with children in any order into arrays with children after their parents."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._parts: dict[str, list[NDArray[np.generic]]] = {}
        self._roots: list[int] = []
        self._nodes = 0

    def add(
        self,
        feature: NDArray[np.int64],
        threshold: NDArray[np.float32],
        left: NDArray[np.int64],
        right: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> None:
        """Add a tree: one entry for each node, node 0 the root; a leaf's `left` is negative.

        Raises SpecError if a child is not a node, or if a node has two parents.
        """
        number = len(self._roots)
        order = [0]
        for node in order:
            if left[node] >= 0:
                order += [int(left[node]), int(right[node])]
            if len(order) > len(left) or not all(0 <= child < len(left) for child in order[-2:]):
                raise SpecError(
                    f"{self._source}: tree {number} is broken: a child is no node of it"
                )
        if len(set(order)) != len(order):
            raise SpecError(f"{self._source}: tree {number} is broken: a node has two parents")
        place = np.full(len(left), -1, dtype=np.int64)
        place[order] = np.arange(len(order))
        kept = np.array(order)
        leaf = left[kept] < 0
        itself = np.arange(len(order))
        start = self._nodes
        part: dict[str, NDArray[np.generic]] = {
            "trees.feature": np.where(leaf, 0, feature[kept]).astype(np.int32),
            "trees.threshold": np.where(leaf, 0, threshold[kept]).astype(np.float32),
            "trees.left": (np.where(leaf, itself, place[left[kept]]) + start).astype(np.int32),
            "trees.right": (np.where(leaf, itself, place[right[kept]]) + start).astype(np.int32),
            "trees.value": np.where(leaf, value[kept], 0).astype(np.float32),
        }
        for name, array in part.items():
            self._parts.setdefault(name, []).append(array)
        self._roots.append(start)
        self._nodes += len(order)

    def arrays(self, base_score: float, width: int) -> dict[str, NDArray[np.generic]]:
        """Return the arrays of the trees (`TREES` and `WIDTH`).

        SpecError if there are none, or if `width` is no number of features that a row can have.
        """
        if not self._roots:
            raise SpecError(f"{self._source} has no trees")
        if not 0 < width <= MOST_FEATURES:
            raise SpecError(
                f"{self._source} names {width} features; 1 to {MOST_FEATURES} are supported"
            )
        arrays = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        return {
            **arrays,
            "trees.root": np.array(self._roots, dtype=np.int32),
            "trees.base_score": np.array([base_score], dtype=np.float32),
            WIDTH: np.array([width], dtype=np.int32),
        }
