"""A model as adapters see it: its declared architecture, and artefacts built on first use.

Artefacts live in a cache folder named by the hash of what they are built from, so that a changed
configuration never meets an old file. Building is atomic: a folder appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.schema.base import Task
from harness.schema.workload import (
    LlamaModel,
    OnnxFileModel,
    TreeFileModel,
    TreesMlpModel,
    WhisperModel,
)

Architecture = LlamaModel | WhisperModel | TreesMlpModel | TreeFileModel | OnnxFileModel
RowModel = TreesMlpModel | TreeFileModel | OnnxFileModel
"""Those that score rows."""
Weights = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Model:
    """A workload's model, ready for an adapter.

    `architecture` is the declared configuration. `parameters` is the number of weights.
    `weights()` returns the arrays by name (names: docs/models.md), mapped from disk where they can
    be. `onnx(dialect)` returns the folder of the model's ONNX files (files: docs/models.md):
    "standard" may use the ai.onnx.ml operators, "portable" only ai.onnx ones. A user's own
    ONNX file is the same in both and has no arrays. `file` is the file of a user's own trees.
    """

    task: Task
    architecture: Architecture
    parameters: int
    folder: Path
    weights: Callable[[], Weights]
    onnx: Callable[[str], Path]
    file: Path | None = None
