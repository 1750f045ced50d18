"""LightGBM and XGBoost: the trees of a workload in the library that they were made for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import API_VERSION, Model, Session, Target
from harness.adapters.options import LocalRuntime
from harness.adapters.session import Options, RowSession, read_options
from harness.errors import AdapterError, PrerequisiteError, UnsupportedError
from harness.models.lightgbm_text import write_lightgbm
from harness.models.model import Weights
from harness.models.trees_mlp import has_network, width
from harness.models.xgboost_json import write_xgboost

Score = Callable[[NDArray[np.float32]], NDArray[np.float32]]
FAMILIES = ("trees_mlp", "lightgbm", "xgboost")
NETWORK_ROWS = 32
"""Rows that the network takes at once: numpy spreads larger products over threads of its own."""


class LightGbmAdapter(LocalRuntime):
    """Scores rows with LightGBM. Options: threads, max_batch (rows in a query)."""

    api_version: ClassVar[int] = API_VERSION
    packages: ClassVar[tuple[str, ...]] = ("lightgbm",)
    install: ClassVar[str] = "pip install 'accelerator-harness[lightgbm]'"
    families: ClassVar[tuple[str, ...]] = FAMILIES

    def open(self, target: Target, model: Model) -> Session:
        """Load the trees: a user's own LightGBM file as it is, others written in its text format.

        Raises PrerequisiteError without LightGBM, UnsupportedError for a model without trees or
        another precision or device.
        """
        options, weights = _check(target, model)
        try:
            import lightgbm
        except (ImportError, OSError) as error:
            raise PrerequisiteError(
                f"the lightgbm adapter needs LightGBM: {error}",
                hint=self.install,
            ) from error
        own = model.file if model.architecture.family == "lightgbm" else None
        try:
            booster = (
                lightgbm.Booster(model_file=str(own))
                if own
                else lightgbm.Booster(model_str=write_lightgbm(weights, width(weights)))
            )
        except lightgbm.basic.LightGBMError as error:
            raise UnsupportedError(f"LightGBM does not take the model: {error}") from error
        predict = cast("Callable[..., NDArray[np.float32]]", booster.predict)
        threads = options.threads

        def score(features: NDArray[np.float32]) -> NDArray[np.float32]:
            return predict(features, num_threads=threads, predict_disable_shape_check=True)

        call = "Booster.predict with a numpy array, its check of the shape left to the adapter"
        library = "lightgbm", lightgbm.__version__
        return _session(library, options, weights, own, score, call)


class XgBoostAdapter(LocalRuntime):
    """Scores rows with XGBoost. Options: threads, max_batch (rows in a query)."""

    api_version: ClassVar[int] = API_VERSION
    packages: ClassVar[tuple[str, ...]] = ("xgboost",)
    install: ClassVar[str] = "pip install 'accelerator-harness[xgboost]'"
    families: ClassVar[tuple[str, ...]] = FAMILIES

    def open(self, target: Target, model: Model) -> Session:
        """Load the trees: a user's own XGBoost file as it is, others written in its JSON format.

        Raises PrerequisiteError without XGBoost, UnsupportedError for a model without trees or
        another precision or device.
        """
        options, weights = _check(target, model)
        try:
            import xgboost
        except (ImportError, OSError) as error:
            raise PrerequisiteError(
                f"the xgboost adapter needs XGBoost: {error}",
                hint=self.install,
            ) from error
        own = model.file if model.architecture.family == "xgboost" else None
        booster = xgboost.Booster({"nthread": options.threads})
        try:
            content = own.read_bytes() if own else write_xgboost(weights, width(weights))
            booster.load_model(bytearray(content))
        except xgboost.core.XGBoostError as error:
            raise UnsupportedError(f"XGBoost does not take the model: {error}") from error
        # What is loaded brings its own settings.
        booster.set_param({"nthread": options.threads, "device": "cpu"})

        def score(features: NDArray[np.float32]) -> NDArray[np.float32]:
            scores: NDArray[np.float32] = booster.inplace_predict(features, validate_features=False)
            return scores

        call = "Booster.inplace_predict with a numpy array"
        library = "xgboost", xgboost.__version__
        return _session(library, options, weights, own, score, call)


def _check(target: Target, model: Model) -> tuple[Options, Weights]:
    options, runtime = read_options(target), target.runtime
    name = runtime.adapter
    family = model.architecture.family
    if family not in FAMILIES:
        raise UnsupportedError(
            f"the {name} adapter runs models of family {', '.join(FAMILIES)}, not '{family}'"
        )
    if runtime.precision != "fp32" or runtime.device != "cpu":
        raise UnsupportedError(
            f"the {name} adapter computes in fp32 on 'cpu', not in {runtime.precision} on "
            f"'{runtime.device}'"
        )
    return options, model.weights()


def _session(
    library: tuple[str, str],
    options: Options,
    weights: Weights,
    own: Path | None,
    trees: Score,
    call: str,
) -> Session:
    """Return the session that scores with `trees`, and the network in numpy where there is one.

    `library` is its name and version.
    """
    name, version = library
    features = width(weights)
    network = _network(weights) if has_network(weights) else None

    def score(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        # The libraries read beyond the end of a row that is too short.
        if rows.shape[1] != features or rows.dtype != np.float32:
            raise AdapterError(
                f"rows are {rows.dtype} {list(rows.shape)}, not float32 of {features}"
            )
        if network is None:
            return trees(rows)
        return (trees(rows) + network(rows)) * np.float32(0.5)

    count = int(np.asarray(weights["trees.root"]).size)
    description: dict[str, object] = {
        "runtime": name,
        "version": version,
        "device": "cpu",
        "precision": "fp32",
        **options.described(),
        "call": call,
        "trees": count,
        "model": "the user's own file" if own else "written from the arrays of the workload",
        "operators": {
            "counts": {"model": {"Tree": count} | ({"Gemm": 3} if network else {})},
            "assigned": {
                "model": {"Tree": {name: count}} | ({"Gemm": {"numpy": 3}} if network else {})
            },
            "unsupported": [],
            "lowered": [],
        },
        "fallbacks": (["numpy runs the network: the library has trees only"] if network else []),
    }
    return RowSession(score, options.max_batch, description)


def _network(weights: Weights) -> Score:
    """Return the network of the fraud model in numpy, float32, the normalisation folded in."""
    mean = np.asarray(weights["normalise.mean"], dtype=np.float64)
    deviation = np.asarray(weights["normalise.deviation"], dtype=np.float64)
    first, second, third = (
        np.asarray(weights[f"mlp.{layer}.weight"], dtype=np.float64).T for layer in range(3)
    )
    a, b, c = (np.asarray(weights[f"mlp.{layer}.bias"], dtype=np.float64) for layer in range(3))
    first = first / deviation[:, None]
    a = a - mean @ first
    return _layers(*(each.astype(np.float32) for each in (first, a, second, b, third, c)))


def _layers(
    first: NDArray[np.float32],
    a: NDArray[np.float32],
    second: NDArray[np.float32],
    b: NDArray[np.float32],
    third: NDArray[np.float32],
    c: NDArray[np.float32],
) -> Score:
    """Return the scores of three layers, each a matrix [inputs, outputs] and a bias."""
    zero, one = np.float32(0), np.float32(1)

    def score(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(rows) > NETWORK_ROWS:
            starts = range(0, len(rows), NETWORK_ROWS)
            return np.concatenate([score(rows[at : at + NETWORK_ROWS]) for at in starts])
        value = np.maximum(rows @ first + a, zero)
        value = np.maximum(value @ second + b, zero)
        margin = (value @ third + c)[:, 0]
        # exp may overflow to infinity, which is the right limit.
        with np.errstate(over="ignore"):
            scores: NDArray[np.float32] = one / (one + np.exp(-margin))
        return scores

    return score
