"""XGBoost's JSON model, read into arrays and written from them, without XGBoost.

Format: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html and its schema.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError
from harness.models.own_files import read_text
from harness.models.trees import Forest, Weights, members

OBJECTIVES = ("binary:logistic", "reg:logistic")
"""Those whose prediction is the sigmoid of the sum of the leaves."""

Tree = dict[str, object]


def read_xgboost(path: Path) -> tuple[dict[str, NDArray[np.generic]], tuple[str, ...]]:
    """Return the trees of the JSON model at `path` as arrays, and the names of its features.

    XGBoost goes left where x < t, in float32; the arrays where x <= the float32 before t. Raises
    SpecError if the file is no such model, or one that the arrays do not hold: several classes or
    targets, another objective or booster, categorical splits.
    """
    try:
        document = json.loads(read_text(path))
        learner = document["learner"]
        booster, settings = learner["gradient_booster"], learner["learner_model_param"]
        objective = str(learner["objective"]["name"])
        if objective not in OBJECTIVES:
            raise SpecError(
                f"{path} has the objective '{objective}'; the score must be a probability, that "
                f"of {' or '.join(OBJECTIVES)}"
            )
        if booster["name"] != "gbtree":
            raise SpecError(f"{path} has the booster '{booster['name']}', not 'gbtree'")
        if int(settings["num_class"]) > 1 or int(settings.get("num_target", 1)) > 1:
            raise SpecError(f"{path} has more than one score per row; two classes are supported")
        trees = booster["model"]["trees"]
        if len(trees) != int(booster["model"]["gbtree_model_param"]["num_trees"]):
            raise SpecError(f"{path} is cut short: it names another number of trees than it has")
        _all_used(path, learner, booster["model"])
        forest = Forest(str(path))
        for number, tree in enumerate(trees):
            _add(forest, f"{path}: tree {number}", tree)
        # XGBoost 3.1 began to write a list, of one score per target.
        share = float(str(settings["base_score"]).strip("[]"))
        width = int(settings["num_feature"])
        names = tuple(str(name) for name in learner.get("feature_names", ()))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise SpecError(
            f"{path} is not an XGBoost JSON model: {what}",
            hint="write it with Booster.save_model('model.json'); UBJ and binary are not read",
        ) from error
    if not 0 < share < 1:
        raise SpecError(f"{path} has the base score {share}, which is no probability")
    return forest.arrays(math.log(share / (1 - share)), width), names


def write_xgboost(weights: Weights, width: int) -> bytes:
    """Return the trees of `weights` as an XGBoost JSON model for rows of `width` features."""
    roots = np.asarray(weights["trees.root"]).tolist()
    trees = [_tree(weights, root, number, width) for number, root in enumerate(roots)]
    share = 1 / (1 + math.exp(-float(weights["trees.base_score"][0])))
    document = {
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
                    "iteration_indptr": list(range(len(trees) + 1)),
                    "tree_info": [0] * len(trees),
                    "trees": trees,
                },
                "name": "gbtree",
            },
            "learner_model_param": {
                "base_score": repr(share),
                "boost_from_average": "1",
                "num_class": "0",
                "num_feature": str(width),
                "num_target": "1",
            },
            "objective": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": [2, 1, 0],
    }
    return json.dumps(document).encode()


def _all_used(path: Path, learner: dict[str, object], model: dict[str, object]) -> None:
    """Raise SpecError if early stopping kept trees that some of XGBoost's interfaces leave out."""
    attributes = cast("dict[str, str]", learner.get("attributes") or {})
    rounds = len(cast("list[int]", model.get("iteration_indptr") or [0])) - 1
    if "best_iteration" in attributes and 0 < int(attributes["best_iteration"]) + 1 < rounds:
        best = int(attributes["best_iteration"]) + 1
        raise SpecError(
            f"{path} has {rounds} rounds of which early stopping found {best} the best; it does "
            "not say which of them shall score",
            hint=f"save booster[:{best}] or, to use all, delete its attribute best_iteration",
        )


def _add(forest: Forest, place: str, tree: Tree) -> None:
    if tree.get("categories_nodes") or any(cast("list[int]", tree.get("split_type", []))):
        raise SpecError(
            f"{place} has categorical splits, which are not supported",
            hint="export the model as an ONNX file and declare it as family 'onnx'",
        )
    left = np.array(tree["left_children"], dtype=np.int64)
    arrays = {
        name: np.array(tree[name], dtype=kind)
        for name, kind in (
            ("right_children", np.int64),
            ("split_indices", np.int64),
            ("split_conditions", np.float32),
        )
    }
    if any(array.shape != left.shape for array in arrays.values()) or left.ndim != 1:
        raise SpecError(f"{place} is cut short: its lists have different lengths")
    if not len(left) or not np.isfinite(arrays["split_conditions"]).all():
        raise SpecError(f"{place} has no nodes, or a value that is not finite")
    before = np.nextafter(arrays["split_conditions"], np.float32(-np.inf)).astype(np.float32)
    forest.add(
        arrays["split_indices"].astype(np.int64),
        before,
        left,
        arrays["right_children"].astype(np.int64),
        arrays["split_conditions"].astype(np.float64),
    )


def _tree(weights: Weights, root: int, number: int, width: int) -> Tree:
    nodes = members(weights, root)
    place = {node: index for index, node in enumerate(nodes)}
    left, right = weights["trees.left"], weights["trees.right"]
    leaf = [left[node] == node for node in nodes]
    after = np.nextafter(np.asarray(weights["trees.threshold"]), np.float32(np.inf))
    parents = [2**31 - 1] * len(nodes)
    for node in nodes:
        if left[node] != node:
            for child in (int(left[node]), int(right[node])):
                parents[place[child]] = place[node]

    def children(side: NDArray[np.generic]) -> list[int]:
        return [-1 if ends else place[int(side[n])] for n, ends in zip(nodes, leaf, strict=True)]

    return {
        "base_weights": [0.0] * len(nodes),
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": [0] * len(nodes),
        "id": number,
        "left_children": children(left),
        "loss_changes": [0.0] * len(nodes),
        "parents": parents,
        "right_children": children(right),
        "split_conditions": [
            float(weights["trees.value"][n] if ends else after[n])
            for n, ends in zip(nodes, leaf, strict=True)
        ],
        "split_indices": [
            0 if ends else int(weights["trees.feature"][n])
            for n, ends in zip(nodes, leaf, strict=True)
        ],
        "split_type": [0] * len(nodes),
        "sum_hessian": [0.0] * len(nodes),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(width),
            "num_nodes": str(len(nodes)),
            "size_leaf_vector": "1",
        },
    }
