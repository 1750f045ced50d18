"""Quantises the constant matrices of an ONNX file to 4 bits, block by block, without a framework.

Each matrix is read, quantised and written by itself, so that a model may be larger than memory.
Operator: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md (MatMulNBits).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UnsupportedError
from harness.models.onnx_graph import INLINE_BYTES, write_external

BLOCK = 32
"""Weights of one output that share a scale."""
ZERO = 8
"""The code of the weight 0; codes are 0 to 15."""
DOMAIN, OPERATOR = "com.microsoft", "MatMulNBits"
INT8_ACTIVATIONS = 4
"""Accuracy level of the operator: states may be rounded to int8, by block, in the product."""
ROWS = 4096
"""Rows quantised at once: bounds the memory that it takes."""


def pack_int4(matrix: NDArray[np.generic]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return `matrix` [outputs, inputs] as 4-bit codes and scales, as MatMulNBits takes them.

    Codes: uint8 [outputs, blocks, BLOCK / 2], the lower half of a byte first. Scales: float32
    [outputs * blocks]. A weight is (code - ZERO) * scale; the largest of a block, in absolute
    value, gets code 0, so that it is exact. Inputs are filled up with zeros to whole blocks.
    """
    outputs, inputs = matrix.shape
    blocks = -(-inputs // BLOCK)
    codes = np.empty((outputs, blocks, BLOCK // 2), dtype=np.uint8)
    scales = np.empty((outputs, blocks), dtype=np.float32)
    for start in range(0, outputs, ROWS):
        rows = np.asarray(matrix[start : start + ROWS], dtype=np.float32)
        rows = np.pad(rows, ((0, 0), (0, blocks * BLOCK - inputs)))
        parts = rows.reshape(len(rows), blocks, BLOCK)
        largest = np.abs(parts).argmax(axis=-1, keepdims=True)
        scale = np.take_along_axis(parts, largest, axis=-1) / np.float32(-ZERO)
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
        code = np.clip(np.rint(parts * inverse) + ZERO, 0, 15).astype(np.uint8)
        codes[start : start + ROWS] = code[..., 0::2] | (code[..., 1::2] << 4)
        scales[start : start + ROWS] = scale[..., 0]
    return codes, scales.reshape(-1)


def unpack_int4(
    codes: NDArray[np.uint8], scales: NDArray[np.float32], inputs: int
) -> NDArray[np.float32]:
    """Return the matrix [outputs, inputs] that `pack_int4` stands for, float32."""
    outputs, blocks, _ = codes.shape
    code = np.stack([codes & 15, codes >> 4], axis=-1).reshape(outputs, blocks, BLOCK)
    values = (code.astype(np.float32) - ZERO) * scales.reshape(outputs, blocks, 1)
    return values.reshape(outputs, -1)[:, :inputs]


def quantise_folder(source: Path, folder: Path) -> None:
    """Write into `folder` the ONNX files of `source` with every constant product in 4 bits.

    Only a MatMul whose second factor is a constant matrix is taken; all else stays as it is. Raises
    UnsupportedError if a file has none.
    """
    for path in sorted(source.glob("*.onnx")):
        _quantise(path, folder / path.name)


def _quantise(source: Path, path: Path) -> None:
    import onnx
    from onnx import checker, helper, numpy_helper

    model = onnx.load(source, load_external_data=False)
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    products = [
        node
        for node in graph.node
        if node.op_type == "MatMul"
        and node.input[1] in constants
        and len(constants[node.input[1]].dims) == 2
    ]
    if not products:
        raise UnsupportedError(f"{source.name} has nothing that int4 quantisation takes")
    matrices = {node.input[1] for node in products}
    uses = [name for node in graph.node for name in node.input if name in matrices]
    if len(uses) > len(products):
        raise UnsupportedError(f"{source.name} uses one matrix in a product and elsewhere")
    tensors = []
    with path.with_suffix(".data").open("wb") as file:

        def keep(name: str, array: NDArray[np.generic]) -> None:
            if array.nbytes <= INLINE_BYTES:
                tensors.append(numpy_helper.from_array(array, name))
            else:
                tensors.append(write_external(file, name, array))

        for name, tensor in constants.items():
            array = numpy_helper.to_array(tensor, str(source.parent))
            if name not in matrices:
                keep(name, array)
                continue
            codes, scales = pack_int4(array.T)
            keep(f"{name}_int4", codes)
            keep(f"{name}_scales", scales)
    for node in products:
        name = node.input[1]
        inputs, outputs = constants[name].dims
        changed = helper.make_node(
            OPERATOR,
            [node.input[0], f"{name}_int4", f"{name}_scales"],
            list(node.output),
            name=node.name,
            domain=DOMAIN,
            K=inputs,
            N=outputs,
            bits=4,
            block_size=BLOCK,
            accuracy_level=INT8_ACTIVATIONS,
        )
        node.CopyFrom(changed)
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    if DOMAIN not in {each.domain for each in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    path.write_bytes(model.SerializeToString(deterministic=True))
    checker.check_model(str(path))
