"""Writes an ONNX file node by node, without a framework: the graph here, the weights beside it.

Weights go to one external file as they are added, so a model may be larger than memory allows
twice, and than the 2 GB that a protocol buffer can hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 17, 8
"""The first operator set with LayerNormalization; older runtimes take it too."""

ALIGNMENT = 4096
"""Of each weight in the external file, in bytes: a page, so that runtimes can map it."""
INLINE_BYTES = 1024
"""Weights up to this size stay in the graph's own file."""

HIDDEN_SCORE = -1e9
"""Added to the attention scores of positions that may not be seen."""
LAST = np.iinfo(np.int64).max
"""As the end of a Slice: to the last."""

Attribute = int | float | str | Sequence[int]


def count_operators(path: Path) -> dict[str, int]:
    """Return how many nodes of each operator the ONNX file has, by name with its domain."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    counts = Counter(f"{node.domain}.{node.op_type}".lstrip(".") for node in graph.node)
    return dict(sorted(counts.items()))


def write_external(file: BinaryIO, name: str, array: NDArray[np.generic]) -> onnx.TensorProto:
    """Append `array` to the open `file` at the next page; return the tensor that points to it."""
    from onnx import TensorProto, helper

    offset = -(-file.tell() // ALIGNMENT) * ALIGNMENT
    file.seek(offset)
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    tensor = TensorProto(
        name=name,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        dims=array.shape,
        data_location=TensorProto.EXTERNAL,
    )
    place = {"location": Path(file.name).name, "offset": offset, "length": array.nbytes}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


class Graph:
    """An ONNX graph that is being written to `path`; weights go to `path` with suffix .data.

    Use it in a `with` statement: the graph's file is written when the block ends without an error.
    Values are named by strings, as in ONNX.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, bytes, tuple[int, ...]], str] = {}
        self._data_path = path.with_suffix(".data")

    def __enter__(self) -> Self:
        self._data = self._data_path.open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._data.close()
        if error is not None:
            return
        from onnx import checker, helper

        graph = helper.make_graph(
            self._nodes, self._path.stem, self._inputs, self._outputs, self._weights
        )
        domains = {node.domain for node in self._nodes if node.domain}
        model = helper.make_model(
            graph,
            producer_name="accelerator-harness",
            opset_imports=[
                helper.make_opsetid("", OPSET),
                *(helper.make_opsetid(domain, 1) for domain in sorted(domains)),
            ],
            ir_version=IR_VERSION,
        )
        self._path.write_bytes(model.SerializeToString(deterministic=True))
        checker.check_model(str(self._path))

    def input(self, name: str, kind: type[np.generic], shape: Sequence[int | str]) -> str:
        """Declare an input; a string in `shape` names a dimension that varies."""
        self._inputs.append(self._value(name, kind, shape))
        return name

    def output(self, name: str, kind: type[np.generic], shape: Sequence[int | str]) -> str:
        """Declare an output; a node gives it out by `output=name`."""
        self._outputs.append(self._value(name, kind, shape))
        return name

    def op(
        self, kind: str, *inputs: str, output: str | None = None, **attributes: Attribute
    ) -> str:
        """Add a node with one output, named `output` if given; return the output's name.

        A kind outside the standard operators has its domain before it: com.microsoft.MatMulNBits.
        """
        name = output or f"{kind.rpartition('.')[2]}_{len(self._nodes)}"
        return self._node(kind, inputs, [name], attributes)[0]

    def ops(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Attribute
    ) -> list[str]:
        """Add a node with these outputs; return their names. An empty input is left out."""
        return self._node(kind, inputs, list(outputs), attributes)

    def split(self, value: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Cut `value` into parts of `sizes` along `axis`; return their names."""
        parts = [f"Split_{len(self._nodes)}.{index}" for index in range(len(sizes))]
        return self._node("Split", (value, self.constant(sizes)), parts, {"axis": axis})

    def constant(self, value: NDArray[np.generic] | Sequence[int] | int | float) -> str:
        """Add a small constant, once for equal ones. Integers are int64 and floats float32."""
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        key = (array.dtype.str, array.tobytes(), array.shape)
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = self.weight(name, array)
        return self._constants[key]

    def weight(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a weight; it is on disk when this returns, and `array` can be forgotten."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(array).reshape(array.shape)
        if array.nbytes <= INLINE_BYTES:
            self._weights.append(numpy_helper.from_array(array, name))
            return name
        self._weights.append(write_external(self._data, name, array))
        return name

    def since(self, states: str, first: str) -> str:
        """Return `states` [batch, count, hidden] from position `first` (int64 [1]) on."""
        return self.op("Slice", states, first, self.constant([LAST]), self.constant([1]))

    def linear(
        self, name: str, states: str, *matrices: NDArray[np.generic], output: str | None = None
    ) -> str:
        """Return `states` times the transpose of `matrices` ([outputs, inputs]) put together."""
        matrix = matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
        return self.op("MatMul", states, self.weight(name, matrix.T), output=output)

    def _node(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: list[str],
        attributes: Mapping[str, Attribute],
    ) -> list[str]:
        from onnx import helper

        domain, _, kind = kind.rpartition(".")
        name = f"{kind}_{len(self._nodes)}"
        node = helper.make_node(kind, inputs, outputs, name=name, domain=domain or None)
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in attributes.items()
        )
        self._nodes.append(node)
        return outputs

    def _value(
        self, name: str, kind: type[np.generic], shape: Sequence[int | str]
    ) -> onnx.ValueInfoProto:
        from onnx import helper

        element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return helper.make_tensor_value_info(name, element, shape)


class DecoderGraph(Graph):
    """A graph that continues a sequence of tokens, with keys and values as inputs and outputs.

    Inputs: input_ids int64 [batch, count]; logits_from int64 [1], the first of these positions that
    logits are wanted for; past_key_I and past_value_I float32 [batch, heads, past, head size] by
    layer. Outputs present_key_I and present_value_I are the next call's past.

    tokens is the input; past and total ([1]) are the lengths before and after; mask [count, total]
    is to be added to attention scores.
    """

    def __init__(self, path: Path, *, layers: int, heads: int, head: int) -> None:
        super().__init__(path)
        self._heads, self._head = heads, head
        self.tokens = self.input("input_ids", np.int64, ["batch", "count"])
        self._wanted = self.input("logits_from", np.int64, [1])
        self._pasts = [
            [
                self.input(f"past_{part}_{layer}", np.float32, self._cache_shape("past"))
                for part in ("key", "value")
            ]
            for layer in range(layers)
        ]

    def __enter__(self) -> Self:
        super().__enter__()
        op, constant = self.op, self.constant
        past = op("Gather", op("Shape", self._pasts[0][0]), constant(2), axis=0)
        count = op("Gather", op("Shape", self.tokens), constant(1), axis=0)
        total = op("Add", past, count)
        rows = op("Unsqueeze", op("Range", past, total, constant(1)), constant([1]))
        columns = op("Range", constant(0), total, constant(1))
        seen = op("LessOrEqual", columns, rows)
        self.mask = op("Where", seen, constant(0.0), constant(HIDDEN_SCORE))
        self.past, self.total = (op("Unsqueeze", each, constant([0])) for each in (past, total))
        return self

    def by_position(self, name: str, table: NDArray[np.generic]) -> str:
        """Return the rows of `table` that belong to the positions of the tokens."""
        return self.op("Slice", self.weight(name, table), self.past, self.total, self.constant([0]))

    def remember(self, layer: int, key: str, value: str) -> tuple[str, str]:
        """Return all keys and values so far of `layer`, and give them out."""
        names = [f"present_{part}_{layer}" for part in ("key", "value")]
        for old, new, name in zip(self._pasts[layer], (key, value), names, strict=True):
            self.output(name, np.float32, self._cache_shape("total"))
            self.op("Concat", old, new, axis=2, output=name)
        return names[0], names[1]

    def wanted(self, states: str) -> str:
        """Return `states` [batch, count, hidden] of the positions that logits are wanted for."""
        return self.since(states, self._wanted)

    def _cache_shape(self, length: str) -> list[int | str]:
        return ["batch", self._heads, length, self._head]
