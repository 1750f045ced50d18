"""Builds the files that only one runtime takes: for onnxruntime-genai, llama.cpp, OpenVINO.

They lie in the model's folder of the cache, named by what they are made with.
"""

from __future__ import annotations

import hashlib
from functools import cache as memoise
from pathlib import Path

from harness.models import (
    llama_genai,
    llama_gguf,
    llama_onnx,
    onnx_graph,
    openvino_weights,
    quantise,
)
from harness.models.build import build_once
from harness.models.model import Model, RowModel
from harness.schema.model import LlamaModel


def genai_folder(model: Model, precision: str) -> Path:
    """Return the folder that onnxruntime-genai opens, in "fp32" or "int4", made on first use.

    `model` is a Llama. int4 is made of fp32 as `harness.models.quantise` says.
    """
    architecture = model.architecture
    assert isinstance(architecture, LlamaModel)
    path = model.folder / f"genai-{precision}-{_version()}"

    def build(folder: Path) -> None:
        if precision == "fp32":
            llama_genai.build_genai(model.weights(), architecture, folder)
            return
        quantise.quantise_folder(genai_folder(model, "fp32"), folder)
        llama_genai.write_configuration(architecture, folder)

    build_once(path, build)
    return path


def continuous_folder(model: Model) -> Path:
    """Return the folder of ONNX files for continuous batching, fp32, made on first use.

    `model` is a Llama.
    """
    architecture = model.architecture
    assert isinstance(architecture, LlamaModel)
    path = model.folder / f"continuous-{_version()}"
    build_once(
        path, lambda folder: llama_genai.build_continuous(model.weights(), architecture, folder)
    )
    return path


def gguf_file(model: Model, kind: str) -> Path:
    """Return the GGUF file of `model`, a Llama, in the type `kind`, made on first use."""
    architecture = model.architecture
    assert isinstance(architecture, LlamaModel)
    path = model.folder / f"gguf-{kind}-{_version()}"

    def build(folder: Path) -> None:
        llama_gguf.build_gguf(model.weights(), architecture, folder / "model.gguf", kind)

    build_once(path, build)
    return path / "model.gguf"


def openvino_folder(model: Model, precision: str) -> Path:
    """Return the folder of OpenVINO files of `model` in "int8" or "int4", made on first use.

    Raises PrerequisiteError without NNCF, UnsupportedError where there is nothing to compress.
    """
    version = openvino_weights.nncf_version()
    assert openvino_weights.__file__ is not None
    digest = hashlib.sha256(Path(openvino_weights.__file__).read_bytes()).hexdigest()[:8]
    source = model.onnx("portable")
    path = source.with_name(f"openvino-{precision}-{version}-{digest}")
    tables = not isinstance(model.architecture, RowModel)

    def build(folder: Path) -> None:
        openvino_weights.compress_folder(source, folder, precision, tables=tables)

    build_once(path, build)
    return path


@memoise
def _version() -> str:
    digest = hashlib.sha256()
    for module in (llama_genai, llama_gguf, llama_onnx, onnx_graph, quantise):
        assert module.__file__ is not None
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()[:8]
