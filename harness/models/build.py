"""Builds what adapters load: weights on disk and ONNX files, once, in a cache named by content.

A changed configuration, weight file or builder gives another folder, so an old file is never used.
An artefact is built in a temporary folder and renamed: it is there whole or not at all, also when
several processes want it at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache as memoise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError
from harness.models import llama, trees_mlp, whisper
from harness.models.model import Architecture, Model, Weights
from harness.schema import canonical_json
from harness.schema.base import Task
from harness.schema.workload import LlamaModel, TreesMlpModel, WhisperModel

BUILDER_VERSION = 1
"""Goes up when the builders write something else: that voids what is in the cache."""

WEIGHTS_FILE = "weights.safetensors"
DIALECTS = ("standard", "portable")
ELEMENTS = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I32": np.dtype("<i4"),
}
"""The element types that weight files may have; 16-bit ones are widened to float32."""


def build_model(architecture: Architecture, task: Task, *, cache: Path, data: Path) -> Model:
    """Return the model of `architecture`; its artefacts are made in `cache` on first use.

    Weight files are named relative to `data`. Raises SpecError if one cannot be read; a file with
    wrong names or shapes raises SpecError when the weights are first asked for.
    """
    source = _source(architecture, data)
    digest = hashlib.sha256(f"{BUILDER_VERSION}\n{canonical_json(architecture)}\n".encode())
    if source is not None:
        try:
            with source.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise SpecError(
                f"cannot read the weights {source}: {error.strerror}",
                hint="a model's 'weights' are named relative to the folder of the workloads",
            ) from error
    folder = cache / f"{architecture.family}-{digest.hexdigest()[:16]}"

    @memoise
    def weights() -> Weights:
        if source is not None:
            return load_weights(source, architecture)
        path = folder / WEIGHTS_FILE

        def draw(temporary: Path) -> None:
            save_weights(_draw(architecture), temporary / WEIGHTS_FILE)

        _once(path, lambda temporary: draw(temporary), pick=WEIGHTS_FILE)
        return load_weights(path, architecture)

    def onnx(dialect: str) -> Path:
        if dialect not in DIALECTS:
            raise ValueError(f"the ONNX dialect is one of {DIALECTS}, not {dialect!r}")
        # Only trees differ between the dialects.
        name = f"onnx-{dialect}" if isinstance(architecture, TreesMlpModel) else "onnx"
        path = folder / name
        _once(path, lambda temporary: _build_onnx(weights(), architecture, temporary, dialect))
        return path

    return Model(
        task=task,
        architecture=architecture,
        parameters=_parameters(architecture, weights),
        folder=folder,
        weights=weights,
        onnx=onnx,
    )
