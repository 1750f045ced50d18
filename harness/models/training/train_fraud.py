"""Trains the fraud model: LightGBM trees and a small network on the synthetic transactions.

    python -m harness.models.training.train_fraud --output workloads/weights

Seeds are fixed. The later quarter of the time-ordered rows is never trained on.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.models.quality import pr_auc
from harness.models.transactions import draw_transactions
from harness.models.trees import tree_margin
from harness.models.trees_mlp import check_weights, mlp_margin, reference_scores

if TYPE_CHECKING:
    import lightgbm

Weights = dict[str, NDArray[np.generic]]

ROWS, SEED = 200_000, 0
TREES = {
    "objective": "binary",
    "boost_from_average": False,
    "num_leaves": 31,
    # Unrolled walks take as many steps as the deepest tree.
    "max_depth": 8,
    "learning_rate": 0.05,
    "min_data_in_leaf": 50,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "use_missing": False,
    "seed": SEED,
    "verbosity": -1,
}


def train_trees(
    features: NDArray[np.float32], labels: NDArray[np.uint8], *, rounds: int = 150
) -> tuple[lightgbm.Booster, float]:
    """Return a booster of `rounds` trees, and the base score (log-odds) that its trees add to."""
    import lightgbm

    share = float(labels.mean())
    base_score = math.log(share / (1 - share))
    start = np.full(len(labels), base_score)
    data = lightgbm.Dataset(features, labels, init_score=start)
    return lightgbm.train(TREES, data, rounds), base_score


def flatten_trees(booster: lightgbm.Booster, base_score: float) -> Weights:
    """Return the `trees.*` arrays of `booster`, children after their parents.

    LightGBM compares in float64: x <= t. Rounding t down to float32 leaves every float32 x on the
    side where it was. Raises ValueError for splits that are not of that form.
    """
    rows: list[tuple[int, float, int, int, float]] = []
    roots = []

    def add(node: dict[str, Any]) -> int:
        number = len(rows)
        rows.append((0, 0.0, number, number, float(node.get("leaf_value", 0.0))))
        if "split_feature" in node:
            if node["decision_type"] != "<=" or node["missing_type"] != "None":
                raise ValueError("only splits of the form x <= t without missing values are known")
            left, right = add(node["left_child"]), add(node["right_child"])
            threshold = float(round_down(np.float64(node["threshold"])))
            rows[number] = (int(node["split_feature"]), threshold, left, right, 0.0)
        return number

    for tree in booster.dump_model()["tree_info"]:
        roots.append(add(tree["tree_structure"]))
    feature, threshold, left, right, value = zip(*rows, strict=True)
    return {
        "trees.root": np.array(roots, dtype=np.int32),
        "trees.feature": np.array(feature, dtype=np.int32),
        "trees.threshold": np.array(threshold, dtype=np.float32),
        "trees.left": np.array(left, dtype=np.int32),
        "trees.right": np.array(right, dtype=np.int32),
        "trees.value": np.array(value, dtype=np.float32),
        "trees.base_score": np.array([base_score], dtype=np.float32),
    }


def round_down(value: np.float64) -> np.float32:
    """Return the largest float32 that is not above `value`."""
    near = np.float32(value)
    return near if float(near) <= float(value) else np.nextafter(near, np.float32(-np.inf))


def train_mlp(
    features: NDArray[np.float32], labels: NDArray[np.uint8], *, epochs: int = 8
) -> Weights:
    """Return the `normalise.*` and `mlp.*` arrays of a network 30-128-64-1."""
    import torch

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = features.std(axis=0, dtype=np.float64).astype(np.float32)
    inputs = torch.from_numpy((features - mean) / deviation)
    targets = torch.from_numpy(labels.astype(np.float32))
    layers = [torch.nn.Linear(features.shape[1], 128), torch.nn.Linear(128, 64)]
    layers.append(torch.nn.Linear(64, 1))
    relu = torch.nn.ReLU()
    network = torch.nn.Sequential(layers[0], relu, layers[1], relu, layers[2])
    batch, loss_of = 512, torch.nn.BCEWithLogitsLoss()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = epochs * (len(inputs) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs))[: steps // epochs * batch].view(-1, batch):
            optimiser.zero_grad()
            loss_of(network(inputs[rows])[:, 0], targets[rows]).backward()
            optimiser.step()
            schedule.step()
    arrays: Weights = {"normalise.mean": mean, "normalise.deviation": deviation}
    for number, layer in enumerate(layers):
        arrays[f"mlp.{number}.weight"] = layer.weight.detach().numpy()
        arrays[f"mlp.{number}.bias"] = layer.bias.detach().numpy()
    return arrays


def main() -> None:
    """Train, report on the later quarter, and write `fraud.safetensors`."""
    from safetensors.numpy import save

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the weights")
    output: Path = parser.parse_args().output
    features, labels, _ = draw_transactions(ROWS, SEED)
    split = ROWS * 3 // 4
    booster, base_score = train_trees(features[:split], labels[:split])
    weights = flatten_trees(booster, base_score) | train_mlp(features[:split], labels[:split])
    check_weights(weights)
    later, truth = features[split:], labels[split:]
    for name, scores in {
        "trees": tree_margin(weights, later),
        "network": mlp_margin(weights, later),
        "both": reference_scores(weights, later),
    }.items():
        print(f"PR-AUC of {name} on the later quarter: {pr_auc(truth, scores):.4f}")
    output.mkdir(parents=True, exist_ok=True)
    (output / "fraud.safetensors").write_bytes(save(weights))
    print(f"wrote {output / 'fraud.safetensors'}")


if __name__ == "__main__":
    main()
