"""Runs the fraud workload with numpy in float32: the shape of a whole adapter."""

from collections.abc import Mapping, Sequence

import numpy as np

from harness.adapters.base import BlockingSession, Model, Output, Request, Target
from harness.errors import UnsupportedError


class AcmeAdapter:
    """Opens sessions on the Acme X1."""

    api_version = 1

    def open(self, target: Target, model: Model) -> "AcmeSession":
        """Load the model's weights, or say why this runtime cannot run it."""
        if model.task != "tabular_classification":
            raise UnsupportedError(f"the Acme X1 runs tabular_classification, not {model.task}")
        if target.runtime.precision != "fp32":
            raise UnsupportedError(f"the Acme X1 computes in fp32, not {target.runtime.precision}")
        return AcmeSession(model, int(target.runtime.options.get("max_batch", 256)))


class AcmeSession(BlockingSession):
    """Scores batches of rows."""

    def __init__(self, model: Model, max_batch: int) -> None:
        self.weights = {name: np.asarray(array) for name, array in model.weights().items()}
        self.max_batch = max_batch

    def describe(self) -> Mapping[str, object]:
        """Return what runs."""
        return {"runtime": "acme", "version": np.__version__, "precision": "fp32", "fallbacks": []}

    def infer(self, requests: Sequence[Request]) -> Sequence[Output]:
        """Return the score of each row: the mean of the trees' and the network's."""
        features = np.stack([request.features for request in requests])
        scores = (sigmoid(self.trees(features)) + sigmoid(self.network(features))) / 2
        return [Output(score=float(score)) for score in scores]

    def trees(self, features: np.ndarray) -> np.ndarray:
        w, rows = self.weights, np.arange(len(features))[:, None]
        node = np.tile(w["trees.root"], (len(features), 1))
        while (w["trees.left"][node] != node).any():
            below = features[rows, w["trees.feature"][node]] <= w["trees.threshold"][node]
            node = np.where(below, w["trees.left"][node], w["trees.right"][node])
        return w["trees.value"][node].sum(axis=1) + w["trees.base_score"]

    def network(self, features: np.ndarray) -> np.ndarray:
        w = self.weights
        value = (features - w["normalise.mean"]) / w["normalise.deviation"]
        for layer in ("mlp.0", "mlp.1"):
            value = np.maximum(value @ w[f"{layer}.weight"].T + w[f"{layer}.bias"], 0)
        return (value @ w["mlp.2.weight"].T + w["mlp.2.bias"])[:, 0]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
