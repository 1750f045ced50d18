"""A user's own model: the files it is in, its arrays where it has them, and its features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UnsupportedError
from harness.models import lightgbm_text, onnx_file, trees_mlp, xgboost_json
from harness.schema.model import OnnxFileModel, TreeFileModel

OwnModel = TreeFileModel | OnnxFileModel


def model_files(model: OwnModel, data: Path) -> list[Path]:
    """Return the files of `model`, the one that names it first."""
    beside = model.data if isinstance(model, OnnxFileModel) else ()
    return [data / name for name in (model.file, *beside)]


def read_trees(
    model: TreeFileModel, data: Path
) -> tuple[dict[str, NDArray[np.generic]], tuple[str, ...]]:
    """Return the arrays of `model`, and the names of its features (none if the file has none).

    Raises SpecError if the file is not whole, or holds what the arrays do not.
    """
    lightgbm = model.family == "lightgbm"
    read = lightgbm_text.read_lightgbm if lightgbm else xgboost_json.read_xgboost
    weights, names = read(data / model.file)
    trees_mlp.check_weights(weights)
    return weights, names


def own_weights(model: OwnModel, data: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of `model`. UnsupportedError if it is an ONNX file: a graph has none."""
    if isinstance(model, OnnxFileModel):
        raise UnsupportedError(
            f"the model is the ONNX file {model.file}: only runtimes that take ONNX run it"
        )
    return read_trees(model, data)[0]


def own_parameters(model: OwnModel, data: Path) -> int:
    """Return the number of values that `model` is made of."""
    if isinstance(model, OnnxFileModel):
        return onnx_file.parameters_of(onnx_file.open_onnx(model, data))
    return sum(array.size for array in own_weights(model, data).values())


def own_features(model: OwnModel, data: Path) -> tuple[int | None, tuple[str, ...]]:
    """Return how many features a row of `model` has, and their names, where its file says so."""
    if isinstance(model, OnnxFileModel):
        return onnx_file.features_of(onnx_file.open_onnx(model, data), model), ()
    weights, names = read_trees(model, data)
    width = trees_mlp.width(weights)
    # What LightGBM writes for features without names.
    unnamed = names == tuple(f"Column_{index}" for index in range(width))
    return width, () if unnamed else names
