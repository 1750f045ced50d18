"""Judges a user's own model on their own labelled rows. Formulas: docs/quality.md."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.models.model import Model
from harness.models.onnx_file import onnx_scores
from harness.models.reference import keep
from harness.models.rows import labelled_rows
from harness.models.trees_mlp import reference_scores
from harness.schema.inputs import RowInputs
from harness.schema.model import OnnxFileModel
from harness.schema.quality import RowQuality
from harness.schema.workload import Workload


def judged_rows(
    gate: RowQuality, workload: Workload, data: Path
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Return the rows that `gate` is judged on, and their labels if it has any."""
    assert isinstance(workload.inputs, RowInputs)
    return labelled_rows(gate, workload.inputs, data)


def true_scores(model: Model, features: NDArray[np.float32], cache: Path) -> NDArray[np.float64]:
    """Return the scores (float64 [n]) of an independent computation of `model` in numpy.

    Trees are walked in float64; an ONNX file is run by ONNX's own reference evaluator, and the
    result is kept in `cache`.
    """
    if not isinstance(model.architecture, OnnxFileModel):
        return reference_scores(model.weights(), features)
    # The folder is named by the hash of the file and of what builds from it.
    digest = hashlib.sha256(f"rows\n{model.folder.name}\n{features.shape}\n".encode())
    digest.update(np.ascontiguousarray(features).data)

    def compute() -> list[NDArray[np.float64]]:
        return [onnx_scores(model.onnx("standard"), features)]

    return keep(cache, digest.hexdigest(), 1, compute)[0]
