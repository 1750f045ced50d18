"""A user's ONNX file: checked, and brought into the form that adapters score rows with.

The file is read as data. Weights outside it are taken only from files that the workload names and
that lie in its folder: an ONNX file may otherwise point at any file of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError, UnsupportedError
from harness.models.own_files import read_bytes, refuse_pickle
from harness.schema.model import OnnxFileModel

if TYPE_CHECKING:
    import onnx

HEAD_BYTES = 16
ROWS = 256
"""Rows that the independent computation takes at once."""


def open_onnx(architecture: OnnxFileModel, data: Path) -> onnx.ModelProto:
    """Return the graph of `architecture`, its inputs and outputs checked, weights not yet loaded.

    Raises SpecError if the file is no whole ONNX model, breaks the rules of its operators, keeps
    weights in files that the workload does not name, or has no matrix in and score out.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = data / architecture.file
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(read_bytes(path))
    except DecodeError as error:
        raise SpecError(
            f"{path} is not a whole ONNX model: {error}", hint="it may be cut short; copy it again"
        ) from error
    if not model.graph.output or not model.opset_import:
        raise SpecError(f"{path} is not an ONNX model: it has no outputs or no operator set")
    _check_places(model, architecture, path)
    try:
        onnx.checker.check_model(str(path), full_check=False)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise SpecError(f"{path} is not a sound ONNX model: {_first_line(error)}") from error
    _signature(model, architecture, path)
    return model


def features_of(model: onnx.ModelProto, architecture: OnnxFileModel) -> int | None:
    """Return the number of features of a row; None if the file leaves it open."""
    name, _ = _names(model, architecture, Path(architecture.file))
    for value in model.graph.input:
        if value.name == name:
            return int(value.type.tensor_type.shape.dim[1].dim_value) or None
    return None


def operators_of(architecture: OnnxFileModel, data: Path) -> set[str]:
    """Return the operators of the graph, each with its domain before it; raises as `open_onnx`."""
    model = open_onnx(architecture, data)
    return {f"{node.domain}.{node.op_type}".lstrip(".") for node in model.graph.node}


def parameters_of(model: onnx.ModelProto) -> int:
    """Return the number of values in the weights; what trees keep in attributes counts too."""
    held = sum(int(np.prod(tensor.dims, dtype=np.int64)) for tensor in model.graph.initializer)
    in_nodes = sum(
        len(attribute.floats) + len(attribute.ints)
        for node in model.graph.node
        for attribute in node.attribute
    )
    return held + in_nodes


def build_onnx(architecture: OnnxFileModel, data: Path, folder: Path) -> None:
    """Write `folder`/model.onnx: one input float32 [batch, n] -> one output float32 [batch].

    The user's graph is kept as it is. All that is added is a Cast before it where it wants float64,
    and behind it a Gather and a Reshape where the score is a column. Raises as `open_onnx`.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    source = data / architecture.file
    model = open_onnx(architecture, data)
    if architecture.data:
        onnx.load_external_data_for_model(model, str(source.parent))
    graph = model.graph
    first, last = _names(model, architecture, source)
    element, width = _signature(model, architecture, source)
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    weights = {tensor.name for tensor in graph.initializer}
    taken |= weights
    before, after = [], []
    if element == TensorProto.DOUBLE:
        before.append(helper.make_node("Cast", [_free("features", taken)], [first], to=element))
        first = _free("features", taken)
    result = next(value for value in graph.output if value.name == last).type.tensor_type

    def add(kind: str, constant: list[int] | int | None, **settings: int) -> None:
        nonlocal last
        inputs = [last]
        last = _free("score", taken)
        taken.add(last)
        if constant is not None:
            inputs.append(_free(f"{last}_constant", taken))
            array = np.array(constant, dtype=np.int64)
            graph.initializer.append(numpy_helper.from_array(array, inputs[1]))
        node = helper.make_node(kind, inputs, [last])
        node.attribute.extend(helper.make_attribute(k, v) for k, v in settings.items())
        after.append(node)

    if architecture.column is not None:
        add("Gather", architecture.column, axis=1)
    elif len(result.shape.dim) != 1:
        add("Reshape", [-1])
    if result.elem_type == TensorProto.DOUBLE:
        add("Cast", None, to=int(TensorProto.FLOAT))
    nodes = [*before, *graph.node, *after]
    kept = [value for value in graph.input if value.name in weights]
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    del graph.input[:]
    wide = width or "features"
    float_ = TensorProto.FLOAT
    graph.input.extend([helper.make_tensor_value_info(first, float_, ["batch", wide]), *kept])
    graph.output.append(helper.make_tensor_value_info(last, float_, ["batch"]))
    path = folder / "model.onnx"
    onnx.save_model(
        model, path, save_as_external_data=bool(architecture.data), location="model.data"
    )
    onnx.checker.check_model(str(path))


def onnx_scores(folder: Path, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the scores (float64 [n]) of `features` by ONNX's own reference evaluator in numpy.

    It shares no code with any runtime that is measured. Raises UnsupportedError if it has no
    implementation of an operator of the graph, SpecError if it gives another number of scores.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(onnx.load(folder / "model.onnx"))
        (name,) = evaluator.input_names
        starts = range(0, len(features), ROWS)
        results = [evaluator.run(None, {str(name): features[s : s + ROWS]}) for s in starts]
        parts = [np.asarray(next(iter(result))) for result in results]
    except Exception as error:  # it raises whatever its operators raise
        raise UnsupportedError(
            f"ONNX's reference evaluator does not compute this model: {_first_line(error)}",
            hint="the gate 'labelled_rows' needs it, to tell whether a target computes it rightly",
        ) from error
    scores = np.concatenate([part.reshape(-1) for part in parts]).astype(np.float64)
    if len(scores) != len(features):
        raise SpecError(
            f"the ONNX file gives {len(scores)} scores for {len(features)} rows: its output has "
            "another shape than it declares",
            hint="export it again with the true shape, and say which 'column' is the score",
        )
    return scores


def _check_places(model: onnx.ModelProto, architecture: OnnxFileModel, path: Path) -> None:
    """Raise SpecError unless all weights are in the file, or in files that the workload names."""
    from onnx import TensorProto

    folder = path.parent.resolve()
    root = PurePosixPath(architecture.file).parent
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        relative = PurePosixPath(location)
        beside = folder / relative
        if relative.is_absolute() or ".." in relative.parts or not location:
            raise SpecError(
                f"{path}: the weight '{tensor.name}' points outside its folder, to {location!r}"
            )
        if str(root / relative) not in {str(PurePosixPath(name)) for name in architecture.data}:
            raise SpecError(
                f"{path} keeps weights in {location!r}, which the workload does not name",
                hint=f"write data: [{root / relative}] under 'model'",
            )
        if beside.is_symlink() or not beside.resolve().is_relative_to(folder):
            raise SpecError(f"{path}: {location!r} is a link, or leads outside its folder")
        try:
            with beside.open("rb") as file:
                refuse_pickle(file.read(HEAD_BYTES), beside)
        except OSError as error:
            raise SpecError(f"cannot read the weights {beside}: {error.strerror}") from error


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor, also those in attributes, in graphs inside nodes and in functions."""

    def of_node(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from of_graph(inner)

    def of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            yield from of_node(node)

    yield from of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from of_node(node)


def _names(model: onnx.ModelProto, architecture: OnnxFileModel, path: Path) -> tuple[str, str]:
    """Return the names of the input and the output that the workload declares, or the only ones."""
    weights = {tensor.name for tensor in model.graph.initializer}
    found = []
    for what, declared, values in (
        ("input", architecture.input, model.graph.input),
        ("output", architecture.output, model.graph.output),
    ):
        names = [value.name for value in values if value.name not in weights]
        listed = ", ".join(names)
        if what == "input" and len(names) > 1:
            raise SpecError(f"{path} has the inputs {listed}; one matrix of rows is supported")
        if declared is None and len(names) == 1:
            declared = names[0]
        elif declared is None:
            raise SpecError(
                f"{path} has the {what}s {listed}; the workload must say which",
                hint=f"write {what}: NAME under 'model'",
            )
        elif declared not in names:
            raise SpecError(f"{path} has no {what} '{declared}', but {listed}")
        found.append(declared)
    return found[0], found[1]


def _signature(
    model: onnx.ModelProto, architecture: OnnxFileModel, path: Path
) -> tuple[int, int | None]:
    """Return the element type of the input and the number of its features (None: left open)."""
    from onnx import TensorProto

    source, score = _names(model, architecture, path)
    value = next(value for value in model.graph.input if value.name == source)
    tensor = value.type.tensor_type
    shape = [dim.dim_value for dim in tensor.shape.dim]
    if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise SpecError(f"{path}: the input '{source}' is {kind}, not float32 or float64")
    if len(shape) != 2:
        raise SpecError(f"{path}: the input '{source}' has the shape {shape}, not [rows, features]")
    if shape[0]:
        raise SpecError(
            f"{path}: the input '{source}' takes {shape[0]} rows at once and no other number",
            hint="export it with a first dimension that varies",
        )
    result = next(value for value in model.graph.output if value.name == score)
    if not result.type.HasField("tensor_type"):
        raise SpecError(
            f"{path}: the output '{score}' is not a tensor",
            hint="export the classifier without ZipMap (options={'zipmap': False})",
        )
    if result.type.tensor_type.elem_type not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        raise SpecError(f"{path}: the output '{score}' is no floating-point score")
    dims = result.type.tensor_type.shape.dim
    columns = dims[1].dim_value if len(dims) == 2 else 1
    if architecture.column is None and (len(dims) > 2 or columns != 1):
        raise SpecError(
            f"{path}: the output '{score}' has {columns or 'an open number of'} columns",
            hint="say which is the score: 'column: 1' is the second class",
        )
    if architecture.column is not None and (
        len(dims) != 2 or (columns and architecture.column >= columns)
    ):
        raise SpecError(f"{path}: the output '{score}' has no column {architecture.column}")
    return int(tensor.elem_type), shape[1] or None


def _free(name: str, taken: set[str]) -> str:
    """Return `name`, changed until it is in nobody's way."""
    while name in taken:
        name = f"{name}_"
    return name


def _first_line(error: BaseException) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {text[:300]}"
