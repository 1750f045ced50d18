"""LightGBM's text model, read into arrays and written from them, without LightGBM.

Format: what `Booster.save_model` writes, lines of NAME=VALUES; see `Tree::ToString` and
`GBDT::SaveModelToString` in https://github.com/microsoft/LightGBM.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError
from harness.models.own_files import read_text
from harness.models.trees import Forest, Weights, members

CATEGORICAL, MISSING_SHIFT, MISSING_ZERO = 1, 2, 1
"""Of a `decision_type`: the bit of a categorical split; where the kind of missing values is."""
OBJECTIVES = ("binary", "cross_entropy")
"""Those whose prediction is the sigmoid of the sum of the leaves."""


def read_lightgbm(path: Path) -> tuple[dict[str, NDArray[np.generic]], tuple[str, ...]]:
    """Return the trees of the text model at `path` as arrays, and the names of its features.

    LightGBM compares in float64: x <= t. Rounding t down to float32 leaves every float32 x on its
    side. Raises SpecError if the file is no such model, or one that the arrays do not hold: several
    classes, another objective, categorical splits, linear leaves, zeros as missing values.
    """
    text = read_text(path)
    head, *trees = text.split("\nTree=")
    if not head.startswith("tree\n"):
        raise SpecError(
            f"{path} is not a LightGBM text model: it does not begin with 'tree'",
            hint="write it with Booster.save_model('model.txt')",
        )
    if "\nend of trees" not in text:
        raise SpecError(f"{path} is cut short: it has no line 'end of trees'")
    facts = _facts(head)
    objective, *settings = facts.get("objective", "").split() or [""]
    if facts.get("num_class") != "1" or facts.get("num_tree_per_iteration") != "1":
        raise SpecError(f"{path} has more than one score per row; two classes are supported")
    if objective not in OBJECTIVES or "average_output" in head.split("\n"):
        raise SpecError(
            f"{path} has the objective '{objective}', averaged or not a probability; the score "
            f"must be that of {' or '.join(OBJECTIVES)}"
        )
    names = tuple(facts.get("feature_names", "").split())
    # The steepness of the sigmoid.
    scale = next((float(s[8:]) for s in settings if s.startswith("sigmoid:")), 1.0)
    forest = Forest(str(path))
    try:
        width = int(facts["max_feature_idx"]) + 1
        for number, part in enumerate(trees):
            _add(forest, f"{path}: tree {number}", _facts(part.split("\nend of trees")[0]), scale)
    except (KeyError, ValueError) as error:
        raise SpecError(f"{path} is not a whole LightGBM model: {error}") from error
    if "tree_sizes" in facts and len(facts["tree_sizes"].split()) != len(trees):
        raise SpecError(f"{path} is cut short: it names more trees than it has")
    return forest.arrays(0.0, width), names


def write_lightgbm(weights: Weights, width: int) -> str:
    """Return the trees of `weights` as a LightGBM text model for rows of `width` features.

    The base score is added to the leaves of the first tree, as LightGBM itself does.
    """
    names = " ".join(f"Column_{index}" for index in range(width))
    lines = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={width - 1}",
        "objective=binary sigmoid:1",
        f"feature_names={names}",
        "feature_infos=" + " ".join(["[-inf:inf]"] * width),
        "",
    ]
    for number, root in enumerate(np.asarray(weights["trees.root"]).tolist()):
        base_score = 0.0 if number else float(weights["trees.base_score"][0])
        lines += [f"Tree={number}", *_tree(weights, root, base_score), ""]
    return "\n".join([*lines, "end of trees", "", "pandas_categorical:null", ""])


def _facts(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.split("\n") if "=" in line)


def _add(forest: Forest, place: str, facts: dict[str, str], scale: float) -> None:
    """Add the tree that `facts` describe; inner nodes come first, then leaves."""
    leaves = np.array(facts["leaf_value"].split(), dtype=np.float64) * scale
    if facts.get("is_linear", "0") != "0":
        raise SpecError(f"{place} has linear leaves, which are not supported")
    inner = int(facts["num_leaves"]) - 1
    if len(leaves) != inner + 1 or inner < 0:
        raise SpecError(f"{place} is cut short: {len(leaves)} of {inner + 1} leaves")
    if not np.isfinite(leaves).all():
        raise SpecError(f"{place} has a leaf that is not finite")

    def numbers(name: str, kind: type[np.generic]) -> NDArray[np.generic]:
        array = np.array(facts[name].split() if inner else [], dtype=kind)
        if len(array) != inner:
            raise SpecError(f"{place} is cut short: {len(array)} of {inner} values of '{name}'")
        return array

    kinds = np.asarray(numbers("decision_type", np.int64), dtype=np.int64)
    if (kinds & CATEGORICAL).any():
        raise SpecError(
            f"{place} has categorical splits, which are not supported",
            hint="export the model as an ONNX file and declare it as family 'onnx'",
        )
    if ((kinds >> MISSING_SHIFT) & 3 == MISSING_ZERO).any():
        raise SpecError(f"{place} takes zeros for missing values, which is not supported")
    thresholds = np.asarray(numbers("threshold", np.float64), dtype=np.float64)
    nothing = np.full(len(leaves), -1)

    def children(name: str) -> NDArray[np.int64]:
        child = np.asarray(numbers(name, np.int64), dtype=np.int64)
        # Negative ones count the leaves: -1 is the first.
        return np.concatenate([np.where(child < 0, inner - 1 - child, child), nothing])

    forest.add(
        np.concatenate([np.asarray(numbers("split_feature", np.int64)), nothing]).astype(np.int64),
        np.concatenate([round_down(thresholds), nothing]).astype(np.float32),
        children("left_child"),
        children("right_child"),
        np.concatenate([np.zeros(inner), leaves]),
    )


def round_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 that are not above `values`."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    rounded: NDArray[np.float32] = np.where(near.astype(np.float64) <= values, near, below)
    return rounded


def _tree(weights: Weights, root: int, base_score: float) -> list[str]:
    nodes = members(weights, root)
    left, right = weights["trees.left"], weights["trees.right"]
    inner = [node for node in nodes if left[node] != node]
    leaves = [node for node in nodes if left[node] == node]
    place = {node: index for index, node in enumerate(inner)}
    place |= {node: -1 - index for index, node in enumerate(leaves)}

    def line(name: str, values: list[object]) -> str:
        return f"{name}={' '.join(map(str, values))}"

    return [
        line("num_leaves", [len(leaves)]),
        line("num_cat", [0]),
        line("split_feature", [int(weights["trees.feature"][n]) for n in inner]),
        line("threshold", [float(weights["trees.threshold"][n]) for n in inner]),
        # No category, no missing values.
        line("decision_type", [0 for _ in inner]),
        line("left_child", [place[int(left[n])] for n in inner]),
        line("right_child", [place[int(right[n])] for n in inner]),
        line("leaf_value", [float(weights["trees.value"][n]) + base_score for n in leaves]),
        line("is_linear", [0]),
        line("shrinkage", [1]),
    ]
