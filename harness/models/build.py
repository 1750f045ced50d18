"""Builds what adapters load: weights on disk and ONNX files, once, in a cache named by content.

A changed configuration, weight file or builder (its source code counts) gives another folder, so an
old file is never used.
An artefact is built in a temporary folder and renamed: it is there whole or not at all, also when
several processes want it at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache as memoise
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from harness.data_files import SHARDS, shards_of
from harness.errors import SpecError, UnsupportedError
from harness.files import temporary_prefix, whole_folder
from harness.models import (
    gguf_header,
    hugging_face,
    lightgbm_text,
    llama,
    llama_onnx,
    onnx_file,
    onnx_graph,
    own_model,
    quantise,
    trees,
    trees_mlp,
    whisper,
    whisper_onnx,
    xgboost_json,
)
from harness.models import weights as weights_file
from harness.models.model import Architecture, Computed, Declared, Model, Weights
from harness.models.onnx_graph import count_operators
from harness.models.own_folder import known
from harness.models.weights import check_weights, load_weights, save_weights, stream_weights
from harness.schema import canonical_json
from harness.schema.base import Task
from harness.schema.model import (
    GgufModel,
    LlamaModel,
    OnnxFileModel,
    ServedModel,
    TreeFileModel,
    TreesMlpModel,
    WhisperModel,
)

DIALECTS = ("standard", "portable")
Built = LlamaModel | WhisperModel | TreesMlpModel
"""What the harness itself makes or trains; the rest is a user's own."""


def build_model(declared: Declared, task: Task, *, cache: Path, data: Path) -> Model:
    """Return the model that is `declared`; its artefacts are made in `cache` on first use.

    Weight files are named relative to `data`. Raises SpecError if one cannot be read or does not
    fit; names and shapes are checked when the weights are first asked for.
    """
    architecture = known(declared, task, data)
    if isinstance(architecture, ServedModel):
        return Model(task, architecture, 0, cache / "served", _not_here, _not_here)
    if isinstance(architecture, GgufModel):
        return _own_gguf(architecture, task, cache, data)
    sources = _sources(architecture, data)
    folder = cache / f"{architecture.family}-{_digest(architecture, sources)[:16]}"

    @memoise
    def weights() -> Weights:
        if isinstance(architecture, TreeFileModel | OnnxFileModel):
            return own_model.own_weights(architecture, data)
        if sources:
            loaded = _load(sources[0], architecture)
            _check(loaded, architecture, str(sources[0]))
            return loaded
        path = folder / "drawn"
        build_once(path, lambda temporary: _draw(architecture, temporary / "weights.safetensors"))
        return load_weights(path / "weights.safetensors")

    def onnx(dialect: str) -> Path:
        if dialect not in DIALECTS:
            raise ValueError(f"the ONNX dialect is one of {', '.join(DIALECTS)}, not {dialect!r}")
        # Only trees differ between the dialects.
        trees = isinstance(architecture, TreesMlpModel | TreeFileModel)
        path = folder / (f"onnx-{dialect}" if trees else "onnx")
        if isinstance(architecture, OnnxFileModel):
            build_once(path, lambda temporary: onnx_file.build_onnx(architecture, data, temporary))
        else:
            build_once(
                path, lambda temporary: _build_onnx(weights(), architecture, temporary, dialect)
            )
        return path

    return Model(
        task=task,
        architecture=architecture,
        parameters=(
            own_model.own_parameters(architecture, data)
            if isinstance(architecture, TreeFileModel | OnnxFileModel)
            else _parameters(architecture, weights)
        ),
        folder=folder,
        weights=weights,
        onnx=onnx,
        file=sources[0] if isinstance(architecture, TreeFileModel) else None,
    )


def _own_gguf(architecture: GgufModel, task: Task, cache: Path, data: Path) -> Model:
    header = gguf_header.own_gguf(architecture, data)

    def refuse(*_: str) -> NoReturn:
        raise UnsupportedError(
            f"the model is the GGUF file {architecture.file}: only llama.cpp runs it as it is"
        )

    file = data / architecture.file
    return Model(task, architecture, header.parameters, cache / "gguf", refuse, refuse, file)


def _not_here(*_: str) -> NoReturn:
    raise UnsupportedError("a served model is its server's alone: there is nothing of it here")


def quantised(folder: Path) -> Path:
    """Return the int8 twin of the ONNX files in `folder`, made by ONNX Runtime on first use.

    Dynamic quantisation: weights int8 with a scale per output channel, activations uint8 with a
    scale per tensor found while running. Only products with constant matrices are taken. Raises
    UnsupportedError if a file has none.
    """
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def build(temporary: Path) -> None:
        for path in sorted(folder.glob("*.onnx")):
            with _quiet():
                quantize_dynamic(
                    path,
                    temporary / path.name,
                    op_types_to_quantize=["MatMul", "Gemm"],
                    per_channel=True,
                    weight_type=QuantType.QInt8,
                    use_external_data_format=True,
                )
            if not count_operators(temporary / path.name).get("MatMulInteger"):
                raise UnsupportedError(f"{path.name} has nothing that int8 quantisation takes")

    # Another version may quantise differently.
    path = folder.with_name(f"{folder.name}-int8-{onnxruntime.__version__}")
    build_once(path, build)
    return path


def quantised_int4(folder: Path) -> Path:
    """Return the int4 twin of the ONNX files in `folder`, made on first use.

    See `harness.models.quantise`. Raises UnsupportedError if a file has nothing that it takes.
    """
    assert quantise.__file__ is not None
    version = hashlib.sha256(Path(quantise.__file__).read_bytes()).hexdigest()[:8]
    path = folder.with_name(f"{folder.name}-int4-{version}")
    build_once(path, lambda temporary: quantise.quantise_folder(folder, temporary))
    return path


def _sources(architecture: Computed, data: Path) -> list[Path]:
    """Return the files that the model is in; none if its weights are drawn."""
    if isinstance(architecture, TreeFileModel | OnnxFileModel):
        return own_model.model_files(architecture, data)
    if architecture.weights is None:
        return []
    path = data / architecture.weights
    return [path, *shards_of(path)] if path.name.endswith(SHARDS) else [path]


def _load(source: Path, architecture: Built) -> Weights:
    """Return the arrays of the weight file `source`."""
    if isinstance(architecture, LlamaModel):
        return hugging_face.load_llama(source, architecture)
    return load_weights(source)


def _digest(architecture: Computed, sources: list[Path]) -> str:
    """Return the hash (hex) of all that artefacts are made from."""
    digest = hashlib.sha256(f"{_builders()}\n{canonical_json(architecture)}\n".encode())
    for source in sources:
        try:
            with source.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise SpecError(
                f"cannot read the weights {source}: {error.strerror}",
                hint="a model's 'weights' are named relative to the folder of the workloads",
            ) from error
    return digest.hexdigest()


@memoise
def _builders() -> str:
    """Return the hash (hex) of the source of all that builds: a version that nobody can forget."""
    digest = hashlib.sha256(metadata.version("onnx").encode())
    builders = (
        lightgbm_text,
        llama,
        llama_onnx,
        onnx_file,
        onnx_graph,
        trees,
        trees_mlp,
        weights_file,
        whisper,
        whisper_onnx,
        xgboost_json,
    )
    for module in builders:
        assert module.__file__ is not None
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()


def _shapes(architecture: LlamaModel | WhisperModel) -> dict[str, tuple[int, ...]]:
    if isinstance(architecture, LlamaModel):
        return llama.parameter_shapes(architecture)
    return whisper.parameter_shapes(architecture)


def _check(weights: Weights, architecture: Built, source: str) -> None:
    if isinstance(architecture, TreesMlpModel):
        trees_mlp.check_weights(weights)
    else:
        check_weights(weights, _shapes(architecture), source)


def _parameters(architecture: Built, weights: Callable[[], Weights]) -> int:
    if isinstance(architecture, TreesMlpModel):
        return sum(array.size for array in weights().values())
    return sum(math.prod(shape) for shape in _shapes(architecture).values())


def _draw(architecture: Architecture, path: Path) -> None:
    if isinstance(architecture, LlamaModel):
        stream_weights(_shapes(architecture), llama.drawn_weights(architecture), path)
    else:
        assert isinstance(architecture, WhisperModel)
        save_weights(whisper.draw_weights(architecture), path)


def _build_onnx(weights: Weights, architecture: Architecture, folder: Path, dialect: str) -> None:
    if isinstance(architecture, LlamaModel):
        llama_onnx.build_onnx(weights, architecture, folder)
    elif isinstance(architecture, WhisperModel):
        whisper_onnx.build_onnx(weights, architecture, folder)
    else:
        # A user's own trees have the same arrays.
        trees_mlp.build_onnx(weights, folder, dialect)


def build_once(path: Path, build: Callable[[Path], None]) -> None:
    """Make the folder `path` by `build`, unless it is there; other processes wait for it."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.with_name(f"{path.name}.lock")):
        if path.exists():
            return
        for left_over in path.parent.glob(f"{temporary_prefix(path)}*"):
            # Its builder was killed: whoever builds holds the lock.
            shutil.rmtree(left_over)
        with whole_folder(path, hint="free some disk space or set HARNESS_CACHE") as temporary:
            build(temporary)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        # Given back when the file is closed, also by a process that is killed.
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser from advising a preprocessing that these graphs have no use for."""
    logger = logging.getLogger()
    logger.addFilter(_refuse)
    try:
        yield
    finally:
        logger.removeFilter(_refuse)


def _refuse(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
