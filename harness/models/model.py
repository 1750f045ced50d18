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

from harness.errors import UnsupportedError
from harness.schema.base import Task
from harness.schema.model import (
    GgufModel,
    HuggingFaceModel,
    LlamaModel,
    OnnxFileModel,
    ServedModel,
    TreeFileModel,
    TreesMlpModel,
    WhisperModel,
)

Computed = LlamaModel | WhisperModel | TreesMlpModel | TreeFileModel | OnnxFileModel
"""Those that can be computed here."""
Architecture = Computed | GgufModel | ServedModel
Declared = Architecture | HuggingFaceModel
"""What a workload may name: a folder is known by what its config.json declares."""
RowModel = TreesMlpModel | TreeFileModel | OnnxFileModel
"""Those that score rows."""
Weights = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Model:
    """A workload's model, ready for an adapter.

    `architecture` is the declared configuration. `parameters` is the number of weights, 0 of a
    served model, of which there is nothing here: then the two functions raise UnsupportedError.
    `weights()` returns the arrays by name (names: docs/models.md), mapped from disk where they can
    be. `onnx(dialect)` returns the folder of the model's ONNX files (files: docs/models.md):
    "standard" may use the ai.onnx.ml operators, "portable" only ai.onnx ones. A user's own
    ONNX file is the same in both and has no arrays. `file` is the file of a user's own trees or
    GGUF file; of the latter there are neither arrays nor ONNX files.
    """

    task: Task
    architecture: Architecture
    parameters: int
    folder: Path
    weights: Callable[[], Weights]
    onnx: Callable[[str], Path]
    file: Path | None = None

    @property
    def computed(self) -> Computed:
        """The architecture, to be computed here; UnsupportedError of a served or GGUF one."""
        if isinstance(self.architecture, GgufModel):
            raise UnsupportedError(
                f"the model is the GGUF file {self.architecture.file}: only llama.cpp runs it as "
                "it is"
            )
        if isinstance(self.architecture, ServedModel):
            raise UnsupportedError("a served model is its server's alone: nothing of it runs here")
        return self.architecture
